//! Any bytes, at any cut: the chunk decoder neither panics nor depends on where reads end.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::check("chunk", bytes));
