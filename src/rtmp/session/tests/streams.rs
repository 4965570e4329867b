//! Several message streams on one connection: each is published, refused and ended on its own.

use super::*;

/// A client that publishes `a` on message stream 1 and `b` on 2.
fn two_bit_rates() -> Peer {
    let mut peer = Peer::connected();
    for (id, key) in [(1, "a"), (2, "b")] {
        let given = f64::from(id);
        assert_eq!(peer.call("createStream", 7.0, []), [format!("_result 7 [Number({given:?})] on 0")]);
        assert_eq!(peer.call_on(id, "publish", [key.into()]), [format!("Publish live/{key}{}", on(id))]);
        peer.allow();
        let granted =
            [format!("User(StreamBegin({id}))"), format!("onStatus NetStream.Publish.Start on {id}")];
        assert_eq!(peer.transcript(), granted);
    }
    peer
}

/// The transcript of the end of the publish on this message stream.
fn ended(id: MessageStreamId) -> [String; 2] {
    [format!("onStatus NetStream.Unpublish.Success on {id}"), format!("Unpublish{}", on(id))]
}

#[test]
fn media_belongs_to_the_publish_on_its_message_stream() {
    let mut peer = two_bit_rates();
    assert_eq!(peer.video_on(1, b"a0"), ["Video 0 a0"]);
    assert_eq!(peer.video_on(2, b"b0"), ["Video 0 b0 on 2"]);
    for unused in [0, 3, 7, u32::MAX] {
        assert_eq!(peer.video_on(unused, b"x"), NOTHING);
    }
    let aggregate = b"\x09\0\0\x02\0\0\0\0\0\0\x01b1\0\0\0\x0d";
    let part = Message { message_stream_id: 2, ..message(type_id::AGGREGATE, 40, aggregate) };
    assert_eq!(peer.try_message(&part).unwrap(), ["Video 40 b1 on 2"]);
    let cut_short = Message { message_stream_id: 3, ..message(type_id::AGGREGATE, 40, &aggregate[..9]) };
    assert_eq!(peer.try_message(&cut_short).unwrap(), NOTHING, "no publish there: it is ignored unread");
}

#[test]
fn each_way_to_stop_ends_the_stream_that_it_names() {
    let stops: [fn(&mut Peer) -> Vec<String>; 8] = [
        |peer| peer.call_on(0, "FCUnpublish", ["a".into()]),
        |peer| peer.call_on(2, "FCUnpublish", ["a?token=1".into()]),
        |peer| peer.call_on(0, "deleteStream", [1.0.into()]),
        |peer| peer.call_on(2, "deleteStream", [1.0.into()]),
        |peer| peer.call_on(1, "closeStream", []),
        |peer| peer.call_on(1, "publish", [false.into()]),
        |peer| peer.call_on(1, "publish", [Value::Null]),
        |peer| peer.call_on(1, "publish", ["".into()]),
    ];
    for stop in stops {
        let mut peer = two_bit_rates();
        let lines: Vec<_> =
            stop(&mut peer).into_iter().filter(|line| !line.contains("onFCUnpublish")).collect();
        assert_eq!(lines, ended(1));
        assert_eq!(peer.video_on(1, b"a0"), NOTHING);
        assert_eq!(peer.video_on(2, b"b0"), ["Video 0 b0 on 2"]);
        assert_eq!(peer.call_on(1, "publish", ["c".into()]), ["Publish live/c"]);
    }
}

#[test]
fn a_stop_that_names_no_running_stream_ends_none() {
    let mut peer = two_bit_rates();
    let nothing: [(u32, &str, Value); 9] = [
        (0, "FCUnpublish", "c".into()),
        (0, "FCUnpublish", 1.0.into()),
        (0, "FCUnpublish", Value::Null),
        (0, "deleteStream", 3.0.into()),
        (0, "deleteStream", (-1.0).into()),
        (0, "deleteStream", f64::NAN.into()),
        (0, "closeStream", Value::Null),
        (3, "closeStream", Value::Null),
        (3, "publish", false.into()),
    ];
    for (id, name, argument) in nothing {
        let lines = peer.call_on(id, name, [argument]);
        assert!(
            !lines.iter().any(|line| line.contains("Unpublish") && !line.starts_with("on")),
            "{name}: {lines:?}"
        );
        assert_eq!(peer.video_on(1, b"a0"), ["Video 0 a0"], "{name} on {id}");
        assert_eq!(peer.video_on(2, b"b0"), ["Video 0 b0 on 2"], "{name} on {id}");
    }
}

#[test]
fn a_stop_without_a_name_ends_the_only_stream() {
    for (name, argument) in
        [("FCUnpublish", Value::Null), ("FCUnpublish", "".into()), ("closeStream", Value::Null)]
    {
        let mut peer = Peer::publishing();
        assert_eq!(peer.call_on(0, name, [argument])[0], ended(1)[0], "{name}");
    }
    let mut peer = Peer::playing();
    assert_eq!(peer.call_on(0, "closeStream", []), ["StopPlay"]);
}

