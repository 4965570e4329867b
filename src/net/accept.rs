//! Accepts connections on one listener of one core; pauses while the process is out of descriptors or the system is out of
//! memory.

#![forbid(unsafe_code)]

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use super::{listener::Listener, turn::Core};
use crate::endpoint::Spoken;

/// Accepts under way on one listener. A busy core looks at them once a turn, a few milliseconds long: with so many,
/// ten thousand players can come within a second or two.
const AT_ONCE: usize = 32;

/// How long accepting pauses when the process or the system is out of descriptors: connections wait in the backlog.
const PAUSE: Duration = Duration::from_millis(100);
/// A listener's pauses are logged at most this often: a peer that takes the last descriptors can cause any number of them.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Starts accepting, until the listener is stopped. Call it inside the core's runtime.
pub(super) fn accept(core: &Rc<RefCell<Core>>, listener: Listener) {
    let Listener { socket, spoken } = listener;
    let acceptor = Rc::new(Acceptor {
        core: core.clone(),
        listener: tokio_uring::net::TcpListener::from_std(socket),
        spoken,
        is_paused: Cell::new(false),
        is_pause_logged: Cell::new(false),
        logged: Cell::new(None),
    });
    for _ in 0..AT_ONCE {
        let acceptor = acceptor.clone();
        tokio_uring::spawn(async move { acceptor.run().await });
    }
}

struct Acceptor {
    core: Rc<RefCell<Core>>,
    listener: tokio_uring::net::TcpListener,
    spoken: Spoken,
    is_paused: Cell<bool>,
    /// Whether the pause that is under way was logged.
    is_pause_logged: Cell<bool>,
    /// When a pause was last logged.
    logged: Cell<Option<Instant>>,
}

impl Acceptor {
    async fn run(&self) {
        loop {
            let accepted = self.listener.accept().await;
            if self.core.borrow().is_draining() {
                return;
            }
            match accepted {
                Ok((socket, peer)) => {
                    if self.is_paused.replace(false) && self.is_pause_logged.replace(false) {
                        tracing::info!("accept resumed");
                    }
                    self.core.borrow_mut().admit(socket, peer, self.spoken);
                }
                Err(error) if is_short(&error) => {
                    let is_due = self.logged.get().is_none_or(|logged| logged.elapsed() >= BETWEEN_LINES);
                    if !self.is_paused.replace(true) && is_due {
                        self.is_pause_logged.set(true);
                        self.logged.set(Some(Instant::now()));
                        tracing::warn!(%error, "accept paused: out of descriptors or memory");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "accept failed");
                    match error.raw_os_error() {
                        // The connection was gone before it was accepted: the next one may not be.
                        Some(libc::ECONNABORTED | libc::EINTR) => tokio::task::yield_now().await,
                        // A network that is down, a firewall, a listener that is broken: it may stay so, and trying at
                        // once would keep the core busy.
                        _ => tokio::time::sleep(PAUSE).await,
                    }
                }
            }
        }
    }
}

fn is_short(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}
