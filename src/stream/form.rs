//! The forms in which a stream can be read, each with a log of its own.

#![forbid(unsafe_code)]

/// What a log holds, and a player is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Form {
    /// RTMP chunks.
    Rtmp = 0,
    /// An FLV file that does not end: the body of an HTTP response that the connection's end delimits, for clients of
    /// HTTP/1.0.
    HttpFlv = 1,
    /// The same, each tag in a WebSocket message.
    WebsocketFlv = 2,
    /// The same, each tag in a chunk of a body in chunked transfer coding, for clients of HTTP/1.1.
    HttpFlvChunked = 3,
}

impl Form {
    /// How many there are.
    pub const COUNT: usize = 4;
    /// All of them, in the order of their index.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Rtmp, Self::HttpFlv, Self::WebsocketFlv, Self::HttpFlvChunked];

    /// The index in tables by form.
    pub const fn index(self) -> usize {
        self as usize
    }
}
