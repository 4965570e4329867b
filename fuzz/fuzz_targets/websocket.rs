//! What a player says on a WebSocket, however it is cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::check("websocket", bytes));
