//! Asks whether a client may connect, and answers it (RTMP 1.0 §7.2.1.1).

use super::{
    connect::Connect,
    core::Session,
    output::{CloseReason, Output},
    pending_question::PendingCall,
    question::{Answer, ConnectRequest},
};
use crate::amf0::Value;
use crate::rtmp::chunk::OUT_CHUNK_SIZE;
use crate::rtmp::command::{Command, information, redirection};
use crate::rtmp::error::{Error, ErrorKind};
use crate::rtmp::link::WINDOW_BYTES;
use crate::rtmp::message::{Control, LimitType, UserControl};

impl Session {
    /// Asks whether the client may connect.
    pub(super) fn ask_to_connect(&mut self, command: &Command) -> Result<(), Error> {
        if self.connect.is_some() {
            return Err(self.link.violation(ErrorKind::ConnectedTwice));
        }
        let connect = Connect::parse(command).map_err(|error| self.link.violation(error))?;
        let question = self.ask(PendingCall::Connect(Box::new(connect)));
        let request = ConnectRequest::new(question, &command.object);
        self.outputs.push_back(Output::Connect(Box::new(request)));
        Ok(())
    }

    pub(super) fn answer_connect(&mut self, mut connect: Box<Connect>, answer: Answer) {
        match answer {
            Answer::Allow => self.accept_connect(connect),
            Answer::AllowAs(name) => {
                connect.replace_app(&name);
                self.accept_connect(connect);
            }
            Answer::Redirect(address) => {
                self.reject_connect(connect, redirection(REJECTED, &address), CloseReason::Redirected);
            }
            Answer::Deny { code, description } => self.deny_connect(connect, &code, &description),
        }
    }

    /// Sends the messages of a successful connect, in the order of Flash Media Server.
    fn accept_connect(&mut self, connect: Box<Connect>) {
        self.link.control(Control::WindowAcknowledgementSize(WINDOW_BYTES));
        self.link.control(Control::SetPeerBandwidth(WINDOW_BYTES, LimitType::Dynamic));
        self.link.control(Control::User(UserControl::StreamBegin(0)));
        self.link.control(Control::SetChunkSize(OUT_CHUNK_SIZE));
        self.link.command(0, &connect.answer(connect.transaction_id));
        self.connect = Some(connect);
    }

    pub(super) fn deny_connect(&mut self, connect: Box<Connect>, code: &str, description: &str) {
        let code = if code.starts_with("NetConnection.") { code } else { REJECTED };
        let reason = CloseReason::Refused(code.to_owned());
        self.reject_connect(connect, information("error", code, description), reason);
    }

    /// FFmpeg and librtmp recognize the answer by its transaction id, and crash or hang if it has no description.
    fn reject_connect(&mut self, connect: Box<Connect>, information: Value, reason: CloseReason) {
        self.link.command(0, &Command::error(connect.transaction_id, information));
        self.connect = Some(connect);
        self.stop_reading();
        self.outputs.push_back(Output::Close(reason));
    }
}

/// The client may not connect, or has to connect elsewhere (ActionScript's NetStatusEvent).
const REJECTED: &str = "NetConnection.Connect.Rejected";
