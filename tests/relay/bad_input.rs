//! Peers that violate the protocol: each is disconnected with a log line, and no other client is affected.

use std::io::Write;

use fanfare::rtmp::message::type_id;

use crate::bystanders::Bystanders;
use crate::crowd::Crowd;
use crate::frames::Source;
use crate::raw::{
    closing_line, connect, connect_to, handshake, message_header, send_and_wait_for_close, set_chunk_size,
};
use crate::support::Relay;

#[test]
fn a_peer_that_speaks_another_protocol_is_closed_with_one_log_line_that_names_it() {
    let relay = Relay::start("");
    let mut bystanders = Bystanders::new(&relay);
    for (bytes, text) in [
        (&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], "HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "TLS"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak RTMP"),
        (b"\x06\x00\x00\x00", "encrypted"),
        (b"\xFF\xFE\xFD", "0xff"),
    ] {
        let peer = send_and_wait_for_close(&relay, bytes);
        let line = closing_line(&relay, peer);
        assert!(line.contains(text) && line.contains("byte 0"), "{line}");
        bystanders.go_on();
    }
    bystanders.finish();
}

#[test]
fn random_bytes_end_their_connection_and_nothing_else() {
    let relay = Relay::start("");
    let mut bystanders = Bystanders::new(&relay);
    let mut state = 1u64;
    let mut violations = 0;
    for round in 0..60 {
        let random: Vec<u8> = (0..6000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        // At the start, after a handshake, after a connect.
        let mut bytes = match round % 3 {
            0 => Vec::new(),
            1 => handshake(),
            _ => [handshake(), connect()].concat(),
        };
        let good = bytes.len();
        bytes.extend_from_slice(&random);
        let peer = send_and_wait_for_close(&relay, &bytes);
        let line = closing_line(&relay, peer);
        if line.contains("violation") {
            violations += 1;
            let position = line.split("byte ").nth(1).and_then(|rest| rest.split(':').next());
            let position: usize =
                position.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{line}"));
            assert!((good..=bytes.len()).contains(&position), "{line}");
        }
        if round % 10 == 0 {
            bystanders.go_on();
        }
    }
    assert!(violations > 30, "random bytes passed as RTMP: {violations} violations");
    bystanders.finish();
}

#[test]
fn a_handshake_that_breaks_off_is_logged_as_closed_by_peer() {
    // Of one that sends nothing only debug says so.
    let relay = Relay::start("log.level = 'debug'");
    let mut bystanders = Bystanders::new(&relay);
    let files = relay.open_sockets();
    for len in [0, 1, 100, 1536, 1537, 1538, 3000, 3073] {
        let peer = send_and_wait_for_close(&relay, &handshake()[..len]);
        let line = closing_line(&relay, peer);
        assert!(line.contains("closed_by_peer") && !line.contains("violation"), "{line}");
        bystanders.go_on();
    }
    assert!(relay.open_sockets() <= files, "closed connections left files open");
    bystanders.finish();
}

#[test]
fn an_announced_length_allocates_no_memory() {
    const MIB: u64 = 1 << 20;
    let relay = Relay::start("");
    let bystanders = Bystanders::new(&relay);
    let before = relay.resident_bytes();
    let mut open = Vec::new();
    for _ in 0..100 {
        let mut peer = connect_to(&relay);
        let mut bytes = [handshake(), connect(), set_chunk_size(1)].concat();
        // On each of ten chunk streams a message of 16 MB, of which one byte is sent.
        for chunk_stream_id in 10..20 {
            bytes.extend_from_slice(&message_header(chunk_stream_id, 0xFF_FFFF, type_id::VIDEO));
            bytes.push(0x17);
        }
        peer.write_all(&bytes).unwrap();
        open.push(peer);
    }
    // These exceed a limit; by the time they are closed, the others have been read.
    for _ in 0..8 {
        let mut bytes = [handshake(), connect(), set_chunk_size(1)].concat();
        for chunk_stream_id in 10..50 {
            bytes.extend_from_slice(&message_header(chunk_stream_id, 0xFF_FFFF, type_id::VIDEO));
            bytes.push(0x17);
        }
        let peer = send_and_wait_for_close(&relay, &bytes);
        let line = closing_line(&relay, peer);
        assert!(line.contains("violation") && line.contains("more than 16 chunk streams"), "{line}");
    }
    let grown = relay.resident_bytes().saturating_sub(before);
    assert!(grown < 24 * MIB, "16 GB announced and 1 kB sent left {} MiB in use", grown / MIB);
    bystanders.finish();
}

#[test]
fn a_publisher_that_violates_the_protocol_frees_its_name() {
    let relay = Relay::start("publish.publisher_grace = '1m'");
    let mut crowd = Crowd::new();
    let source = Source::small(1);
    let players = crowd.play_all(&relay, "live/a", 2);
    let publisher = crowd.publish(&relay, "live/a");
    crowd.begin(publisher, &source, &players);
    let peer = crowd[publisher].peer();
    crowd.send_bytes(publisher, &set_chunk_size(0));
    crowd.until("the publisher is disconnected", |crowd| crowd[publisher].is_closed);
    let line = closing_line(&relay, peer);
    assert!(line.contains("violation") && line.contains("a chunk size of 0"), "{line}");
    let second = crowd.publish(&relay, "live/a");
    crowd.send_frames(second, &source, 50..60);
    crowd.until_seen(&players, 59);
}
