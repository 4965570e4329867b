//! What systemd, or another supervisor with its protocol, is told: that the relay is ready, what it does, that it is alive
//! (sd_notify(3)). Nothing without a supervisor.

#![forbid(unsafe_code)]

use std::env;

use sd_notify::NotifyState;

/// The supervisor of this process, if it has one that listens.
#[derive(Clone, Copy, Debug)]
pub struct Supervisor {
    listens: bool,
    /// Whether it ends the process if it hears nothing for some time.
    watches: bool,
}

impl Supervisor {
    /// As the environment says: `NOTIFY_SOCKET`, and `WATCHDOG_USEC` with `WATCHDOG_PID`.
    pub fn of_environment() -> Self {
        let listens = env::var_os("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty());
        Self { listens, watches: listens && sd_notify::watchdog_enabled().is_some() }
    }

    /// The relay listens at all its addresses; this is what it says of itself.
    pub fn ready(self, status: &str) {
        self.notify(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// It reads its configuration again, and says so when it is ready once more.
    pub fn reloading(self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.notify(&[NotifyState::Reloading, now]),
            // A supervisor that wants the time takes a reload without it for a failure.
            Err(error) => tracing::debug!(%error, "no monotonic clock"),
        }
    }

    /// It is about to end.
    pub fn stopping(self, status: &str) {
        self.notify(&[NotifyState::Stopping, NotifyState::Status(status)]);
    }

    /// What it does, in a few words.
    pub fn status(self, status: &str) {
        self.notify(&[NotifyState::Status(status)]);
    }

    /// All of it works. To be called several times in the time after which the supervisor ends a process that is silent.
    pub fn alive(self) {
        if self.watches {
            self.notify(&[NotifyState::Watchdog]);
        }
    }

    fn notify(self, state: &[NotifyState]) {
        if self.listens
            && let Err(error) = sd_notify::notify(state)
        {
            tracing::debug!(%error, "supervisor not notified");
        }
    }
}
