//! Starts the log: which lines are written, in which format, and where. They go to standard error; standard output is
//! for the person who starts fanfare. Only the log's own thread waits for the reader of standard error.

#![forbid(unsafe_code)]

mod fields;
mod journal;
mod writer;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    env::VarError,
    io::{self, IsTerminal, Write},
    panic::{self, PanicHookInfo},
    sync::{Arc, LazyLock, OnceLock},
    thread,
    time::Duration,
};

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    Layer, Registry, filter::Targets, fmt::MakeWriter, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use crate::config::{Filter, Log, LogFormat};
use fields::TextFields;
use writer::Queue;

/// The environment variable that overrides `log.level`.
pub const LEVEL_VARIABLE: &str = "FANFARE_LOG";

/// How long the process waits at its end until its last lines are read.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The queue in front of standard error, from the first line on.
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();

/// Whether lines are for the journal.
static IS_JOURNAL: LazyLock<bool> = LazyLock::new(journal::is_connected);

/// Replaces the filter. Empty where [`LEVEL_VARIABLE`] decides.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Starts the log of the process. To be called once.
///
/// # Errors
/// What is wrong, as one line: with [`LEVEL_VARIABLE`], or with the system.
pub fn start(log: &Log) -> Result<(), String> {
    let variable = filter_of_environment()?;
    let queue = queue().map_err(|error| format!("logging cannot start: {error}"))?;
    let filter = variable.as_ref().unwrap_or(&log.level);
    let (subscriber, reload) = subscriber(filter, log.format, Lines(queue));
    subscriber.try_init().map_err(|error| format!("logging cannot start: {error}"))?;
    if variable.is_none() {
        // It fails if it is set already; then `try_init` would have failed.
        let _ = FILTER.set(reload);
    }
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// The filter in [`LEVEL_VARIABLE`], if it is set and not empty.
///
/// # Errors
/// What is wrong with it, as one line.
pub fn filter_of_environment() -> Result<Option<Filter>, String> {
    match std::env::var(LEVEL_VARIABLE) {
        Ok(text) if !text.is_empty() => {
            text.parse().map(Some).map_err(|what| format!("{LEVEL_VARIABLE}: {what}"))
        }
        Ok(_) | Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(format!("{LEVEL_VARIABLE}: not UTF-8")),
    }
}

/// Puts another filter in force, unless [`LEVEL_VARIABLE`] overrides the configuration or the log has not been started.
pub fn set_filter(filter: &Filter) {
    if let Some(reload) = FILTER.get() {
        // It fails if the subscriber no longer exists, which lives as long as the process.
        let _ = reload.modify(|targets| *targets = self::targets(filter));
    }
}

/// The subscriber that writes log lines, and the handle that replaces its filter.
fn subscriber(
    filter: &Filter,
    format: LogFormat,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> (impl Subscriber + Send + Sync, reload::Handle<Targets, Registry>) {
    let (filter, reload) = reload::Layer::new(targets(filter));
    // Lines are formatted in memory, and queueing one does not fail: there are no internal errors to log. If there
    // were, the subscriber would write them to standard error itself, and wait for its reader.
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(use_colours())
        .log_internal_errors(false);
    let lines = match format {
        LogFormat::Text => lines.with_target(false).fmt_fields(TextFields).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
    };
    (tracing_subscriber::registry().with(filter).with(lines), reload)
}

/// Waits until all lines that were logged are written, for at most a second: the reader of standard error may have
/// stopped reading. To be called before the process ends.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(LAST_LINES);
    }
}

/// Writes a line as it is, whether the log has been started or not, and waits as [`flush`] does: for the reason why the
/// process cannot start.
pub fn last_line(text: &str) {
    if let Ok(queue) = queue() {
        push(&queue, format!("{text}\n").as_bytes(), Level::ERROR);
        queue.flush(LAST_LINES);
    }
}

/// The number of lines lost since the start: standard error was not read in time, or writing failed.
pub fn lost_lines() -> u64 {
    QUEUE.get().map_or(0, |queue| queue.lost())
}

fn push(queue: &Queue, line: &[u8], level: Level) {
    match *IS_JOURNAL {
        true => queue.push(&journal::with_priority(line, level), level),
        false => queue.push(line, level),
    }
}

fn queue() -> io::Result<Arc<Queue>> {
    if let Some(queue) = QUEUE.get() {
        return Ok(queue.clone());
    }
    let report = |lost| tracing::warn!(lost, "log lines lost: standard error was not read, or not writable");
    let queue = Queue::start(io::stderr(), report)?;
    Ok(QUEUE.get_or_init(|| queue).clone())
}

/// The default hook writes to standard error itself and waits for its reader: a core that panics would hang.
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

/// Queues each line with its level.
struct Lines(Arc<Queue>);

/// The line of one event.
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
    /// The formatter writes each line with one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        push(self.0, line, self.1);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Not in a file or a journal, and not if `NO_COLOR` is set (<https://no-color.org>).
fn use_colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty())
}

/// The filter in the form of `tracing-subscriber`.
fn targets(filter: &Filter) -> Targets {
    Targets::new().with_default(filter.default_level()).with_targets(filter.targets())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn filter(text: &str) -> Filter {
        text.parse().unwrap()
    }

    #[test]
    fn another_filter_is_in_force_from_the_next_line_on() {
        let (mut reader, writer) = io::pipe().unwrap();
        let (subscriber, reload) = subscriber(&filter("info"), LogFormat::Json, Arc::new(writer));
        let set = |text| reload.modify(|filter| *filter = targets(&self::filter(text))).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let log = || {
                tracing::debug!("a detail");
                tracing::info!(target: "fanfare::net", "an event");
                tracing::error!("a failure");
            };
            log();
            set("off,fanfare::net=info");
            log();
            set("debug,fanfare::net=warn");
            log();
        });
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        let messages: Vec<_> =
            text.lines().map(|line| line.split("\"message\":\"").nth(1).unwrap()).collect();
        let messages: Vec<_> = messages.into_iter().map(|rest| rest.split('"').next().unwrap()).collect();
        assert_eq!(messages, ["an event", "a failure", "an event", "a detail", "a failure"]);
    }
}
