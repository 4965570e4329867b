//! Names, and what a client says of itself.

use super::*;

#[test]
fn start_is_read_from_the_play_name() {
    let starts =
        [("key", None), ("key?start=live", Some(Start::Live)), ("key?start=keyframe", Some(Start::KeyFrame))];
    for (key, start) in starts.into_iter().chain([("key?start=yesterday", None)]) {
        let mut peer = Peer::connected();
        let play = Command::call("play", 0.0, [Value::from(key)]).to_bytes();
        let mut wire = Vec::new();
        peer.encoder.encode(&message(type_id::COMMAND_AMF0, 0, &play), &mut wire);
        peer.session.receive(wire.into(), 0).unwrap();
        assert!(matches!(peer.session.poll(), Ok(Some(Output::Play(request))) if request.start == start));
    }
}

#[test]
fn an_empty_key_is_part_of_the_app() {
    for arguments in [vec!["".into()], vec![], vec![Value::Null]] {
        let mut peer = Peer::new();
        let mut connect = Command::call("connect", 1.0, []);
        connect.object = Value::object([("app", "live/key".into())]);
        peer.command(&connect);
        assert_eq!(peer.command(&Command::call("publish", 0.0, arguments)), ["Publish live/key"]);
    }
}

#[test]
fn a_lower_case_tcurl_stands_in_for_the_app() {
    let mut peer = Peer::new();
    let mut connect = Command::call("connect", 1.0, []);
    connect.object = Value::object([("tcurl", "rtmp://host/live".into())]);
    peer.command(&connect);
    assert_eq!(peer.call("play", 0.0, ["key".into()]), ["Play live/key"]);
}

#[test]
fn a_name_that_could_forge_a_log_line_is_refused() {
    let mut peer = Peer::connected();
    let told = peer.call("publish", 0.0, ["a\nb".into()]);
    assert_eq!(told[0], "onStatus NetStream.Publish.BadName on 1");
    assert!(told[1].starts_with("Close(Name(Forbidden"));
    let mut peer = Peer::connected();
    let told = peer.call("play", 0.0, ["..".into()]);
    assert_eq!(told[0], "onStatus NetStream.Play.StreamNotFound on 1");
}

#[test]
fn text_that_is_not_utf_8_is_a_name_all_the_same() {
    let mut peer = Peer::connected();
    let body = b"\x02\0\x07publish\0\0\0\0\0\0\0\0\0\x05\x02\0\x04caf\xe9";
    assert_eq!(peer.message(type_id::COMMAND_AMF0, 0, body), ["Publish live/caf\u{e9}"]);
}

#[test]
fn what_the_client_says_of_itself_is_kept() {
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
