//! Attacks that cost a server more time than they cost the attacker: its cores, its control thread, its log.

use std::net::Ipv4Addr;
use std::time::Duration;

use fanfare_rtmp::amf0::{self, Value};
use fanfare_rtmp::rtmp::message::type_id;

use super::plans::{End, Port, Troop, opening, same_opening};
use super::wire::{
    Openings, headers, large_chunks, message, pause, publish, receive_video, request, track_headers, whole,
};

/// Each of these key frames may be a point to join at, with all of the headers before it.
pub fn key_frame_copies(openings: &Openings) -> Vec<Troop> {
    let openings = openings.clone();
    vec![Troop {
        connections: 4,
        opening: opening(move |number| {
            let first = whole(6, type_id::VIDEO, KEY_FRAME);
            [openings.publishes(number), large_chunks(), track_headers(32), first].concat()
        }),
        flood: AGAIN_KEY_FRAME.repeat(512),
        opening_piece: 1 << 20,
        piece: 1 << 10,
        pause: Duration::from_millis(20),
        ..Troop::still()
    }]
}

/// FLV tags of 11 bytes, one byte, and 4 bytes that repeat the length (RTMP 1.0 §7.1.6).
pub fn aggregates(openings: &Openings) -> Vec<Troop> {
    let mut tag = vec![type_id::VIDEO, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    tag.extend_from_slice(INTER_FRAME);
    tag.extend_from_slice(&12u32.to_be_bytes());
    let aggregate = whole(6, type_id::AGGREGATE, &tag.repeat(MAX_MESSAGE_BYTES / tag.len()));
    let openings = openings.clone();
    vec![Troop {
        connections: 2,
        opening: opening(move |number| [openings.publishes(number), large_chunks()].concat()),
        flood: aggregate,
        piece: 256 << 10,
        ..Troop::still()
    }]
}

/// AMF0 references (§2.9) to arrays that hold references.
pub fn amf_references(openings: &Openings) -> Vec<Troop> {
    let references = |count: usize, to: u16| {
        let reference = [&[0x07], &to.to_be_bytes()[..]].concat();
        [strict_array(count), reference.repeat(count)].concat()
    };
    let nulls = [strict_array(25), vec![0x05; 25]].concat();
    let name_and_id = amf0::encode_all(&[Value::from("x"), 0.0.into(), Value::Null]);
    let command = [name_and_id, nulls, references(25, 0), references(23, 1)].concat();
    let openings = openings.clone();
    vec![Troop {
        connections: 10,
        opening: opening(move |_| openings.connected()),
        flood: message(3, 0, type_id::COMMAND_AMF0, command).repeat(32),
        piece: 2 << 10,
        ..Troop::still()
    }]
}

/// Of each write `piece` bytes, a hundred times a second.
pub fn tiny_messages(openings: &Openings, connections: usize, piece: usize) -> Vec<Troop> {
    let openings = openings.clone();
    vec![Troop {
        connections,
        opening: opening(move |number| {
            let frames = [whole(6, type_id::VIDEO, KEY_FRAME), whole(6, type_id::VIDEO, INTER_FRAME)];
            [openings.publishes(number), frames.concat()].concat()
        }),
        flood: AGAIN_INTER_FRAME.repeat(32 << 10),
        piece,
        ..Troop::still()
    }]
}

/// Audio that goes out with video for all others goes out alone for them.
pub fn players_without_video(openings: &Openings) -> Vec<Troop> {
    let openings = openings.clone();
    vec![Troop {
        connections: 300,
        opening: opening(move |_| [openings.plays(), receive_video(false)].concat()),
        ..Troop::still()
    }]
}

/// What is being sent when a player pauses must be sent to its end.
pub fn pause_storms(openings: &Openings) -> Vec<Troop> {
    let (publishes, of_attack, of_honest) = (openings.clone(), openings.clone(), openings.clone());
    let frames = (0..64).flat_map(|number| {
        let key_frame = [&b"\x17\x01\0\0\0"[..], &[b'k'; 4_000]].concat();
        let inter_frame = [&b"\x27\x01\0\0\0"[..], &[b'p'; 4_000]].concat();
        let frames = [inter_frame, key_frame].map(|frame| message(6, 1, type_id::VIDEO, frame));
        [headers(number), frames.concat()].concat()
    });
    let pauses = || [pause(true), pause(false)].concat().repeat(8);
    vec![
        Troop {
            connections: 1,
            opening: opening(move |number| publishes.publishes(number)),
            flood: frames.collect(),
            piece: 16 << 10,
            ..Troop::still()
        },
        Troop {
            connections: 10,
            after: Duration::from_millis(300),
            opening: opening(move |_| of_attack.plays_attack(0)),
            flood: pauses(),
            piece: pauses().len() / 4,
            pause: Duration::from_millis(4),
            ..Troop::still()
        },
        Troop {
            connections: 10,
            opening: opening(move |_| of_honest.plays()),
            flood: pauses(),
            piece: pauses().len() / 4,
            pause: Duration::from_millis(4),
            ..Troop::still()
        },
    ]
}

/// A chunk header of one byte repeats the one before (type 3), so a `publish` is 25 bytes. Each connection has two names.
pub fn publish_storms(openings: &Openings, connections: usize, piece: usize) -> Vec<Troop> {
    let one = |connection: usize| {
        let (openings, names) = (openings.clone(), [0, 1].map(|name| format!("{connection:02}{name}")));
        let again = |name: &String| {
            let mut chunk = publish(name).split_off(11);
            chunk[0] = 0xC3;
            chunk
        };
        let flood = names.iter().flat_map(again).collect::<Vec<_>>().repeat(2_000);
        Troop {
            connections: 1,
            opening: opening(move |_| openings.publishes_stream(&names[0])),
            flood,
            piece,
            ..Troop::still()
        }
    };
    (0..connections).map(one).collect()
}

/// 25 bytes that are no handshake.
pub fn refused_connections() -> Vec<Troop> {
    vec![Troop {
        connections: 200,
        ramp: 3_000.0,
        opening: same_opening(b"no handshake of any kind.".to_vec()),
        ..Troop::still()
    }]
}

/// The server ends each that it refuses.
pub fn name_thieves(openings: &Openings) -> Vec<Troop> {
    let openings = openings.clone();
    vec![Troop {
        connections: 10,
        ramp: 50.0,
        opening: opening(move |_| openings.publishes_honest()),
        end: Some((Duration::from_secs(1), End::Close)),
        ..Troop::still()
    }]
}

/// As many as one network may have at a time, and more.
pub fn one_network() -> Vec<Troop> {
    vec![Troop {
        connections: 4_500,
        ramp: 4_000.0,
        source: Some(|number| Ipv4Addr::new(127, 7, 7, 1 + (number % 8) as u8)),
        opening: same_opening(vec![3]),
        ..Troop::still()
    }]
}

/// A publish is an event, and so is its end.
pub fn event_floods(openings: &Openings) -> Vec<Troop> {
    let storm = publish_storms(openings, 10, 4 << 10);
    let openings = openings.clone();
    let coming_and_going = Troop {
        connections: 100,
        ramp: 500.0,
        opening: opening(move |number| openings.publishes(1_000 + number)),
        end: Some((Duration::from_millis(100), End::Reset)),
        ..Troop::still()
    };
    let listeners = Troop {
        port: Port::Http,
        connections: 20,
        opening: same_opening(request("/api/v1/events?token=attack-token", "Accept: text/event-stream\r\n")),
        reads: false,
        ..Troop::still()
    };
    storm.into_iter().chain([coming_and_going, listeners]).collect()
}

/// Somebody asks all the time what each of many streams is.
pub fn dear_metadata(openings: &Openings) -> Vec<Troop> {
    let openings = openings.clone();
    let values = (0..MAX_METADATA_VALUES).map(|number| (format!("k{number}"), f64::from(number).into()));
    let metadata = amf0::encode_all(&[Value::from("onMetaData"), Value::EcmaArray(values.collect())]);
    let publishers = Troop {
        connections: 30,
        opening: opening(move |number| {
            [openings.publishes(number), message(5, 1, type_id::DATA_AMF0, metadata.clone())].concat()
        }),
        opening_piece: 256 << 10,
        ..Troop::still()
    };
    let list = request("/api/v1/streams?limit=1000", "");
    let readers = Troop {
        port: Port::Http,
        connections: 10,
        after: Duration::from_millis(500),
        piece: list.len(),
        flood: list,
        ..Troop::still()
    };
    vec![publishers, readers]
}

/// More streams than have metrics of their own.
pub fn odd_names(openings: &Openings) -> Vec<Troop> {
    let openings = openings.clone();
    vec![Troop {
        connections: 150,
        opening: opening(move |number| match number {
            0 => openings.publishes_stream("(others)"),
            1 => openings.publishes_stream("a\"}\nfanfare_up{b=\"c"),
            number => openings.publishes(number),
        }),
        ..Troop::still()
    }]
}

fn strict_array(len: usize) -> Vec<u8> {
    [&[0x0A], &(len as u32).to_be_bytes()[..]].concat()
}

/// A key frame of VP6 (codec id 4, frame type 1), without a byte of it.
const KEY_FRAME: &[u8] = b"\x14";
const INTER_FRAME: &[u8] = b"\x24";
/// On the same chunk stream, 6, with the same header.
const AGAIN_KEY_FRAME: &[u8] = b"\xC6\x14";
const AGAIN_INTER_FRAME: &[u8] = b"\xC6\x24";
/// A message's length has 24 bits.
const MAX_MESSAGE_BYTES: usize = 0xFF_FFFF;
/// Of 16,384 values in a message, and 256 KiB.
const MAX_METADATA_VALUES: u32 = 15_000;
