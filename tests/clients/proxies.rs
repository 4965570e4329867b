//! The relay behind a real nginx and HAProxy. With nginx's usual one-line `proxy_pass`: what clients without a token may
//! do through it, and that viewers and operators can do everything they could before. With `packaging/examples/`: that
//! streams and events arrive frame by frame, over TLS as well, and that the relay knows where its clients are.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fanfare::certificates::DevelopmentCertificate;
use fanfare::flv::FrameKind;
use fanfare::rtmp::client::Role;

use crate::setups::{changed, replace_once, text};
use crate::support::peer::{Http, Rtmp, ask_at, bearer};
use crate::support::{Clip, Process, Publisher, Relay, SOON, eventually, missing};

const HAPROXY: &str = "/usr/sbin/haproxy";
const NGINX: &str = "/usr/sbin/nginx";
const NAME: &str = "live/stream";

#[test]
fn through_a_proxy_pass_of_one_line_clients_without_a_token_can_only_watch() {
    let relay = Relay::start("");
    let (_nginx, proxy) = start_nginx(&relay, ONE_LINE);
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

#[test]
fn audio_at_8_kbit_s_and_events_come_through_an_nginx_of_one_line_at_once() {
    let relay = Relay::start("");
    let (_nginx, proxy) = start_nginx(&relay, ONE_LINE);
    expect_audio_frame_by_frame(&relay, relay.address(), proxy);
    expect_events_at_once(&relay, relay.address(), proxy);
}

#[test]
fn everything_comes_through_the_nginx_of_the_example_at_once_and_from_the_clients_themselves() {
    let relay = start_behind("nginx");
    let proxy = Proxy::nginx(&relay);
    proxy.expect_everything(&relay);
    proxy.expect_rtmp_from_the_clients_themselves(&relay);
    let log = eventually("the viewer's line in the log", SOON, || {
        let log = std::fs::read_to_string(relay.dir().join("nginx/access.log")).unwrap();
        log.contains("\"GET /live/stream.flv\" 200").then_some(log)
    });
    assert!(!log.contains("a-secret-key"), "{log}");
}

#[test]
fn everything_comes_through_the_haproxy_of_the_example_at_once_and_from_the_clients_themselves() {
    let relay = start_behind("haproxy");
    let proxy = Proxy::haproxy(&relay, "send-proxy-v2");
    proxy.expect_everything(&relay);
    proxy.expect_rtmp_from_the_clients_themselves(&relay);
}

#[test]
fn haproxy_may_send_the_first_version_of_the_proxy_header() {
    let relay = start_behind("haproxy");
    Proxy::haproxy(&relay, "send-proxy").expect_rtmp_from_the_clients_themselves(&relay);
}

/// Audio frames of 20 ms at 8 kbit/s, each sent when the one before has arrived: a proxy that waits for a full buffer
/// forwards none.
const AUDIO_FRAMES: u32 = 50;
/// The limit for half of them. A proxy that leaves small segments to the kernel takes 200 ms for each.
const USUAL_DELAY: Duration = Duration::from_millis(150);

/// Publishes audio, and sends its sequence header.
fn publish_audio(rtmp: SocketAddr, name: &str) -> Rtmp {
    let mut publisher = Rtmp::started_through(rtmp, "", Role::Publish, name);
    publisher.send(FrameKind::Audio, b"\xaf\0\x12\x10".to_vec());
    publisher
}

fn audio_frame(number: u32) -> Vec<u8> {
    [b"\xaf\x01".as_slice(), format!("frame {number:012}").as_bytes()].concat()
}

/// The publisher is at `rtmp`, as in the next ones, which is the relay's address or a proxy's.
fn expect_audio_frame_by_frame(relay: &Relay, rtmp: SocketAddr, proxy: SocketAddr) {
    let name = "live/audio";
    let mut publisher = publish_audio(rtmp, name);
    relay.wait_for_publisher(name);
    let mut viewer = Http::connect(proxy);
    viewer.say(&format!("GET /{name}.flv HTTP/1.1\r\nHost: viewers.example\r\nUser-Agent: x\r\n\r\n"));
    assert_eq!(viewer.head().status, 200);
    expect_frames(&mut publisher, &mut viewer);
}

fn expect_websocket_frame_by_frame(relay: &Relay, rtmp: SocketAddr, proxy: SocketAddr) {
    let name = "live/websocket";
    let mut publisher = publish_audio(rtmp, name);
    relay.wait_for_publisher(name);
    let mut viewer = Http::connect(proxy);
    viewer.say(&format!(
        "GET /{name}.flv HTTP/1.1\r\nHost: viewers.example\r\nOrigin: http://viewers.example\r\n\
         Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: flv\r\n\r\n"
    ));
    let head = viewer.head();
    assert_eq!((head.status, head.header("sec-websocket-protocol")), (101, "flv"));
    expect_frames(&mut publisher, &mut viewer);
}

fn expect_frames(publisher: &mut Rtmp, viewer: &mut Http) {
    // The relay waits a moment for video before a player of audio begins.
    viewer.socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    eventually("the stream begins", SOON, || {
        publisher.send(FrameKind::Audio, audio_frame(0));
        let mut buffer = [0; 4096];
        let count = viewer.socket.read(&mut buffer).ok()?;
        viewer.unread.extend(&buffer[..count]);
        viewer.unread.windows(4).any(|window| window == b"FLV\x01").then_some(())
    });
    viewer.socket.set_read_timeout(Some(SOON)).unwrap();
    let arrival = |number| {
        let sent = Instant::now();
        publisher.send(FrameKind::Audio, audio_frame(number));
        viewer.until(&audio_frame(number));
        sent.elapsed()
    };
    let mut delays: Vec<Duration> = (1..=AUDIO_FRAMES).map(arrival).collect();
    delays.sort_unstable();
    assert!(delays[delays.len() / 2] < USUAL_DELAY, "{delays:?}");
}

fn expect_events_at_once(relay: &Relay, rtmp: SocketAddr, proxy: SocketAddr) {
    let mut events = Http::connect(proxy);
    let token = relay.token();
    events.say(&format!(
        "GET /api/v1/events HTTP/1.1\r\nHost: viewers.example\r\nAuthorization: Bearer {token}\r\n\r\n"
    ));
    assert_eq!(events.head().status, 200);
    for number in 0..3 {
        let name = format!("live/event{number}");
        let _publisher = Rtmp::started_through(rtmp, "", Role::Publish, &name);
        events.until(name.as_bytes());
    }
}

/// The relay of the example for this proxy.
fn start_behind(proxy: &str) -> Relay {
    let config = text(&format!("behind-{proxy}/fanfare.toml"));
    assert_eq!(config.matches("127.0.0.1:1940").count(), 2, "it listens there and expects headers there");
    Relay::start(&config.replace("127.0.0.1:1940", "<rtmp>"))
}

/// A proxy with the configuration of its example.
struct Proxy {
    _process: Process,
    http: SocketAddr,
    https: SocketAddr,
    rtmp: SocketAddr,
    rtmps: SocketAddr,
    files: DevelopmentCertificate,
}

impl Proxy {
    fn nginx(relay: &Relay) -> Self {
        let directory = relay.dir().join("nginx");
        let files = Self::directory_with_certificate(&directory);
        let here = directory.display();
        // Where Debian's nginx looks for the modules that it includes.
        std::os::unix::fs::symlink("/usr/lib/nginx/modules", directory.join("modules")).unwrap();
        let config = changed(
            "behind-nginx/nginx.conf",
            &[
                ("pid /run/nginx.pid;", &format!("daemon off; master_process off; pid {here}/pid;")),
                ("error_log /var/log/nginx/error.log;", "error_log stderr;"),
                ("/var/log/nginx/access.log", &format!("{here}/access.log")),
                ("http {\n", &format!("http {{\n{}", temporary_folders(&directory))),
                ("http://127.0.0.1:8080", &format!("http://{}", relay.http_address())),
                ("127.0.0.1:1940", &relay.address().to_string()),
            ],
        );
        let pair = "/etc/letsencrypt/live/relay.example/";
        let config = config.replace(&format!("{pair}fullchain.pem"), files.certificate.to_str().unwrap());
        let config = config.replace(&format!("{pair}privkey.pem"), files.key.to_str().unwrap());
        let listen =
            |port: u16, tls: &str| format!("listen {port}{tls};\n        listen [::]:{port}{tls};\n");
        let file = directory.join("nginx.conf");
        let command = |addresses: [SocketAddr; 4]| {
            let listens = [(80, ""), (443, " ssl"), (1935, ""), (1936, " ssl")];
            let config =
                listens.iter().zip(addresses).fold(config.clone(), |config, ((port, tls), address)| {
                    replace_once(&config, &listen(*port, tls), &format!("listen {address}{tls};\n"))
                });
            std::fs::write(&file, config).unwrap();
            let mut command = Command::new(NGINX);
            command.args(["-e", "stderr", "-p"]).arg(&directory).arg("-c").arg(&file);
            command
        };
        let (process, addresses) = start(NGINX, &directory, "-t", command);
        Self::at(process, addresses, files)
    }

    /// `version` is how it says that it is to send a header.
    fn haproxy(relay: &Relay, version: &str) -> Self {
        let directory = relay.dir().join("haproxy");
        let files = Self::directory_with_certificate(&directory);
        let pair = [&files.certificate, &files.key].map(|file| std::fs::read(file).unwrap()).concat();
        let pem = directory.join("relay.pem");
        std::fs::write(&pem, pair).unwrap();
        let own_user = "    chroot /var/lib/haproxy\n    user haproxy\n    group haproxy\n";
        let is_root = rustix::process::geteuid().is_root();
        let config = changed(
            "behind-haproxy/haproxy.cfg",
            &[
                (own_user, if is_root { own_user } else { "" }),
                // The test may open fewer files.
                ("maxconn 20000", "maxconn 500"),
                ("127.0.0.1:8080", &relay.http_address().to_string()),
                ("127.0.0.1:1940", &relay.address().to_string()),
                // Checked every 50 ms instead of every 2 s: the log is to stay silent about that.
                ("check send-proxy-v2", &format!("check inter 50ms {version}")),
            ],
        );
        let config = config.replace("/etc/haproxy/relay.pem", pem.to_str().unwrap());
        let tls = format!(" ssl crt {}", pem.display());
        let file = directory.join("haproxy.cfg");
        let command = |addresses: [SocketAddr; 4]| {
            let binds = [(80, ""), (443, &*tls), (1935, ""), (1936, &*tls)];
            let config =
                binds.iter().zip(addresses).fold(config.clone(), |config, ((port, tls), address)| {
                    let both = format!("bind :{port}{tls}\n    bind [::]:{port} v6only{tls}\n");
                    replace_once(&config, &both, &format!("bind {address}{tls}\n"))
                });
            std::fs::write(&file, config).unwrap();
            let mut command = Command::new(HAPROXY);
            command.arg("-db").arg("-f").arg(&file);
            command
        };
        let (process, addresses) = start(HAPROXY, &directory, "-c", command);
        Self::at(process, addresses, files)
    }

    fn directory_with_certificate(directory: &Path) -> DevelopmentCertificate {
        std::fs::create_dir(directory).unwrap();
        let names = ["relay.example", "127.0.0.1"].map(str::to_owned).to_vec();
        DevelopmentCertificate::make(directory, names).unwrap()
    }

    fn at(process: Process, addresses: [SocketAddr; 4], files: DevelopmentCertificate) -> Self {
        let [http, https, rtmp, rtmps] = addresses;
        Self { _process: process, http, https, rtmp, rtmps, files }
    }

    /// Over HTTP: frame by frame, with the client's address, and the page over HTTPS.
    fn expect_everything(&self, relay: &Relay) {
        expect_audio_frame_by_frame(relay, self.rtmp, self.http);
        expect_websocket_frame_by_frame(relay, self.rtmp, self.http);
        self.expect_viewers_from_their_own_addresses(relay);

        let page = ask_at(self.http, "GET", "/?stream=live/a", "Host: relay.example\r\n");
        assert_eq!((page.status, page.header("location")), (308, "https://relay.example/?stream=live/a"));
        let mut curl = self.curl("/?stream=live/a");
        curl.args(["-o", "/dev/null", "-w", "%{http_code}"]);
        let mut curl = Process::start_logged(curl, &relay.dir().join("page"));
        curl.expect_success(SOON);
        assert_eq!(curl.output(), "200");
        self.expect_events_at_once(relay);
    }

    fn expect_events_at_once(&self, relay: &Relay) {
        let mut curl = self.curl("/api/v1/events");
        curl.args(["--no-buffer", "--include", "--oauth2-bearer", &relay.token()]);
        let events = Process::start_logged(curl, &relay.dir().join("events"));
        let expect = |what: &str| eventually(what, SOON, || events.output().contains(what).then_some(()));
        expect("200");
        for number in 0..3 {
            let name = format!("live/event{number}");
            let _publisher = publish_audio(self.rtmp, &name);
            expect(&name);
        }
    }

    /// A curl that asks for this over HTTPS.
    fn curl(&self, path: &str) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--cacert"]).arg(&self.files.authority);
        curl.args(["--connect-to", &format!("relay.example:443:{}", self.https)]);
        curl.arg(format!("https://relay.example{path}"));
        curl
    }

    /// What a client has written itself is farther left, and the header that is not configured is ignored.
    fn expect_viewers_from_their_own_addresses(&self, relay: &Relay) {
        let _publisher = publish_audio(self.rtmp, NAME);
        // From another address of this machine than the proxy's.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 66], 0)).into()).unwrap();
        socket.connect(&self.http.into()).unwrap();
        let mut viewer = Http { socket: socket.into(), unread: Vec::new() };
        viewer.socket.set_read_timeout(Some(SOON)).unwrap();
        viewer.say(&format!(
            "GET /{NAME}.flv?key=a-secret-key HTTP/1.1\r\nHost: viewers.example\r\nUser-Agent: x\r\n\
             X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.2\r\n\r\n"
        ));
        assert_eq!(viewer.head().status, 200);
        relay.wait_for_log(&["playing", NAME, "peer=127.0.0.66:0 "]);
        assert!(!relay.log().iter().any(|line| line.contains("192.0.2.")));
    }

    /// A real publisher over RTMPS, and real players over RTMP and HTTPS; fails the test unless the relay knows them by
    /// their own addresses.
    fn expect_rtmp_from_the_clients_themselves(&self, relay: &Relay) {
        let name = "live/show";
        let mut ffmpeg = self.ffmpeg("-re", Clip::AUDIO_VIDEO.seconds(20).file().to_str().unwrap());
        ffmpeg.args(["-c", "copy", "-f", "flv", "-tls_verify", "1", "-ca_file"]).arg(&self.files.authority);
        ffmpeg.arg(format!("rtmps://{}/{name}", self.rtmps));
        let _publisher = Process::start_logged(ffmpeg, &relay.dir().join("publisher.log"));
        relay.wait_for_publisher(name);
        let player = Rtmp::started_through(self.rtmp, "", Role::Play, name);
        let itself = player.local_address().to_string();
        relay.wait_for_log(&["playing", name, &format!("peer={itself} ")]);
        let operator = format!("{}X-Forwarded-Proto: https\r\n", bearer(&relay.token()));
        let players = ask_at(relay.http_address(), "GET", "/api/v1/players", &operator).json();
        let peers = players["players"].as_array().unwrap().iter().map(|player| &player["peer"]);
        assert!(peers.clone().any(|peer| *peer == *itself), "{players}");

        for (url, options) in [
            (format!("rtmp://{}/{name}", self.rtmp), ""),
            (format!("https://{}/{name}.flv", self.https), "-tls_verify"),
        ] {
            let mut record = self.ffmpeg(options, &url);
            record.args(["-t", "1", "-c", "copy", "-f", "null", "-"]);
            Process::start_logged(record, &relay.dir().join("player.log")).expect_success(SOON);
        }
        let log = relay.log();
        let checks = log
            .iter()
            .filter(|line| line.contains("closed") && line.contains("received_bytes=0 sent_bytes=0"));
        assert_eq!(checks.collect::<Vec<_>>(), [""; 0], "checks are not logged");
    }

    /// An FFmpeg that reads this, with `-re` or with `-tls_verify`.
    fn ffmpeg(&self, option: &str, input: &str) -> Command {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-v", "error"]);
        match option {
            "-tls_verify" => ffmpeg.args([option, "1", "-ca_file"]).arg(&self.files.authority),
            "" => &mut ffmpeg,
            _ => ffmpeg.arg(option),
        };
        ffmpeg.args(["-i", input]);
        ffmpeg
    }
}

