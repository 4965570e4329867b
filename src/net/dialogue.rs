//! What is said on a connection beside its media: an RTMP session, or the little that HTTP leaves to say once the body
//! has begun.

use std::collections::VecDeque;

use bytes::Bytes;

use super::protocol::Protocol;
use crate::{
    http::{
        LAST_CHUNK,
        websocket::{self, CloseCode, Word},
    },
    rtmp::{
        error::Error as RtmpError,
        session::{Answer, MessageStreamId, Output, QuestionId, Session},
    },
    stream::Form,
};

/// One connection's side of the talk.
pub(super) enum Dialogue {
    Rtmp(Box<Session>),
    HttpFlv(Body),
    WebSocket(Box<WebSocket>),
}

/// The body of an HTTP response: its end is all that is left to say. What a client sends after its request is counted,
/// and not read.
#[derive(Debug, Default)]
pub(super) struct Body {
    heard: u64,
    /// Clients of HTTP/1.1 are told where the body ends; for those of HTTP/1.0 that is where the connection does.
    is_chunked: bool,
    end: Option<Bytes>,
    has_ended: bool,
}

/// The words of a WebSocket that are not media.
#[derive(Debug, Default)]
pub(super) struct WebSocket {
    reader: websocket::Reader,
    out: VecDeque<Bytes>,
    has_closed: bool,
    /// Words that asked for an answer.
    words: u64,
}

