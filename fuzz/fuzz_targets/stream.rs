//! The stream log: for any frames at any times it is complete and bounded, and players start at a message boundary.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::check("stream", bytes));
