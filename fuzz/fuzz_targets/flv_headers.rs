//! Audio and video headers, Enhanced ones too: any bytes have one, and it contradicts itself nowhere.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::check("flv_headers", bytes));
