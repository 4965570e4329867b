//! What the session says and does, word by word: each test sends messages as some client would, and reads the
//! transcript of all that comes of it.

use proptest::prelude::*;

use super::*;
use crate::amf0;
use crate::rtmp::chunk::{ChunkSize, Encoder};

/// A peer that sends what it is told to, and the session's transcript since last read.
struct Peer {
    session: Session,
    encoder: Encoder,
    now_ms: u64,
}

impl Peer {
    /// Behind the handshake.
    fn new() -> Self {
        let mut session = Session::new(&SessionConfig::default(), 0, [1; 32]);
        let mut hello = vec![0; HANDSHAKE_BYTES];
        hello[0] = 3;
        session.receive(hello.into(), 0).unwrap();
        assert!(matches!(session.poll(), Some(Output::Send(_))));
        assert!(session.poll().is_none());
        Self { session, encoder: Encoder::new(), now_ms: 0 }
    }

    fn connected() -> Self {
        let mut peer = Self::new();
        let mut connect = Command::call("connect", 1.0, []);
        connect.object = Value::object([("app", "live".into()), ("flashVer", "test".into())]);
        peer.command(&connect);
        peer
    }

    fn publishing() -> Self {
        let mut peer = Self::connected();
        assert_eq!(peer.call("publish", 0.0, ["key".into()]), ["Publish live/key"]);
        peer.session.accept_publish().unwrap();
        peer.transcript();
        peer
    }

    fn playing() -> Self {
        let mut peer = Self::connected();
        assert_eq!(peer.call("play", 0.0, ["key".into()]), ["Play live/key"]);
        peer.session.accept_play();
        peer.transcript();
        peer
    }

    fn receive(&mut self, bytes: impl Into<Bytes>) -> Result<Vec<String>, Error> {
        self.now_ms += 1;
        self.session.receive(bytes.into(), self.now_ms)?;
        Ok(self.transcript())
    }

    fn try_message(&mut self, message: &Message) -> Result<Vec<String>, Error> {
        let mut wire = Vec::new();
        self.encoder.encode(message, &mut wire);
        self.receive(wire)
    }

    fn message(&mut self, message_type_id: u8, timestamp_ms: u32, body: &[u8]) -> Vec<String> {
        self.try_message(&message(message_type_id, timestamp_ms, body)).unwrap()
    }

    fn command(&mut self, command: &Command) -> Vec<String> {
        self.message(type_id::COMMAND_AMF0, 0, &command.to_bytes())
    }

    fn call<const N: usize>(&mut self, name: &str, id: f64, arguments: [Value; N]) -> Vec<String> {
        self.command(&Command::call(name, id, arguments))
    }

    fn control(&mut self, control: Control) -> Vec<String> {
        self.message(control.message_type_id(), 0, &control.to_bytes())
    }

    fn transcript(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(output) = self.session.poll() {
            match output {
                Output::Send(bytes) => lines.extend(sent(&bytes)),
                Output::Publish(request) => lines.push(format!("Publish {}", request.name)),
                Output::Play(request) => lines.push(format!("Play {}", request.name)),
                Output::Frame(Frame { kind, timestamp_ms, payload }) => {
                    let text = String::from_utf8_lossy(&payload.to_bytes()).escape_debug().to_string();
                    lines.push(format!("{kind:?} {timestamp_ms} {text}"));
                }
                other => lines.push(format!("{other:?}")),
            }
        }
        lines
    }
}

/// What the session sent, a line a message. Takes for granted, as some peers do, that each message is one chunk
/// with a whole header.
fn sent(mut bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    while let [chunk_stream, _, _, _, l2, l1, l0, message_type_id, id, 0, 0, 0, rest @ ..] = bytes {
        assert!(*chunk_stream < 64, "a header of type 0 with a chunk stream id of one byte");
        let (body, rest) = rest.split_at(u32::from_be_bytes([0, *l2, *l1, *l0]) as usize);
        bytes = rest;
        lines.push(match *message_type_id {
            type_id::SET_CHUNK_SIZE => {
                format!("SetChunkSize {}", u32::from_be_bytes(body.try_into().unwrap()))
            }
            type_id::COMMAND_AMF0 => {
                let command = Command::parse(body).unwrap();
                let code =
                    command.arguments.first().and_then(|info| info.get("code")).and_then(Value::as_str);
                let value = code.map_or_else(|| format!("{:?}", command.arguments), str::to_owned);
                match command.transaction_id {
                    0.0 => format!("{} {value} on {id}", command.name),
                    transaction_id => format!("{} {transaction_id} {value} on {id}", command.name),
                }
            }
            type_id::DATA_AMF0 => format!("data {:?} on {id}", amf0::decode(body).unwrap()),
            other => format!("{:?}", Control::parse(other, body).unwrap().unwrap()),
        });
    }
    assert!(bytes.is_empty());
    lines
}

