//! A whole session behind the handshake, however it is cut and answered.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::check("session", bytes));
