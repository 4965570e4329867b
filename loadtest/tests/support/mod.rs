//! Shared by the tests: the relay, in a thread of this process.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Once, mpsc};
use std::thread;

use fanfare::access::Open;
use fanfare::certificates::{self, DevelopmentCertificate, Sessions};
use fanfare::config::{CertificateFiles, Config};
use fanfare::reload::Reloader;

/// The addresses it listens on.
#[derive(Clone, Copy)]
#[allow(dead_code)] // Not every test binary that compiles this uses all of it.
pub struct Addresses {
    /// For RTMP.
    pub rtmp: SocketAddr,
    /// For RTMPS.
    pub rtmps: SocketAddr,
    /// For HTTP.
    pub http: SocketAddr,
    /// For HTTPS.
    pub https: SocketAddr,
}

/// Starts the relay on `cores` cores, until this process ends.
pub fn relay(cores: usize) -> Addresses {
    let any = || vec!["127.0.0.1:0".parse().unwrap()];
    let mut config = Config { cores, ..Config::default() };
    config.set_rtmp(any());
    config.set_http(any());
    (config.listen.rtmps, config.listen.https) = (any(), any());
    config.tls.certificates = vec![certificate()];
    // So that no token is generated and stored for the user who runs the tests.
    config.api.token = "token-of-a-test".to_owned();
    let (started, addresses) = mpsc::channel();
    thread::spawn(move || {
        let http = std::cell::Cell::new(None);
        let beside = async |relay: fanfare::net::Handle| {
            relay.set_tls(certificates::load(&relay.config(), &Sessions::default())?.expect("it is used"));
            let reloader = Reloader::new(Box::new(|| Err("there is no file".to_owned())));
            http.set(fanfare::control::start(relay, reloader, Arc::default()).await?);
            Ok(())
        };
        let started = |rtmp: &fanfare::net::Addresses| {
            let control = http.take().expect("HTTP is configured");
            let (rtmp, rtmps) = (rtmp.rtmp[0], rtmp.rtmps[0]);
            let (http, https) = (control.addresses[0], control.encrypted_addresses[0]);
            started.send(Addresses { rtmp, rtmps, http, https }).unwrap();
        };
        fanfare::net::run(config, Box::new(Open), beside, started, || {}).unwrap();
    });
    addresses.recv().unwrap()
}

/// A certificate for this machine, of an authority beside it: `ca.pem`.
pub fn certificate() -> CertificateFiles {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{}", std::process::id()));
    static MADE: Once = Once::new();
    MADE.call_once(|| {
        DevelopmentCertificate::make(&folder, vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    });
    let DevelopmentCertificate { certificate, key, .. } = DevelopmentCertificate::in_folder(&folder);
    CertificateFiles { certificate, key }
}
