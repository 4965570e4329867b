//! Control messages: pings, windows, acknowledgements.

use super::*;

#[test]
fn a_ping_is_answered_on_any_chunk_stream() {
    let mut peer = Peer::connected();
    let ping = Control::User(UserControl::PingRequest(77)).to_bytes();
    for chunk_stream_id in [2, 3, 63, 64, 65599] {
        let ping = Message { chunk_stream_id, ..message(type_id::USER_CONTROL, 0, &ping) };
        assert_eq!(peer.try_message(&ping).unwrap(), ["User(PingResponse(77))"]);
    }
}

#[test]
fn unknown_user_control_events_are_ignored() {
    let mut peer = Peer::connected();
    assert_eq!(peer.message(type_id::USER_CONTROL, 0, &[0, 0x1a]), NOTHING);
    assert_eq!(peer.message(type_id::USER_CONTROL, 0, &[0, 3, 0, 0, 0, 1, 0, 0, 1, 0]), NOTHING);
    assert_eq!(peer.message(type_id::USER_CONTROL, 0, &[0, 1, 0, 0, 0, 1]), NOTHING);
}

#[test]
fn a_ping_waits_for_connect() {
    let mut peer = Peer::new();
    peer.session.ping(1000);
    assert_eq!(peer.transcript(), NOTHING);
    let mut peer = Peer::connected();
    peer.session.ping(1000);
    assert_eq!(peer.transcript(), ["User(PingRequest(1000))"]);
}

#[test]
fn a_ping_response_without_a_request_changes_nothing() {
    let mut peer = Peer::connected();
    peer.control(Control::User(UserControl::PingResponse(u32::MAX - 5)));
    peer.control(Control::User(UserControl::PingResponse(1 << 31)));
    assert!(peer.session.round_trip_ms().is_none_or(|ms| ms < 10));
}

#[test]
fn a_bandwidth_that_we_did_not_announce_is_answered_by_a_window() {
    let mut peer = Peer::connected();
    let answer = peer.control(Control::SetPeerBandwidth(5_000_000, LimitType::Dynamic));
    assert_eq!(answer, ["WindowAcknowledgementSize(5000000)"]);
    assert_eq!(peer.control(Control::SetPeerBandwidth(5_000_000, LimitType::Dynamic)), NOTHING);
}

#[test]
fn a_tiny_window_does_not_cause_an_acknowledgement_per_byte() {
    let mut peer = Peer::publishing();
    peer.control(Control::WindowAcknowledgementSize(1));
    let mut wire = Vec::new();
    peer.encoder.encode(&message(type_id::VIDEO, 0, &[7; 40_000]), &mut wire);
    let mut acknowledgements = 0;
    for byte in &wire {
        let lines = peer.receive(vec![*byte]).unwrap();
        acknowledgements += lines.iter().filter(|line| line.starts_with("Acknowledgement")).count();
    }
    assert!((5..=10).contains(&acknowledgements), "{acknowledgements}");
}

#[test]
fn a_window_of_0_means_no_acknowledgements() {
    let mut peer = Peer::publishing();
    peer.control(Control::WindowAcknowledgementSize(0));
    for _ in 0..100 {
        let lines = peer.message(type_id::VIDEO, 0, &vec![7; 100_000]);
        assert!(lines.iter().all(|line| line.starts_with("Video")));
    }
}

#[test]
fn a_peer_that_announces_no_window_is_acknowledged_as_well() {
    let mut peer = Peer::publishing();
    let lines: Vec<_> = (0..30).flat_map(|_| peer.message(type_id::VIDEO, 0, &vec![7; 100_000])).collect();
    assert_eq!(lines.iter().filter(|line| line.starts_with("Acknowledgement")).count(), 1);
}

#[test]
fn the_acknowledgement_wraps_at_32_bits() {
    let mut peer = Peer::publishing();
    peer.control(Control::WindowAcknowledgementSize(5000));
    peer.session.link.skip_received((1 << 32) - 6000);
    let before = peer.session.received_bytes();
    assert!(before < 1 << 32);
    let lines = peer.message(type_id::VIDEO, 0, &vec![7; 10_000]);
    let after = peer.session.received_bytes();
    assert!(after > 1 << 32);
    let acknowledgement = format!("Acknowledgement({})", after - (1 << 32));
    assert_eq!(lines, [format!("Video 0 {}", "\\u{7}".repeat(10_000)), acknowledgement]);
}

#[test]
fn the_peer_s_acknowledgements_wrap_and_are_never_fatal() {
    let mut peer = Peer::playing();
    for (number, bytes) in
        [(1000, 1000), (u32::MAX, 0xffff_ffff), (999, (1 << 32) + 999), (999, (1 << 32) + 999)]
    {
        assert_eq!(peer.control(Control::Acknowledgement(number)), NOTHING);
        assert_eq!(peer.session.peer_acknowledged_bytes(), bytes);
    }
}
