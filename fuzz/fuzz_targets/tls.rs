//! TLS with a peer that does what the input says: cuts, changes and repeats records, renews keys, ends.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::check("tls", bytes));
