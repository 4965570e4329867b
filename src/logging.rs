//! Log lines: which are written, in what form, and where to. They go to standard error; standard output is for
//! what a person who starts fanfare wants to read.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::{Log, LogFormat};

/// Overrides the configured level, for one run.
pub const LEVEL_VARIABLE: &str = "FANFARE_LOG";

/// Starts logging for the whole process; once. The error is one line that says which setting is wrong.
pub fn start(log: &Log) -> Result<(), String> {
    let filter = match std::env::var(LEVEL_VARIABLE) {
        Ok(level) => filter(&level).map_err(|what| format!("{LEVEL_VARIABLE}: {what}"))?,
        Err(_) => filter(&log.level).map_err(|what| format!("log.level: {what}"))?,
    };
    // A line that cannot be written is lost. To say so the subscriber would write to standard error, which is what has
    // just failed, and panic over that: a full disk would end the relay.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(shows_colours())
        .log_internal_errors(false);
    let started = match log.format {
        LogFormat::Text => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
    };
    started.map_err(|error| format!("logging cannot start: {error}"))
}

/// A file or a journal shows colours as rubbish, and <https://no-color.org> is for people who want none.
fn shows_colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty())
}

/// What a level stands for: `info`, or directives such as `info,fanfare::net=debug`.
///
/// Stricter than `EnvFilter`, to which a mistyped level is the name of a module, and which then writes nothing.
pub fn filter(level: &str) -> Result<EnvFilter, String> {
    for directive in level.split(',').map(str::trim) {
        let names_level = directive.parse::<LevelFilter>().is_ok();
        let names_target = directive.contains(['=', ':', '[']) || directive == "fanfare";
        if directive.is_empty() || !(names_level || names_target) {
            return Err(format!("`{directive}` is not error, warn, info, debug, trace, off or TARGET=LEVEL"));
        }
    }
    EnvFilter::builder().parse(level).map_err(|error| format!("`{level}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_are_taken() {
        for level in
            ["error", "warn", "INFO", "debug", "trace", "off", "info,fanfare::net=debug", "fanfare=warn"]
        {
            filter(level).unwrap_or_else(|error| panic!("{level}: {error}"));
        }
    }

    #[test]
    fn a_mistyped_level_is_refused_by_name() {
        for level in ["inof", "", "info,", "fanfare=loud", "info debug"] {
            assert!(filter(level).is_err(), "{level}");
        }
        assert!(filter("inof").unwrap_err().contains("`inof`"));
    }
}