fn message(message_type_id: u8, timestamp_ms: u32, body: &[u8]) -> Message {
    let payload = Bytes::copy_from_slice(body).into();
    Message { chunk_stream_id: 3, timestamp_ms, message_type_id, message_stream_id: 1, payload }
}

const HANDSHAKE_BYTES: usize = 3073;
const NOTHING: [&str; 0] = [];

// Order and words

#[test]
fn connect_is_answered_in_flash_media_server_s_order() {
    let mut peer = Peer::new();
    let mut connect = Command::call("connect", 1.0, []);
    connect.object = Value::object([("app", "live".into())]);
    let answer = [
        "WindowAcknowledgementSize(2500000)",
        "SetPeerBandwidth(2500000, Dynamic)",
        "User(StreamBegin(0))",
        "SetChunkSize 65536",
        "_result 1 NetConnection.Connect.Success on 0",
    ];
    assert_eq!(peer.command(&connect), answer);
}

#[test]
fn ffmpeg_s_way_to_publish() {
    let mut peer = Peer::connected();
    assert_eq!(peer.call("releaseStream", 2.0, ["key".into()]), ["_result 2 [Undefined] on 0"]);
    let notified = ["onFCPublish NetStream.Publish.Start on 0", "_result 3 [Undefined] on 0"];
    assert_eq!(peer.call("FCPublish", 3.0, ["key".into()]), notified);
    assert_eq!(peer.call("createStream", 4.0, []), ["_result 4 [Number(1.0)] on 0"]);
    // Nothing is said before the stream is really ours.
    assert_eq!(peer.call("publish", 5.0, ["key".into(), "live".into()]), ["Publish live/key"]);
    peer.session.accept_publish().unwrap();
    assert_eq!(peer.transcript(), ["User(StreamBegin(1))", "onStatus NetStream.Publish.Start on 1"]);
    assert_eq!(peer.message(type_id::VIDEO, 40, b"v"), ["Video 40 v"]);
    let ended = [
        "onStatus NetStream.Unpublish.Success on 1",
        "onFCUnpublish NetStream.Unpublish.Success on 0",
        "_result 6 [Undefined] on 0",
        "Unpublish",
    ];
    assert_eq!(peer.call("FCUnpublish", 6.0, ["key".into()]), ended);
    assert_eq!(peer.call("deleteStream", 7.0, [1.0.into()]), NOTHING);
}

#[test]
fn ffmpeg_s_way_to_play() {
    let mut peer = Peer::connected();
    assert_eq!(peer.control(Control::WindowAcknowledgementSize(2_500_000)), NOTHING);
    assert_eq!(peer.call("createStream", 2.0, []), ["_result 2 [Number(1.0)] on 0"]);
    let subscribed = ["onFCSubscribe NetStream.Play.Start on 0", "_result 3 [Undefined] on 0"];
    assert_eq!(peer.call("FCSubscribe", 3.0, ["key".into()]), subscribed);
    assert_eq!(peer.call("getStreamLength", 4.0, ["key".into()]), ["_result 4 [Number(0.0)] on 0"]);
    assert_eq!(peer.call("play", 5.0, ["key".into(), (-2000.0).into()]), ["Play live/key"]);
    assert_eq!(peer.control(Control::User(UserControl::SetBufferLength(1, 3000))), NOTHING);
    peer.session.accept_play();
    let playing = [
        "User(StreamBegin(1))",
        "onStatus NetStream.Play.Start on 1",
        "data [String(\"|RtmpSampleAccess\"), Boolean(false), Boolean(false)] on 1",
    ];
    assert_eq!(peer.transcript(), playing);
    assert_eq!(peer.call("deleteStream", 6.0, [1.0.into()]), ["StopPlay"]);
}

