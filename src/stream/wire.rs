//! The wire forms in which a stream can be had, each with a log of its own.

use serde::Serialize;

/// In what form a player gets a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Wire {
    /// RTMP chunks.
    Rtmp = 0,
    /// An FLV file that does not end, as the body of an HTTP response.
    HttpFlv = 1,
    /// The same, each tag in a WebSocket message.
    WebsocketFlv = 2,
}

impl Wire {
    /// How many there are.
    pub const COUNT: usize = 3;
    /// All of them, in the order of their index.
    pub const ALL: [Self; Self::COUNT] = [Self::Rtmp, Self::HttpFlv, Self::WebsocketFlv];

    /// A place in tables by wire form.
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
