//! Attacks that have a server hold memory: much of it for few bytes, or bytes that nobody counts.

use std::time::Duration;

use fanfare_rtmp::rtmp::message::{Control, type_id};

use super::plans::{Port, Troop, opening, same_opening};
use super::wire::{Openings, UPGRADE, control, large_chunks, message, pause, track_headers, whole};

/// A chunk that is announced as large as its message and comes but for its last byte, twice.
pub fn unfinished_messages(openings: &Openings) -> Vec<Troop> {
    let mut unfinished =
        [5, 6].map(|chunk_stream_id| whole(chunk_stream_id, type_id::VIDEO, &[0x17; 0xFF_FFFF]));
    unfinished[1].pop();
    // The first one misses its end because of the second one, on another chunk stream: chunks are one byte smaller.
    let chunk_size = control_chunk_size(0xFF_FFFE);
    unfinished[0].pop();
    let unfinished = unfinished.concat();
    vec![Troop {
        connections: 10,
        opening: same_opening([openings.plays(), chunk_size, unfinished].concat()),
        piece: 256 << 10,
        ..Troop::still()
    }]
}

/// Acknowledgements are forgotten at once, but what they were received into is not.
pub fn pinned_buffers(openings: &Openings) -> Vec<Troop> {
    let openings = openings.clone();
    let acknowledgement = control(Control::Acknowledgement(7));
    let filler = acknowledgement.repeat((64 << 10) / acknowledgement.len() - 8);
    let next_chunk = [&[0xC6], &[0x17; 128][..]].concat();
    let first_chunk = whole(6, type_id::VIDEO, &[0x17; 0xFF_FFFF])[..12 + 128].to_vec();
    vec![Troop {
        connections: 10,
        opening: opening(move |_| [openings.plays(), first_chunk.clone()].concat()),
        flood: [filler, next_chunk].concat(),
        ..Troop::still()
    }]
}

/// Each player is given the headers, and takes none of them.
pub fn unread_preambles(openings: &Openings) -> Vec<Troop> {
    let players = openings.clone();
    vec![
        publisher_with_headers(openings, 1, 32),
        Troop {
            connections: 40,
            after: Duration::from_millis(700),
            opening: opening(move |_| players.plays_attack(0)),
            reads: false,
            ..Troop::still()
        },
    ]
}

/// Headers are no part of a stream's log.
pub fn large_headers(openings: &Openings) -> Vec<Troop> {
    vec![publisher_with_headers(openings, 20, 48)]
}

/// 66 bytes ask for all headers and the newest key frame.
pub fn still_pictures(openings: &Openings) -> Vec<Troop> {
    let requests = openings.clone();
    vec![
        publisher_with_headers(openings, 1, 32),
        Troop {
            port: Port::Http,
            connections: 20,
            ramp: 20.0,
            after: Duration::from_secs(1),
            opening: opening(move |_| requests.asks_for_still(0)),
            reads: false,
            ..Troop::still()
        },
    ]
}

/// Each of them stands at another place of the stream.
pub fn paused_players(openings: &Openings) -> Vec<Troop> {
    let (publishes, players) = (openings.clone(), openings.clone());
    vec![
        Troop {
            connections: 1,
            opening: opening(move |number| publishes.publishes(number)),
            flood: group_of_pictures(40_000, 90),
            piece: 64 << 10,
            ..Troop::still()
        },
        Troop {
            connections: 200,
            ramp: 40.0,
            after: Duration::from_millis(300),
            opening: opening(move |_| [players.plays_attack(0), pause(true)].concat()),
            reads: false,
            ..Troop::still()
        },
    ]
}

/// One key frame, and then a group of pictures that does not end: it is kept for those who join.
pub fn growing_publishers(openings: &Openings) -> Vec<Troop> {
    const PUBLISHERS: u64 = 10;
    let [publishes, over_rtmp, over_http] = [(); 3].map(|()| openings.clone());
    let key_frame = message(6, 1, type_id::VIDEO, picture(0x17, 4_000));
    vec![
        Troop {
            connections: PUBLISHERS as usize,
            opening: opening(move |number| [publishes.publishes(number), key_frame.clone()].concat()),
            flood: message(6, 1, type_id::VIDEO, picture(0x27, 60_000)),
            piece: 64 << 10,
            ..Troop::still()
        },
        Troop {
            connections: PUBLISHERS as usize,
            after: Duration::from_millis(200),
            opening: opening(move |number| over_rtmp.plays_attack(number)),
            reads: false,
            ..Troop::still()
        },
        Troop {
            port: Port::Http,
            connections: 2 * PUBLISHERS as usize,
            after: Duration::from_millis(200),
            opening: opening(move |number| {
                let fields = if number % 2 == 0 { "" } else { UPGRADE };
                over_http.asks_for_attack(number / 2, fields)
            }),
            reads: false,
            ..Troop::still()
        },
    ]
}

/// Many tracks, each with a header of 256 KiB, and a key frame.
fn publisher_with_headers(openings: &Openings, connections: usize, tracks: u8) -> Troop {
    let openings = openings.clone();
    let frames =
        [large_chunks(), track_headers(tracks), whole(6, type_id::VIDEO, &picture(0x17, 1 << 20))].concat();
    Troop {
        connections,
        opening: opening(move |number| [&openings.publishes(number), &frames[..]].concat()),
        piece: 1 << 20,
        ..Troop::still()
    }
}

fn group_of_pictures(bytes: usize, inter_frames: usize) -> Vec<u8> {
    let frame = |first| message(6, 1, type_id::VIDEO, picture(first, bytes));
    [frame(0x17), frame(0x27).repeat(inter_frames)].concat()
}

/// A frame of H.264 with that frame type, as long as this.
fn picture(first: u8, bytes: usize) -> Vec<u8> {
    [&[first, 1, 0, 0, 0], &vec![0x65; bytes - 5][..]].concat()
}

fn control_chunk_size(bytes: u32) -> Vec<u8> {
    control(Control::SetChunkSize(fanfare_rtmp::rtmp::chunk::ChunkSize::new(bytes).expect("24 bits")))
}