#[test]
fn play_is_reset_when_asked() {
    for (reset, said) in
        [(Value::from(true), true), (1.0.into(), true), (false.into(), false), (0.0.into(), false)]
    {
        let mut peer = Peer::connected();
        peer.call("play", 0.0, ["key".into(), (-2.0).into(), (-1.0).into(), reset]);
        peer.session.accept_play();
        let at = peer.transcript().iter().position(|line| line.contains("Play.Reset"));
        assert_eq!(at, said.then_some(1));
    }
}

#[test]
fn a_refused_publish_gets_its_code_and_is_closed_behind_it() {
    let mut peer = Peer::connected();
    peer.call("publish", 0.0, ["key".into()]);
    peer.session.refuse_publish("NetStream.Publish.Denied", "No.");
    let reason = "Close(Refused(\"NetStream.Publish.Denied\"))";
    assert_eq!(peer.transcript(), ["onStatus NetStream.Publish.Denied on 1", reason]);
    assert!(!peer.session.is_holding(), "what it still sends is read, so that its end is seen");
    assert_eq!(peer.call("publish", 0.0, ["other".into()]), NOTHING);
}

#[test]
fn a_publisher_that_is_taken_over_is_told_and_closed() {
    let mut peer = Peer::publishing();
    peer.session.refuse_publish("NetStream.Publish.BadName", "Taken over.");
    let reason = "Close(Refused(\"NetStream.Publish.BadName\"))";
    assert_eq!(peer.transcript(), ["onStatus NetStream.Publish.BadName on 1", reason]);
    assert_eq!(peer.message(type_id::VIDEO, 0, b"v"), NOTHING);
}

#[test]
fn a_player_that_waited_in_vain_is_told_and_closed() {
    let mut peer = Peer::playing();
    peer.session.refuse_play("NetStream.Play.StreamNotFound", "Nobody publishes this.");
    let reason = "Close(Refused(\"NetStream.Play.StreamNotFound\"))";
    assert_eq!(peer.transcript(), ["onStatus NetStream.Play.StreamNotFound on 1", reason]);
}

#[test]
fn a_stream_that_ends_for_good_is_unpublished_and_at_its_end() {
    let mut peer = Peer::playing();
    peer.session.end_play();
    let ended = ["onStatus NetStream.Play.UnpublishNotify on 1", "User(StreamEof(1))"];
    assert_eq!(peer.transcript(), ended);
    peer.session.end_play();
    assert_eq!(peer.transcript(), NOTHING);
}

#[test]
fn pause_and_seek_are_answered_without_an_error() {
    let mut peer = Peer::playing();
    let paused = ["onStatus NetStream.Pause.Notify on 1", "Pause(true)"];
    let resumed = ["onStatus NetStream.Unpause.Notify on 1", "Pause(false)"];
    assert_eq!(peer.call("pause", 0.0, [true.into(), 1000.0.into()]), paused);
    assert_eq!(peer.call("pauseRaw", 0.0, [false.into(), 1000.0.into()]), resumed);
    assert_eq!(peer.call("seek", 0.0, [5000.0.into()]), ["onStatus NetStream.Seek.Notify on 1"]);
}

#[test]
fn a_player_may_leave_off_audio_or_video() {
    let mut peer = Peer::playing();
    assert_eq!(peer.call("receiveAudio", 0.0, [false.into()]), ["ReceiveAudio(false)"]);
    let resumed =
        ["onStatus NetStream.Seek.Notify on 1", "onStatus NetStream.Play.Start on 1", "ReceiveVideo(true)"];
    assert_eq!(peer.call("receiveVideo", 0.0, [true.into()]), resumed);
}

#[test]
fn commands_that_mean_nothing_now_are_never_fatal() {
    let mut peer = Peer::connected();
    let commands =
        ["deleteStream", "closeStream", "receiveAudio", "receiveVideo", "pause", "seek", "play2", "_error"];
    for name in commands {
        assert_eq!(peer.call(name, 0.0, []), NOTHING, "{name}");
    }
    assert_eq!(peer.call("_checkbw", 7.0, []), ["_result 7 [Undefined] on 0"]);
    assert_eq!(peer.call("FCUnsubscribe", 8.0, []), ["_result 8 [Undefined] on 0"]);
}

