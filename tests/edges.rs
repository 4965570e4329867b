//! The built relay against peers at the edge of the protocol, over bare sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use fanfare::flv::{Frame, FrameKind};
use fanfare::rtmp::chunk::OUT_CHUNK_SIZE;
use fanfare::rtmp::client::{Client, ClientConfig, Event, Role};
use fanfare::rtmp::command::Command;
use fanfare::rtmp::message::{Control, UserControl};
use support::{Relay, SOON};

mod support;

#[test]
fn a_peer_that_sends_requests_and_never_reads_is_disconnected() {
    let relay = Relay::start("");
    let mut peer = Peer::started(&relay, Role::Play, "live/s");
    // More responses than both sockets can buffer.
    let request = Control::User(UserControl::PingRequest(7)).to_bytes();
    let mut ping = vec![2, 0, 0, 0, 0, 0, request.len() as u8, 4, 0, 0, 0, 0];
    ping.extend(&request);
    let many = ping.repeat(4096);
    let error = (0..4096).find_map(|_| peer.socket.write_all(&many).err());
    assert!(error.is_some(), "the relay read 300 MB of requests while none of its responses were read");
    relay.wait_for_log(&["closed", "answers not read"]);
    assert!(relay.resident_bytes() < 128 << 20);
}

#[test]
fn a_refused_publisher_that_goes_on_sending_gets_the_reason_and_an_orderly_close() {
    let relay = Relay::start("");
    let _first = Peer::started(&relay, Role::Publish, "live/s");
    let mut second = Peer::new(&relay, Role::Publish, "live/s");
    let status = second.until(|event| match event {
        Event::Status(status) => Some(status.code.clone()),
        _ => None,
    });
    assert_eq!(status, "NetStream.Publish.BadName");
    second.socket.write_all(&[0; 100_000]).unwrap();
    second.socket.shutdown(Shutdown::Write).unwrap();
    // An orderly close, not a reset.
    let mut rest = Vec::new();
    second.socket.read_to_end(&mut rest).unwrap();
    relay.wait_for_log(&["closed", "refused"]);
}

#[test]
fn the_second_of_two_publishers_takes_over_and_the_first_is_notified() {
    let relay = Relay::start("[publish]\non_second_publisher = \"takeover\"\n");
    let mut first = Peer::started(&relay, Role::Publish, "live/s");
    let mut second = Peer::started(&relay, Role::Publish, "live/s");
    let status = first.until(|event| match event {
        Event::Status(status) if status.level == "error" => Some(status.code.clone()),
        _ => None,
    });
    assert_eq!(status, "NetStream.Publish.BadName");
    let mut player = Peer::started(&relay, Role::Play, "live/s");
    let payload = Bytes::from_static(b"\x17\x01\0\0\0key").into();
    second.client.send_frame(&Frame { kind: FrameKind::Video, timestamp_ms: 0, payload });
    second.flush();
    player.until(|event| matches!(event, Event::Frame(_)).then_some(()));
}

#[test]
fn a_second_play_leaves_no_message_of_the_first_half_sent() {
    let relay = Relay::start("");
    let [mut a, mut b] = ["live/a", "live/b"].map(|name| Peer::started(&relay, Role::Publish, name));
    let mut player = Peer::started(&relay, Role::Play, "live/a");
    let mut large = b"\x17\x01\0\0\0".to_vec();
    large.resize(12 << 20, b'a');
    a.send_video(large);
    // More than both sockets can buffer, and partly received.
    while player.socket.peek(&mut [0; 4096]).unwrap() < 4096 {}
    player.client.send_command(&Command::call("play", 0.0, ["b".into()]));
    player.flush();
    relay.wait_for_players("live/b", 1);
    b.send_video(b"\x17\x01\0\0\0b".to_vec());
    let frame = |event: &Event| match event {
        Event::Frame(frame) => Some(frame.payload.len()),
        _ => None,
    };
    assert_eq!([player.until(frame), player.until(frame)], [12 << 20, 6]);
}

#[test]
fn a_response_to_a_player_waits_for_the_end_of_the_message_that_is_half_sent() {
    let relay = Relay::start("");
    let mut publisher = Peer::started(&relay, Role::Publish, "live/s");
    let mut player = Peer::started(&relay, Role::Play, "live/s");
    let mut large = b"\x17\x01\0\0\0".to_vec();
    large.resize(12 << 20, b'a');
    publisher.send_video(large.clone());
    while player.socket.peek(&mut [0; 4096]).unwrap() < 4096 {}
    let request = Command::call("getStreamLength", 9.0, ["s".into()]);
    (0..50).for_each(|_| player.client.send_command(&request));
    player.flush();
    let payload = player.until(|event| match event {
        Event::Frame(frame) => Some(frame.payload.to_bytes()),
        _ => None,
    });
    assert!(payload == large, "every byte is the publisher's");
}

/// A client session on a blocking socket.
struct Peer {
    client: Client,
    socket: TcpStream,
}

impl Peer {
    fn new(relay: &Relay, role: Role, name: &str) -> Self {
        let socket = TcpStream::connect(relay.address()).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        let url = relay.url(name).parse().unwrap();
        let config = ClientConfig { url, role, chunk_size: OUT_CHUNK_SIZE, fmle: false };
        Self { client: Client::new(config, 0, [3; 32]), socket }
    }

    /// A peer that publishes or plays.
    fn started(relay: &Relay, role: Role, name: &str) -> Self {
        let mut peer = Self::new(relay, role, name);
        peer.until(|event| matches!(event, Event::Started).then_some(()));
        peer
    }

    fn send_video(&mut self, payload: Vec<u8>) {
        let payload = Bytes::from(payload).into();
        self.client.send_frame(&Frame { kind: FrameKind::Video, timestamp_ms: 0, payload });
        self.flush();
    }

    /// Sends the client's pending bytes; its other events are discarded.
    fn flush(&mut self) {
        while let Some(event) = self.client.poll() {
            if let Event::Send(bytes) = event {
                self.socket.write_all(&bytes).unwrap();
            }
        }
    }

    /// Reads until `wanted` returns a value for an event.
    fn until<T>(&mut self, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let mut buffer = vec![0; 64 << 10];
        loop {
            while let Some(event) = self.client.poll() {
                if let Event::Send(bytes) = &event {
                    self.socket.write_all(bytes).unwrap();
                }
                if let Some(found) = wanted(&event) {
                    return found;
                }
            }
            match self.socket.read(&mut buffer) {
                Ok(0) => panic!("the relay closed"),
                Ok(n) => self.client.receive(Bytes::copy_from_slice(&buffer[..n]), 0).unwrap(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}
