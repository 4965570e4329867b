//! Heap allocations of decoding: none for a message that lies in one read or two.

#[path = "../benches/input/mod.rs"]
mod input;

use input::Wire;

const READ_LEN: usize = 64 << 10;

#[test]
fn a_warm_decoder_allocates_nothing_but_for_messages_that_span_three_reads() {
    // One for a list of views, and one for a longer list where a chunk header lies across two reads.
    let allowed = 2 * input::messages().iter().filter(|message| message.payload.len() > READ_LEN).count();
    for chunk_size in [128, 4096, 60_000] {
        let wire = Wire::new(chunk_size);
        let reads = wire.reads(READ_LEN);
        let mut decoder = wire.decoder();
        let mut decode = || input::decode(&mut decoder, &reads, drop);
        assert_eq!(decode(), wire.messages);
        let counted = allocation_counter::measure(|| assert_eq!(decode(), wire.messages)).count_total;
        assert!(
            counted <= allowed as u64,
            "{counted} for {} messages, chunks of {chunk_size}",
            wire.messages
        );
    }
}
