//! Audio and video headers, legacy and Enhanced: any bytes parse, and no header contradicts itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::check("flv_headers", bytes));
