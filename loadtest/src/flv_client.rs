//! The client's side of a stream over HTTP: requests it, and reads FLV tags from the body, bare or chunked, or from
//! WebSocket messages. No I/O.

use bytes::{Buf, Bytes, BytesMut};
use fanfare_rtmp::flv::TagReader;
use fanfare_rtmp::rtmp::client::{Event, Url};

/// One request and its response.
#[derive(Debug)]
pub struct FlvClient {
    framing: Framing,
    /// The request, until it is taken.
    request: Option<Bytes>,
    input: BytesMut,
    /// Reads the FLV file, without its framing.
    file: TagReader,
    /// Payload bytes that are missing from the current message or chunk.
    open: u64,
    /// Whether the head of the response has been read.
    has_head: bool,
}

/// How the FLV file is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Bare,
    /// Chunked transfer coding.
    Chunks,
    /// WebSocket messages.
    Messages,
}

impl FlvClient {
    /// Requests `/app/key.flv`, over WebSocket if `in_messages`.
    pub fn new(url: &Url, in_messages: bool) -> Self {
        let Url { host, port, app, key } = url;
        let (key, query) = key
            .split_once('?')
            .map_or((key.as_str(), String::new()), |(key, query)| (key, format!("?{query}")));
        let upgrade = match in_messages {
            true => {
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: ZmFuZmFyZS1sb2FkLTEyMw==\r\n"
            }
            false => "",
        };
        let request = format!("GET /{app}/{key}.flv{query} HTTP/1.1\r\nHost: {host}:{port}\r\n{upgrade}\r\n");
        Self {
            framing: if in_messages { Framing::Messages } else { Framing::Bare },
            request: Some(request.into()),
            input: BytesMut::new(),
            file: TagReader::default(),
            open: 0,
            has_head: false,
        }
    }

    /// The request, once.
    pub fn request(&mut self) -> Option<Bytes> {
        self.request.take()
    }

    /// Takes received bytes, and calls `event` for what they mean.
    ///
    /// # Errors
    /// The response is not a stream, as one line.
    pub fn receive(&mut self, bytes: &[u8], mut event: impl FnMut(Event)) -> Result<(), String> {
        self.input.extend_from_slice(bytes);
        if !self.has_head {
            let Some(end) = self.input.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(()) };
            let head = self.input.split_to(end + 4);
            let in_messages = self.framing == Framing::Messages;
            let wanted: &[u8] = if in_messages { b"HTTP/1.1 101 " } else { b"HTTP/1.1 200 " };
            if !head.starts_with(wanted) {
                let line = head[..].split(|&byte| byte == b'\r').next().unwrap_or_default();
                return Err(String::from_utf8_lossy(line).into_owned());
            }
            let is_chunked = head.to_ascii_lowercase().windows(CHUNKED.len()).any(|line| line == CHUNKED);
            if is_chunked {
                self.framing = Framing::Chunks;
            }
            self.has_head = true;
            event(Event::Started);
        }
        self.unwrap()?;
        while let Some(frame) = self.file.next().map_err(|error| error.to_string())? {
            event(Event::Frame(frame));
        }
        Ok(())
    }

    /// Moves bytes of the file from `input` to `file`.
    fn unwrap(&mut self) -> Result<(), String> {
        match self.framing {
            Framing::Bare => self.file.feed(&self.input.split()),
            Framing::Chunks => return self.unwrap_chunks(),
            Framing::Messages => return self.unwrap_messages(),
        }
        Ok(())
    }

    fn unwrap_chunks(&mut self) -> Result<(), String> {
        loop {
            // The line end after a chunk is counted in `open`, and is not part of the file.
            let n = usize::try_from(self.open.saturating_sub(CRLF.len() as u64)).unwrap_or(usize::MAX);
            let n = n.min(self.input.len());
            self.file.feed(&self.input.split_to(n));
            self.open -= n as u64;
            if self.open > CRLF.len() as u64 || (self.open > 0 && self.input.len() < CRLF.len()) {
                return Ok(());
            }
            if self.open > 0 {
                if self.input.split_to(CRLF.len()) != CRLF {
                    return Err("a chunk is longer than its size".to_owned());
                }
                self.open = 0;
            }
            let Some(line) = self.input.windows(CRLF.len()).position(|two| two == CRLF) else {
                return Ok(());
            };
            let size = std::str::from_utf8(&self.input[..line]).ok();
            let size = size.and_then(|digits| u64::from_str_radix(digits, 16).ok());
            let size = size.ok_or("a chunk has no size")?;
            self.input.advance(line + CRLF.len());
            self.open = size + CRLF.len() as u64;
        }
    }

    fn unwrap_messages(&mut self) -> Result<(), String> {
        loop {
            let n = usize::try_from(self.open).unwrap_or(usize::MAX).min(self.input.len());
            self.file.feed(&self.input.split_to(n));
            self.open -= n as u64;
            let head = &self.input[..];
            let (len, head_len) = match head {
                _ if self.open > 0 => return Ok(()),
                [_, 126, a, b, ..] => (u64::from(u16::from_be_bytes([*a, *b])), 4),
                [_, 127, rest @ ..] if rest.len() >= 8 => {
                    (rest[..8].iter().fold(0, |len, &byte| len << 8 | u64::from(byte)), 10)
                }
                [_, len @ 0..=125, ..] => (u64::from(*len), 2),
                _cut_off => return Ok(()),
            };
            match head[0] {
                BINARY => self.open = len,
                PING if head.len() >= head_len + len as usize => self.input.advance(len as usize),
                PING => return Ok(()),
                other => return Err(format!("a WebSocket frame that begins with {other:#x}")),
            }
            self.input.advance(head_len);
        }
    }
}

