//! The relay behind a real nginx with the usual one-line `proxy_pass`: what clients without a token may do through it,
//! and that viewers and operators can do everything they could before.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use crate::support::{Clip, Process, Publisher, Relay, SOON, eventually, missing};

const NGINX: &str = "/usr/sbin/nginx";
const NAME: &str = "live/stream";

#[test]
fn through_a_proxy_pass_of_one_line_clients_without_a_token_can_only_watch() {
    let relay = Relay::start("");
    let (_nginx, proxy) = start_nginx(&relay);
    let _publisher = Publisher::Ffmpeg.publish(&relay, &Clip::AUDIO_VIDEO.seconds(30).file(), NAME);
    relay.wait_for_publisher(NAME);
    let operator = format!("Authorization: Bearer {}\r\n", relay.token());
    let body = request(proxy, "GET", "/api/v1/publishers", &operator);
    let id: u64 = {
        let rest = body.split("\"id\":").nth(1).unwrap_or_else(|| panic!("{body}"));
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    let path = format!("/api/v1/publishers/{id}");
    for host in ["", "X-Forwarded-For: 127.0.0.1\r\n", "X-Real-IP: 127.0.0.1\r\nForwarded: for=127.0.0.1\r\n"]
    {
        for (method, path) in
            [("DELETE", path.as_str()), ("GET", "/api/v1/players"), ("GET", "/api/v1/events")]
        {
            let response = request(proxy, method, path, host);
            assert!(response.starts_with("HTTP/1.1 401 "), "{method} {path}: {response}");
        }
    }
    for path in ["/", "/api/v1/streams", "/api/v1/summary", "/metrics", "/api/v1/publishers"] {
        let response = request(proxy, "GET", path, "");
        assert!(response.starts_with("HTTP/1.1 200 "), "{path}: {response}");
        assert!(!response.contains("\"address\":\""), "{path}: {response}");
    }

    let mut viewer = connect(proxy);
    write!(viewer, "GET /{NAME}.flv HTTP/1.1\r\nHost: viewers.example\r\n\r\n").unwrap();
    let mut received = Vec::new();
    eventually("the stream comes through", SOON, || {
        let mut buffer = [0; 4096];
        let count = viewer.read(&mut buffer).unwrap();
        received.extend_from_slice(&buffer[..count]);
        received.windows(4).any(|window| window == b"FLV\x01").then_some(())
    });

    let response = request(proxy, "DELETE", &path, &operator);
    assert!(response.starts_with("HTTP/1.1 204 "), "{response}");
    relay.wait_for_log(&["publish ended", NAME, "ended by the operator"]);
}

/// An nginx that forwards everything to the relay and adds no header.
fn start_nginx(relay: &Relay) -> (Process, SocketAddr) {
    assert!(Path::new(NGINX).exists(), "{}", missing(NGINX));
    let directory = relay.dir().join("nginx");
    std::fs::create_dir(&directory).unwrap();
    // Another process may take the port meanwhile: then try another one.
    for _ in 0..10 {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let here = directory.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {here}/{kind};\n"))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid {here}/pid; error_log stderr;\nevents {{}}\nhttp {{\n\
             access_log off;\n{temporary}server {{\nlisten {address};\nlocation / {{ proxy_pass http://{}; }}\n}}\n}}\n",
            relay.http_address()
        );
        let file = directory.join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(NGINX);
        command.arg("-e").arg("stderr").arg("-p").arg(&directory).arg("-c").arg(&file);
        let mut nginx = Process::start_logged(command, &directory.join("log"));
        let is_up = eventually("nginx listens or exits", SOON, || match TcpStream::connect(address) {
            Ok(_) => Some(true),
            Err(_) => nginx.wait(std::time::Duration::ZERO).map(|_| false),
        });
        if is_up {
            return (nginx, address);
        }
        assert!(nginx.output().contains("in use"), "{}", nginx.output());
    }
    panic!("no port was free");
}

/// The whole response to a request on a connection of its own.
fn request(address: SocketAddr, method: &str, path: &str, headers: &str) -> String {
    let mut socket = connect(address);
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\nHost: relay.example.org\r\nConnection: close\r\n{headers}\r\n"
    )
    .unwrap();
    let mut response = Vec::new();
    socket.read_to_end(&mut response).unwrap();
    String::from_utf8_lossy(&response).into_owned()
}

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}
