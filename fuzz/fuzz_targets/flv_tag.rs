//! FLV files: any bytes are read the same at any cut, and frames are read as they were written.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::check("flv_tag", bytes));
