//! Stream names, and the properties of `connect`.

use super::*;

#[test]
fn the_parameters_of_the_address_are_passed_on_unchanged() {
    for query in ["", "start=live", "start=yesterday&token=a%20b", "start"] {
        let mut peer = Peer::connected();
        let play = Command::call("play", 0.0, [Value::from(format!("key?{query}"))]).to_bytes();
        let mut wire = Vec::new();
        peer.encoder.encode(&message(type_id::COMMAND_AMF0, 0, &play), &mut wire);
        peer.session.receive(wire.into(), 0).unwrap();
        let Ok(Some(Output::Play(request))) = peer.session.poll() else { panic!("no play") };
        assert_eq!((request.message_stream_id, request.query.as_str()), (1, query));
    }
}

/// The value is AMF3, or of an unknown type.
#[test]
fn a_connect_with_an_unreadable_property_keeps_its_app() {
    for value in [&b"\x11\x0a\x0b\x01\x07foo\x06\x07bar\x01"[..], b"\x11\x04\x05", b"\x20\x01", b"\x04"] {
        let connect = b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0\x03";
        let (x, app) = ([b"\0\x01x", value].concat(), b"\0\x03app\x02\0\x04live");
        for properties in [[&x[..], app].concat(), [app, &x[..]].concat()] {
            for end in [&b"\0\0\x09"[..], b""] {
                let mut peer = Peer::new();
                let body = [connect, &properties[..], end].concat();
                peer.message(type_id::COMMAND_AMF0, 0, &body);
                assert_eq!(
                    peer.call("publish", 0.0, ["key".into()]),
                    ["Publish live/key"],
                    "{properties:02x?}"
                );
            }
        }
    }
}

#[test]
fn padded_or_truncated_commands_are_executed() {
    let mut peer = Peer::connected();
    let whole = Command::call("createStream", 2.0, []).to_bytes();
    for (given, padding) in
        [&b""[..], b"\0\0\0\0", b"\x09", b"\x03\0\x01a", b"\x11\x01"].into_iter().enumerate()
    {
        let lines = peer.message(type_id::COMMAND_AMF0, 0, &[&whole[..], padding].concat());
        assert_eq!(lines, [format!("_result 2 [Number({:?})] on 0", given as f64 + 1.0)]);
    }
    for name in ["releaseStream", "FCPublish", "getStreamLength"] {
        let cut = Command::call(name, 2.0, [Value::from("key")]).to_bytes();
        let lines = peer.message(type_id::COMMAND_AMF0, 0, &cut[..cut.len() - 1]);
        assert!(lines.last().is_some_and(|line| line.starts_with("_result 2")), "{name}: {lines:?}");
    }
    // The stream name is not guessed.
    let cut = Command::call("publish", 0.0, [Value::from("key")]).to_bytes();
    let error = peer.try_message(&message(type_id::COMMAND_AMF0, 0, &cut[..cut.len() - 1])).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Command(_)));
}

#[test]
fn with_an_empty_key_the_app_is_the_name() {
    for arguments in [vec!["".into()], vec![], vec![Value::Null]] {
        let mut peer = Peer::new();
        let mut connect = Command::call("connect", 1.0, []);
        connect.object = Value::object([("app", "live/key".into())]);
        peer.command(&connect);
        assert_eq!(peer.command(&Command::call("publish", 0.0, arguments)), ["Publish live/key"]);
    }
}

#[test]
fn a_lower_case_tcurl_replaces_an_empty_app() {
    let mut peer = Peer::new();
    let mut connect = Command::call("connect", 1.0, []);
    connect.object = Value::object([("tcurl", "rtmp://host/live".into())]);
    peer.command(&connect);
    assert_eq!(peer.call("play", 0.0, ["key".into()]), ["Play live/key"]);
}

#[test]
fn a_name_that_could_forge_a_log_line_is_refused() {
    let mut peer = Peer::connected();
    let lines = peer.call("publish", 0.0, ["a\nb".into()]);
    assert_eq!(lines[0], "onStatus NetStream.Publish.BadName on 1");
    assert!(lines[1].starts_with("Close(InvalidName(Forbidden"));
    let mut peer = Peer::connected();
    let lines = peer.call("play", 0.0, ["..".into()]);
    assert_eq!(lines[0], "onStatus NetStream.Play.StreamNotFound on 1");
}

#[test]
fn text_that_is_not_utf_8_is_a_valid_name() {
    let mut peer = Peer::connected();
    let body = b"\x02\0\x07publish\0\0\0\0\0\0\0\0\0\x05\x02\0\x04caf\xe9";
    assert_eq!(peer.message(type_id::COMMAND_AMF0, 0, body), ["Publish live/caf\u{e9}"]);
}

#[test]
fn the_properties_of_connect_are_kept() {
    let mut peer = Peer::new();
    let mut connect = Command::call("connect", 1.0, []);
    connect.object = Value::object([
        ("app", "live".into()),
        ("flashVer", "FMLE/3.0".into()),
        ("fourCcList", Value::StrictArray(vec!["hvc1".into()])),
    ]);
    peer.command(&connect);
    let connect = peer.session.connect().unwrap();
    assert_eq!(connect.client, "FMLE/3.0");
    assert_eq!(connect.enhanced.as_ref().unwrap().four_cc_list, ["hvc1"]);
}
