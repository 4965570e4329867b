//! Publishers of valid streams that send far more than others: what they cost should be theirs.

use std::time::Duration;

use fanfare_rtmp::rtmp::message::type_id;

use super::plans::{Group, setup};
use super::wire::{ConnectionSetup, after, control_bytes, whole};

/// One publisher of 500 Mbit/s, 120 frames per second of 521 KB: less than the 1 MB that nginx-rtmp accepts. Every twelfth is a
/// key frame.
pub fn large(setups: &ConnectionSetup) -> Vec<Group> {
    let flood = (0..12).flat_map(|number| {
        let (delta_ms, head) =
            (if number % 3 == 0 { 9 } else { 8 }, if number == 0 { KEY_FRAME } else { INTER_FRAME });
        let filler = vec![b'f'; LARGE_BYTES_PER_SECOND / 120 - head.len()];
        after(6, delta_ms, type_id::VIDEO, &[head, &filler].concat())
    });
    one_publisher(setups, flood.collect(), LARGE_BYTES_PER_SECOND / WRITES_PER_SECOND)
}

/// One publisher of 100,000 messages per second, of six bytes each; a key frame every two seconds.
pub fn small(setups: &ConnectionSetup) -> Vec<Group> {
    // A chunk of type 3 repeats the time difference of the one before, too.
    let [key_frame, frame] = [KEY_FRAME, INTER_FRAME].map(|head| [head, b"f"].concat());
    let again = [&[0xC6], &frame[..]].concat();
    let of_a_millisecond = |first: &[u8]| {
        let next = after(6, 0, type_id::VIDEO, &frame);
        [after(6, 1, type_id::VIDEO, first), next, again.repeat(98)].concat()
    };
    let flood: Vec<u8> =
        [of_a_millisecond(&key_frame), of_a_millisecond(&frame).repeat(2 * 1_000 - 1)].concat();
    let write_bytes = flood.len() / (2 * WRITES_PER_SECOND);
    one_publisher(setups, flood, write_bytes)
}

fn one_publisher(setups: &ConnectionSetup, flood: Vec<u8>, write_bytes: usize) -> Vec<Group> {
    let setups = setups.clone();
    vec![Group {
        connections: 1,
        setup: setup(move |number| {
            [setups.publishes(number), chunks(), whole(6, type_id::VIDEO, SEQUENCE_HEADER)].concat()
        }),
        flood,
        write_bytes,
        write_interval: Duration::from_secs(1) / WRITES_PER_SECOND as u32,
        ..Group::idle()
    }]
}

/// Chunks of 1 MiB, so that each message is one: nginx-rtmp accepts 10 MB at most.
fn chunks() -> Vec<u8> {
    control_bytes(type_id::SET_CHUNK_SIZE, &(1u32 << 20).to_be_bytes())
}

/// 500 Mbit/s.
const LARGE_BYTES_PER_SECOND: usize = 62_500_000;
const WRITES_PER_SECOND: usize = 250;
const SEQUENCE_HEADER: &[u8] =
    b"\x17\0\0\0\0\x01\x42\xC0\x1F\xFF\xE1\0\x04\x67\x42\xC0\x1F\x01\0\x04\x68\xCE\x0F\x2C";
const KEY_FRAME: &[u8] = b"\x17\x01\0\0\0";
const INTER_FRAME: &[u8] = b"\x27\x01\0\0\0";

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use fanfare_rtmp::rtmp::chunk::{ChunkLimits, Decoder};
    use fanfare_rtmp::rtmp::client::Url;

    #[test]
    fn what_is_written_in_a_second_has_all_its_messages_and_lasts_a_second() {
        let url: Url = "rtmp://127.0.0.1/live/honest".parse().unwrap();
        let setups = ConnectionSetup::new(&url);
        for (groups, messages) in [(large(&setups), 120), (small(&setups), 100_000)] {
            let Group { flood, write_bytes, .. } = &groups[0];
            let mut input = [chunks(), whole(6, type_id::VIDEO, SEQUENCE_HEADER)].concat();
            input.extend(flood.iter().cycle().take(write_bytes * WRITES_PER_SECOND));
            let mut decoder = Decoder::new(ChunkLimits::default());
            decoder.set_wants_media(true);
            decoder.feed(Bytes::from(input));
            let (mut count, mut last_ms) = (0, 0);
            while let Some(message) = decoder.next().unwrap() {
                count += usize::from(message.message_type_id == type_id::VIDEO);
                last_ms = message.timestamp_ms;
            }
            // The sequence header, and perhaps a message whose end is in the next second.
            assert!((messages..=messages + 1).contains(&count), "{count} of {messages}");
            assert!((980..=1_000).contains(&last_ms), "{last_ms}");
        }
    }
}
