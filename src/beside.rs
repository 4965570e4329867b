//! Threads beside the cores: services that may take time, and from which the cores are not to take theirs.

#![forbid(unsafe_code)]

use std::{io, thread};

/// Where a CPU has more to do than it can, such a thread gets a third of what a core gets: a storm of handshakes or of
/// requests over HTTP delays those who request, not those who watch.
const NICE: i32 = 5;

/// Starts a service on a thread of its own, with less priority than the cores.
///
/// # Errors
/// The system starts no thread.
pub fn start(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let run = move || {
        // Of this thread alone, on Linux. Without it the service runs as well.
        if let Err(error) = rustix::process::nice(NICE) {
            tracing::debug!(%error, "priority not lowered");
        }
        run();
    };
    thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn only_the_thread_of_the_service_has_less_priority() {
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let before = priority();
        let (sender, receiver) = mpsc::channel();
        start("a-service", move || {
            let name = thread::current().name().map(str::to_owned);
            sender.send((name, rustix::process::getpriority_process(None).unwrap())).unwrap();
        })
        .unwrap();
        let (name, of_service) = receiver.recv().unwrap();
        assert_eq!((name.as_deref(), of_service), (Some("a-service"), (before + NICE).min(19)));
        assert_eq!(priority(), before);
    }
}
