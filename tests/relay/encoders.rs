//! How encoders split what they send: chunk sizes, writes cut at any byte, interleaved chunk streams.

use fanfare::flv::{Frame, FrameKind};

use crate::crowd::{Crowd, Cut, Id};
use crate::frames::Source;
use crate::support::Relay;

#[test]
fn frames_arrive_whole_whatever_the_chunk_size_of_the_encoder() {
    let relay = Relay::start("play.max_lag = '1m'");
    for chunk_size in [1, 128, 4096, 65_536, 16_777_215] {
        let mut crowd = Crowd::new();
        let source = Source::new(chunk_size);
        let name = format!("live/{chunk_size}");
        let players = crowd.play_all(&relay, &name, 4);
        let publisher = crowd.publish_in_chunks(&relay, &name, chunk_size);
        crowd.begin(publisher, &source, &players);
        crowd.send_frames(publisher, &source, 1..120);
        crowd.until_seen(&players, 119);
        for player in players {
            source.assert_from_the_start(&format!("chunks of {chunk_size}"), &crowd[player].seen, 0..120);
        }
    }
}

#[test]
fn an_encoder_that_writes_byte_by_byte_is_understood() {
    let relay = Relay::start("");
    let mut crowd = Crowd::new();
    let source = Source::small(1);
    let players = crowd.play_all(&relay, "live/a", 2);
    let publisher = crowd.request_publish(&relay, "live/a", 128);
    crowd[publisher].cut = Cut::Bytes;
    crowd.until("it publishes", |crowd| crowd[publisher].has_started);
    crowd.begin(publisher, &source, &players);
    crowd.send_frames(publisher, &source, 1..60);
    crowd.until_seen(&players, 59);
    for player in players {
        source.assert_from_the_start("a player", &crowd[player].seen, 0..60);
    }
}

#[test]
fn an_encoder_whose_writes_are_cut_anywhere_is_understood() {
    let relay = Relay::start("play.max_lag = '1m'");
    for seed in 0..8 {
        let mut crowd = Crowd::new();
        let source = Source::new(seed);
        let name = format!("live/{seed}");
        let players = crowd.play_all(&relay, &name, 2);
        let publisher = crowd.request_publish(&relay, &name, 128 << seed);
        crowd[publisher].cut = Cut::Anywhere(u64::from(seed));
        crowd.until("it publishes", |crowd| crowd[publisher].has_started);
        crowd.begin(publisher, &source, &players);
        crowd.send_frames(publisher, &source, 1..60);
        crowd.until_seen(&players, 59);
        for player in players {
            source.assert_from_the_start(&format!("seed {seed}"), &crowd[player].seen, 0..60);
        }
    }
}

#[test]
fn interleaved_chunks_of_audio_and_video_arrive_whole() {
    let relay = Relay::start("");
    let mut crowd = Crowd::new();
    // Past 24 bits, so that each chunk carries an extended timestamp.
    let source = Source { first_ms: 0xFF_FFF0, ..Source::small(1) };
    let players = crowd.play_all(&relay, "live/a", 2);
    let publisher = crowd.publish_in_chunks(&relay, "live/a", 128);
    crowd.begin(publisher, &source, &players);
    for pair in 1..50 {
        send_interleaved(&mut crowd, publisher, &source.frame(2 * pair - 1), &source.frame(2 * pair));
    }
    let count = source.headers().len() + 99;
    crowd.until("all frames", |crowd| players.iter().all(|&id| crowd[id].seen.len() == count));
    for player in players {
        // Of two interleaved messages, the one that ended first is received first.
        let mut seen = crowd[player].seen.clone();
        seen[3..].sort_by_key(|seen| seen.number());
        source.assert_from_the_start("a player", &seen, 0..99);
    }
}

/// Sends one chunk of each in turn until both are complete.
fn send_interleaved(crowd: &mut Crowd, id: Id, one: &Frame, other: &Frame) {
    let (mut one, mut other) = (chunks(one).into_iter(), chunks(other).into_iter());
    loop {
        let turn = [one.next(), other.next()];
        if turn == [None, None] {
            return;
        }
        turn.into_iter().flatten().for_each(|chunk| crowd.send_bytes(id, &chunk));
    }
}

/// A message in chunks of 128 bytes, written by hand (RTMP 1.0 §5.3.1), with 2- and 3-byte chunk stream ids.
fn chunks(frame: &Frame) -> Vec<Vec<u8>> {
    let id: &[u8] = match frame.kind {
        FrameKind::Video => &[1, 36, 1],
        _ => &[0, 6],
    };
    let payload = frame.payload.to_bytes();
    let is_extended = frame.timestamp_ms >= 0xFF_FFFF;
    let extended = frame.timestamp_ms.to_be_bytes();
    let extended = if is_extended { &extended[..] } else { &[] };
    let mut chunks = Vec::new();
    for (index, part) in payload.chunks(128).enumerate() {
        let mut chunk = id.to_vec();
        if index == 0 {
            chunk.extend_from_slice(&frame.timestamp_ms.min(0xFF_FFFF).to_be_bytes()[1..]);
            chunk.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
            chunk.push(frame.kind as u8);
            chunk.extend_from_slice(&1u32.to_le_bytes());
        } else {
            chunk[0] |= 3 << 6;
        }
        chunk.extend_from_slice(extended);
        chunk.extend_from_slice(part);
        chunks.push(chunk);
    }
    chunks
}