/// An nginx that forwards everything and adds no header.
pub const ONE_LINE: &str = "server {\nlisten 80;\nlocation / { proxy_pass http://127.0.0.1:8080; }\n}\n";

/// An nginx with these servers, at an address of its own instead of port 80, for this relay.
pub fn start_nginx(relay: &Relay, servers: &str) -> (Process, SocketAddr) {
    let directory = relay.dir().join("nginx");
    std::fs::create_dir(&directory).unwrap();
    let config = format!(
        "daemon off; master_process off; pid {}/pid; error_log stderr;\nevents {{}}\nhttp {{\n\
         access_log off;\n{}{servers}}}\n",
        directory.display(),
        temporary_folders(&directory)
    );
    let config = replace_once(&config, "127.0.0.1:8080", &relay.http_address().to_string());
    let file = directory.join("nginx.conf");
    let command = |[address]: [SocketAddr; 1]| {
        std::fs::write(&file, replace_once(&config, "listen 80;", &format!("listen {address};"))).unwrap();
        let mut command = Command::new(NGINX);
        command.arg("-e").arg("stderr").arg("-p").arg(&directory).arg("-c").arg(&file);
        command
    };
    let (process, [address]) = start(NGINX, &directory, "-t", command);
    (process, address)
}

/// Where nginx is to write what it writes on its own.
fn temporary_folders(directory: &Path) -> String {
    ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{kind};\n", directory.display()))
        .concat()
}

/// Starts a proxy that listens on the addresses that its command is for. With `check` the command looks at its
/// configuration alone.
fn start<const N: usize>(
    program: &str,
    directory: &Path,
    check: &str,
    command: impl Fn([SocketAddr; N]) -> Command,
) -> (Process, [SocketAddr; N]) {
    assert!(Path::new(program).exists(), "{}", missing(program));
    // Another process may take a port meanwhile: then try others.
    for _ in 0..10 {
        let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
        drop(listeners);
        let mut checked = command(addresses);
        checked.arg(check);
        Process::start_logged(checked, &directory.join("check.log")).expect_success(SOON);
        let mut proxy = Process::start_logged(command(addresses), &directory.join("log"));
        let is_up = eventually("the proxy listens or exits", SOON, || {
            match addresses.iter().all(|address| TcpStream::connect(address).is_ok()) {
                true => Some(true),
                false => proxy.wait(Duration::ZERO).map(|_| false),
            }
        });
        if is_up {
            return (proxy, addresses);
        }
        let output = proxy.output();
        assert!(output.contains("in use") || output.contains("cannot bind"), "{output}");
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
