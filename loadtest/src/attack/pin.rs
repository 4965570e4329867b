//! Attacks that make a server hold memory: much memory for few bytes, or memory that it does not account for.

use std::time::Duration;

use fanfare_rtmp::rtmp::message::{Control, type_id};

use super::plans::{Group, Port, same_setup, setup};
use super::wire::{ConnectionSetup, UPGRADE, control, large_chunks, message, pause, track_headers, whole};

/// Two messages in one chunk each, of which everything but the last byte is sent.
pub fn unfinished_messages(setups: &ConnectionSetup) -> Vec<Group> {
    let mut unfinished =
        [5, 6].map(|chunk_stream_id| whole(chunk_stream_id, type_id::VIDEO, &[0x17; 0xFF_FFFF]));
    unfinished[1].pop();
    // The first one stays unfinished as chunks are one byte smaller, and the second one starts on another chunk stream.
    let chunk_size = control_chunk_size(0xFF_FFFE);
    unfinished[0].pop();
    let unfinished = unfinished.concat();
    vec![Group {
        connections: 10,
        setup: same_setup([setups.plays(), chunk_size, unfinished].concat()),
        write_bytes: 256 << 10,
        ..Group::idle()
    }]
}

/// Acknowledgements are dropped at once, but not the receive buffers that they arrived in.
pub fn pinned_buffers(setups: &ConnectionSetup) -> Vec<Group> {
    let setups = setups.clone();
    let acknowledgement = control(Control::Acknowledgement(7));
    let filler = acknowledgement.repeat((64 << 10) / acknowledgement.len() - 8);
    let next_chunk = [&[0xC6], &[0x17; 128][..]].concat();
    let first_chunk = whole(6, type_id::VIDEO, &[0x17; 0xFF_FFFF])[..12 + 128].to_vec();
    vec![Group {
        connections: 10,
        setup: setup(move |_| [setups.plays(), first_chunk.clone()].concat()),
        flood: [filler, next_chunk].concat(),
        ..Group::idle()
    }]
}

/// Each player is sent the headers, and reads nothing.
pub fn unread_preambles(setups: &ConnectionSetup) -> Vec<Group> {
    let players = setups.clone();
    vec![
        publisher_with_headers(setups, 1, 32),
        Group {
            connections: 40,
            after: Duration::from_millis(700),
            setup: setup(move |_| players.plays_attack(0)),
            reads: false,
            ..Group::idle()
        },
    ]
}

/// Headers are not part of a stream's log.
pub fn large_headers(setups: &ConnectionSetup) -> Vec<Group> {
    vec![publisher_with_headers(setups, 20, 48)]
}

/// A request of 66 bytes is answered with all headers and the newest key frame.
pub fn still_pictures(setups: &ConnectionSetup) -> Vec<Group> {
    let requests = setups.clone();
    vec![
        publisher_with_headers(setups, 1, 32),
        Group {
            port: Port::Http,
            connections: 20,
            ramp: 20.0,
            after: Duration::from_secs(1),
            setup: setup(move |_| requests.requests_still(0)),
            reads: false,
            ..Group::idle()
        },
    ]
}

/// Each of them stops at another position of the stream.
pub fn paused_players(setups: &ConnectionSetup) -> Vec<Group> {
    let (publishes, players) = (setups.clone(), setups.clone());
    vec![
        Group {
            connections: 1,
            setup: setup(move |number| publishes.publishes(number)),
            flood: group_of_pictures(40_000, 90),
            write_bytes: 64 << 10,
            ..Group::idle()
        },
        Group {
            connections: 200,
            ramp: 40.0,
            after: Duration::from_millis(300),
            setup: setup(move |_| [players.plays_attack(0), pause(true)].concat()),
            reads: false,
            ..Group::idle()
        },
    ]
}

/// One key frame, and then a group of pictures that never ends: it is kept for players that join.
pub fn growing_publishers(setups: &ConnectionSetup) -> Vec<Group> {
    const PUBLISHERS: u64 = 10;
    let [publishes, over_rtmp, over_http] = [(); 3].map(|()| setups.clone());
    let key_frame = message(6, 1, type_id::VIDEO, picture(0x17, 4_000));
    vec![
        Group {
            connections: PUBLISHERS as usize,
            setup: setup(move |number| [publishes.publishes(number), key_frame.clone()].concat()),
            flood: message(6, 1, type_id::VIDEO, picture(0x27, 60_000)),
            write_bytes: 64 << 10,
            ..Group::idle()
        },
        Group {
            connections: PUBLISHERS as usize,
            after: Duration::from_millis(200),
            setup: setup(move |number| over_rtmp.plays_attack(number)),
            reads: false,
            ..Group::idle()
        },
        Group {
            port: Port::Http,
            connections: 2 * PUBLISHERS as usize,
            after: Duration::from_millis(200),
            setup: setup(move |number| {
                let fields = if number % 2 == 0 { "" } else { UPGRADE };
                over_http.requests_stream(number / 2, fields)
            }),
            reads: false,
            ..Group::idle()
        },
    ]
}

/// Many tracks, each with a header of 256 KiB, and a key frame.
fn publisher_with_headers(setups: &ConnectionSetup, connections: usize, tracks: u8) -> Group {
    let setups = setups.clone();
    let frames =
        [large_chunks(), track_headers(tracks), whole(6, type_id::VIDEO, &picture(0x17, 1 << 20))].concat();
    Group {
        connections,
        setup: setup(move |number| [&setups.publishes(number), &frames[..]].concat()),
        write_bytes: 1 << 20,
        ..Group::idle()
    }
}

fn group_of_pictures(bytes: usize, inter_frames: usize) -> Vec<u8> {
    let frame = |first| message(6, 1, type_id::VIDEO, picture(first, bytes));
    [frame(0x17), frame(0x27).repeat(inter_frames)].concat()
}

/// An H.264 frame of that frame type and size.
fn picture(first: u8, bytes: usize) -> Vec<u8> {
    [&[first, 1, 0, 0, 0], &vec![0x65; bytes - 5][..]].concat()
}

fn control_chunk_size(bytes: u32) -> Vec<u8> {
    control(Control::SetChunkSize(fanfare_rtmp::rtmp::chunk::ChunkSize::new(bytes).expect("24 bits")))
}
