//! The handshake: the cut of the input changes nothing.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::check("handshake", bytes));
