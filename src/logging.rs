//! Log lines: which are written, in what form, and where to. They go to standard error; standard output is for
//! what a person who starts fanfare wants to read. No thread but the log's own ever waits for their reader.

mod writer;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::{self, IsTerminal, Write},
    panic::{self, PanicHookInfo},
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{Log, LogFormat};
use writer::Queue;

/// Overrides the configured level, for one run.
pub const LEVEL_VARIABLE: &str = "FANFARE_LOG";

/// How long an end of the process waits for the reader of its last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Standard error, from the first line on.
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();

/// Starts logging for the whole process; once. The error is one line that says which setting is wrong.
pub fn start(log: &Log) -> Result<(), String> {
    let filter = match std::env::var(LEVEL_VARIABLE) {
        Ok(level) => filter(&level).map_err(|what| format!("{LEVEL_VARIABLE}: {what}"))?,
        Err(_) => filter(&log.level).map_err(|what| format!("log.level: {what}"))?,
    };
    let queue = queue().map_err(|error| format!("logging cannot start: {error}"))?;
    // Lines are formatted in memory, and queueing one does not fail: there are no internal errors to log. If there
    // were, the subscriber would write them to standard error itself, and wait for its reader.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Lines(queue))
        .with_ansi(shows_colours())
        .log_internal_errors(false);
    let started = match log.format {
        LogFormat::Text => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
    };
    started.map_err(|error| format!("logging cannot start: {error}"))?;
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Waits until what has been logged is written, but no longer than a reader deserves that stands still. To be called
/// before the process ends.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(LAST_LINES);
    }
}

/// Writes a line as it is, logging started or not, and waits as [`flush`] does: why a process cannot start.
pub fn last_line(text: &str) {
    if let Ok(queue) = queue() {
        queue.push(format!("{text}\n").as_bytes(), Level::ERROR);
        queue.flush(LAST_LINES);
    }
}

/// How many lines were lost since the start: their reader was too slow, or writing failed.
pub fn lost_lines() -> u64 {
    QUEUE.get().map_or(0, |queue| queue.lost())
}

fn queue() -> io::Result<Arc<Queue>> {
    if let Some(queue) = QUEUE.get() {
        return Ok(queue.clone());
    }
    let report = |lost| tracing::warn!(lost, "log lines lost: standard error was not read, or not writable");
    let queue = Queue::start(io::stderr(), report)?;
    Ok(QUEUE.get_or_init(|| queue).clone())
}

/// The default hook writes to standard error itself, and waits for its reader: a core that panics would hang.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let message = payload.downcast_ref::<&str>().copied();
    let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let current = thread::current();
    let thread = current.name().unwrap_or_default();
    if tracing::enabled!(Level::ERROR) {
        tracing::error!(thread, place, reason = message, "panicked");
    } else {
        last_line(&format!("fanfare: thread {thread} panicked at {place}: {message:?}"));
    }
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        last_line(&backtrace.to_string());
    }
    flush();
}

/// Hands each line to the queue, with its level.
struct Lines(Arc<Queue>);

/// One event's line.
struct Line<'a>(&'a Queue, Level);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(&self.0, Level::INFO)
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Self::Writer {
        Line(&self.0, *metadata.level())
    }
}

impl Write for Line<'_> {
    /// The formatter writes a line whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line, self.1);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
