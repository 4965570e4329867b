//! Audio and video headers, Enhanced ones too: any bytes have one, and it contradicts itself nowhere.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (fanfare::fuzz::Target::named("flv_headers").check)(bytes));