#[test]
fn a_stream_that_is_denied_or_taken_over_does_not_affect_the_others() {
    let mut peer = two_bit_rates();
    assert_eq!(peer.call_on(3, "publish", ["c".into()]), ["Publish live/c on 3"]);
    assert_eq!(peer.video_on(1, b"a0"), NOTHING, "it waits for the answer");
    peer.deny("NetStream.Publish.BadName", "Name in use.");
    assert_eq!(peer.transcript(), ["onStatus NetStream.Publish.BadName on 3", "Video 0 a0"]);
    peer.session.end_publish(1, "NetStream.Publish.BadName", "Taken over.");
    assert_eq!(peer.transcript(), ["onStatus NetStream.Publish.BadName on 1"]);
    assert_eq!(peer.video_on(1, b"a1"), NOTHING);
    assert_eq!(peer.video_on(2, b"b0"), ["Video 0 b0 on 2"]);
    let lines = peer.call_on(3, "publish", ["..".into()]);
    assert_eq!(lines, ["onStatus NetStream.Publish.BadName on 3"], "the name is not valid");
    peer.session.end_publish(1, "NetStream.Publish.Denied", "Not published any more.");
    assert_eq!(peer.transcript(), NOTHING);
    // The last one: OBS waits forever if the connection stays open.
    peer.session.end_publish(2, "NetStream.Publish.Denied", "No.");
    let reason = "Close(Refused(\"NetStream.Publish.Denied\"))";
    assert_eq!(peer.transcript(), ["onStatus NetStream.Publish.Denied on 2", reason]);
}

#[test]
fn streams_of_one_connection_are_bounded() {
    let mut peer = Peer::connected();
    for id in 1..=MAX_PUBLICATIONS as u32 {
        assert_eq!(peer.call_on(id, "publish", [id.to_string().into()]).len(), 1);
        peer.allow();
        peer.transcript();
    }
    let lines = peer.call_on(20, "publish", ["more".into()]);
    assert_eq!(lines, ["onStatus NetStream.Publish.Denied on 20"]);
    let replaced = [&ended(1)[..], &["Publish live/other".to_owned()]].concat();
    assert_eq!(peer.call_on(1, "publish", ["other".into()]), replaced, "it replaces one that runs");

    let mut peer = Peer::connected();
    for id in 1..=MAX_CREATED_STREAMS {
        assert_eq!(
            peer.call("createStream", 2.0, []),
            [format!("_result 2 [Number({:?})] on 0", f64::from(id))]
        );
    }
    assert_eq!(peer.call("createStream", 2.0, []), ["_error 2 NetConnection.Call.Failed on 0"]);
    peer.call("deleteStream", 0.0, [5.0.into()]);
    assert_eq!(peer.call("createStream", 2.0, []), ["_result 2 [Number(5.0)] on 0"]);
}

/// xiu publishes and sends all media on message stream 0; other clients mix.
#[test]
fn clients_may_use_message_stream_0_instead() {
    for (asks_on, sends_on) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for creates in [true, false] {
            let mut peer = Peer::connected();
            if creates {
                peer.call("createStream", 2.0, []);
            }
            assert_eq!(peer.call_on(asks_on, "publish", ["key".into()]), ["Publish live/key"]);
            peer.allow();
            peer.transcript();
            assert_eq!(peer.video_on(sends_on, b"v"), ["Video 0 v"]);
        }
    }
    // Media on another message stream does not belong to it.
    assert_eq!(Peer::publishing().video_on(7, b"v"), NOTHING);
}

/// `NetStream.publish(false)` is how ActionScript and Wirecast stop.
#[test]
fn an_argument_that_is_no_name_starts_no_stream() {
    for nothing in [Value::from(false), Value::Null, "".into(), Value::Undefined, "?a=b".into()] {
        let mut peer = Peer::publishing();
        assert_eq!(peer.call("publish", 0.0, [nothing.clone()]), ended(1), "{nothing:?}");
        assert_eq!(peer.call("publish", 0.0, [nothing.clone()]), NOTHING, "again");
        assert_eq!(peer.call_on(2, "publish", [nothing.clone()]), NOTHING, "nor on another message stream");
        let mut peer = Peer::playing();
        assert_eq!(peer.call("play", 0.0, [nothing.clone()]), ["StopPlay"], "{nothing:?}");
        assert_eq!(peer.call("play", 0.0, [nothing.clone()]), NOTHING, "again");
    }
    let mut peer = Peer::connected();
    assert_eq!(peer.call("publish", 0.0, [false.into()]), NOTHING);
    assert_eq!(peer.call("play", 0.0, [false.into()]), NOTHING);
    for wrong in [Value::from(true), 7.0.into(), Value::object([]), Value::StrictArray(vec!["key".into()])] {
        for (name, code) in [("publish", "Publish.BadName"), ("play", "Play.StreamNotFound")] {
            let lines = Peer::connected().call(name, 0.0, [wrong.clone()]);
            assert_eq!(
                lines,
                [format!("onStatus NetStream.{code} on 1"), "Close(InvalidName(NotText))".to_owned()]
            );
        }
    }
}

#[test]
fn without_any_key_the_app_is_the_name_however_often_it_is_published() {
    for nothing in [Value::Null, "".into(), Value::Undefined] {
        let mut peer = Peer::connected();
        for _ in 0..2 {
            assert_eq!(peer.call("publish", 0.0, [nothing.clone()]), ["Publish live"]);
            peer.allow();
            peer.transcript();
            assert_eq!(peer.call("publish", 0.0, [nothing.clone()]), ended(1), "it stops the one that runs");
        }
    }
}

#[test]
fn a_flag_of_another_type_changes_nothing() {
    let mut peer = Peer::playing();
    for name in ["pause", "receiveAudio", "receiveVideo"] {
        for wrong in [Value::from("false"), Value::object([])] {
            assert_eq!(peer.call(name, 0.0, [wrong]), NOTHING, "{name}");
        }
        assert!(!peer.call(name, 0.0, []).is_empty(), "{name}: absent means true");
    }
}
