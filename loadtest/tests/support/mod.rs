//! What the tests share: the relay, in a thread of this process.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;

use fanfare::config::Config;

/// Where it listens.
#[derive(Clone, Copy)]
pub struct Addresses {
    /// For RTMP.
    pub rtmp: SocketAddr,
    /// For HTTP.
    #[allow(dead_code)] // Not each test binary that compiles this asks for it.
    pub http: SocketAddr,
}

/// The relay, on so many cores, until this process ends.
pub fn relay(cores: usize) -> Addresses {
    let any = || vec!["127.0.0.1:0".parse().unwrap()];
    let mut config = Config { cores, ..Config::default() };
    config.set_rtmp(any());
    config.set_http(any());
    let (started, addresses) = mpsc::channel();
    thread::spawn(move || {
        let http = std::cell::Cell::new(Vec::new());
        let beside = |relay| {
            fanfare::control::start(relay)
                .map(|started| http.set(started.map(|it| it.addresses).unwrap_or_default()))
        };
        let tell = |rtmp: &[SocketAddr]| {
            started.send(Addresses { rtmp: rtmp[0], http: http.take()[0] }).unwrap();
        };
        fanfare::net::run(config, beside, tell).unwrap();
    });
    addresses.recv().unwrap()
}
