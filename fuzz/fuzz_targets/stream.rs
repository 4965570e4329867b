//! Any frames at any times: the log is whole, bounded, and players begin where a message does.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::check("stream", bytes));
