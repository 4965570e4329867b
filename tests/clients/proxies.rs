//! The relay behind a real nginx and HAProxy. With nginx's usual one-line `proxy_pass`: what clients without a token may
//! do through it, and that viewers and operators can do everything they could before. With the samples of
//! `docs/behind-a-proxy.md`: that streams and events arrive frame by frame.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fanfare::flv::FrameKind;
use fanfare::rtmp::client::Role;

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
    expect_audio_frame_by_frame(&relay, proxy);
    expect_events_at_once(&relay, proxy);
}

#[test]
fn everything_comes_through_the_nginx_of_the_docs_at_once() {
    let relay = Relay::start("");
    let (_nginx, proxy) = start_nginx(&relay, &sample("nginx"));
    expect_audio_frame_by_frame(&relay, proxy);
    expect_events_at_once(&relay, proxy);
    expect_websocket_frame_by_frame(&relay, proxy);
}

#[test]
fn everything_comes_through_the_haproxy_of_the_docs_at_once() {
    let relay = Relay::start("");
    let (_haproxy, proxy) = start_haproxy(&relay, &sample("haproxy"));
    expect_audio_frame_by_frame(&relay, proxy);
    expect_events_at_once(&relay, proxy);
    expect_websocket_frame_by_frame(&relay, proxy);
}

/// Audio frames of 20 ms at 8 kbit/s, each sent when the one before has arrived: a proxy that waits for a full buffer
/// forwards none.
const AUDIO_FRAMES: u32 = 50;
/// The limit for half of them. A proxy that leaves small segments to the kernel takes 200 ms for each.
const USUAL_DELAY: Duration = Duration::from_millis(150);

fn audio_frame(number: u32) -> Vec<u8> {
    [b"\xaf\x01".as_slice(), format!("frame {number:012}").as_bytes()].concat()
}

fn expect_audio_frame_by_frame(relay: &Relay, proxy: SocketAddr) {
    let name = "live/audio";
    let mut publisher = Rtmp::publishing_audio(relay, name);
    relay.wait_for_publisher(name);
    let mut viewer = Http::connect(proxy);
    viewer.say(&format!("GET /{name}.flv HTTP/1.1\r\nHost: viewers.example\r\nUser-Agent: x\r\n\r\n"));
    assert_eq!(viewer.head().status, 200);
    expect_frames(&mut publisher, &mut viewer);
}

fn expect_websocket_frame_by_frame(relay: &Relay, proxy: SocketAddr) {
    let name = "live/websocket";
    let mut publisher = Rtmp::publishing_audio(relay, name);
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

fn expect_events_at_once(relay: &Relay, proxy: SocketAddr) {
    let mut events = Http::connect(proxy);
    let token = relay.token();
    events.say(&format!(
        "GET /api/v1/events HTTP/1.1\r\nHost: viewers.example\r\nAuthorization: Bearer {token}\r\n\r\n"
    ));
    assert_eq!(events.head().status, 200);
    for number in 0..3 {
        let name = format!("live/event{number}");
        let _publisher = Rtmp::publishing(relay, &name);
        events.until(name.as_bytes());
    }
}

/// The sample for this proxy in the docs: the first one is for HTTP, the second for RTMP.
fn sample(language: &str) -> String {
    samples(language).remove(0)
}

fn samples(language: &str) -> Vec<String> {
    let docs = include_str!("../../docs/behind-a-proxy.md");
    let fence = format!("```{language}\n");
    docs.split(&fence).skip(1).map(|rest| rest.split_once("```").expect("it ends").0.to_owned()).collect()
}

/// A relay that expects PROXY headers for RTMP, configured as the docs say.
fn start_behind_proxy() -> Relay {
    let toml =
        samples("toml").into_iter().find(|it| it.contains("listeners")).expect("the docs have a sample");
    let toml = toml.replace("127.0.0.1:1936", "<rtmp>");
    Relay::start(&toml)
}

/// A real publisher and a real player through this proxy; fails the test unless the relay knows them by their own
/// addresses.
fn expect_rtmp_from_clients_themselves(relay: &Relay, proxy: SocketAddr) {
    let url = format!("rtmp://{proxy}/{NAME}");
    let clip = Clip::AUDIO_VIDEO.seconds(20).file();
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "warning", "-re", "-i"]).arg(clip).args(["-c", "copy", "-f", "flv", &url]);
    let _publisher = Process::start_logged(ffmpeg, &relay.dir().join("publisher.log"));
    relay.wait_for_publisher(NAME);
    let player = Rtmp::started_through(proxy, "", Role::Play, NAME);
    let itself = player.local_address().to_string();
    relay.wait_for_log(&["playing", NAME, &format!("peer={itself} ")]);
    let operator = bearer(&relay.token());
    let players = ask_at(relay.http_address(), "GET", "/api/v1/players", &operator).json();
    assert_eq!(players["players"][0]["peer"], itself);
    let mut record = Command::new("ffmpeg");
    record.args(["-nostdin", "-v", "error", "-i", &url, "-t", "2", "-c", "copy", "-f", "null", "-"]);
    Process::start_logged(record, &relay.dir().join("player.log")).expect_success(SOON);
    let own = [relay.address().to_string()];
    assert!(!relay.log().iter().any(|line| own.iter().any(|own| line.contains(&format!("peer={own}")))));
}

