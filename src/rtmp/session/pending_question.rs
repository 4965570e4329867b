//! The question that a session has asked and whose answer it waits for.

use super::{connect::Connect, question::QuestionId, streams::MessageStreamId};
use crate::rtmp::name::{self, Address, StreamName};

/// An open question.
#[derive(Debug)]
pub(super) struct PendingQuestion {
    pub id: QuestionId,
    pub about: PendingCall,
}

/// What a question is about, and the data that its answer needs.
#[derive(Debug)]
pub(super) enum PendingCall {
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

impl PendingQuestion {
    /// The message stream of the `publish` or `play`.
    pub fn message_stream_id(&self) -> Option<MessageStreamId> {
        match self.about {
            PendingCall::Connect(_) => None,
            PendingCall::Publish { message_stream_id, .. } | PendingCall::Play { message_stream_id, .. } => {
                Some(message_stream_id)
            }
        }
    }

    /// Memory, bytes.
    pub fn memory_bytes(&self) -> usize {
        let about = match &self.about {
            PendingCall::Connect(connect) => connect.memory_bytes(),
            PendingCall::Publish { name, .. } => name.app.capacity() + name.name.capacity(),
            PendingCall::Play { .. } => 0,
        };
        size_of::<Self>() + about
    }
}
