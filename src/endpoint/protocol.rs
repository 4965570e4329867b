//! What is spoken on a connection. One protocol may have its media in several forms: the body of an HTTP response
//! is in chunks for clients of HTTP/1.1 and bare for those of HTTP/1.0.

use serde::Serialize;

use crate::stream::Form;

/// What a peer and the relay speak: as the API, the metrics and the log name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Protocol {
    /// RTMP.
    Rtmp = 0,
    /// FLV as the body of an HTTP response.
    HttpFlv = 1,
    /// FLV in WebSocket messages.
    WebsocketFlv = 2,
}

impl Protocol {
    /// What is spoken to players that get their media in this form.
    pub const fn of(form: Form) -> Self {
        match form {
            Form::Rtmp => Self::Rtmp,
            Form::HttpFlv | Form::HttpFlvChunked => Self::HttpFlv,
            Form::WebsocketFlv => Self::WebsocketFlv,
        }
    }

    /// How many there are.
    pub const COUNT: usize = 3;
    /// All of them, in the order of their index.
    pub const ALL: [Self; Self::COUNT] = [Self::Rtmp, Self::HttpFlv, Self::WebsocketFlv];

    /// A place in tables by protocol.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// As labels and the API call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::HttpFlv => "http_flv",
            Self::WebsocketFlv => "websocket_flv",
        }
    }
}