#[test]
fn rtmp_through_the_haproxy_of_the_docs_comes_from_the_clients_themselves_in_either_version() {
    let sample = samples("haproxy").remove(1);
    for version in ["send-proxy-v2", "send-proxy"] {
        let relay = start_behind_proxy();
        let directory = relay.dir().join("haproxy");
        std::fs::create_dir(&directory).unwrap();
        // Checked every 50 ms instead of every 2 s: the log is to stay silent about that.
        let server = format!("check inter 50ms {version}\n");
        let config = replace_once(&sample, "check send-proxy-v2\n", &server);
        let config = replace_once(&config, "127.0.0.1:1936", &relay.address().to_string());
        let file = directory.join("haproxy.cfg");
        let (_haproxy, proxy) = start(HAPROXY, &directory, |address| {
            std::fs::write(&file, replace_once(&config, "bind :1935\n", &format!("bind {address}\n")))
                .unwrap();
            let mut command = Command::new(HAPROXY);
            command.arg("-db").arg("-f").arg(&file);
            command
        });
        expect_rtmp_from_clients_themselves(&relay, proxy);
        let checks = relay
            .log()
            .into_iter()
            .filter(|line| line.contains("closed") && line.contains("received_bytes=0"));
        assert_eq!(checks.collect::<Vec<_>>(), [""; 0], "{version}");
    }
}

#[test]
fn rtmp_through_the_nginx_of_the_docs_comes_from_the_clients_themselves() {
    let relay = start_behind_proxy();
    let directory = relay.dir().join("nginx");
    std::fs::create_dir(&directory).unwrap();
    let here = directory.display();
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    let load = if Path::new(module).exists() { format!("load_module {module};\n") } else { String::new() };
    let sample = samples("nginx").remove(1);
    let config = format!(
        "{load}daemon off; master_process off; pid {here}/pid; error_log stderr;\nevents {{}}\n{sample}"
    );
    let config = replace_once(&config, "127.0.0.1:1936", &relay.address().to_string());
    let file = directory.join("nginx.conf");
    let (_nginx, proxy) = start(NGINX, &directory, |address| {
        std::fs::write(&file, replace_once(&config, "listen 1935;", &format!("listen {address};"))).unwrap();
        let mut command = Command::new(NGINX);
        command.arg("-e").arg("stderr").arg("-p").arg(&directory).arg("-c").arg(&file);
        command
    });
    expect_rtmp_from_clients_themselves(&relay, proxy);
}

