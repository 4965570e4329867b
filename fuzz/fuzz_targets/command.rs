//! Commands: any bytes are a command or an error, and a requested stream name is safe for logs and file names.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::check("command", bytes));
