//! The answers and their order, for one publish or play and for several on a connection.

use super::*;

#[test]
fn connect_is_answered_in_the_order_of_flash_media_server() {
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
fn ffmpeg_s_commands_to_publish_are_answered() {
    let mut peer = Peer::connected();
    assert_eq!(peer.call("releaseStream", 2.0, ["key".into()]), ["_result 2 [Undefined] on 0"]);
    let notified = ["onFCPublish NetStream.Publish.Start on 0", "_result 3 [Undefined] on 0"];
    assert_eq!(peer.call("FCPublish", 3.0, ["key".into()]), notified);
    assert_eq!(peer.call("createStream", 4.0, []), ["_result 4 [Number(1.0)] on 0"]);
    // Nothing is sent before the answer.
    assert_eq!(peer.call("publish", 5.0, ["key".into(), "live".into()]), ["Publish live/key"]);
    peer.allow();
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
fn ffmpeg_s_commands_to_play_are_answered() {
    let mut peer = Peer::connected();
    assert_eq!(peer.control(Control::WindowAcknowledgementSize(2_500_000)), NOTHING);
    assert_eq!(peer.call("createStream", 2.0, []), ["_result 2 [Number(1.0)] on 0"]);
    let subscribed = ["onFCSubscribe NetStream.Play.Start on 0", "_result 3 [Undefined] on 0"];
    assert_eq!(peer.call("FCSubscribe", 3.0, ["key".into()]), subscribed);
    assert_eq!(peer.call("getStreamLength", 4.0, ["key".into()]), ["_result 4 [Number(0.0)] on 0"]);
    assert_eq!(peer.call("play", 5.0, ["key".into(), (-2000.0).into()]), ["Play live/key"]);
    assert_eq!(peer.control(Control::User(UserControl::SetBufferLength(1, 3000))), NOTHING);
    peer.allow();
    let playing = [
        "User(StreamBegin(1))",
        "onStatus NetStream.Play.Start on 1",
        "data [String(\"|RtmpSampleAccess\"), Boolean(false), Boolean(false)] on 1",
    ];
    assert_eq!(peer.transcript(), playing);
    assert_eq!(peer.call("deleteStream", 6.0, [1.0.into()]), ["StopPlay"]);
}

#[test]
fn play_is_reset_on_request() {
    for (reset, is_reset) in
        [(Value::from(true), true), (1.0.into(), true), (false.into(), false), (0.0.into(), false)]
    {
        let mut peer = Peer::connected();
        peer.call("play", 0.0, ["key".into(), (-2.0).into(), (-1.0).into(), reset]);
        peer.allow();
        let at = peer.transcript().iter().position(|line| line.contains("Play.Reset"));
        assert_eq!(at, is_reset.then_some(1));
    }
}

#[test]
fn a_denied_publish_gets_its_code_before_the_close() {
    let mut peer = Peer::connected();
    peer.call("publish", 0.0, ["key".into()]);
    peer.deny("NetStream.Publish.Denied", "No.");
    let reason = "Close(Refused(\"NetStream.Publish.Denied\"))";
    assert_eq!(peer.transcript(), ["onStatus NetStream.Publish.Denied on 1", reason]);
    assert!(!peer.session.has_open_question(), "what it still sends is received, so that its end is noticed");
    assert_eq!(peer.call("publish", 0.0, ["other".into()]), NOTHING);
}

#[test]
fn a_publisher_whose_stream_is_taken_over_is_notified_and_closed() {
    let mut peer = Peer::publishing();
    peer.session.end_publish(1, "NetStream.Publish.BadName", "Taken over.");
    let reason = "Close(Refused(\"NetStream.Publish.BadName\"))";
    assert_eq!(peer.transcript(), ["onStatus NetStream.Publish.BadName on 1", reason]);
    assert_eq!(peer.message(type_id::VIDEO, 0, b"v"), NOTHING);
}

#[test]
fn a_player_whose_stream_never_appears_is_notified_and_closed() {
    let mut peer = Peer::playing();
    peer.session.fail_play("NetStream.Play.StreamNotFound", "Not published.");
    let reason = "Close(Refused(\"NetStream.Play.StreamNotFound\"))";
    assert_eq!(peer.transcript(), ["onStatus NetStream.Play.StreamNotFound on 1", reason]);
}

#[test]
fn the_end_of_a_stream_is_notified_by_unpublish_notify_and_stream_eof() {
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
fn a_player_may_turn_audio_or_video_off() {
    let mut peer = Peer::playing();
    assert_eq!(peer.call("receiveAudio", 0.0, [false.into()]), ["ReceiveAudio(false)"]);
    let resumed =
        ["onStatus NetStream.Seek.Notify on 1", "onStatus NetStream.Play.Start on 1", "ReceiveVideo(true)"];
    assert_eq!(peer.call("receiveVideo", 0.0, [true.into()]), resumed);
}

#[test]
fn commands_without_a_stream_are_never_fatal() {
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
fn an_unknown_command_gets_an_error_if_it_expects_an_answer() {
    let mut peer = Peer::connected();
    assert_eq!(peer.call("frobnicate", 9.0, []), ["_error 9 NetConnection.Call.Failed on 0"]);
    assert_eq!(peer.call("frobnicate", 0.0, []), NOTHING);
    // Our commands fit one chunk, however long the name is.
    assert_eq!(peer.call(&"x".repeat(15_000), 9.0, []), ["_error 9 NetConnection.Call.Failed on 0"]);
}

#[test]
fn all_answers_to_one_read_are_one_send() {
    let mut peer = Peer::connected();
    let mut wire = Vec::new();
    for id in [2.0, 3.0, 4.0] {
        let body = Command::call("createStream", id, []).to_bytes();
        peer.encoder.encode(&message(type_id::COMMAND_AMF0, 0, &body), &mut wire);
    }
    peer.session.receive(wire.into(), 0).unwrap();
    assert!(
        matches!(peer.session.poll(), Ok(Some(Output::Send(bytes))) if sent(&bytes, &mut peer.chunk_size).len() == 3)
    );
    assert!(peer.session.poll().unwrap().is_none());
}

#[test]
fn a_connection_may_publish_again() {
    for (end, argument) in
        [("FCUnpublish", "key".into()), ("closeStream", Value::Null), ("deleteStream", 1.0.into())]
    {
        let mut peer = Peer::publishing();
        assert!(peer.call(end, 0.0, [argument]).contains(&"Unpublish".to_owned()), "{end}");
        assert_eq!(peer.message(type_id::VIDEO, 0, b"late"), NOTHING);
        assert_eq!(peer.call("publish", 0.0, ["key".into()]), ["Publish live/key"]);
        peer.allow();
        peer.transcript();
        assert_eq!(peer.message(type_id::VIDEO, 0, b"v"), ["Video 0 v"]);
    }
}

#[test]
fn publish_needs_no_type_and_accepts_any_type() {
    for arguments in
        [vec!["key".into()], vec!["key".into(), "record".into()], vec!["key".into(), Value::Null]]
    {
        let mut peer = Peer::connected();
        assert_eq!(peer.command(&Command::call("publish", 0.0, arguments)), ["Publish live/key"]);
    }
}

#[test]
fn a_second_publish_replaces_the_first() {
    let mut peer = Peer::publishing();
    let replaced = ["onStatus NetStream.Unpublish.Success on 1", "Unpublish", "Publish live/other"];
    assert_eq!(peer.call("publish", 0.0, ["other".into()]), replaced);
}

#[test]
fn a_second_play_replaces_the_first() {
    let mut peer = Peer::playing();
    assert_eq!(peer.call("play", 0.0, ["other".into()]), ["StopPlay", "Play live/other"]);
    // This one waits for the answer to the one before.
    assert_eq!(peer.call("play", 0.0, ["third".into()]), NOTHING);
    peer.allow();
    assert_eq!(peer.transcript()[3..], ["StopPlay", "Play live/third"]);
}

#[test]
fn one_connection_may_publish_and_play() {
    let mut peer = Peer::publishing();
    peer.call("createStream", 5.0, []);
    assert_eq!(peer.call("createStream", 6.0, []), ["_result 6 [Number(2.0)] on 0"]);
    assert_eq!(peer.call_on(2, "play", ["other".into()]), ["Play live/other"]);
    peer.allow();
    peer.transcript();
    assert_eq!(peer.message(type_id::AUDIO, 0, b"a"), ["Audio 0 a"]);
    assert_eq!(
        peer.call_on(1, "closeStream", []),
        ["onStatus NetStream.Unpublish.Success on 1", "Unpublish"]
    );
    assert_eq!(peer.call_on(1, "pause", [true.into()]), NOTHING, "it plays on message stream 2");
    assert_eq!(peer.call_on(2, "closeStream", []), ["StopPlay"]);
}

#[test]
fn commands_after_play_are_executed_once_it_is_allowed() {
    let request = ["Play live/key"];
    let started = ["User(StreamBegin(1))", "onStatus NetStream.Play.Start on 1"];
    let mut wire = Vec::new();
    let mut peer = Peer::connected();
    for (name, argument) in [
        ("play", "key".into()),
        ("receiveVideo", Value::from(false)),
        ("receiveAudio", true.into()),
        ("pause", true.into()),
    ] {
        let body = Command::call(name, 0.0, [argument]).to_bytes();
        peer.encoder.encode(&message(type_id::COMMAND_AMF0, 0, &body), &mut wire);
    }
    assert_eq!(peer.receive(wire).unwrap(), request);
    peer.allow();
    let at_once = peer.transcript();
    assert_eq!(at_once[..2], started);
    let done = [
        "ReceiveVideo(false)",
        "onStatus NetStream.Seek.Notify on 1",
        "onStatus NetStream.Play.Start on 1",
        "ReceiveAudio(true)",
        "onStatus NetStream.Pause.Notify on 1",
        "Pause(true)",
    ];
    assert_eq!(at_once[3..], done);

    // Commands in later reads wait as well.
    let mut peer = Peer::connected();
    assert_eq!(peer.call("play", 0.0, ["key".into()]), request);
    for (name, wanted) in [("pause", true), ("receiveVideo", false), ("pause", false)] {
        assert_eq!(peer.call(name, 0.0, [wanted.into()]), NOTHING);
    }
    peer.allow();
    let later = peer.transcript();
    let done = [
        "onStatus NetStream.Pause.Notify on 1",
        "Pause(true)",
        "ReceiveVideo(false)",
        "onStatus NetStream.Unpause.Notify on 1",
        "Pause(false)",
    ];
    assert_eq!(later[3..], done);
}

#[test]
fn a_call_with_connect_s_transaction_id_gets_no_second_answer_to_connect() {
    let mut peer = Peer::connected();
    let calls = ["releaseStream", "FCPublish", "FCUnpublish", "FCSubscribe", "FCUnsubscribe", "_checkbw"];
    for name in calls {
        let is_result = |line: &String| line.starts_with("_result");
        assert!(!peer.call(name, 1.0, ["key".into()]).iter().any(is_result), "{name}");
        assert!(peer.call(name, 2.0, ["key".into()]).iter().any(is_result), "{name}");
    }
    assert_eq!(
        peer.call("createStream", 1.0, []),
        ["_result 1 [Number(1.0)] on 0"],
        "the client needs this answer"
    );
}
