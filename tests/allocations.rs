//! Heap allocations of decoding: none.

#[path = "../benches/input/mod.rs"]
mod input;

use bytes::{Bytes, BytesMut};
use input::Wire;

const CHUNK_SIZES: [u32; 3] = [128, 4096, 60_000];

#[test]
fn a_warm_decoder_allocates_nothing() {
    for chunk_size in CHUNK_SIZES {
        let wire = Wire::new(chunk_size);
        let reads = wire.reads(64 << 10);
        let mut decoder = wire.decoder();
        let mut decode = || input::decode(&mut decoder, &reads, drop);
        assert_eq!(decode(), wire.messages);
        let counted = allocation_counter::measure(|| assert_eq!(decode(), wire.messages)).count_total;
        assert_eq!(counted, 0, "for {} messages, chunks of {chunk_size}", wire.messages);
    }
}

#[test]
fn a_message_in_one_to_three_reads_allocates_nothing_wherever_they_end() {
    for chunk_size in CHUNK_SIZES {
        // A key frame, and a frame that is one chunk of 60,000.
        for message in input::messages().chunks(1).take(2) {
            let wire = Wire::of(message, chunk_size);
            let message = &wire.bytes;
            // In its header, and anywhere.
            for end in (1..16).chain((1..64).map(|i| i * message.len() / 64)) {
                for cuts in [vec![], vec![end], vec![end, end + 1], vec![end, (end + message.len()) / 2]] {
                    let reads = cut(message, &cuts);
                    let mut decoder = wire.decoder();
                    let mut decode = || assert_eq!(input::decode(&mut decoder, &reads, drop), 1);
                    decode();
                    let counted = allocation_counter::measure(&mut decode).count_total;
                    assert_eq!(counted, 0, "cut at {cuts:?} of {}, chunks of {chunk_size}", message.len());
                }
            }
        }
    }
}

/// Each part is a buffer of its own that is already shared, as from receives.
fn cut(bytes: &[u8], cuts: &[usize]) -> Vec<Bytes> {
    let mut begin = 0;
    let mut part_to = |end| {
        let part = &bytes[std::mem::replace(&mut begin, end)..end];
        BytesMut::from(part).split().freeze()
    };
    cuts.iter().copied().chain([bytes.len()]).map(&mut part_to).collect()
}