/// What the client has written itself is farther left, and the header that is not configured is ignored.
#[test]
fn viewers_through_the_http_proxies_of_the_docs_come_from_themselves() {
    let config = "proxy.trusted = ['127.0.0.1/32']\n";
    for program in ["nginx", "haproxy"] {
        let relay = Relay::start(config);
        let (_process, proxy) = match program {
            "nginx" => start_nginx(&relay, &sample("nginx")),
            _ => start_haproxy(&relay, &sample("haproxy")),
        };
        let mut publisher = Rtmp::publishing(&relay, NAME);
        publisher.key_frame(b"frame");
        // From another address of this machine than the proxy's.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 66], 0)).into()).unwrap();
        socket.connect(&proxy.into()).unwrap();
        let mut viewer = Http { socket: socket.into(), unread: Vec::new() };
        viewer.socket.set_read_timeout(Some(SOON)).unwrap();
        viewer.say(&format!(
            "GET /{NAME}.flv HTTP/1.1\r\nHost: viewers.example\r\nUser-Agent: x\r\n\
             X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.2\r\n\r\n"
        ));
        assert_eq!(viewer.head().status, 200);
        relay.wait_for_log(&["playing", NAME, "peer=127.0.0.66:0 "]);
        assert!(!relay.log().iter().any(|line| line.contains("192.0.2.")), "{program}");
    }
}

/// An nginx that forwards everything and adds no header.
pub const ONE_LINE: &str = "server {\nlisten 80;\nlocation / { proxy_pass http://127.0.0.1:8080; }\n}\n";

/// An nginx with these servers, at an address of its own instead of port 80, for this relay.
pub fn start_nginx(relay: &Relay, servers: &str) -> (Process, SocketAddr) {
    let directory = relay.dir().join("nginx");
    std::fs::create_dir(&directory).unwrap();
    let here = directory.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {here}/{kind};\n"))
        .concat();
    let config = format!(
        "daemon off; master_process off; pid {here}/pid; error_log stderr;\nevents {{}}\nhttp {{\n\
         access_log off;\n{temporary}{servers}}}\n"
    );
    let config = replace_once(&config, "127.0.0.1:8080", &relay.http_address().to_string());
    let file = directory.join("nginx.conf");
    start(NGINX, &directory, |address| {
        std::fs::write(&file, replace_once(&config, "listen 80;", &format!("listen {address};"))).unwrap();
        let mut command = Command::new(NGINX);
        command.arg("-e").arg("stderr").arg("-p").arg(&directory).arg("-c").arg(&file);
        command
    })
}

/// A HAProxy with this configuration, at an address of its own instead of port 80, for this relay.
fn start_haproxy(relay: &Relay, config: &str) -> (Process, SocketAddr) {
    let directory = relay.dir().join("haproxy");
    std::fs::create_dir(&directory).unwrap();
    let config = replace_once(config, "127.0.0.1:8080", &relay.http_address().to_string());
    let file = directory.join("haproxy.cfg");
    start(HAPROXY, &directory, |address| {
        std::fs::write(&file, replace_once(&config, "bind :80\n", &format!("bind {address}\n"))).unwrap();
        let mut command = Command::new(HAPROXY);
        command.arg("-db").arg("-f").arg(&file);
        command
    })
}

/// Starts a proxy that listens on the address that its command is for.
fn start(program: &str, directory: &Path, command: impl Fn(SocketAddr) -> Command) -> (Process, SocketAddr) {
    assert!(Path::new(program).exists(), "{}", missing(program));
    // Another process may take the port meanwhile: then try another one.
    for _ in 0..10 {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut proxy = Process::start_logged(command(address), &directory.join("log"));
        let is_up = eventually("the proxy listens or exits", SOON, || match TcpStream::connect(address) {
            Ok(_) => Some(true),
            Err(_) => proxy.wait(Duration::ZERO).map(|_| false),
        });
        if is_up {
            return (proxy, address);
        }
        let output = proxy.output();
        assert!(output.contains("in use") || output.contains("cannot bind"), "{output}");
    }
    panic!("no port was free");
}

fn replace_once(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from:?} in {text}");
    text.replace(from, to)
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
