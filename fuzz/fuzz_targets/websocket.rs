//! WebSocket frames from a player: any bytes give the same result at any cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::check("websocket", bytes));
