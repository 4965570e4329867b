//! nginx with the RTMP module, configured as in its documentation, to compare with.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use crate::support::{Process, SOON, eventually};

/// A running nginx. Its files are in a directory of the test.
pub struct Nginx {
    _process: Process,
    address: SocketAddr,
}

impl Nginx {
    /// Starts one with the application `live`.
    pub fn start(dir: &Path) -> Nginx {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let config = dir.join("nginx.conf");
        let text = format!(
            "load_module {MODULE};\n\
             daemon off;\nmaster_process off;\nworker_processes 1;\n\
             pid {dir}/nginx.pid;\nerror_log {dir}/nginx-errors.log;\n\
             events {{ worker_connections 64; }}\n\
             rtmp {{ server {{ listen {address}; application live {{ live on; }} }} }}\n",
            dir = dir.display(),
        );
        std::fs::write(&config, text).unwrap();
        let mut nginx = Command::new("/usr/sbin/nginx");
        nginx.arg("-p").arg(dir).arg("-c").arg(&config).arg("-e").arg(dir.join("nginx-errors.log"));
        let process = Process::start_logged(nginx, &dir.join("nginx.log"));
        eventually("nginx listens", SOON, || TcpStream::connect(address).ok().map(drop));
        Nginx { _process: process, address }
    }

    /// The address of `app/name`.
    pub fn url(&self, name: &str) -> String {
        format!("rtmp://{}/{name}", self.address)
    }
}

/// Where Debian's libnginx-mod-rtmp puts it.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";
