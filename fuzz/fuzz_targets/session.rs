//! A whole session after the handshake, at any cut and with any answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::check("session", bytes));
