//! The memory of a session: little for a player, whatever it sends, and more for a publisher only while it publishes.

use super::*;

/// The header of a message and its first byte on each of these chunk streams. None is finished.
fn unfinished(message_type_id: u8, length: u32, chunk_streams: std::ops::Range<u8>) -> Vec<u8> {
    let [_, l2, l1, l0] = length.to_be_bytes();
    chunk_streams.flat_map(|stream| [stream, 0, 0, 0, l2, l1, l0, message_type_id, 1, 0, 0, 0, 7]).collect()
}

/// Sends unfinished messages in chunks of one byte, in reads of 64 KiB. Returns the maximum memory in use.
fn leave_unfinished(peer: &mut Peer, message_type_id: u8, length: u32) -> Result<usize, Error> {
    peer.control(Control::SetChunkSize(ChunkSize::new(1).unwrap()));
    peer.encoder.set_chunk_size(ChunkSize::new(1).unwrap());
    let mut largest = 0;
    for chunk_stream in 20..33 {
        let mut read = unfinished(message_type_id, length, chunk_stream..chunk_stream + 1);
        let more = (1 << 15).min(length as usize - 2);
        read.extend([0xC0 | chunk_stream, 7].repeat(more));
        peer.receive(read)?;
        largest = largest.max(peer.session.memory_bytes());
    }
    Ok(largest)
}

#[test]
fn a_player_s_unfinished_messages_use_a_few_kib() {
    for message_type_id in [type_id::VIDEO, type_id::AUDIO, type_id::DATA_AMF0, type_id::AGGREGATE, 200] {
        let used = leave_unfinished(&mut Peer::playing(), message_type_id, 60_000).unwrap();
        assert!(used < 8 << 10, "{used} for unwanted media");
    }
    let used = leave_unfinished(&mut Peer::playing(), type_id::COMMAND_AMF0, 1_000).unwrap();
    assert!((13_000..40 << 10).contains(&used), "{used} for commands");
    let error = leave_unfinished(&mut Peer::playing(), type_id::COMMAND_AMF0, 16_000).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Chunk(crate::rtmp::chunk::Error::PartialBytes { .. })));
}

#[test]
fn a_publisher_s_limits_apply_from_the_answer_to_the_end_of_the_publish() {
    let large = |peer: &mut Peer| {
        let body = vec![b'x'; 60_000];
        peer.message(type_id::VIDEO, 0, &body).len()
    };
    let mut peer = Peer::connected();
    assert_eq!(large(&mut peer), 0);
    peer.call("publish", 0.0, ["key".into()]);
    assert_eq!(large(&mut peer), 0, "it waits for the answer");
    peer.allow();
    assert_eq!(peer.transcript().len(), 3, "and is not lost");
    assert_eq!(large(&mut peer), 1);
    let used = leave_unfinished(&mut peer, type_id::VIDEO, 30_000).unwrap();
    assert!(used > 13 * 30_000, "{used}");
    peer.call_on(1, "closeStream", []);
    let used = peer.session.memory_bytes();
    assert!(used < 40 << 10, "{used}: unfinished media is freed");
    assert_eq!(peer.call("createStream", 2.0, []).len(), 1, "the connection continues");
}
