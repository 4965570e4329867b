//! TLS handshakes, one after another: connections that begin, shake hands and end.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::report::{Server, Summary, Times};
use crate::sys::{self, Origin, Poller, Received};
use crate::target::Target;
use crate::tls::{Clients, Tls};
use crate::usage::Usage;

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// An address over TLS.
    pub target: Target,
    /// New connections per second.
    pub rate: f64,
    /// Connections in their handshake at a time, at most: a new one waits for one that ends.
    pub at_once: usize,
    /// How long.
    pub time: Duration,
    /// The server's process, if its CPU time is to be measured.
    pub server_pid: Option<u32>,
}

/// The result.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Its length.
    pub seconds: f64,
    /// Handshakes that were completed.
    pub done: u64,
    /// Those of them that resumed a session.
    pub resumed: u64,
    /// Connections that failed.
    pub failed: u64,
    /// Why the first of those did.
    pub reason: Option<String>,
    /// Handshakes per second.
    pub per_second: f64,
    /// How long each took, from the start of the connection.
    pub took_ms: Summary,
    /// CPUs that the load generator used. Near 1, it is the bottleneck.
    pub load_cores: f64,
    /// What the server used, if its process was given.
    pub server: Option<Server>,
    /// Handshakes per CPU-second of the server: what one core does that does nothing else.
    pub per_cpu_second: Option<f64>,
}

/// Shakes hands until the time is over or `stop` is set.
///
/// # Errors
/// The address is not over TLS, as one line.
pub fn run(options: &Options, stop: &AtomicBool) -> Result<Report, String> {
    sys::raise_file_limit();
    let clients = options.target.tls.as_ref().ok_or("handshakes are made over rtmps:// or https://")?;
    let mut crowd = Crowd::new(options, clients).map_err(|error| error.to_string())?;
    let begun_ns = sys::now_ns();
    let (load, server) = (Usage::of_self(), options.server_pid.map(Usage::of_tree));
    let end_ns = begun_ns.saturating_add(sys::nanos(options.time));
    while sys::now_ns() < end_ns && !stop.load(Ordering::Relaxed) {
        let due = ((sys::now_ns() - begun_ns) as f64 / 1e9 * options.rate) as u64;
        crowd.begin(due);
        crowd.go_on();
    }
    let seconds = (sys::now_ns() - begun_ns) as f64 / 1e9;
    let server = options.server_pid.zip(server).map(|(pid, before)| {
        Server::new(seconds, crowd.bytes, before.resident_bytes, Usage::of_tree(pid).since(before))
    });
    let done = crowd.report.done;
    Ok(Report {
        seconds,
        per_second: done as f64 / seconds,
        took_ms: crowd.took.summary(),
        load_cores: Usage::of_self().since(load).cpu_seconds / seconds,
        per_cpu_second: server.map(|server| done as f64 / (server.cores * seconds)),
        server,
        ..crowd.report
    })
}

/// All connections.
struct Crowd<'a> {
    options: &'a Options,
    clients: &'a Clients,
    poller: Poller,
    slots: Vec<Option<Peer>>,
    free: Vec<usize>,
    begun: u64,
    ready: Vec<usize>,
    scratch: Vec<u8>,
    took: Times,
    bytes: u64,
    report: Report,
}

struct Peer {
    socket: OwnedFd,
    tls: Tls,
    unsent: Vec<u8>,
    begun_ns: u64,
}

impl<'a> Crowd<'a> {
    fn new(options: &'a Options, clients: &'a Clients) -> std::io::Result<Self> {
        Ok(Self {
            options,
            clients,
            poller: Poller::new()?,
            slots: Vec::new(),
            free: Vec::new(),
            begun: 0,
            ready: Vec::new(),
            scratch: vec![0; 16 << 10],
            took: Times::new(),
            bytes: 0,
            report: Report::default(),
        })
    }

    /// Begins the connections that are due.
    fn begin(&mut self, due: u64) {
        while self.begun < due {
            let number = match self.free.pop() {
                Some(number) => number,
                None if self.slots.len() < self.options.at_once => {
                    self.slots.push(None);
                    self.slots.len() - 1
                }
                // They are not made up for.
                None => return self.begun = due,
            };
            self.begun += 1;
            match self.connect(number) {
                Ok(peer) => self.slots[number] = Some(peer),
                Err(error) => self.fail(number, error.to_string()),
            }
        }
    }

