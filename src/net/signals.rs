//! Signals: which of them stop the relay, or make it read its configuration again. A signal that an operator or the environment may send ends it in no other way:
//! those without a meaning are logged, and that is all.

#![forbid(unsafe_code)]

use std::{
    future::poll_fn,
    io,
    task::Poll,
    time::{Duration, Instant},
};

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// One stop may arrive as several signals: from a terminal to the whole process group, and from the program around the
/// relay once more. Those that come within this time of one that was acted on are that one.
const SAME: Duration = Duration::from_millis(500);
/// A signal without a meaning is logged no more often than this: a timer may send thousands a second.
const BETWEEN_LINES: Duration = Duration::from_secs(1);

/// What a signal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// Take no new connections, end players politely, leave. A second one: leave at once.
    Stop,
    /// Read the configuration again.
    Reload,
    /// Nothing as yet.
    None,
}

/// Every signal that ends a process which does not handle it, but for these: SIGKILL; those of a fault in the program
/// (SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS), which leave a core dump; SIGPIPE, which Rust's runtime
/// ignores, so that a write fails instead.
const SIGNALS: [(libc::c_int, &str, Meaning); 14] = [
    (libc::SIGTERM, "SIGTERM", Meaning::Stop),
    (libc::SIGINT, "SIGINT", Meaning::Stop),
    // By Ctrl-\, or as the stop signal of a container.
    (libc::SIGQUIT, "SIGQUIT", Meaning::Stop),
    // What LXC, and a power supply that runs out, send to the first process.
    (libc::SIGPWR, "SIGPWR", Meaning::Stop),
    // As systemctl reload sends it. A terminal that is closed sends it as well, which does no harm.
    (libc::SIGHUP, "SIGHUP", Meaning::Reload),
    (libc::SIGUSR1, "SIGUSR1", Meaning::None),
    (libc::SIGUSR2, "SIGUSR2", Meaning::None),
    // Timers, which outlive exec.
    (libc::SIGALRM, "SIGALRM", Meaning::None),
    (libc::SIGVTALRM, "SIGVTALRM", Meaning::None),
    (libc::SIGPROF, "SIGPROF", Meaning::None),
    // Limits: the write beyond RLIMIT_FSIZE fails, and what it was to write is lost; RLIMIT_CPU has a hard limit still.
    (libc::SIGXFSZ, "SIGXFSZ", Meaning::None),
    (libc::SIGXCPU, "SIGXCPU", Meaning::None),
    (libc::SIGIO, "SIGIO", Meaning::None),
    (libc::SIGSTKFLT, "SIGSTKFLT", Meaning::None),
];

/// All signals that are handled; from its making on.
pub(super) struct Signals {
    handled: Vec<Handled>,
    /// When a stop was last acted on.
    stopped: Option<Instant>,
}

struct Handled {
    name: String,
    meaning: Meaning,
    stream: Stream,
    logged: Option<Instant>,
}

impl Signals {
    /// Call it inside the runtime.
    ///
    /// # Errors
    /// The kernel's error.
    pub(super) fn new() -> io::Result<Self> {
        let named = SIGNALS.map(|(number, name, meaning)| (number, name.to_owned(), meaning));
        let real_time = (libc::SIGRTMIN()..=libc::SIGRTMAX())
            .map(|number| (number, format!("SIGRTMIN+{}", number - libc::SIGRTMIN()), Meaning::None));
        let handled = named.into_iter().chain(real_time).map(|(number, name, meaning)| {
            let stream = signal(SignalKind::from_raw(number))?;
            Ok(Handled { name, meaning, stream, logged: None })
        });
        Ok(Self { handled: handled.collect::<io::Result<_>>()?, stopped: None })
    }

    /// The name of the next signal to stop. Calls `reload` at each signal to read the configuration again.
    pub(super) async fn next_stop(&mut self, reload: impl Fn()) -> String {
        loop {
            let handled = poll_fn(|cx| {
                let ready =
                    self.handled.iter_mut().position(|handled| handled.stream.poll_recv(cx).is_ready());
                ready.map_or(Poll::Pending, Poll::Ready)
            });
            let index = handled.await;
            let handled = &mut self.handled[index];
            let now = Instant::now();
            match handled.meaning {
                Meaning::Stop if self.stopped.is_some_and(|stopped| now - stopped < SAME) => {
                    tracing::info!(signal = handled.name, "signal ignored: stopping already");
                }
                Meaning::Stop => {
                    self.stopped = Some(now);
                    return handled.name.clone();
                }
                Meaning::Reload => reload(),
                Meaning::None => {
                    if handled.logged.is_none_or(|logged| now - logged >= BETWEEN_LINES) {
                        handled.logged = Some(now);
                        tracing::info!(signal = handled.name, "signal ignored");
                    }
                }
            }
        }
    }
}