#[test]
fn an_unknown_command_gets_an_error_if_it_awaits_an_answer() {
    let mut peer = Peer::connected();
    assert_eq!(peer.call("frobnicate", 9.0, []), ["_error 9 NetConnection.Call.Failed on 0"]);
    assert_eq!(peer.call("frobnicate", 0.0, []), NOTHING);
    // However long its name: our commands stay within one chunk.
    assert_eq!(peer.call(&"x".repeat(60_000), 9.0, []), ["_error 9 NetConnection.Call.Failed on 0"]);
}

#[test]
fn all_that_one_read_brings_about_is_one_send() {
    let mut peer = Peer::connected();
    let mut wire = Vec::new();
    for id in [2.0, 3.0, 4.0] {
        let body = Command::call("createStream", id, []).to_bytes();
        peer.encoder.encode(&message(type_id::COMMAND_AMF0, 0, &body), &mut wire);
    }
    peer.session.receive(wire.into(), 0).unwrap();
    assert!(matches!(peer.session.poll(), Some(Output::Send(bytes)) if sent(&bytes).len() == 3));
    assert!(peer.session.poll().is_none());
}

// Several publishes and plays

#[test]
fn a_connection_may_publish_again() {
    for end in ["FCUnpublish", "closeStream", "deleteStream"] {
        let mut peer = Peer::publishing();
        assert!(peer.call(end, 0.0, [1.0.into()]).contains(&"Unpublish".to_owned()), "{end}");
        assert_eq!(peer.message(type_id::VIDEO, 0, b"late"), NOTHING);
        assert_eq!(peer.call("publish", 0.0, ["key".into()]), ["Publish live/key"]);
        peer.session.accept_publish().unwrap();
        peer.transcript();
        assert_eq!(peer.message(type_id::VIDEO, 0, b"v"), ["Video 0 v"]);
    }
}

#[test]
fn publish_needs_no_type_and_any_type_will_do() {
    for arguments in
        [vec!["key".into()], vec!["key".into(), "record".into()], vec!["key".into(), Value::Null]]
    {
        let mut peer = Peer::connected();
        assert_eq!(peer.command(&Command::call("publish", 0.0, arguments)), ["Publish live/key"]);
    }
}

#[test]
fn each_create_stream_is_answered_with_message_stream_1() {
    let mut peer = Peer::publishing();
    for id in [2.0, 3.0] {
        assert_eq!(peer.call("createStream", id, []), [format!("_result {id} [Number(1.0)] on 0")]);
    }
    assert_eq!(peer.message(type_id::VIDEO, 0, b"v"), ["Video 0 v"]);
}

#[test]
fn a_second_publish_takes_the_place_of_the_first() {
    let mut peer = Peer::publishing();
    let replaced = ["onStatus NetStream.Unpublish.Success on 1", "Unpublish", "Publish live/other"];
    assert_eq!(peer.call("publish", 0.0, ["other".into()]), replaced);
}

#[test]
fn a_second_play_takes_the_place_of_the_first() {
    let mut peer = Peer::playing();
    assert_eq!(peer.call("play", 0.0, ["other".into()]), ["StopPlay", "Play live/other"]);
    // The first was not answered yet.
    assert_eq!(peer.call("play", 0.0, ["third".into()]), ["StopPlay", "Play live/third"]);
}

#[test]
fn one_connection_may_publish_and_play() {
    let mut peer = Peer::publishing();
    assert_eq!(peer.call("createStream", 5.0, []), ["_result 5 [Number(1.0)] on 0"]);
    assert_eq!(peer.call("play", 0.0, ["other".into()]), ["Play live/other"]);
    peer.session.accept_play();
    peer.transcript();
    assert_eq!(peer.message(type_id::AUDIO, 0, b"a"), ["Audio 0 a"]);
    let ended = ["onStatus NetStream.Unpublish.Success on 1", "Unpublish", "StopPlay"];
    assert_eq!(peer.call("closeStream", 0.0, []), ended);
}

