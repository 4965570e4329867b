//! Shared by the tests: the relay, in a thread of this process.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;

use fanfare::config::Config;

/// The addresses it listens on.
#[derive(Clone, Copy)]
pub struct Addresses {
    /// For RTMP.
    pub rtmp: SocketAddr,
    /// For HTTP.
    #[allow(dead_code)] // Not every test binary that compiles this uses it.
    pub http: SocketAddr,
}

/// Starts the relay on `cores` cores, until this process ends.
pub fn relay(cores: usize) -> Addresses {
    let any = || vec!["127.0.0.1:0".parse().unwrap()];
    let mut config = Config { cores, ..Config::default() };
    config.set_rtmp(any());
    config.set_http(any());
    // So that no token is generated and stored for the user who runs the tests.
    config.api.token = "token-of-a-test".to_owned();
    let (started, addresses) = mpsc::channel();
    thread::spawn(move || {
        let http = std::cell::Cell::new(None);
        let beside = async |relay| {
            http.set(fanfare::control::start(relay).await?);
            Ok(())
        };
        let started = |rtmp: &[SocketAddr]| {
            let http = http.take().expect("HTTP is configured").addresses[0];
            started.send(Addresses { rtmp: rtmp[0], http }).unwrap();
        };
        fanfare::net::run(config, beside, started).unwrap();
    });
    addresses.recv().unwrap()
}
