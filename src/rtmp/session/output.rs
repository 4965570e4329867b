//! What a session gives its caller.

use std::fmt;

use bytes::Bytes;

use super::{
    question::{ConnectRequest, PlayRequest, PublishRequest, QuestionId},
    streams::MessageStreamId,
};
use crate::flv::Frame;
use crate::rtmp::name;

/// What the caller has to do. `Send` comes before the other outputs of the same message; apart from that they are in order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Bytes for the peer: whole messages, except in the handshake. All messages up to the next output of another kind
    /// are one `Send`.
    Send(Bytes),
    /// The peer asks to connect, once. Until [`Session::answer`](super::Session::answer) no further message is read.
    Connect(Box<ConnectRequest>),
    /// The peer asks to publish: as with `Connect`.
    Publish(PublishRequest),
    /// The peer asks to play: as with `Connect`.
    Play(PlayRequest),
    /// A frame of a stream that the peer publishes. Its payload is not empty.
    Frame {
        /// The message stream that it is published on.
        message_stream_id: MessageStreamId,
        /// The frame.
        frame: Frame,
    },
    /// The peer has stopped publishing this stream; it may publish again.
    Unpublish {
        /// The message stream that it was published on.
        message_stream_id: MessageStreamId,
    },
    /// The peer has stopped playing; it may play again.
    StopPlay,
    /// The player asks to pause its media (true), or to resume it.
    Pause(bool),
    /// The player asks for audio (true), or for none.
    ReceiveAudio(bool),
    /// The player asks for video (true), or for none.
    ReceiveVideo(bool),
    /// Close the connection once everything before is sent. The last output.
    Close(CloseReason),
    /// Nothing to do, but one call does not read all that has arrived: call again, now or later.
    More,
}

impl Output {
    /// The id for [`Session::answer`](super::Session::answer), if this output is a question.
    pub fn question(&self) -> Option<QuestionId> {
        match self {
            Self::Connect(request) => Some(request.question),
            Self::Publish(request) => Some(request.question),
            Self::Play(request) => Some(request.question),
            _ => None,
        }
    }
}

/// Why the session closes a connection whose peer has not violated the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The caller refused a request or ended a stream, with this status code.
    Refused(String),
    /// The caller redirected the peer to another address.
    Redirected,
    /// The peer asked for a stream name that is not valid.
    InvalidName(name::Error),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(code) => write!(f, "refused: {code}"),
            Self::Redirected => f.write_str("redirected"),
            Self::InvalidName(error) => write!(f, "refused: {error}"),
        }
    }
}