#[test]
fn media_is_taken_on_whatever_message_stream_it_comes() {
    let mut peer = Peer::publishing();
    let video = Message { message_stream_id: 7, ..message(type_id::VIDEO, 0, b"v") };
    assert_eq!(peer.try_message(&video).unwrap(), ["Video 0 v"]);
}

// Media before its time

#[test]
fn an_encoder_that_does_not_wait_for_its_answer_loses_nothing() {
    let mut peer = Peer::connected();
    let mut wire = Vec::new();
    let publish = Command::call("publish", 0.0, [Value::from("key")]).to_bytes();
    peer.encoder.encode(&message(type_id::COMMAND_AMF0, 0, &publish), &mut wire);
    peer.encoder.encode(&message(type_id::VIDEO, 0, b"v0"), &mut wire);
    peer.encoder.encode(&message(type_id::AUDIO, 10, b"a0"), &mut wire);
    let cut = wire.len() - 5;
    assert_eq!(peer.receive(wire[..cut].to_vec()).unwrap(), ["Publish live/key"]);
    assert!(peer.session.is_holding());
    assert_eq!(peer.receive(wire[cut..].to_vec()).unwrap(), NOTHING);
    assert_eq!(peer.message(type_id::VIDEO, 40, b"v1"), NOTHING);
    peer.session.accept_publish().unwrap();
    let all = [
        "User(StreamBegin(1))",
        "onStatus NetStream.Publish.Start on 1",
        "Video 0 v0",
        "Audio 10 a0",
        "Video 40 v1",
    ];
    assert_eq!(peer.transcript(), all);
    assert_eq!(peer.session.held.capacity(), 0);
}

#[test]
fn what_is_held_for_an_unanswered_publish_is_bounded() {
    let mut peer = Peer::connected();
    peer.call("publish", 0.0, ["key".into()]);
    assert!(peer.receive(vec![0; MAX_HELD_BYTES]).is_ok());
    let error = peer.receive(vec![0]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooMuchHeld(MAX_HELD_BYTES + 1));
}

#[test]
fn what_is_held_may_be_wrong_too() {
    let mut peer = Peer::connected();
    peer.call("publish", 0.0, ["key".into()]);
    assert_eq!(peer.message(type_id::COMMAND_AMF0, 0, b"nonsense"), NOTHING);
    assert!(matches!(peer.session.accept_publish().unwrap_err().kind, ErrorKind::Command(_)));
}

#[test]
fn media_without_a_publish_goes_nowhere() {
    let mut peer = Peer::connected();
    assert_eq!(peer.message(type_id::VIDEO, 0, b"v"), NOTHING);
    assert_eq!(peer.message(type_id::DATA_AMF0, 0, b"d"), NOTHING);
}

// Media

#[test]
fn set_data_frame_is_stripped_and_other_data_passes() {
    let mut peer = Peer::publishing();
    let wrapped = b"\x02\0\x0d@setDataFrame\x02\0\x0aonMetaData\x08\0\0\0\0\0\0\x09";
    let bare = peer.message(type_id::DATA_AMF0, 0, &wrapped[16..]);
    assert_eq!(peer.message(type_id::DATA_AMF0, 0, wrapped), bare);
    assert!(bare[0].contains("onMetaData") && !bare[0].contains("@setDataFrame"));
    let text = peer.message(type_id::DATA_AMF0, 7, b"\x02\0\x0aonTextData\x05");
    assert!(text[0].starts_with("Data 7") && text[0].contains("onTextData"));
    let clear = b"\x02\0\x0f@clearDataFrame\x02\0\x0aonMetaData";
    assert_eq!(peer.message(type_id::DATA_AMF0, 0, clear), NOTHING);
}

#[test]
fn amf3_data_and_commands_lose_their_format_byte() {
    let mut peer = Peer::publishing();
    let body = b"\0\x02\0\x0d@setDataFrame\x02\0\x0aonMetaData";
    let bare = peer.message(type_id::DATA_AMF0, 3, &body[17..]);
    assert_eq!(peer.message(type_id::DATA_AMF3, 3, body), bare);
    let mut command = vec![0];
    command.extend(Command::call("createStream", 8.0, []).to_bytes());
    assert_eq!(peer.message(type_id::COMMAND_AMF3, 0, &command), ["_result 8 [Number(1.0)] on 0"]);
}

