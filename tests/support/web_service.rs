//! An operator's web service, over plain sockets: answers as a test wants, and keeps what it was sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::SOON;

/// A running service. Ends with the test's process.
pub struct WebService {
    address: SocketAddr,
    seen: Arc<Seen>,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Received {
    pub at: Instant,
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// What it does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Status and body.
    Status(u16, String),
    /// Status and `Location`.
    Location(u16, String),
    /// These bytes, and then the connection is closed.
    Bytes(Vec<u8>),
    /// Nothing, until the relay closes.
    Nothing,
    /// A body without end.
    Endless,
    /// The connection is closed.
    Close,
}

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<Received>>,
    more: Condvar,
    connections: AtomicUsize,
}

impl Reply {
    pub fn yes() -> Self {
        Self::Status(200, "0".to_owned())
    }

    pub fn no(reason: &str) -> Self {
        Self::Status(200, format!("{{\"code\":403,\"msg\":\"{reason}\"}}"))
    }
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The body, which is JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// `action` of SRS's bodies.
    pub fn action(&self) -> String {
        self.json()["action"].as_str().expect("an action").to_owned()
    }
}

impl WebService {
    /// Starts one that answers as `reply` says.
    pub fn start(reply: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), reply)
    }

    /// Starts one at this address.
    pub fn start_at(address: SocketAddr, reply: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let service = Self { address, seen: seen.clone() };
        let reply = Arc::new(reply);
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                seen.connections.fetch_add(1, Ordering::Relaxed);
                let (seen, reply) = (seen.clone(), reply.clone());
                thread::spawn(move || serve(socket, &seen, &*reply));
            }
        });
        service
    }

    /// Its address with this path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Received> {
        self.seen.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// Waits for so many requests, and returns all.
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        self.wait_until(&format!("{count} requests"), |requests| requests.len() >= count)
    }

    /// Waits until the requests are as wanted, and returns them.
    pub fn wait_until(&self, what: &str, is_wanted: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let deadline = Instant::now() + SOON;
        let mut requests = self.seen.requests.lock().unwrap();
        while !is_wanted(&requests) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not within {SOON:?}: {what}; there are {requests:#?}");
            requests = self.seen.more.wait_timeout(requests, left).unwrap().0;
        }
        requests.clone()
    }
}

/// Requests of one connection. Its end is an error.
fn serve(socket: TcpStream, seen: &Seen, reply: &dyn Fn(&Received) -> Reply) -> Option<()> {
    let mut reader = BufReader::new(socket.try_clone().ok()?);
    let mut socket = socket;
    loop {
        let request = receive(&mut reader)?;
        seen.requests.lock().unwrap().push(request.clone());
        seen.more.notify_all();
        match reply(&request) {
            Reply::Status(status, body) => {
                write!(socket, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()).ok()?;
            }
            Reply::Location(status, location) => {
                let head =
                    format!("HTTP/1.1 {status} X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
                socket.write_all(head.as_bytes()).ok()?;
            }
            Reply::Bytes(bytes) => return socket.write_all(&bytes).ok(),
            Reply::Nothing => {
                let _ = reader.read(&mut [0]);
                return None;
            }
            Reply::Endless => {
                write!(socket, "HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n", 1 << 30).ok()?;
                let piece = vec![b'0'; 1 << 16];
                while socket.write_all(&piece).is_ok() {}
                return None;
            }
            Reply::Close => return None,
        }
    }
}

fn receive(reader: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut line = || {
        let mut line = String::new();
        (reader.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_owned())
    };
    let first = line()?;
    let at = Instant::now();
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map(|(_, value)| value.parse().unwrap());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Received { at, method, path, headers, body: String::from_utf8(body).unwrap() })
}
