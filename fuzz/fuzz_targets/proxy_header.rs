//! PROXY headers: for any bytes the outcome does not depend on how they are cut, and no more is kept than the longest
//! header.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::check("proxy_header", bytes));