#[test]
fn empty_messages_are_a_sign_of_life_and_no_frame() {
    let mut peer = Peer::publishing();
    let types = [type_id::AUDIO, type_id::VIDEO, type_id::DATA_AMF0, type_id::DATA_AMF3, type_id::AGGREGATE];
    for message_type_id in types {
        assert_eq!(peer.message(message_type_id, 0, b""), NOTHING);
    }
    assert_eq!(peer.message(type_id::AUDIO, 5, b"a"), ["Audio 5 a"]);
}

#[test]
fn an_aggregate_becomes_frames_on_its_own_time() {
    let mut peer = Peer::publishing();
    let aggregate = b"\x09\0\0\x02\0\x13\x88\0\0\0\0v0\0\0\0\x0d\
                      \x08\0\0\x01\0\x13\x92\0\0\0\0a\0\0\0\x0c\
                      \x12\0\0\x01\0\x13\x93\0\0\0\0d\0\0\0\x0c";
    assert_eq!(
        peer.message(type_id::AGGREGATE, 100, aggregate),
        ["Video 100 v0", "Audio 110 a", "Data 111 d"]
    );
    let error = peer.try_message(&message(type_id::AGGREGATE, 0, &aggregate[..20])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Aggregate(AggregateError::Truncated(17)));
}

#[test]
fn message_types_that_mean_nothing_to_us_are_ignored() {
    let mut peer = Peer::publishing();
    for message_type_id in [0, 7, 10, 16, 19, 23, 255] {
        assert_eq!(peer.message(message_type_id, 0, b"?"), NOTHING);
    }
}

#[test]
fn payload_is_a_view_of_the_read() {
    let mut peer = Peer::publishing();
    let mut wire = Vec::new();
    peer.encoder.set_chunk_size(ChunkSize::new(4096).unwrap());
    peer.control(Control::SetChunkSize(ChunkSize::new(4096).unwrap()));
    peer.encoder.encode(&message(type_id::VIDEO, 0, &[7; 4000]), &mut wire);
    let wire = Bytes::from(wire);
    peer.session.receive(wire.clone(), 0).unwrap();
    let Some(Output::Frame(frame)) = peer.session.poll() else { panic!("no frame") };
    assert_eq!(frame.payload.to_bytes().as_ptr(), wire[12..].as_ptr());
}

// Names

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
        assert!(matches!(peer.session.poll(), Some(Output::Play(request)) if request.start == start));
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

