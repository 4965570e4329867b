//! The checks of the fuzz targets, which the property tests use as well: with any bytes, neither how they are cut nor when
//! requests are answered changes the outputs, except for acknowledgements.

use bytes::Bytes;

use super::{Answer, Connect, Output, QuestionId, Session, SessionConfig};
use crate::rtmp::chunk::{ChunkLimits, Decoder, fuzz::pieces};
use crate::rtmp::command::{self, Command};
use crate::rtmp::error::Error;
use crate::rtmp::message::type_id;
use crate::rtmp::name::{self, StreamName};

/// Checks a command message of any bytes, the first of which is the message type, by [`command::check_any_bytes`]; and the
/// stream name of a `connect`, by [`name::check_any_text`].
pub fn check_any_command(bytes: &[u8]) {
    command::check_any_bytes(bytes);
    let Some((message_type_id, body)) = bytes.split_first() else {
        return;
    };
    let Ok(command) = Command::from_message(*message_type_id, &body.to_vec().into()) else {
        return;
    };
    let Ok(connect) = Connect::parse(&command) else { return };
    name::check_any_text(&connect.app, &connect.tc_url, command.text(0).unwrap_or_default());
}

/// Checks a session with any bytes after the handshake. The first four bytes are the lengths of the pieces, the fifth
/// selects the answers and their delays.
pub fn check_any_bytes(bytes: &[u8]) {
    let Some(([a, b, c, d, plan], input)) = bytes.split_first_chunk::<5>() else {
        return;
    };
    let plan = Plan(*plan);
    let at_once = outcome(std::iter::once(input), plan, false);
    assert_eq!(at_once, outcome(std::iter::once(input), plan, true));
    assert_eq!(at_once, outcome(pieces(input, [*a, *b, *c, *d]), plan, true));
    assert_eq!(at_once, outcome(input.chunks(1), plan, true));
}

/// The answer to each question, and its delay.
#[derive(Clone, Copy)]
struct Plan(u8);

impl Plan {
    fn answer(self, question: QuestionId, is_connect: bool) -> Answer {
        let other = || StreamName { app: "other/app".to_owned(), name: "name%2F".to_owned() };
        let denial = || Answer::Deny { code: "NetStream.Failed".to_owned(), description: "No.".to_owned() };
        match (self.0, self.draw(question) % 8) {
            (0 | 1, _) => Answer::Allow,
            (2, _) if is_connect => Answer::Allow,
            (2, _) | (_, 0) => denial(),
            (_, 1) => Answer::Redirect("rtmp://other/app/name".to_owned()),
            (_, 2 | 3) => Answer::AllowAs(other()),
            (_, 4) if !is_connect => denial(),
            _ => Answer::Allow,
        }
    }

    /// After how many further reads a question is answered.
    fn reads_to_wait(self, question: QuestionId) -> u32 {
        if self.0 == 0 { 0 } else { self.draw(question) >> 3 & 7 }
    }

    /// A pseudorandom number for each question, of at least six bits.
    fn draw(self, question: QuestionId) -> u32 {
        (u32::from(self.0) << 8 | question.0).wrapping_mul(0x9E37_79B1) >> 20
    }
}

/// A session, and its outputs except for acknowledgements.
struct Run {
    session: Session,
    plan: Plan,
    is_late: bool,
    /// The open question, its answer, and the number of reads until then.
    question: Option<(QuestionId, Answer, u32)>,
    sent: Decoder,
    handshake_bytes: usize,
    lines: Vec<String>,
}

/// The outputs of the session, and whether there was a violation.
fn outcome<'a>(pieces: impl Iterator<Item = &'a [u8]>, plan: Plan, is_late: bool) -> (Vec<String>, bool) {
    let mut run = Run {
        session: Session::new(&SessionConfig::default(), 0, [1; 32]),
        plan,
        is_late,
        question: None,
        sent: Decoder::new(ChunkLimits::default()),
        handshake_bytes: HELLO.len(),
        lines: Vec::new(),
    };
    let is_violation = run.read_all(pieces).is_err();
    (run.lines, is_violation)
}

impl Run {
    fn read_all<'a>(&mut self, pieces: impl Iterator<Item = &'a [u8]>) -> Result<(), Error> {
        for piece in std::iter::once(&HELLO[..]).chain(pieces) {
            self.session.receive(Bytes::copy_from_slice(piece), 0)?;
            self.take_outputs()?;
            // After the answer the next question may open at once.
            while let Some((question, answer, _)) = self.question.take_if(|(.., reads)| *reads == 0) {
                self.answer(question, answer);
                self.take_outputs()?;
            }
            if let Some((.., reads)) = &mut self.question {
                *reads -= 1;
            }
        }
        while let Some((question, answer, _)) = self.question.take() {
            self.answer(question, answer);
            self.take_outputs()?;
        }
        assert!(!self.session.has_open_question());
        Ok(())
    }

    /// Takes outputs until there are none.
    fn take_outputs(&mut self) -> Result<(), Error> {
        while let Some(output) = self.session.poll()? {
            let question = output.question();
            let is_connect = matches!(output, Output::Connect(_));
            match output {
                Output::Send(bytes) => self.decode(bytes),
                Output::More => {}
                Output::Frame { message_stream_id, frame } => {
                    let (kind, time, bytes) = (frame.kind, frame.timestamp_ms, frame.payload.to_bytes());
                    self.lines.push(format!("{message_stream_id} {kind:?} {time} {bytes:?}"));
                }
                output => self.lines.push(format!("{output:?}")),
            }
            let Some(question) = question else { continue };
            assert!(self.session.has_open_question() && self.question.is_none(), "one at a time");
            let answer = self.plan.answer(question, is_connect);
            if self.is_late {
                self.question = Some((question, answer, self.plan.reads_to_wait(question)));
            } else {
                self.answer(question, answer);
            }
        }
        Ok(())
    }

    /// Answers the question, and tries answers to questions that are not open.
    fn answer(&mut self, question: QuestionId, answer: Answer) {
        for other in [question.0 - 1, question.0 + 1].map(QuestionId) {
            assert!(!self.session.answer(other, Answer::Allow));
        }
        assert!(self.session.answer(question, answer));
        assert!(!self.session.answer(question, Answer::Redirect(String::new())));
    }

    fn decode(&mut self, mut bytes: Bytes) {
        let of_handshake = self.handshake_bytes.min(bytes.len());
        self.handshake_bytes -= of_handshake;
        self.sent.feed(bytes.split_off(of_handshake));
        while let Some(message) = self.sent.next().expect("our own messages can be read") {
            if message.message_type_id != type_id::ACKNOWLEDGEMENT {
                let (kind, id, body) =
                    (message.message_type_id, message.message_stream_id, message.payload.to_bytes());
                self.lines.push(format!("sent {kind} on {id} {body:?}"));
            }
        }
    }
}

/// C0, C1 and C2 of a plain client.
static HELLO: [u8; 3073] = {
    let mut hello = [0; 3073];
    hello[0] = 3;
    hello
};
