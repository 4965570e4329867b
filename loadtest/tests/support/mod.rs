//! Shared by the tests: the relay, in a thread of this process.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Once, mpsc};
use std::thread;

use fanfare::access::Open;
use fanfare::certificates::{self, DevelopmentCertificate, Sessions};
use fanfare::config::{CertificateFiles, Config};
use fanfare::control::Started;
use fanfare::net::{Handle, Observer};
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
        let observer = Starter { control: Cell::new(None), started };
        let beside = async |relay: Handle| {
            relay.set_tls(certificates::load(&relay.config(), &Sessions::default())?.expect("it is used"));
            let reloader = Reloader::new(Box::new(|| Err("there is no file".to_owned())));
            observer.control.set(fanfare::control::start(relay, reloader, Arc::default()).await?);
            Ok(())
        };
        fanfare::net::run(config, Box::new(Open), beside, &observer).unwrap();
    });
    addresses.recv().unwrap()
}

/// Sends the addresses once it listens.
struct Starter {
    control: Cell<Option<Started>>,
    started: mpsc::Sender<Addresses>,
}

impl Observer for Starter {
    fn started(&self, relay: &Handle) {
        let control = self.control.take().expect("HTTP is configured");
        let (rtmp, rtmps) = (relay.addresses().rtmp[0], relay.addresses().rtmps[0]);
        let (http, https) = (control.addresses[0], control.encrypted_addresses[0]);
        self.started.send(Addresses { rtmp, rtmps, http, https }).unwrap();
    }

    fn reload(&self) {}
    fn second(&self, _relay: &Handle) {}
    fn stopping(&self) {}
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
