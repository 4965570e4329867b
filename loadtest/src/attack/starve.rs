//! Attacks that cost a server more CPU time than the attacker: on its cores, its control thread, its log.

use std::net::Ipv4Addr;
use std::time::Duration;

use fanfare_rtmp::amf0::{self, Value};
use fanfare_rtmp::rtmp::message::type_id;

use super::plans::{End, Group, Port, same_setup, setup};
use super::wire::{
    ConnectionSetup, headers, large_chunks, message, pause, publish, receive_video, request, track_headers,
    whole,
};

/// Each of these key frames may become a join point, with all headers before it.
pub fn key_frame_copies(setups: &ConnectionSetup) -> Vec<Group> {
    let setups = setups.clone();
    vec![Group {
        connections: 4,
        setup: setup(move |number| {
            let first = whole(6, type_id::VIDEO, KEY_FRAME);
            [setups.publishes(number), large_chunks(), track_headers(32), first].concat()
        }),
        flood: AGAIN_KEY_FRAME.repeat(512),
        setup_write_bytes: 1 << 20,
        write_bytes: 1 << 10,
        write_interval: Duration::from_millis(20),
        ..Group::idle()
    }]
}

/// FLV tags of 11 bytes, one byte, and 4 bytes that repeat the length (RTMP 1.0 §7.1.6).
pub fn aggregates(setups: &ConnectionSetup) -> Vec<Group> {
    let mut tag = vec![type_id::VIDEO, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    tag.extend_from_slice(INTER_FRAME);
    tag.extend_from_slice(&12u32.to_be_bytes());
    let aggregate = whole(6, type_id::AGGREGATE, &tag.repeat(MAX_MESSAGE_BYTES / tag.len()));
    let setups = setups.clone();
    vec![Group {
        connections: 2,
        setup: setup(move |number| [setups.publishes(number), large_chunks()].concat()),
        flood: aggregate,
        write_bytes: 256 << 10,
        ..Group::idle()
    }]
}

/// AMF0 references (§2.9) to arrays of references.
pub fn amf_references(setups: &ConnectionSetup) -> Vec<Group> {
    let references = |count: usize, to: u16| {
        let reference = [&[0x07], &to.to_be_bytes()[..]].concat();
        [strict_array(count), reference.repeat(count)].concat()
    };
    let nulls = [strict_array(25), vec![0x05; 25]].concat();
    let name_and_id = amf0::encode_all(&[Value::from("x"), 0.0.into(), Value::Null]);
    let command = [name_and_id, nulls, references(25, 0), references(23, 1)].concat();
    let setups = setups.clone();
    vec![Group {
        connections: 10,
        setup: setup(move |_| setups.connected()),
        flood: message(3, 0, type_id::COMMAND_AMF0, command).repeat(32),
        write_bytes: 2 << 10,
        ..Group::idle()
    }]
}

/// `write_bytes` bytes, 100 times per second per connection.
pub fn tiny_messages(setups: &ConnectionSetup, connections: usize, write_bytes: usize) -> Vec<Group> {
    let setups = setups.clone();
    vec![Group {
        connections,
        setup: setup(move |number| {
            let frames = [whole(6, type_id::VIDEO, KEY_FRAME), whole(6, type_id::VIDEO, INTER_FRAME)];
            [setups.publishes(number), frames.concat()].concat()
        }),
        flood: AGAIN_INTER_FRAME.repeat(32 << 10),
        write_bytes,
        ..Group::idle()
    }]
}

/// Audio that is sent together with video to other players is sent alone to these.
pub fn players_without_video(setups: &ConnectionSetup) -> Vec<Group> {
    let setups = setups.clone();
    vec![Group {
        connections: 300,
        setup: setup(move |_| [setups.plays(), receive_video(false)].concat()),
        ..Group::idle()
    }]
}

/// A message that is being sent when a player pauses must be sent completely.
pub fn pause_storms(setups: &ConnectionSetup) -> Vec<Group> {
    let (publishes, of_attack, of_honest) = (setups.clone(), setups.clone(), setups.clone());
    let frames = (0..64).flat_map(|number| {
        let key_frame = [&b"\x17\x01\0\0\0"[..], &[b'k'; 4_000]].concat();
        let inter_frame = [&b"\x27\x01\0\0\0"[..], &[b'p'; 4_000]].concat();
        let frames = [inter_frame, key_frame].map(|frame| message(6, 1, type_id::VIDEO, frame));
        [headers(number), frames.concat()].concat()
    });
    let pauses = || [pause(true), pause(false)].concat().repeat(8);
    vec![
        Group {
            connections: 1,
            setup: setup(move |number| publishes.publishes(number)),
            flood: frames.collect(),
            write_bytes: 16 << 10,
            ..Group::idle()
        },
        Group {
            connections: 10,
            after: Duration::from_millis(300),
            setup: setup(move |_| of_attack.plays_attack(0)),
            flood: pauses(),
            write_bytes: pauses().len() / 4,
            write_interval: Duration::from_millis(4),
            ..Group::idle()
        },
        Group {
            connections: 10,
            setup: setup(move |_| of_honest.plays()),
            flood: pauses(),
            write_bytes: pauses().len() / 4,
            write_interval: Duration::from_millis(4),
            ..Group::idle()
        },
    ]
}

/// A chunk header of one byte repeats the one before (type 3), so a `publish` has 25 bytes. Each connection uses two names.
pub fn publish_storms(setups: &ConnectionSetup, connections: usize, write_bytes: usize) -> Vec<Group> {
    let one = |connection: usize| {
        let (setups, names) = (setups.clone(), [0, 1].map(|name| format!("{connection:02}{name}")));
        let again = |name: &String| {
            let mut chunk = publish(name).split_off(11);
            chunk[0] = 0xC3;
            chunk
        };
        let flood = names.iter().flat_map(again).collect::<Vec<_>>().repeat(2_000);
        Group {
            connections: 1,
            setup: setup(move |_| setups.publishes_stream(&names[0])),
            flood,
            write_bytes,
            ..Group::idle()
        }
    };
    (0..connections).map(one).collect()
}

/// 25 bytes that are not a handshake.
pub fn refused_connections() -> Vec<Group> {
    vec![Group {
        connections: 200,
        ramp: 3_000.0,
        setup: same_setup(b"no handshake of any kind.".to_vec()),
        ..Group::idle()
    }]
}

/// The server closes each connection that it refuses.
pub fn name_thieves(setups: &ConnectionSetup) -> Vec<Group> {
    let setups = setups.clone();
    vec![Group {
        connections: 10,
        ramp: 50.0,
        setup: setup(move |_| setups.publishes_honest()),
        end: Some((Duration::from_secs(1), End::Close)),
        ..Group::idle()
    }]
}

/// More connections than one network may have.
pub fn one_network() -> Vec<Group> {
    vec![Group {
        connections: 4_500,
        ramp: 4_000.0,
        source: Some(|number| Ipv4Addr::new(127, 7, 7, 1 + (number % 8) as u8)),
        setup: same_setup(vec![3]),
        ..Group::idle()
    }]
}

/// Each publish and each end of one is an event.
pub fn event_floods(setups: &ConnectionSetup) -> Vec<Group> {
    let storm = publish_storms(setups, 10, 4 << 10);
    let setups = setups.clone();
    let reconnecting = Group {
        connections: 100,
        ramp: 500.0,
        setup: setup(move |number| setups.publishes(1_000 + number)),
        end: Some((Duration::from_millis(100), End::Reset)),
        ..Group::idle()
    };
    let listeners = Group {
        port: Port::Http,
        connections: 20,
        setup: same_setup(request("/api/v1/events?token=attack-token", "Accept: text/event-stream\r\n")),
        reads: false,
        ..Group::idle()
    };
    storm.into_iter().chain([reconnecting, listeners]).collect()
}

/// The list of streams, with what is known of each, is requested all the time.
pub fn large_metadata(setups: &ConnectionSetup) -> Vec<Group> {
    let setups = setups.clone();
    let values = (0..MAX_METADATA_VALUES).map(|number| (format!("k{number}"), f64::from(number).into()));
    let metadata = amf0::encode_all(&[Value::from("onMetaData"), Value::EcmaArray(values.collect())]);
    let publishers = Group {
        connections: 30,
        setup: setup(move |number| {
            [setups.publishes(number), message(5, 1, type_id::DATA_AMF0, metadata.clone())].concat()
        }),
        setup_write_bytes: 256 << 10,
        ..Group::idle()
    };
    let list = request("/api/v1/streams?limit=1000", "");
    let readers = Group {
        port: Port::Http,
        connections: 10,
        after: Duration::from_millis(500),
        write_bytes: list.len(),
        flood: list,
        ..Group::idle()
    };
    vec![publishers, readers]
}

/// More streams than have metrics of their own.
pub fn odd_names(setups: &ConnectionSetup) -> Vec<Group> {
    let setups = setups.clone();
    vec![Group {
        connections: 150,
        setup: setup(move |number| match number {
            0 => setups.publishes_stream("(others)"),
            1 => setups.publishes_stream("a\"}\nfanfare_up{b=\"c"),
            number => setups.publishes(number),
        }),
        ..Group::idle()
    }]
}

fn strict_array(len: usize) -> Vec<u8> {
    [&[0x0A], &(len as u32).to_be_bytes()[..]].concat()
}

/// The header of a VP6 key frame (codec id 4, frame type 1), without any data.
const KEY_FRAME: &[u8] = b"\x14";
const INTER_FRAME: &[u8] = b"\x24";
/// On the same chunk stream, 6, with a header that repeats the last one.
const AGAIN_KEY_FRAME: &[u8] = b"\xC6\x14";
const AGAIN_INTER_FRAME: &[u8] = b"\xC6\x24";
/// A message's length has 24 bits.
const MAX_MESSAGE_BYTES: usize = 0xFF_FFFF;
/// The relay accepts 16,384 values per message, and 256 KiB.
const MAX_METADATA_VALUES: u32 = 15_000;
