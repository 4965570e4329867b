//! Sequence headers of all codecs: whatever they hold, what is said of them is in its range.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::check("codec", bytes));
