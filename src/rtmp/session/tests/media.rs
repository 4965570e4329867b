//! Media: which messages become frames, and media before the answer to `publish`.

use super::*;

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
    assert!(peer.session.has_open_question());
    assert_eq!(peer.receive(wire[cut..].to_vec()).unwrap(), NOTHING);
    assert_eq!(peer.message(type_id::VIDEO, 40, b"v1"), NOTHING);
    peer.allow();
    let all = [
        "User(StreamBegin(1))",
        "onStatus NetStream.Publish.Start on 1",
        "Video 0 v0",
        "Audio 10 a0",
        "Video 40 v1",
    ];
    assert_eq!(peer.transcript(), all);
    assert_eq!(peer.session.pending.capacity(), 0);
}

#[test]
fn bytes_before_the_answer_are_bounded() {
    let mut peer = Peer::connected();
    peer.call("publish", 0.0, ["key".into()]);
    assert!(peer.receive(vec![0; MAX_PENDING_BYTES]).is_ok());
    let error = peer.receive(vec![0]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooMuchPending(MAX_PENDING_BYTES + 1));
}

#[test]
fn a_violation_before_the_answer_is_reported_after_it() {
    let mut peer = Peer::connected();
    peer.call("publish", 0.0, ["key".into()]);
    assert_eq!(peer.message(type_id::COMMAND_AMF0, 0, b"nonsense"), NOTHING);
    peer.allow();
    let mut outputs = std::iter::from_fn(|| peer.session.poll().transpose());
    assert!(matches!(outputs.next(), Some(Ok(Output::Send(_)))), "the answer is sent first");
    assert!(matches!(outputs.next(), Some(Err(error)) if matches!(error.kind, ErrorKind::Command(_))));
    assert!(outputs.next().is_none());
}

#[test]
fn media_without_a_publish_is_ignored() {
    let mut peer = Peer::connected();
    assert_eq!(peer.message(type_id::VIDEO, 0, b"v"), NOTHING);
    assert_eq!(peer.message(type_id::DATA_AMF0, 0, b"d"), NOTHING);
}

#[test]
fn set_data_frame_is_removed_and_other_data_is_passed_on() {
    let mut peer = Peer::publishing();
    let wrapped = b"\x02\0\x0d@setDataFrame\x02\0\x0aonMetaData\x08\0\0\0\0\0\0\x09";
    let bare = peer.message(type_id::DATA_AMF0, 0, &wrapped[16..]);
    assert_eq!(peer.message(type_id::DATA_AMF0, 0, wrapped), bare);
    assert!(bare[0].contains("onMetaData") && !bare[0].contains("@setDataFrame"));
    let time = peer.message(type_id::DATA_AMF0, 7, b"\x02\0\x04onFI\x03\0\x02sd\x02\0\x0225\0\0\x09");
    assert!(time[0].starts_with("Data 7") && time[0].contains("onFI"));
    let no_text = peer.message(type_id::DATA_AMF0, 7, b"\x02\0\x0aonTextData\x05");
    assert_eq!(no_text, NOTHING, "FFmpeg ends a stream at it");
    let clear = b"\x02\0\x0f@clearDataFrame\x02\0\x0aonMetaData";
    assert_eq!(peer.message(type_id::DATA_AMF0, 0, clear), NOTHING);
}

