//! Any bytes, at any cut: the chunk decoder neither panics nor depends on where reads end.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fanfare::rtmp::chunk::fuzz::decode_at_any_cut(data));
