//! AMF0: any bytes are values or an error, and values are encoded as they were decoded.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::check("amf0", bytes));
