//! Commands: any bytes are one or an error, and the name one asks for is fit for log and directory.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::check("command", bytes));
