//! A plain HTTP client that shows every byte, and an RTMP client that publishes or plays.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use fanfare::amf0::Value;
use fanfare::flv::{Frame, FrameKind};
use fanfare::rtmp::chunk::{Message, OUT_CHUNK_SIZE};
use fanfare::rtmp::client::{Client, ClientConfig, Event, Role};
use fanfare::rtmp::command::Command;
use fanfare::rtmp::message::type_id;

use super::{Relay, SOON, eventually};

/// A connection to the HTTP port.
pub struct Http {
    pub socket: TcpStream,
    /// Read from the socket, but not used yet.
    pub unread: Vec<u8>,
}

/// A complete response.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Http {
    pub fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.set_write_timeout(Some(SOON)).unwrap();
        Self { socket, unread: Vec::new() }
    }

    pub fn say(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).unwrap();
    }

    /// Reads up to the first occurrence of `end`, and returns everything up to and including it.
    pub fn until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return self.unread.drain(..at + end.len()).collect();
            }
            self.read_more().unwrap_or_else(|error| {
                panic!("{error} before {end:?} in {:?}", String::from_utf8_lossy(&self.unread))
            });
        }
    }

    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            self.read_more().expect("more is to come");
        }
        self.unread.drain(..count).collect()
    }

    /// Everything until the relay closes the connection.
    pub fn until_closed(&mut self) -> Vec<u8> {
        while self.read_more().is_ok() {}
        std::mem::take(&mut self.unread)
    }

    /// Status line and headers.
    pub fn head(&mut self) -> Response {
        let head = String::from_utf8(self.until(b"\r\n\r\n")).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").expect("a header");
            (name.to_lowercase(), value.to_owned())
        };
        Response { status: status.parse().unwrap(), headers: lines.map(header).collect(), body: Vec::new() }
    }

    /// A response with Content-Length or without a body.
    pub fn response(&mut self) -> Response {
        let mut response = self.head();
        if let Some(length) = response.headers.get("content-length") {
            response.body = self.exactly(length.parse().unwrap());
        }
        response
    }

    fn read_more(&mut self) -> std::io::Result<()> {
        let mut buffer = [0; 16 << 10];
        loop {
            return match self.socket.read(&mut buffer) {
                Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.unread.extend(&buffer[..count]);
                    Ok(())
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }
}

impl Response {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// One request on its own connection; `headers` are lines with line endings.
pub fn ask_with(relay: &Relay, method: &str, path: &str, headers: &str) -> Response {
    ask_at(relay.http_address(), method, path, headers)
}

pub fn ask_at(address: SocketAddr, method: &str, path: &str, headers: &str) -> Response {
    let mut http = Http::connect(address);
    let host = if headers.contains("Host:") { String::new() } else { format!("Host: {address}\r\n") };
    http.say(&format!("{method} {path} HTTP/1.1\r\n{host}Connection: close\r\n{headers}\r\n"));
    if method == "HEAD" { http.head() } else { http.response() }
}

/// A request of a viewer: without a token.
pub fn get(relay: &Relay, path: &str) -> Response {
    ask_with(relay, "GET", path, "")
}

/// A request of an operator, with the token that the relay generated.
pub fn get_with_token(relay: &Relay, path: &str) -> Response {
    ask_with(relay, "GET", path, &bearer(&relay.token()))
}

/// The header with a token.
pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// The JSON at a path for an operator, as soon as it is as wanted: the cores report once per second.
pub fn json_when(
    relay: &Relay,
    path: &str,
    is_wanted: impl Fn(&serde_json::Value) -> bool,
) -> serde_json::Value {
    let last = std::cell::RefCell::new(serde_json::Value::Null);
    eventually("the API has the wanted values", SOON, || {
        let json = get_with_token(relay, path).json();
        let found = is_wanted(&json).then(|| json.clone());
        last.replace(json);
        if found.is_none() {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        found
    })
}

/// An RTMP client on a blocking socket.
pub struct Rtmp {
    client: Client,
    socket: TcpStream,
    now_ms: u32,
}

impl Rtmp {
    pub fn started(relay: &Relay, role: Role, name: &str) -> Self {
        let mut rtmp = Self::new(relay, role, name);
        rtmp.until_event(|event| matches!(event, Event::Started).then_some(()));
        rtmp
    }

    /// Publishes or plays through a proxy at this address, which is sent these bytes first.
    pub fn started_through(proxy: SocketAddr, header: &str, role: Role, name: &str) -> Self {
        let mut rtmp = Self::to(proxy, role, name);
        rtmp.socket.write_all(header.as_bytes()).unwrap();
        rtmp.until_event(|event| matches!(event, Event::Started).then_some(()));
        rtmp
    }

    /// Its address.
    pub fn local_address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    fn new(relay: &Relay, role: Role, name: &str) -> Self {
        Self::to(relay.address(), role, name)
    }

    fn to(address: SocketAddr, role: Role, name: &str) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        let url = format!("rtmp://{address}/{name}").parse().unwrap();
        let config = ClientConfig { url, role, chunk_size: OUT_CHUNK_SIZE, fmle: false };
        Self { client: Client::new(config, 0, [3; 32]), socket, now_ms: 0 }
    }

    /// Connects and requests to publish or play, until `is_requested`; an answer is not waited for.
    pub fn requesting(relay: &Relay, role: Role, name: &str, is_requested: impl Fn() -> bool) -> Self {
        let mut rtmp = Self::new(relay, role, name);
        rtmp.socket.set_read_timeout(Some(std::time::Duration::from_millis(10))).unwrap();
        eventually("the relay has the request", SOON, || {
            let mut buffer = [0; 4096];
            while let Some(event) = rtmp.client.poll() {
                if let Event::Send(bytes) = event {
                    rtmp.socket.write_all(&bytes).unwrap();
                }
            }
            if let Ok(count) = rtmp.socket.read(&mut buffer) {
                rtmp.client.receive(Bytes::copy_from_slice(&buffer[..count]), 0).unwrap();
            }
            is_requested().then_some(())
        });
        rtmp.socket.set_read_timeout(Some(SOON)).unwrap();
        rtmp
    }

    /// Requests to publish; the test fails unless that is refused with this code.
    pub fn refused(relay: &Relay, name: &str, code: &str) {
        assert_eq!(Self::refusal(relay, Role::Publish, name).0, code, "{name}");
    }

    /// Requests to publish or play, and returns the code and the description of the refusal; the test fails without
    /// one.
    pub fn refusal(relay: &Relay, role: Role, name: &str) -> (String, String) {
        match Self::answer(relay, role, name) {
            Ok(_) => panic!("{name} was accepted"),
            Err(refusal) => refusal,
        }
    }

    /// Requests to publish or play: a client that may, or code and description of the refusal.
    pub fn answer(relay: &Relay, role: Role, name: &str) -> Result<Self, (String, String)> {
        Self::answer_through(relay.address(), "", role, name)
    }

    /// The same through a proxy at this address, which is sent these bytes first.
    pub fn answer_through(
        proxy: SocketAddr,
        header: &str,
        role: Role,
        name: &str,
    ) -> Result<Self, (String, String)> {
        let mut rtmp = Self::to(proxy, role, name);
        rtmp.socket.write_all(header.as_bytes()).unwrap();
        let refusal = rtmp.until_event(|event| match event {
            Event::Status(status) if status.level == "error" => Some(Some((status.code, status.description))),
            Event::Started => Some(None),
            _ => None,
        });
        refusal.map_or(Ok(rtmp), Err)
    }

    /// Publishes, and sends metadata, sequence headers and a key frame.
    pub fn publishing(relay: &Relay, name: &str) -> Self {
        let mut rtmp = Self::started(relay, Role::Publish, name);
        let metadata = Value::ecma_array([
            ("width", 1280.0.into()),
            ("height", 720.0.into()),
            ("framerate", 25.0.into()),
            ("encoder", "fanfare's tests".into()),
        ]);
        let body = fanfare::amf0::encode_all(&["onMetaData".into(), metadata]);
        rtmp.send(FrameKind::Data, body);
        rtmp.send(FrameKind::Video, b"\x17\0\0\0\0\x01\x64\0\x1f\xff".to_vec());
        rtmp.send(FrameKind::Audio, b"\xaf\0\x12\x10".to_vec());
        rtmp.key_frame(b"first");
        rtmp.send(FrameKind::Audio, b"\xaf\x01sound".to_vec());
        rtmp
    }

    /// Publishes audio alone, and sends its sequence header.
    pub fn publishing_audio(relay: &Relay, name: &str) -> Self {
        let mut rtmp = Self::started(relay, Role::Publish, name);
        rtmp.send(FrameKind::Audio, b"\xaf\0\x12\x10".to_vec());
        rtmp
    }

    /// Publishes another stream on the same connection, on its own message stream.
    pub fn publish_also(&mut self, message_stream_id: u32, key: &str) {
        let body = Command::call("publish", 0.0, [key.into()]).to_bytes();
        self.client.send_message(&Message {
            chunk_stream_id: 3,
            timestamp_ms: 0,
            message_type_id: type_id::COMMAND_AMF0,
            message_stream_id,
            payload: body.into(),
        });
        self.until_event(|event| match event {
            Event::Status(status) => (status.code == "NetStream.Publish.Start").then_some(()),
            _ => None,
        });
    }

    pub fn key_frame(&mut self, mark: &[u8]) {
        self.now_ms += 40;
        self.send(FrameKind::Video, [b"\x17\x01\0\0\0", mark].concat());
    }

    pub fn inter_frame(&mut self, mark: &[u8]) {
        self.now_ms += 40;
        self.send(FrameKind::Video, [b"\x27\x01\0\0\0", mark].concat());
    }

    /// Sends video frames until the JSON at a path is as wanted.
    pub fn until(
        &mut self,
        relay: &Relay,
        path: &str,
        is_wanted: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let deadline = std::time::Instant::now() + SOON;
        loop {
            self.inter_frame(b"next");
            let json = get_with_token(relay, path).json();
            if is_wanted(&json) {
                return json;
            }
            assert!(std::time::Instant::now() < deadline, "{json}");
            std::thread::sleep(std::time::Duration::from_millis(40));
        }
    }

    pub fn send(&mut self, kind: FrameKind, payload: Vec<u8>) {
        let payload = Bytes::from(payload).into();
        self.client.send_frame(&Frame { kind, timestamp_ms: self.now_ms, payload });
        while let Some(event) = self.client.poll() {
            if let Event::Send(bytes) = event {
                self.socket.write_all(&bytes).unwrap();
            }
        }
    }

    fn until_event<T>(&mut self, mut is_wanted: impl FnMut(Event) -> Option<T>) -> T {
        let mut buffer = [0; 4096];
        loop {
            while let Some(event) = self.client.poll() {
                match event {
                    Event::Send(bytes) => self.socket.write_all(&bytes).unwrap(),
                    event => {
                        if let Some(found) = is_wanted(event) {
                            return found;
                        }
                    }
                }
            }
            let count = self.socket.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "the relay closed");
            self.client.receive(Bytes::copy_from_slice(&buffer[..count]), 0).unwrap();
        }
    }

    /// Waits for the relay to close it.
    pub fn expect_closed(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
                Err(error) => panic!("{error}"),
            }
        }
    }
}
