//! What is spoken on a connection beside its media: an RTMP session, or the little that HTTP leaves to send once the body
//! has begun.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{protocol::Protocol, tls::TlsError};
use crate::{
    http::{
        LAST_CHUNK,
        websocket::{self, CloseCode, ControlFrame},
    },
    rtmp::{
        error::Error as RtmpError,
        session::{Answer, MessageStreamId, Output, QuestionId, Session},
    },
    stream::Form,
};

/// The relay's side of what is spoken on one connection.
pub(super) enum PeerSession {
    Rtmp(Box<Session>),
    HttpFlv(Body),
    WebSocket(Box<WebSocket>),
}

/// The body of an HTTP response: its end is all that is left to send. What a client sends after its request is counted,
/// and not read.
#[derive(Debug, Default)]
pub(super) struct Body {
    heard: u64,
    /// Clients of HTTP/1.1 get a mark at the end of the body; for those of HTTP/1.0 it ends with the connection.
    is_chunked: bool,
    end: Option<Bytes>,
    has_ended: bool,
}

/// The frames of a WebSocket that are not media.
#[derive(Debug, Default)]
pub(super) struct WebSocket {
    reader: websocket::Reader,
    out: VecDeque<Bytes>,
    has_closed: bool,
    /// Frames that asked for an answer.
    received: u64,
}

/// What a peer did wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum Violation {
    #[error(transparent)]
    Session(#[from] RtmpError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    WebSocket(#[from] websocket::Error),
    #[error("byte {0}: it goes on sending after a request whose response does not end")]
    AfterRequest(u64),
}

/// What a client may send after its request before that ends the connection. Some send an empty line, or the next
/// request.
const MAX_AFTER_REQUEST: u64 = 64 << 10;

impl PeerSession {
    /// In what form the peer gets its media.
    pub(super) fn form(&self) -> Form {
        match self {
            Self::Rtmp(_) => Form::Rtmp,
            Self::HttpFlv(body) if body.is_chunked => Form::HttpFlvChunked,
            Self::HttpFlv(_) => Form::HttpFlv,
            Self::WebSocket(_) => Form::WebsocketFlv,
        }
    }

    pub(super) fn protocol(&self) -> Protocol {
        Protocol::of(self.form())
    }

    /// Takes the bytes of one read; then [`PeerSession::poll`] until there is nothing.
    pub(super) fn receive(&mut self, bytes: Bytes, now_ms: u64) -> Result<(), Violation> {
        match self {
            Self::Rtmp(session) => session.receive(bytes, now_ms)?,
            Self::HttpFlv(body) => {
                body.heard += bytes.len() as u64;
                if body.heard > MAX_AFTER_REQUEST {
                    return Err(Violation::AfterRequest(body.heard));
                }
            }
            Self::WebSocket(socket) => socket.reader.feed(&bytes),
        }
        Ok(())
    }

    /// The next thing to do. What came is read a little at a time: the caller may stop between two calls.
    pub(super) fn poll(&mut self) -> Result<Option<Output>, Violation> {
        match self {
            Self::Rtmp(session) => Ok(session.poll()?),
            Self::HttpFlv(body) => Ok(body.end.take().map(Output::Send)),
            Self::WebSocket(socket) => socket.poll(),
        }
    }

    /// What is to be sent, and nothing of what came since.
    pub(super) fn take_unsent(&mut self) -> Option<Bytes> {
        match self {
            Self::Rtmp(session) => session.take_unsent(),
            Self::HttpFlv(body) => body.end.take(),
            Self::WebSocket(socket) => socket.take_frame(),
        }
    }