const CHUNKED: &[u8] = b"\r\ntransfer-encoding: chunked\r\n";
const CRLF: &[u8] = b"\r\n";
/// The first byte of a whole binary message, and of a ping.
const BINARY: u8 = 0x82;
const PING: u8 = 0x89;

#[cfg(test)]
mod tests {
    use fanfare_rtmp::flv::{FlvFormat, Frame, FrameKind, Kinds, WireFormat};
    use fanfare_rtmp::http::{
        ChunkedFormat, LAST_CHUNK,
        websocket::{self, WebSocketFormat},
    };

    use super::*;

    fn wire(format: &dyn WireFormat, head: &str) -> Vec<u8> {
        let mut wire = head.as_bytes().to_vec();
        wire.extend(format.stream_header(Kinds { audio: true, video: true }).unwrap());
        for (i, len) in [0, 5, 100, 130, 70_000].into_iter().enumerate() {
            let frame =
                Frame { kind: FrameKind::Video, timestamp_ms: i as u32, payload: vec![i as u8; len].into() };
            let begin = wire.len();
            wire.resize(begin + format.wire_len(&frame), 0);
            format.write(&frame, &mut wire[begin..]);
        }
        wire
    }

    fn read(in_messages: bool, pieces: &[&[u8]]) -> Result<Vec<(u32, usize)>, String> {
        let url = "rtmp://127.0.0.1:1/live/s".parse().unwrap();
        let mut client = FlvClient::new(&url, in_messages);
        let mut frames = Vec::new();
        for piece in pieces {
            client.receive(piece, |event| {
                if let Event::Frame(frame) = event {
                    frames.push((frame.timestamp_ms, frame.payload.len()));
                }
            })?;
        }
        Ok(frames)
    }

    #[test]
    fn frames_are_read_whole_at_any_cut_of_the_response() {
        let wanted = [(0, 0), (1, 5), (2, 100), (3, 130), (4, 70_000)];
        let body = wire(&FlvFormat, "HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n\r\n");
        let mut messages = wire(&WebSocketFormat, "HTTP/1.1 101 Switching Protocols\r\n\r\n");
        messages.extend(websocket::ping());
        let mut chunks = wire(&ChunkedFormat, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        chunks.extend(LAST_CHUNK);
        for (in_messages, wire) in [(false, body), (false, chunks), (true, messages)] {
            for at in (0..400).chain([wire.len() - 1]) {
                assert_eq!(
                    read(in_messages, &[&wire[..at], &wire[at..]]).as_deref(),
                    Ok(&wanted[..]),
                    "cut at {at}"
                );
            }
        }
    }

    #[test]
    fn a_response_that_is_no_stream_is_an_error_with_its_first_line() {
        assert_eq!(
            read(false, &[b"HTTP/1.1 404 Not Found\r\n\r\nmissing"]),
            Err("HTTP/1.1 404 Not Found".to_owned())
        );
        assert!(read(false, &[b"HTTP/1.1 200 OK\r\n\r\n<!doctype html>"]).is_err());
    }
}