/// Uniview's cameras put two Numbers before `@setDataFrame`.
#[test]
fn metadata_after_stray_values_is_metadata() {
    let mut peer = Peer::publishing();
    let number = b"\0\x40\0\0\0\0\0\0\0";
    let wrapped = b"\x02\0\x0d@setDataFrame\x02\0\x0aonMetaData\x08\0\0\0\0\0\0\x09";
    let bare = peer.message(type_id::DATA_AMF0, 0, wrapped);
    assert!(bare[0].starts_with("Data 0 \\u{2}\\0\\nonMetaData"), "{bare:?}");
    for strays in [&number.repeat(2)[..], b"\x05", b"\x06\x01\x01"] {
        assert_eq!(peer.message(type_id::DATA_AMF0, 0, &[strays, wrapped].concat()), bare);
        assert_eq!(peer.message(type_id::DATA_AMF0, 0, &[strays, &wrapped[16..]].concat()), bare);
        assert_eq!(peer.message(type_id::DATA_AMF3, 0, &[b"\0", strays, wrapped].concat()), bare);
    }
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
fn empty_messages_are_keepalives_and_no_frames() {
    let mut peer = Peer::publishing();
    let types = [type_id::AUDIO, type_id::VIDEO, type_id::DATA_AMF0, type_id::DATA_AMF3, type_id::AGGREGATE];
    for message_type_id in types {
        assert_eq!(peer.message(message_type_id, 0, b""), NOTHING);
    }
    assert_eq!(peer.message(type_id::AUDIO, 5, b"a"), ["Audio 5 a"]);
    for unusable in [b"\x57\0".as_slice(), b"\x52\0", b"\x17\x01", b"\x27\x01\0\0"] {
        assert_eq!(peer.message(type_id::VIDEO, 0, unusable), NOTHING);
    }
}

#[test]
fn an_aggregate_becomes_frames_relative_to_its_own_time() {
    let mut peer = Peer::publishing();
    let aggregate = b"\x09\0\0\x02\0\x13\x88\0\0\0\0v0\0\0\0\x0d\
                      \x08\0\0\x01\0\x13\x92\0\0\0\0a\0\0\0\x0c\
                      \x12\0\0\x13\0\x13\x93\0\0\0\0\x02\0\x10a_name_of_16_byt\0\0\0\x1e";
    assert_eq!(
        peer.message(type_id::AGGREGATE, 100, aggregate),
        ["Video 100 v0", "Audio 110 a", "Data 111 \\u{2}\\0\\u{10}a_name_of_16_byt"]
    );
    let error = peer.try_message(&message(type_id::AGGREGATE, 0, &aggregate[..20])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Aggregate(crate::rtmp::aggregate::Error::Truncated(17)));
}

#[test]
fn unknown_message_types_are_ignored() {
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
    let Ok(Some(Output::Frame { frame, .. })) = peer.session.poll() else { panic!("no frame") };
    assert_eq!(frame.payload.to_bytes().as_ptr(), wire[12..].as_ptr());
}

/// A message of 16 MB may contain a million others, and a read of 64 KiB ten thousand: each call returns one frame, or reads
/// a few messages without output.
#[test]
fn however_much_has_arrived_one_call_reads_little_of_it() {
    let mut peer = Peer::publishing();
    let chunk_size = ChunkSize::new(1 << 20).unwrap();
    peer.encoder.set_chunk_size(chunk_size);
    peer.control(Control::SetChunkSize(chunk_size));
    let tag = |message_type_id: u8, body: &[u8]| {
        [&[message_type_id, 0, 0, body.len() as u8, 0, 0, 0, 0, 0, 0, 0], body, &[0; 4]].concat()
    };
    let frames = tag(type_id::VIDEO, b"v").repeat(1_000);
    let nothing = tag(0, b"").repeat(1_000);
    let mut wire = Vec::new();
    peer.encoder.encode(&message(type_id::AGGREGATE, 0, &[frames, nothing].concat()), &mut wire);
    (0..1_000).for_each(|_| peer.encoder.encode(&message(0, 0, b""), &mut wire));
    peer.encoder.encode(&message(type_id::VIDEO, 0, b"v last"), &mut wire);
    let before = peer.session.received_messages();
    peer.session.receive(wire.into(), 0).unwrap();
    let (mut read, mut frames) = (before, 0);
    while let Some(output) = peer.session.poll().unwrap() {
        assert!(peer.session.outputs.is_empty(), "no output is queued");
        assert!(peer.session.received_messages() - read <= MESSAGES_PER_POLL as u64);
        read = peer.session.received_messages();
        frames += usize::from(matches!(output, Output::Frame { .. }));
    }
    assert_eq!((frames, read - before), (1_001, 3_002));
}

#[test]
fn bytes_that_arrive_before_the_previous_ones_are_read_come_after_them() {
    let mut peer = Peer::publishing();
    let mut wires = [b"a", b"b", b"c"].map(|body| {
        let mut wire = Vec::new();
        (0..100).for_each(|_| peer.encoder.encode(&message(0, 0, b""), &mut wire));
        peer.encoder.encode(&message(type_id::VIDEO, 0, body), &mut wire);
        Bytes::from(wire)
    });
    // Cut inside a message.
    wires[1] = [&wires[1][..], &wires[2][..20]].concat().into();
    wires[2] = wires[2].slice(20..);
    for wire in wires {
        peer.session.receive(wire, 0).unwrap();
        assert!(matches!(peer.session.poll(), Ok(Some(Output::More))));
    }
    assert_eq!(peer.transcript(), ["Video 0 a", "Video 0 b", "Video 0 c"]);
}