    /// Bytes of what the peer has sent and the relay has not used.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Rtmp(session) => session.memory_bytes(),
            Self::HttpFlv(_) => 0,
            Self::WebSocket(socket) => socket.reader.held(),
        }
    }

    /// Whether the peer has sent its last, and been answered.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::WebSocket(socket) if socket.has_closed)
    }

    /// Whether the peer may close its sending side once it has asked. Others are heard as long as they play: RTMP
    /// acknowledges what it receives and answers pings, a WebSocket answers pings and sends its close.
    pub(super) fn is_one_sided(&self) -> bool {
        matches!(self, Self::HttpFlv(_))
    }

    /// Nothing of what the peer has sent is read any more: it is being closed.
    pub(super) fn drop_input(&mut self) {
        match self {
            Self::Rtmp(session) => session.discard_input(),
            Self::HttpFlv(_) => {}
            Self::WebSocket(socket) => socket.reader = Default::default(),
        }
    }

    /// Messages that came and were read.
    pub(super) fn messages(&self) -> u64 {
        match self {
            Self::Rtmp(session) => session.received_messages(),
            Self::HttpFlv(_) => 0,
            Self::WebSocket(socket) => socket.received,
        }
    }

    pub(super) fn has_open_question(&self) -> bool {
        matches!(self, Self::Rtmp(session) if session.has_open_question())
    }

    /// Whether something that the peer has sent is not worked off. Players over HTTP may be silent for as long as they like:
    /// theirs does not count.
    pub(super) fn has_unread_input(&self) -> bool {
        matches!(self, Self::Rtmp(session) if session.has_unread_input())
    }

    /// HTTP has no handshake.
    pub(super) fn is_handshake_done(&self) -> bool {
        match self {
            Self::Rtmp(session) => session.is_handshake_done(),
            Self::HttpFlv(_) | Self::WebSocket(_) => true,
        }
    }

    /// Pings the peer, where its protocol has pings.
    pub(super) fn ping(&mut self, now_ms: u64) {
        match self {
            Self::Rtmp(session) => session.ping(now_ms),
            Self::HttpFlv(_) => {}
            Self::WebSocket(socket) => socket.send(websocket::ping()),
        }
    }

    /// Answers a question of an RTMP session; HTTP sessions ask none. An answer to a question that is over changes nothing.
    pub(super) fn answer(&mut self, question: QuestionId, answer: Answer) {
        if let Self::Rtmp(session) = self {
            session.answer(question, answer);
        }
    }

    /// The stream that the peer publishes on this message stream is no longer its own.
    pub(super) fn end_publish(&mut self, message_stream_id: MessageStreamId, code: &str, description: &str) {
        if let Self::Rtmp(session) = self {
            session.end_publish(message_stream_id, code, description);
        }
    }

    /// The stream was not published in time.
    pub(super) fn fail_play(&mut self, code: &str, description: &str) {
        match self {
            Self::Rtmp(session) => session.fail_play(code, description),
            Self::HttpFlv(body) => body.end(),
            Self::WebSocket(socket) => socket.close(CloseCode::Normal),
        }
    }

    /// The right to play has ended: sends why.
    pub(super) fn expire_play(&mut self, description: &str) {
        match self {
            Self::Rtmp(session) => session.fail_play("NetStream.Play.Failed", description),
            Self::HttpFlv(body) => body.end(),
            Self::WebSocket(socket) => socket.close_for(CloseCode::Unauthorized, description),
        }
    }

    /// The relay ends the connection: sends why, or returns false where the protocol has no way to. `code` is RTMP's.
    pub(super) fn close(&mut self, code: &str, description: &str) -> bool {
        match self {
            Self::Rtmp(session) => session.close(code, description),
            Self::HttpFlv(_) => false,
            Self::WebSocket(socket) => {
                socket.close(CloseCode::GoingAway);
                true
            }
        }
    }

    /// The peer broke the protocol: as [`PeerSession::close`].
    pub(super) fn reject(&mut self, violation: &Violation) -> bool {
        match self {
            Self::WebSocket(socket) => {
                socket.close(CloseCode::ProtocolError);
                true
            }
            _ => self.close("NetConnection.Connect.Closed", &violation.to_string()),
        }
    }

    /// The stream is over.
    pub(super) fn end_play(&mut self) {
        match self {
            Self::Rtmp(session) => session.end_play(),
            Self::HttpFlv(body) => body.end(),
            Self::WebSocket(socket) => socket.close(CloseCode::GoingAway),
        }
    }
}

impl Body {
    /// In chunked transfer coding.
    pub(super) fn chunked() -> Self {
        Self { is_chunked: true, ..Self::default() }
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.has_ended, true) && self.is_chunked {
            self.end = Some(Bytes::from_static(LAST_CHUNK));
        }
    }
}

impl WebSocket {
    fn poll(&mut self) -> Result<Option<Output>, Violation> {
        if self.out.is_empty() {
            let frame = self.reader.next()?;
            self.received += u64::from(frame.is_some());
            match frame {
                Some(ControlFrame::Ping(answer)) => self.send(answer),
                Some(ControlFrame::Close(answer)) => {
                    self.send(answer);
                    self.has_closed = true;
                }
                None => {}
            }
        }
        Ok(self.take_frame().map(Output::Send))
    }

    /// The next thing to send; gives its memory back once there is none.
    fn take_frame(&mut self) -> Option<Bytes> {
        let frame = self.out.pop_front();
        if frame.is_none() {
            self.out = VecDeque::new();
        }
        frame
    }

    fn close(&mut self, code: CloseCode) {
        self.close_for(code, "");
    }

    fn close_for(&mut self, code: CloseCode, reason: &str) {
        self.send(websocket::close_for(code, reason));
        self.has_closed = true;
    }

    /// Nothing is sent after a close (RFC 6455 §5.5.1).
    fn send(&mut self, frame: Bytes) {
        if !self.has_closed {
            self.out.push_back(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_a_request_is_ignored_up_to_the_limit() {
        let mut session = PeerSession::HttpFlv(Body::default());
        assert!(session.receive(vec![b'x'; MAX_AFTER_REQUEST as usize].into(), 0).is_ok());
        assert!(session.poll().expect("no violation").is_none());
        let error = session.receive(Bytes::from_static(b"x"), 0).expect_err("one past the limit");
        assert!(error.to_string().starts_with("byte 65537: "), "{error}");
    }

    #[test]
    fn a_chunked_body_is_ended_once_and_another_one_ends_with_the_connection() {
        for (body, end) in [(Body::chunked(), Some(LAST_CHUNK)), (Body::default(), None)] {
            let mut session = PeerSession::HttpFlv(body);
            assert!(session.poll().expect("no violation").is_none());
            session.end_play();
            session.fail_play("NetStream.Play.StreamNotFound", "");
            let sent = session.take_unsent();
            assert_eq!(sent.as_deref(), end);
            assert!(session.poll().expect("no violation").is_none());
        }
    }

    #[test]
    fn a_websocket_sends_nothing_after_its_close() {
        let mut session = PeerSession::WebSocket(Box::default());
        session.ping(0);
        session.end_play();
        session.ping(0);
        session.end_play();
        let sent: Vec<Bytes> = std::iter::from_fn(|| session.poll().expect("no violation"))
            .map(|output| match output {
                Output::Send(bytes) => bytes,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(sent, [websocket::ping(), websocket::close(CloseCode::GoingAway)]);
        assert!(session.is_over());
    }
}
