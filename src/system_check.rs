//! What would stop the relay from starting on this system, or would limit it. Looked at without starting it.

#![forbid(unsafe_code)]

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    thread,
    time::{Duration, Instant},
};

use crate::{
    config::{Config, is_everywhere},
    net::{
        self,
        ring::{Ring, RingSize},
    },
};

/// What was looked at, as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing stands in the way.
    Fine(String),
    /// The relay starts, and has less than it is configured for.
    Limited(String),
    /// The relay does not start.
    Fatal(String),
}

/// How grave it is if something is wrong.
type Gravity = fn(String) -> Finding;

/// The kernel frees the memory of a ring only some time after the ring is closed.
const FREED_WITHIN: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(50);
/// Descriptors that the relay needs for itself: rings, listeners, pipes, files of the log.
const OWN_FILES: u64 = 100;

/// Looks at all that the relay needs at its start with this configuration.
pub fn check(config: &Config) -> Vec<Finding> {
    let mut findings = vec![rings(config.core_count()), files(config.limits.connections as u64)];
    let listen = &config.listen;
    let of_http: Gravity = if listen.is_default_http { Finding::Limited } else { Finding::Fatal };
    let lists: [(&str, &[SocketAddr], Gravity); 5] = [
        ("listen.rtmp", &listen.rtmp, Finding::Fatal),
        ("listen.rtmps", &listen.rtmps, Finding::Fatal),
        ("listen.https", &listen.https, Finding::Fatal),
        ("listen.http", &listen.http, of_http),
        ("api.listen", &config.api.listen, Finding::Fatal),
    ];
    for (key, list, grave) in lists {
        findings.extend(list.iter().map(|&address| port(key, list, address, grave)));
    }
    findings
}

fn rings(cores: usize) -> Finding {
    let outcome = make_rings(RingSize::LARGEST, cores);
    let Err(error) = outcome else {
        return Finding::Fine(format!("io_uring: allowed, with rings of full size for {cores} cores"));
    };
    if error.kind() == io::ErrorKind::OutOfMemory {
        let deadline = Instant::now() + FREED_WITHIN;
        while Instant::now() < deadline {
            if make_rings(RingSize::SMALLEST, cores).is_ok() {
                return Finding::Limited(format!(
                    "io_uring: allowed, with smaller rings for {cores} cores, because little memory may be locked: \
                     a busy core makes more system calls; raise the limit (LimitMEMLOCK=infinity, ulimit -l)"
                ));
            }
            thread::sleep(AGAIN);
        }
    }
    Finding::Fatal(net::explain_refusal(&error, cores))
}

/// All at once, as the cores have them.
fn make_rings(size: RingSize, cores: usize) -> io::Result<()> {
    let rings: io::Result<Vec<Ring>> = (0..cores).map(|_| Ring::new(0, size)).collect();
    rings.map(drop)
}

/// How many files may be open, if they are too few for `limits.connections`.
pub fn too_few_files(config: &Config) -> Option<u64> {
    let limit = open_files_limit();
    (!are_enough(limit, config.limits.connections as u64)).then_some(limit)
}

fn are_enough(limit: u64, connections: u64) -> bool {
    limit >= connections.saturating_add(OWN_FILES)
}

fn open_files_limit() -> u64 {
    hard_limit(&fs::read_to_string("/proc/self/limits").unwrap_or_default(), "Max open files")
}

fn files(connections: u64) -> Finding {
    let hard = open_files_limit();
    if are_enough(hard, connections) {
        return Finding::Fine(format!(
            "open files: {hard} are enough for limits.connections = {connections}"
        ));
    }
    Finding::Limited(format!(
        "open files: at most {hard}, and limits.connections = {connections}: further connections wait to be accepted; \
         raise the limit (LimitNOFILE=, ulimit -Hn)"
    ))
}

/// From /proc/self/limits, whose lines are a name, the soft limit, the hard limit and a unit. The relay raises the soft
/// limit to the hard one. No limit, or one that cannot be read, is the largest number.
fn hard_limit(limits: &str, name: &str) -> u64 {
    let values = limits.lines().find_map(|line| line.strip_prefix(name));
    values.and_then(|values| values.split_whitespace().nth(1)?.parse().ok()).unwrap_or(u64::MAX)
}

fn port(key: &str, list: &[SocketAddr], address: SocketAddr, grave: Gravity) -> Finding {
    let error = match TcpListener::bind(address) {
        Ok(_) => return Finding::Fine(format!("{key}: {address} is free")),
        Err(error) => error,
    };
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => " (another program listens there)",
        io::ErrorKind::PermissionDenied => " (ports below 1024 need CAP_NET_BIND_SERVICE)",
        io::ErrorKind::AddrNotAvailable => " (no network interface has this address)",
        _ => "",
    };
    let line = format!("{key}: {address}: {error}{advice}");
    let is_family_unknown = !matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied | io::ErrorKind::Interrupted
    );
    if is_everywhere(list, address) && is_family_unknown { Finding::Limited(line) } else { grave(line) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_fatal_and_a_default_one_of_http_a_limit() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let found = port("listen.rtmp", &[address], address, Finding::Fatal);
        assert!(matches!(&found, Finding::Fatal(line) if line.contains("another program")), "{found:?}");
        assert!(matches!(port("listen.http", &[address], address, Finding::Limited), Finding::Limited(_)));
        drop(taken);
        let free = Finding::Fine(format!("listen.rtmp: {address} is free"));
        assert_eq!(port("listen.rtmp", &[address], address, Finding::Fatal), free);
        // An address for documentation (RFC 5737).
        let elsewhere = "192.0.2.1:0".parse().unwrap();
        let found = port("listen.rtmp", &[elsewhere], elsewhere, Finding::Fatal);
        assert!(matches!(&found, Finding::Fatal(line) if line.contains("no network interface")), "{found:?}");
    }

    #[test]
    fn too_few_files_for_the_connections_are_a_limit() {
        assert!(matches!(files(0), Finding::Fine(_)));
        let limits = "Limit   Soft  Hard  Units\nMax open files            1024                 4096                 files\n";
        assert_eq!(hard_limit(limits, "Max open files"), 4096);
        assert_eq!(hard_limit("Max open files  1024  unlimited  files", "Max open files"), u64::MAX);
    }
}
