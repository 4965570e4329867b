//! Reads what a player over HTTP gets: the response's head, then FLV in a bare body, in chunks or in WebSocket messages.

use fanfare::{
    flv::{Frame, FrameKind},
    stream::Form,
};

/// Puts a body together from whatever pieces it comes in.
pub struct Reader {
    form: Form,
    head: &'static [u8],
    input: Vec<u8>,
    /// FLV without its framing.
    body: Vec<u8>,
    has_header: bool,
    /// The body has announced its end.
    pub has_ended: bool,
    /// Pings that are to be answered: their payloads.
    pub pings: Vec<Vec<u8>>,
}

pub const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

impl Reader {
    pub fn new(form: Form) -> Self {
        Self {
            form,
            head: HEAD,
            input: Vec::new(),
            body: Vec::new(),
            has_header: false,
            has_ended: false,
            pings: Vec::new(),
        }
    }

    pub fn form(&self) -> Form {
        self.form
    }

    /// Whether nothing is half here.
    pub fn is_at_boundary(&self) -> bool {
        self.input.is_empty() && self.body.is_empty()
    }

    /// Takes bytes, and returns the tags that are whole by now.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, String> {
        let in_head = self.head.len().min(bytes.len());
        if self.head[..in_head] != bytes[..in_head] {
            return Err("another head than was to be sent".to_owned());
        }
        self.head = &self.head[in_head..];
        self.input.extend_from_slice(&bytes[in_head..]);
        if self.has_ended && self.form == Form::HttpFlvChunked && !self.input.is_empty() {
            return Err("bytes after the last chunk".to_owned());
        }
        let mut at = 0;
        while let Some((begin, end, next)) = self.unframe(at)? {
            self.body.extend_from_slice(&self.input[begin..end]);
            at = next;
        }
        self.input.drain(..at);
        self.tags()
    }

    /// Where the next piece of the body is in `input`, from `at` on, and where what follows it begins.
    fn unframe(&mut self, at: usize) -> Result<Option<(usize, usize, usize)>, String> {
        let rest = &self.input[at..];
        if rest.is_empty() {
            return Ok(None);
        }
        let framed = match self.form {
            Form::HttpFlvChunked => chunk(rest)?,
            Form::WebsocketFlv => message(rest)?,
            Form::HttpFlv | Form::Rtmp => Some((0, rest.len(), rest.len(), BINARY)),
        };
        let Some((begin, end, next, what)) = framed else { return Ok(None) };
        if self.has_ended {
            return Err("something comes after the end".to_owned());
        }
        match what {
            BINARY => self.has_ended = begin == end,
            CLOSE => self.has_ended = true,
            PING => self.pings.push(rest[begin..end].to_vec()),
            PONG => {}
            other => return Err(format!("WebSocket opcode {other}")),
        }
        let is_body = what == BINARY;
        Ok(Some((at + begin, if is_body { at + end } else { at + begin }, at + next)))
    }

    fn tags(&mut self) -> Result<Vec<Frame>, String> {
        let mut at = 0;
        if !self.has_header && self.body.len() >= 13 {
            if !self.body.starts_with(b"FLV\x01") || self.body[5..13] != [0, 0, 0, 9, 0, 0, 0, 0] {
                return Err(format!("no FLV header at the front: {:02x?}", &self.body[..13]));
            }
            self.has_header = true;
            at = 13;
        }
        let mut frames = Vec::new();
        if !self.has_header {
            return Ok(frames);
        }
        loop {
            let rest = &self.body[at..];
            let Some(head) = rest.get(..11) else { break };
            let len = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
            let Some(tag) = rest.get(..11 + len + 4) else { break };
            let size = u32::from_be_bytes(tag[11 + len..].try_into().expect("4 bytes"));
            if size as usize != 11 + len || head[8..11] != [0; 3] {
                return Err(format!("a tag of {len} bytes whose size is {size}"));
            }
            let kind = match head[0] {
                8 => FrameKind::Audio,
                9 => FrameKind::Video,
                18 => FrameKind::Data,
                other => return Err(format!("a tag of type {other}")),
            };
            let timestamp_ms = u32::from_be_bytes([head[7], head[4], head[5], head[6]]);
            frames.push(Frame { kind, timestamp_ms, payload: tag[11..11 + len].to_vec().into() });
            at += tag.len();
        }
        self.body.drain(..at);
        Ok(frames)
    }
}

/// A chunk of chunked transfer coding: its data, and where the next one begins. The last one is empty.
fn chunk(bytes: &[u8]) -> Result<Option<(usize, usize, usize, u8)>, String> {
    let Some(line) = bytes.windows(2).take(18).position(|two| two == b"\r\n") else {
        return if bytes.len() > 20 { Err("no size of a chunk".to_owned()) } else { Ok(None) };
    };
    let digits = std::str::from_utf8(&bytes[..line]).map_err(|error| error.to_string())?;
    let size =
        usize::from_str_radix(digits, 16).map_err(|error| format!("chunk size {digits:?}: {error}"))?;
    let end = line + 2 + size;
    match bytes.get(end..end + 2) {
        Some(b"\r\n") => Ok(Some((line + 2, end, end + 2, BINARY))),
        Some(_) => Err("a chunk that is not as long as its size".to_owned()),
        None => Ok(None),
    }
}

/// A WebSocket frame from the server: its payload, where the next one begins, and its opcode.
fn message(bytes: &[u8]) -> Result<Option<(usize, usize, usize, u8)>, String> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    if first & 0xF0 != 0x80 || second & 0x80 != 0 {
        return Err(format!("a WebSocket frame that begins with {first:02x} {second:02x}"));
    }
    let (len, begin) = match second {
        126 => (bytes.get(2..4).map(|it| u64::from(it[0]) << 8 | u64::from(it[1])), 4),
        127 => (bytes.get(2..10).map(|it| u64::from_be_bytes(it.try_into().expect("8 bytes"))), 10),
        len => (Some(u64::from(len)), 2),
    };
    let Some(end) = len.map(|len| begin + len as usize).filter(|&end| end <= bytes.len()) else {
        return Ok(None);
    };
    Ok(Some((begin, end, end, first & 0x0F)))
}

/// A frame as a client sends it: masked, with a mask of zeros.
pub fn masked(op_code: u8, payload: &[u8]) -> Vec<u8> {
    [&[0x80 | op_code, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;
