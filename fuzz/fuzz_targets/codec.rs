//! Sequence headers of all codecs: for any bytes the parsed values are within their ranges.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::check("codec", bytes));
