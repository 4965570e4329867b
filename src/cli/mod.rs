//! The command line: flags and commands, the lines at the start, what a supervisor is told.

#![forbid(unsafe_code)]

pub mod banner;
pub mod options;
pub mod paperwork;
pub mod serve;
pub mod version;

use std::io::Write;

use fanfare::config::{Config, Ignored};

/// Why fanfare exits with an error, as one line.
pub enum Failure {
    /// Another attempt fails as well.
    Configuration(String),
    /// Another attempt may succeed: a port was in use, memory was short.
    Other(String),
    /// The configuration is not that of the running relay.
    Differs,
}

/// Prints to standard output. A failure is no reason to stop.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Environment variables that begin like options and are none.
pub fn ignored_variables() -> Vec<Ignored> {
    Config::ignored_variables(std::env::vars_os())
}

/// The wall clock.
pub fn unix_seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
