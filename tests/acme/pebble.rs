//! Pebble (Debian's package of that name) and its name server, which knows every name as 127.0.0.1.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use fanfare::certificates::DevelopmentCertificate;
use tempfile::TempDir;

use crate::support::{Process, SOON, eventually};

/// How long a certificate is valid, seconds: two thirds of it are over soon.
pub const VALID_S: u32 = 40;

/// A running authority. Dropping it ends it.
pub struct Pebble {
    _names: Process,
    _authority: Process,
    folder: TempDir,
    port: u16,
    management: u16,
}

impl Pebble {
    /// Starts one that asks at this port whether a host has its name.
    pub fn start(http_port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = ["localhost", "127.0.0.1"].map(str::to_owned).to_vec();
        let files = DevelopmentCertificate::make(folder.path(), made).unwrap();
        let [names, names_management, port, management] = [(); 4].map(|()| free_port());
        let mut command = Command::new("pebble-challtestsrv");
        command.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""]);
        command.args(["-dns01", &format!("127.0.0.1:{names}")]);
        command.args(["-management", &format!("127.0.0.1:{names_management}")]);
        let name_server = Process::start_logged(command, &folder.path().join("names.log"));
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": files.certificate,
            "privateKey": files.key,
            "httpPort": http_port,
            "tlsPort": 1,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": VALID_S,
        }});
        let file = folder.path().join("pebble.json");
        fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new("pebble");
        command.arg("-config").arg(file).args(["-strict", "-dnsserver", &format!("127.0.0.1:{names}")]);
        // It asks at once, and not after some seconds.
        command.env("PEBBLE_VA_NOSLEEP", "1");
        let mut authority = Process::start_logged(command, &folder.path().join("pebble.log"));
        eventually("Pebble listens", SOON, || {
            authority.expect_running();
            [port, management]
                .iter()
                .all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
                .then_some(())
        });
        Self { _names: name_server, _authority: authority, folder, port, management }
    }

    /// The address that begins everything.
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// The authority that has signed its own server's certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The certificate that signs those that it issues, in PEM.
    pub fn root(&self) -> Vec<u8> {
        let address = format!("https://localhost:{}/roots/0", self.management);
        let mut curl = Command::new("curl");
        let output = curl.args(["-sS", "--fail", "--cacert"]).arg(self.ca_file()).arg(address).output();
        let output = output.expect("curl is installed");
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
