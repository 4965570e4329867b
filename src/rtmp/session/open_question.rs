//! The question that a session has asked and whose answer it waits for.

use super::{connect::Connect, question::QuestionId, streams::MessageStreamId};
use crate::rtmp::name::{self, Address, StreamName};

/// An open question.
#[derive(Debug)]
pub(super) struct Question {
    pub id: QuestionId,
    pub about: About,
}

/// What a question is about, and the data that its answer needs.
#[derive(Debug)]
pub(super) enum About {
    Connect(Box<Connect>),
    Publish {
        message_stream_id: MessageStreamId,
        name: StreamName,
    },
    Play {
        message_stream_id: MessageStreamId,
        /// Whether the client asks for a NetStream.Play.Reset.
        resets: bool,
    },
}

/// What a `publish` or `play` asks for, by its first argument.
pub(super) enum Requested {
    Stream(Address),
    /// `publish(false)`: how ActionScript's NetStream, and Wirecast, stop.
    Stop,
    Invalid(name::Error),
}

impl Question {
    /// The message stream of the `publish` or `play`.
    pub fn message_stream_id(&self) -> Option<MessageStreamId> {
        match self.about {
            About::Connect(_) => None,
            About::Publish { message_stream_id, .. } | About::Play { message_stream_id, .. } => {
                Some(message_stream_id)
            }
        }
    }

    /// Memory, bytes.
    pub fn memory_bytes(&self) -> usize {
        let about = match &self.about {
            About::Connect(connect) => connect.memory_bytes(),
            About::Publish { name, .. } => name.app.capacity() + name.name.capacity(),
            About::Play { .. } => 0,
        };
        size_of::<Self>() + about
    }
}
