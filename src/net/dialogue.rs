//! What is said on a connection beside its media: an RTMP session, or the little that HTTP leaves to say once the body
//! has begun.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{
    http::websocket::{self, CloseCode, Word},
    rtmp::session::{self, Output, Session},
    stream::Wire,
};

/// One connection's side of the talk.
pub(super) enum Dialogue {
    Rtmp(Box<Session>),
    HttpFlv(Passing),
    WebSocket(Box<WebSocket>),
}

/// Counts what a client says behind its request; nobody listens.
#[derive(Debug, Default)]
pub(super) struct Passing {
    bytes: u64,
}

/// The words of a WebSocket that are not media.
#[derive(Debug, Default)]
pub(super) struct WebSocket {
    reader: websocket::Reader,
    out: VecDeque<Bytes>,
    has_closed: bool,
}

/// What a peer did wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum Violation {
    #[error(transparent)]
    Session(#[from] session::Error),
    #[error(transparent)]
    WebSocket(#[from] websocket::Error),
    #[error("byte {0}: it goes on talking behind a request whose answer does not end")]
    BehindRequest(u64),
}

/// What a client may send behind its request before that ends it. Some send an empty line, or the next request.
const MOST_BEHIND_REQUEST: u64 = 64 << 10;

impl Dialogue {
    /// In what form the peer gets its media.
    pub(super) fn wire(&self) -> Wire {
        match self {
            Self::Rtmp(_) => Wire::Rtmp,
            Self::HttpFlv(_) => Wire::HttpFlv,
            Self::WebSocket(_) => Wire::WebsocketFlv,
        }
    }

    /// Takes the bytes of one read; then [`Dialogue::poll`] until there is nothing.
    pub(super) fn receive(&mut self, bytes: Bytes, now_ms: u64) -> Result<(), Violation> {
        match self {
            Self::Rtmp(session) => session.receive(bytes, now_ms)?,
            Self::HttpFlv(passing) => {
                passing.bytes += bytes.len() as u64;
                if passing.bytes > MOST_BEHIND_REQUEST {
                    return Err(Violation::BehindRequest(passing.bytes));
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
            Self::HttpFlv(_) => Ok(None),
            Self::WebSocket(socket) => socket.poll(),
        }
    }

    /// What is to be sent, and nothing of what came since.
    pub(super) fn take_out(&mut self) -> Option<Bytes> {
        match self {
            Self::Rtmp(session) => session.take_out(),
            Self::HttpFlv(_) => None,
            Self::WebSocket(socket) => socket.out.pop_front(),
        }
    }

    /// Whether the peer has said its last, and been answered.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::WebSocket(socket) if socket.has_closed)
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

    /// Only RTMP publishes: nobody else has asked for it.
    pub(super) fn accept_publish(&mut self) {
        if let Self::Rtmp(session) = self {
            session.accept_publish();
        }
    }

    pub(super) fn refuse_publish(&mut self, code: &str, description: &str) {
        if let Self::Rtmp(session) = self {
            session.refuse_publish(code, description);
        }
    }

    /// HTTP has accepted with its response's head.
    pub(super) fn accept_play(&mut self) {
        if let Self::Rtmp(session) = self {
            session.accept_play();
        }
    }

    /// Nobody published the stream in time.
    pub(super) fn refuse_play(&mut self, code: &str, description: &str) {
        match self {
            Self::Rtmp(session) => session.refuse_play(code, description),
            Self::HttpFlv(_) => {}
            Self::WebSocket(socket) => socket.close(CloseCode::Normal),
        }
    }

    /// The stream is over. A body that ends says so by itself.
    pub(super) fn end_play(&mut self) {
        match self {
            Self::Rtmp(session) => session.end_play(),
            Self::HttpFlv(_) => {}
            Self::WebSocket(socket) => socket.close(CloseCode::GoingAway),
        }
    }
}

impl WebSocket {
    fn poll(&mut self) -> Result<Option<Output>, Violation> {
        if self.out.is_empty() {
            match self.reader.next()? {
                Some(Word::Answer(answer)) => self.say(answer),
                Some(Word::Close(answer)) => {
                    self.say(answer);
                    self.has_closed = true;
                }
                None => {}
            }
        }
        Ok(self.out.pop_front().map(Output::Send))
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
    fn talk_behind_a_request_is_passed_over_until_it_is_too_much() {
        let mut dialogue = Dialogue::HttpFlv(Passing::default());
        assert!(dialogue.receive(vec![b'x'; MOST_BEHIND_REQUEST as usize].into(), 0).is_ok());
        assert!(dialogue.poll().expect("no violation").is_none());
        let error = dialogue.receive(Bytes::from_static(b"x"), 0).expect_err("one past the limit");
        assert!(error.to_string().starts_with("byte 65537: "), "{error}");
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