// Control messages

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
fn an_unasked_ping_response_changes_nothing() {
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
fn a_tiny_window_does_not_make_us_answer_each_byte() {
    let mut peer = Peer::publishing();
    peer.control(Control::WindowAcknowledgementSize(1));
    let mut wire = Vec::new();
    peer.encoder.encode(&message(type_id::VIDEO, 0, &[7; 40_000]), &mut wire);
    let mut acknowledgements = 0;
    for byte in &wire {
        let said = peer.receive(vec![*byte]).unwrap();
        acknowledgements += said.iter().filter(|line| line.starts_with("Acknowledgement")).count();
    }
    assert!((5..=10).contains(&acknowledgements), "{acknowledgements}");
}

#[test]
fn a_window_of_0_means_no_acknowledgements() {
    let mut peer = Peer::publishing();
    peer.control(Control::WindowAcknowledgementSize(0));
    for _ in 0..100 {
        let said = peer.message(type_id::VIDEO, 0, &vec![7; 100_000]);
        assert!(said.iter().all(|line| line.starts_with("Video")));
    }
}

#[test]
fn a_peer_that_names_no_window_is_acknowledged_all_the_same() {
    let mut peer = Peer::publishing();
    let said: Vec<_> = (0..30).flat_map(|_| peer.message(type_id::VIDEO, 0, &vec![7; 100_000])).collect();
    assert_eq!(said.iter().filter(|line| line.starts_with("Acknowledgement")).count(), 1);
}

#[test]
fn the_acknowledgement_wraps_at_32_bits() {
    let mut peer = Peer::publishing();
    peer.control(Control::WindowAcknowledgementSize(5000));
    peer.session.link.skip_received((1 << 32) - 6000);
    let before = peer.session.received_bytes();
    assert!(before < 1 << 32);
    let said = peer.message(type_id::VIDEO, 0, &vec![7; 10_000]);
    let after = peer.session.received_bytes();
    assert!(after > 1 << 32);
    assert_eq!(said.last().map(String::as_str), Some(&*format!("Video 0 {}", "\\u{7}".repeat(10_000))));
    assert_eq!(said[0], format!("Acknowledgement({})", after - (1 << 32)));
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

// Violations

#[test]
fn a_violation_says_what_and_at_which_byte() {
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
fn a_depth_bomb_and_an_endless_command_are_violations() {
    let bomb = [b"\x02\0\x01x\0\0\0\0\0\0\0\0\0".to_vec(), b"\x03\0\x01x".repeat(10_000)].concat();
    let error = Peer::connected().try_message(&message(type_id::COMMAND_AMF0, 0, &bomb)).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Command(crate::rtmp::command::Error::Amf0(_))));
    let endless = vec![5; 100_000];
    let error = Peer::connected().try_message(&message(type_id::COMMAND_AMF0, 0, &endless)).unwrap_err();
    assert!(matches!(
        error.kind,
        ErrorKind::Chunk(crate::rtmp::chunk::Error::MessageBytes { length: 100_000, .. })
    ));
}

#[test]
fn what_comes_behind_a_request_that_is_refused_is_no_second_reason() {
    let mut connect = Command::call("connect", 1.0, []);
    connect.object = Value::object([("app", "live".into())]);
    let commands = [connect, Command::call("play", 0.0, [Value::from("key")])];
    let commands = commands.iter().flat_map(|it| wire(&message(type_id::COMMAND_AMF0, 0, &it.to_bytes())));
    let refused: Vec<u8> = [0, 0, 0, 0, 146].into_iter().chain(commands).collect();
    fuzz::check_any_bytes(&[&refused[..], b"\x42\0\0\0\x01\0\x01\0"].concat());
}

proptest! {
    /// Bytes of no sense, and real messages between them.
    #[test]
    fn any_bytes_are_taken_the_same_at_any_cut(
        parts in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                prop::sample::select(sensible_messages()),
            ],
            0..20,
        ),
        cuts_and_answer in any::<[u8; 5]>(),
    ) {
        fuzz::check_any_bytes(&[&cuts_and_answer[..], &parts.concat()].concat());
    }
}

fn sensible_messages() -> Vec<Vec<u8>> {
    let mut connect = Command::call("connect", 1.0, []);
    connect.object = Value::object([("app", "live".into())]);
    let name = || [Value::from("key")];
    let commands = [
        connect,
        Command::call("createStream", 2.0, []),
        Command::call("publish", 0.0, name()),
        Command::call("play", 0.0, name()),
        Command::call("deleteStream", 0.0, []),
    ];
    let media = [
        message(type_id::VIDEO, 40, &[7; 300]),
        message(type_id::AUDIO, 50, b""),
        message(type_id::DATA_AMF0, 0, SET_DATA_FRAME),
        message(type_id::AGGREGATE, 0, b"\x08\0\0\x01\0\0\0\0\0\0\0a\0\0\0\x0c"),
        message(type_id::WINDOW_ACKNOWLEDGEMENT_SIZE, 0, &[0, 0, 16, 0]),
        message(type_id::SET_CHUNK_SIZE, 0, &[0, 0, 0, 128]),
    ];
    let commands = commands.iter().map(|command| message(type_id::COMMAND_AMF0, 0, &command.to_bytes()));
    commands.chain(media).map(|message| wire(&message)).collect()
}

fn wire(message: &Message) -> Vec<u8> {
    let mut wire = Vec::new();
    Encoder::new().encode(message, &mut wire);
    wire
}

// Memory

#[test]
fn a_player_s_session_holds_a_few_hundred_bytes() {
    let peer = Peer::playing();
    let session = &peer.session;
    assert!(session.handshake.is_none());
    assert_eq!((session.outputs.capacity(), session.held.capacity()), (0, 0));
    assert!(size_of::<Session>() <= 512, "{}", size_of::<Session>());
}
