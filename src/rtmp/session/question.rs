//! What a session asks its caller, one question at a time, and the answers that it takes.

use std::fmt;

use super::{Connect, MessageStreamId};
use crate::rtmp::name::StreamName;

/// The number of a question: ascending, and a session gives no number twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionId(pub(super) u32);

/// A client asks to connect (RTMP 1.0 §7.2.1.1). Its texts are as they were sent, bounded in length: not for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectRequest {
    /// The number for [`Session::answer`](super::Session::answer).
    pub question: QuestionId,
    /// The path of `app`, or of `tcUrl` where `app` is empty.
    pub app: String,
    /// The parameters of `app`, or of `tcUrl` where `app` is empty, without `?`. May contain secrets.
    pub query: String,
    /// `tcUrl` with its parameters. May contain secrets.
    pub tc_url: String,
    /// `flashVer`: name and version of the client.
    pub flash_ver: String,
    /// `swfUrl`: address of the Flash file that connects. OBS sends its `tcUrl` again.
    pub swf_url: String,
    /// `pageUrl`: address of the page with the player.
    pub page_url: String,
}

/// A client asks to publish a stream (§7.2.2.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishRequest {
    /// The number for [`Session::answer`](super::Session::answer).
    pub question: QuestionId,
    /// The message stream that it is published on: identifies it in all that follows.
    pub message_stream_id: MessageStreamId,
    /// The stream.
    pub name: StreamName,
    /// Parameters of the address, without `?`. May contain secrets.
    pub query: String,
}

/// A client asks to play a stream (§7.2.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayRequest {
    /// The number for [`Session::answer`](super::Session::answer).
    pub question: QuestionId,
    /// The message stream on which the client gets the answers; its media is always on message stream 1.
    pub message_stream_id: MessageStreamId,
    /// The stream.
    pub name: StreamName,
    /// Parameters of the address, without `?`. May contain secrets.
    pub query: String,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The client gets what it asks for.
    Allow,
    /// The client gets what it asks for under another name, and is not notified of it. To `publish` and `play`: the
    /// stream's name. To `connect`: the path that replaces the app's, as nginx-rtmp's hooks have it.
    AllowAs(StreamName),
    /// The client is to go to this address, `rtmp://…`: an error with the property `ex: { code: 302, redirect }`, as
    /// Flash Media Server has it, with the code `NetConnection.Connect.Rejected`, `NetStream.Publish.Denied` or
    /// `NetStream.Play.Failed`. SRS follows it; FFmpeg, librtmp, OBS and GStreamer report an error, with the address
    /// in its description.
    Redirect(String),
    /// The client does not get what it asks for.
    Deny {
        /// `NetStream.Publish.BadName`, `NetStream.Play.StreamNotFound` and the like. A `connect` is denied with
        /// `NetConnection.Connect.Rejected` unless the code is another one of `NetConnection`.
        code: String,
        /// For people. FFmpeg shows the first 255 bytes.
        description: String,
    },
}

/// A question without its answer.
#[derive(Debug)]
pub(super) struct Question {
    pub id: QuestionId,
    pub about: About,
}

/// What a question is about, with what the answer needs.
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

impl Question {
    /// The message stream of the `publish` or `play` that it is about.
    pub fn message_stream_id(&self) -> Option<MessageStreamId> {
        match self.about {
            About::Connect(_) => None,
            About::Publish { message_stream_id, .. } | About::Play { message_stream_id, .. } => {
                Some(message_stream_id)
            }
        }
    }

    /// Memory on the heap, bytes.
    pub fn held_bytes(&self) -> usize {
        match &self.about {
            About::Connect(connect) => connect.held_bytes(),
            About::Publish { name, .. } => name.app.capacity() + name.name.capacity(),
            About::Play { .. } => 0,
        }
    }
}

impl fmt::Display for QuestionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
