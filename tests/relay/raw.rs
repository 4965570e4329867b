//! Hand-made peers: bytes that no client sends.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use bytes::Bytes;
use fanfare::rtmp::chunk::{Encoder, Message};
use fanfare::rtmp::command::Command;
use fanfare::rtmp::message::type_id;

use crate::support::{Relay, SOON};

/// Sends `bytes`, half-closes and waits for the relay to close. Returns the peer's own address.
pub fn send_and_wait_for_close(relay: &Relay, bytes: &[u8]) -> SocketAddr {
    let mut socket = connect_to(relay);
    let address = socket.local_addr().unwrap();
    // The relay may close before it has read everything.
    let _ = socket.write_all(bytes);
    let _ = socket.shutdown(Shutdown::Write);
    let mut rest = Vec::new();
    match socket.read_to_end(&mut rest) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("the relay keeps {address} open"),
        _ => address,
    }
}

/// A connection on which nothing has been sent.
pub fn connect_to(relay: &Relay) -> TcpStream {
    let socket = TcpStream::connect(relay.address()).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

/// The one log line about the end of this peer's connection.
pub fn closing_line(relay: &Relay, peer: SocketAddr) -> String {
    let mut lines = relay.wait_for_logs(1, &["closed", &format!("peer={peer} ")], SOON);
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

/// C0, C1 and C2, plain.
pub fn handshake() -> Vec<u8> {
    let mut bytes = vec![0; 1 + 2 * 1536];
    bytes[0] = 3;
    bytes
}

/// The connect command, to the application `live`.
pub fn connect() -> Vec<u8> {
    let mut connect = Command::call("connect", 1.0, []);
    connect.object = fanfare::amf0::Value::Object(vec![("app".to_owned(), "live".into())]);
    let mut bytes = Vec::new();
    let message = Message {
        chunk_stream_id: 3,
        timestamp_ms: 0,
        message_type_id: type_id::COMMAND_AMF0,
        message_stream_id: 0,
        payload: Bytes::from(connect.to_bytes()).into(),
    };
    Encoder::new().encode(&message, &mut bytes);
    bytes
}

/// Set Chunk Size, valid or not.
pub fn set_chunk_size(raw: u32) -> Vec<u8> {
    [message_header(2, 4, type_id::SET_CHUNK_SIZE), raw.to_be_bytes().to_vec()].concat()
}

/// A type-0 header at time 0 (RTMP 1.0 §5.3.1.2.1).
pub fn message_header(chunk_stream_id: u8, length: u32, message_type_id: u8) -> Vec<u8> {
    let mut header = vec![chunk_stream_id, 0, 0, 0];
    header.extend_from_slice(&length.to_be_bytes()[1..]);
    header.push(message_type_id);
    header.extend_from_slice(&1u32.to_le_bytes());
    header
}
