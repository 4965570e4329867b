//! Violations of the protocol, and any bytes at any cut.

use super::*;

#[test]
fn a_violation_has_a_reason_and_a_position() {
    let mut peer = Peer::new();
    let body = Command::call("createStream", 2.0, []).to_bytes();
    let error = peer.try_message(&message(type_id::COMMAND_AMF0, 0, &body)).unwrap_err();
    let position = HANDSHAKE_BYTES + 12 + body.len();
    assert_eq!(error.to_string(), format!("byte {position}: \"createStream\" before connect"));

    let mut session = Session::new(&SessionConfig::default(), 0, [1; 32]);
    let error = session.receive(Bytes::from_static(b"GET / HTTP/1.1\r\n"), 0).unwrap_err();
    assert_eq!(error.position, 0);
    assert!(matches!(error.kind, ErrorKind::Handshake(_)));

    let error = Peer::connected().try_message(&message(type_id::SET_CHUNK_SIZE, 0, &[0; 4])).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Chunk(_)));
}

#[test]
fn a_second_connect_is_a_violation() {
    let body = Command::call("connect", 1.0, []).to_bytes();
    let error = Peer::connected().try_message(&message(type_id::COMMAND_AMF0, 0, &body)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::ConnectedTwice);
}

#[test]
fn a_short_control_message_is_a_violation() {
    let error = Peer::connected().try_message(&message(type_id::ACKNOWLEDGEMENT, 0, &[1])).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Control(_)));
}

#[test]
fn a_depth_bomb_and_a_command_that_is_too_long_are_violations() {
    for (name, mut peer) in
        [("connect", Peer::new()), ("publish", Peer::connected()), ("play", Peer::connected())]
    {
        let call = Command::call(name, 2.0, []).to_bytes();
        let bomb = [&call[..call.len() - 1], &b"\x03\0\x01x".repeat(4_000)].concat();
        let error = peer.try_message(&message(type_id::COMMAND_AMF0, 0, &bomb)).unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Command(crate::rtmp::command::Error::Amf0(_))), "{name}");
    }
    let too_long = vec![5; 100_000];
    let error = Peer::connected().try_message(&message(type_id::COMMAND_AMF0, 0, &too_long)).unwrap_err();
    assert!(matches!(
        error.kind,
        ErrorKind::Chunk(crate::rtmp::chunk::Error::MessageBytes { length: 100_000, .. })
    ));
}

#[test]
fn messages_after_a_denied_request_change_nothing_at_any_cut() {
    let mut connect = Command::call("connect", 1.0, []);
    connect.object = Value::object([("app", "live".into())]);
    let [play, publish] = ["play", "publish"].map(|name| Command::call(name, 0.0, [Value::from("key")]));
    let bytes = |command: &Command| wire(&message(type_id::COMMAND_AMF0, 0, &command.to_bytes()));
    let a_violation = b"\x42\0\0\0\x01\0\x01\0".to_vec();
    let a_frame = wire(&message(type_id::VIDEO, 40, &[7; 300]));
    for next in [a_violation, bytes(&publish), bytes(&play), a_frame] {
        let all_are_denied = [0, 0, 0, 0, 2];
        let input = [&all_are_denied[..], &bytes(&connect), &bytes(&play), &next].concat();
        fuzz::check_any_bytes(&input);
    }
}

proptest! {
    /// Random bytes with real messages between them.
    #[test]
    fn any_bytes_have_the_same_result_at_any_cut(
        parts in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                prop::sample::select(real_messages()),
            ],
            0..20,
        ),
        cuts_and_answer in any::<[u8; 5]>(),
    ) {
        fuzz::check_any_bytes(&[&cuts_and_answer[..], &parts.concat()].concat());
    }
}

pub(super) fn real_messages() -> Vec<Vec<u8>> {
    let mut connect = Command::call("connect", 1.0, []);
    connect.object = Value::object([("app", "live".into())]);
    let name = || [Value::from("key")];
    let commands = [
        connect,
        Command::call("createStream", 2.0, []),
        Command::call("publish", 0.0, name()),
        Command::call("play", 0.0, name()),
        Command::call("deleteStream", 0.0, []),
        Command::call("deleteStream", 0.0, [Value::from(2.0)]),
        Command::call("FCUnpublish", 0.0, name()),
        Command::call("publish", 0.0, [Value::from(false)]),
        Command::call("closeStream", 0.0, []),
        Command::call("pause", 0.0, [Value::from(true)]),
    ];
    let media = [
        message(type_id::VIDEO, 40, &[7; 300]),
        message(type_id::AUDIO, 50, b""),
        message(type_id::DATA_AMF0, 0, b"\x02\0\x0d@setDataFrame"),
        message(type_id::AGGREGATE, 0, b"\x08\0\0\x01\0\0\0\0\0\0\0a\0\0\0\x0c"),
        message(type_id::WINDOW_ACKNOWLEDGEMENT_SIZE, 0, &[0, 0, 16, 0]),
        message(type_id::SET_CHUNK_SIZE, 0, &[0, 0, 0, 128]),
    ];
    let commands = commands.iter().map(|command| message(type_id::COMMAND_AMF0, 0, &command.to_bytes()));
    // On two message streams, and on the connection itself.
    let all: Vec<Message> = commands.chain(media).collect();
    let on = |message_stream_id| {
        all.iter().map(move |message| wire(&Message { message_stream_id, ..message.clone() }))
    };
    [1, 1, 2, 0].into_iter().flat_map(on).collect()
}

fn wire(message: &Message) -> Vec<u8> {
    let mut wire = Vec::new();
    Encoder::new().encode(message, &mut wire);
    wire
}