/// What a peer did wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum Violation {
    #[error(transparent)]
    Session(#[from] RtmpError),
    #[error(transparent)]
    WebSocket(#[from] websocket::Error),
    #[error("byte {0}: it goes on sending after a request whose response does not end")]
    AfterRequest(u64),
}

/// What a client may send after its request before that ends it. Some send an empty line, or the next request.
const MAX_AFTER_REQUEST: u64 = 64 << 10;

impl Dialogue {
    /// In what format the peer gets its media.
    pub(super) fn form(&self) -> Form {
        match self {
            Self::Rtmp(_) => Form::Rtmp,
            Self::HttpFlv(body) if body.is_chunked => Form::HttpFlvChunked,
            Self::HttpFlv(_) => Form::HttpFlv,
            Self::WebSocket(_) => Form::WebsocketFlv,
        }
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.form().into()
    }

    /// Takes the bytes of one read; then [`Dialogue::poll`] until there is nothing.
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
    pub(super) fn take_out(&mut self) -> Option<Bytes> {
        match self {
            Self::Rtmp(session) => session.take_out(),
            Self::HttpFlv(body) => body.end.take(),
            Self::WebSocket(socket) => socket.take_word(),
        }
    }

    /// Whether the peer has said its last, and been answered.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::WebSocket(socket) if socket.has_closed)
    }

    /// Whether the peer may close its sending side once it has asked. Others are heard as long as they play: RTMP
    /// acknowledges what it receives and answers pings, a WebSocket answers pings and says its close.
    pub(super) fn is_one_sided(&self) -> bool {
        matches!(self, Self::HttpFlv(_))
    }

    /// Nothing of what the peer has said is read any more: it is being closed.
    pub(super) fn let_go_of_input(&mut self) {
        match self {
            Self::Rtmp(session) => session.let_go_of_input(),
            Self::HttpFlv(_) => {}
            Self::WebSocket(socket) => socket.reader = Default::default(),
        }
    }

    /// Messages that came and were read.
    pub(super) fn messages(&self) -> u64 {
        match self {
            Self::Rtmp(session) => session.received_messages(),
            Self::HttpFlv(_) => 0,
            Self::WebSocket(socket) => socket.words,
        }
    }

    pub(super) fn is_holding(&self) -> bool {
        matches!(self, Self::Rtmp(session) if session.is_holding())
    }

    /// HTTP shakes no hands.
    pub(super) fn has_shaken_hands(&self) -> bool {
        match self {
            Self::Rtmp(session) => session.has_shaken_hands(),
            Self::HttpFlv(_) | Self::WebSocket(_) => true,
        }
    }

    /// Asks for a sign of life, where there is a way to ask.
    pub(super) fn ping(&mut self, now_ms: u64) {
        match self {
            Self::Rtmp(session) => session.ping(now_ms),
            Self::HttpFlv(_) => {}
            Self::WebSocket(socket) => socket.say(websocket::ping()),
        }
    }

    /// Answers a question of RTMP: HTTP asks none.
    pub(super) fn answer(&mut self, question: QuestionId, answer: Answer) {
        if let Self::Rtmp(session) = self {
            session.answer(question, answer);
        }
    }

    pub(super) fn refuse_publish(
        &mut self,
        message_stream_id: MessageStreamId,
        code: &str,
        description: &str,
    ) {
        if let Self::Rtmp(session) = self {
            session.end_publish(message_stream_id, code, description);
        }
    }

    /// Nobody published the stream in time.
    pub(super) fn refuse_play(&mut self, code: &str, description: &str) {
        match self {
            Self::Rtmp(session) => session.fail_play(code, description),
            Self::HttpFlv(body) => body.end(),
            Self::WebSocket(socket) => socket.close(CloseCode::Normal),
        }
    }

    /// The relay ends the connection: says why, or returns false where there is no way to say it. `code` is RTMP's.
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

    /// The peer broke the protocol: as [`Dialogue::close`].
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
            let word = self.reader.next()?;
            self.words += u64::from(word.is_some());
            match word {
                Some(Word::Answer(answer)) => self.say(answer),
                Some(Word::Close(answer)) => {
                    self.say(answer);
                    self.has_closed = true;
                }
                None => {}
            }
        }
        Ok(self.take_word().map(Output::Send))
    }

    /// The next thing to say; leaves no memory behind.
    fn take_word(&mut self) -> Option<Bytes> {
        let word = self.out.pop_front();
        if word.is_none() {
            self.out = VecDeque::new();
        }
        word
    }

    /// Bytes of a word of the peer's that is half here.
    pub(super) fn held_bytes(&self) -> usize {
        self.reader.held()
    }

    fn close(&mut self, code: CloseCode) {
        self.say(websocket::close(code));
        self.has_closed = true;
    }

    /// Nothing is said behind a close (RFC 6455 §5.5.1).
    fn say(&mut self, word: Bytes) {
        if !self.has_closed {
            self.out.push_back(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_a_request_is_passed_over_until_it_is_too_much() {
        let mut dialogue = Dialogue::HttpFlv(Body::default());
        assert!(dialogue.receive(vec![b'x'; MAX_AFTER_REQUEST as usize].into(), 0).is_ok());
        assert!(dialogue.poll().expect("no violation").is_none());
        let error = dialogue.receive(Bytes::from_static(b"x"), 0).expect_err("one past the limit");
        assert!(error.to_string().starts_with("byte 65537: "), "{error}");
    }

    #[test]
    fn a_chunked_body_says_its_end_once_and_another_one_ends_with_the_connection() {
        for (body, end) in [(Body::chunked(), Some(LAST_CHUNK)), (Body::default(), None)] {
            let mut dialogue = Dialogue::HttpFlv(body);
            assert!(dialogue.poll().expect("no violation").is_none());
            dialogue.end_play();
            dialogue.refuse_play("NetStream.Play.StreamNotFound", "");
            let said = dialogue.take_out();
            assert_eq!(said.as_deref(), end);
            assert!(dialogue.poll().expect("no violation").is_none());
        }
    }

    #[test]
    fn a_websocket_says_nothing_behind_its_close() {
        let mut dialogue = Dialogue::WebSocket(Box::default());
        dialogue.ping(0);
        dialogue.end_play();
        dialogue.ping(0);
        dialogue.end_play();
        let said: Vec<Bytes> = std::iter::from_fn(|| dialogue.poll().expect("no violation"))
            .map(|output| match output {
                Output::Send(bytes) => bytes,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(said, [websocket::ping(), websocket::close(CloseCode::GoingAway)]);
        assert!(dialogue.is_over());
    }
}
