//! The questions that a session asks its caller, and their answers.

use std::fmt;

use super::streams::MessageStreamId;
use crate::rtmp::name::StreamName;

/// Identifies a question within its session: ascending, never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionId(pub(super) u32);

/// A client asks to connect (RTMP 1.0 §7.2.1.1). The strings are as sent, only truncated: not for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectRequest {
    /// For [`Session::answer`](super::Session::answer).
    pub question: QuestionId,
    /// The path of `app`, or of `tcUrl` if `app` is empty. 4.8 KiB at most, with `query`.
    pub app: String,
    /// The parameters of `app`, or of `tcUrl` if `app` is empty, without `?`. May contain secrets.
    pub query: String,
    /// `tcUrl` with its parameters. 5.1 KiB at most. May contain secrets.
    pub tc_url: String,
    /// `flashVer`: name and version of the client. 257 bytes at most.
    pub flash_ver: String,
    /// `swfUrl`: address of the Flash file that connects. OBS sends its `tcUrl` again. 2 KiB at most.
    pub swf_url: String,
    /// `pageUrl`: address of the page with the player. 2 KiB at most.
    pub page_url: String,
}

/// A client asks to publish a stream (§7.2.2.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishRequest {
    /// For [`Session::answer`](super::Session::answer).
    pub question: QuestionId,
    /// The message stream that it is published on. Identifies it in later outputs and calls.
    pub message_stream_id: MessageStreamId,
    /// The stream.
    pub name: StreamName,
    /// Parameters of the address, without `?`. May contain secrets.
    pub query: String,
    /// The publishing type as sent: `live`, `record` or `append`; empty if there is none. 256 bytes at most.
    pub kind: String,
}

/// A client asks to play a stream (§7.2.2.1).
#[derive(Clone, Debug, PartialEq)]
pub struct PlayRequest {
    /// For [`Session::answer`](super::Session::answer).
    pub question: QuestionId,
    /// The message stream of the answers. The media is always on message stream 1.
    pub message_stream_id: MessageStreamId,
    /// The stream.
    pub name: StreamName,
    /// Parameters of the address, without `?`. May contain secrets.
    pub query: String,
    /// Where to start, seconds; -2 if the client does not say.
    pub start: f64,
    /// For how long, seconds; -1 if the client does not say.
    pub duration: f64,
    /// Whether an earlier playlist is to be flushed; true if the client does not say.
    pub reset: bool,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Allow the request.
    Allow,
    /// Allow the request under another name, without a notice to the client. For `publish` and `play` this is the name of
    /// the stream; `FCUnpublish` may use either name. For `connect` it replaces the path of the app, as nginx-rtmp's
    /// hooks can.
    AllowAs(StreamName),
    /// Send the client to this address, `rtmp://…`: an error with the property `ex: { code: 302, redirect }` as from Flash
    /// Media Server, and the code `NetConnection.Connect.Rejected`, `NetStream.Publish.Denied` or `NetStream.Play.Failed`.
    /// SRS follows it. FFmpeg, librtmp, OBS and GStreamer do not: they report the error, whose description has the
    /// address. The connection closes unless another stream runs on it.
    Redirect(String),
    /// Deny the request. The connection closes unless another stream runs on it.
    Deny {
        /// The status code: `NetStream.Publish.BadName`, `NetStream.Play.StreamNotFound` and the like. For `connect`, a
        /// code that does not begin with `NetConnection.` is replaced by `NetConnection.Connect.Rejected`.
        code: String,
        /// Text for people. FFmpeg shows the first 255 bytes.
        description: String,
    },
}

impl fmt::Display for QuestionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