    fn connect(&self, number: usize) -> std::io::Result<Peer> {
        let mut tls = self.clients.connect();
        let mut unsent = Vec::new();
        tls.take_records(&mut unsent);
        let socket = sys::connect(self.options.target.address, origin(&self.options.target, self.begun))?;
        self.poller.add(&socket, number)?;
        Ok(Peer { socket, tls, unsent, begun_ns: sys::now_ns() })
    }

    /// Goes on with the connections that are ready.
    fn go_on(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        self.poller.wait(WAIT_NS, &mut ready);
        for &number in &ready {
            let Some(peer) = &mut self.slots[number] else { continue };
            match peer.go_on(&mut self.scratch, &mut self.bytes) {
                Ok(false) => {}
                Ok(true) => {
                    self.report.done += 1;
                    self.report.resumed += u64::from(peer.tls.is_resumed());
                    self.took.record(sys::now_ns() - peer.begun_ns);
                    self.end(number);
                }
                Err(error) => self.fail(number, error),
            }
        }
        self.ready = ready;
    }

    fn fail(&mut self, number: usize, error: String) {
        self.report.failed += 1;
        self.report.reason.get_or_insert(error);
        self.end(number);
    }

    fn end(&mut self, number: usize) {
        self.slots[number] = None;
        self.free.push(number);
    }
}

impl Peer {
    /// Returns whether the handshake is over for the server as well: it has sent a session ticket.
    fn go_on(&mut self, scratch: &mut [u8], bytes: &mut u64) -> Result<bool, String> {
        sys::connected(&self.socket).map_err(|error| error.to_string())?;
        loop {
            let sent = sys::send(&self.socket, &self.unsent).map_err(|error| error.to_string())?;
            self.unsent.drain(..sent);
            let was_over = !self.tls.is_handshaking();
            match sys::receive(&self.socket, scratch) {
                Received::Nothing => return Ok(false),
                Received::Bytes(n) => {
                    *bytes += n as u64;
                    let outcome = self.tls.receive(&scratch[..n], &mut Vec::new());
                    self.tls.take_records(&mut self.unsent);
                    if let Err(error) = outcome {
                        // The server is sent why, if its socket takes it.
                        let _ = sys::send(&self.socket, &self.unsent);
                        return Err(error);
                    }
                    if was_over {
                        return Ok(true);
                    }
                }
                Received::Closed => return Err("closed by the server".to_owned()),
            }
        }
    }
}

/// One of many addresses of this machine: the ports of one are used up within seconds.
fn origin(target: &Target, number: u64) -> Origin {
    let is_loopback_v4 = matches!(target.address.ip(), IpAddr::V4(ip) if ip.is_loopback());
    let block = (std::process::id() % 250) as u8 + 1;
    let source = Ipv4Addr::new(127, 2, block, (number / PER_SOURCE % 250) as u8 + 1);
    Origin { source: is_loopback_v4.then_some(source), ..Origin::default() }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, done, resumed, failed, per_second, took_ms, load_cores, .. } = self;
        writeln!(f, "handshakes   {done} in {seconds:.1} s, {per_second:.0} per second; {resumed} resumed")?;
        if let Some(reason) = &self.reason {
            writeln!(f, "failed       {failed}, the first: {reason}")?;
        }
        writeln!(f, "each took    {took_ms}")?;
        if let (Some(server), Some(per_cpu_second)) = (self.server, self.per_cpu_second) {
            writeln!(
                f,
                "server       {:.2} cores, {per_cpu_second:.0} handshakes per CPU-second",
                server.cores
            )?;
        }
        write!(f, "the load generator used {load_cores:.2} cores")
    }
}

/// How long to wait for the server, before the next connections are due.
const WAIT_NS: u64 = 1_000_000;
/// Well below the 28,000 ephemeral ports of Linux.
const PER_SOURCE: u64 = 5_000;
