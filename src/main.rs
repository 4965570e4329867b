//! Flags, configuration, start.
fn main() {}
