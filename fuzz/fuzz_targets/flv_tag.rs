//! FLV files: whatever they hold and however they are cut, they read the same, and frames read back as they are written.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::check("flv_tag", bytes));
