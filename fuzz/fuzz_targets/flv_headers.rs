//! Audio and video headers: any bytes have one, and it contradicts itself nowhere.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fanfare::flv::video::check_any_bytes(bytes);
    fanfare::flv::audio::check_any_bytes(bytes);
});
