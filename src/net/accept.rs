//! Accepts connections on one listener of one core, and waits where descriptors or memory are short.

use std::{
    cell::{Cell, RefCell},
    io,
    net::TcpListener,
    rc::Rc,
    time::Duration,
};

use super::core::Core;

/// Accepts under way on one listener. A busy core looks at them once a turn, a few milliseconds long: with so many,
/// ten thousand players can come within a second or two.
const AT_ONCE: usize = 32;

/// How long accepting rests when the process or the machine is out of descriptors: connections wait in the backlog.
const PAUSE: Duration = Duration::from_millis(100);

/// Starts accepting, until the listener is stopped. Call it inside the core's runtime.
pub(super) fn accept(core: &Rc<RefCell<Core>>, listener: TcpListener) {
    let acceptor = Rc::new(Acceptor {
        core: core.clone(),
        listener: tokio_uring::net::TcpListener::from_std(listener),
        is_paused: Cell::new(false),
    });
    for _ in 0..AT_ONCE {
        let acceptor = acceptor.clone();
        tokio_uring::spawn(async move { acceptor.run().await });
    }
}

struct Acceptor {
    core: Rc<RefCell<Core>>,
    listener: tokio_uring::net::TcpListener,
    is_paused: Cell<bool>,
}

impl Acceptor {
    async fn run(&self) {
        loop {
            let accepted = self.listener.accept().await;
            if self.core.borrow().is_draining {
                return;
            }
            match accepted {
                Ok((socket, peer)) => {
                    if self.is_paused.replace(false) {
                        tracing::info!("accepting goes on");
                    }
                    self.core.borrow_mut().admit(socket, peer);
                }
                Err(error) if is_short(&error) => {
                    if !self.is_paused.replace(true) {
                        tracing::warn!(%error, "accepting pauses until a connection ends");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                // The connection was gone before it was accepted.
                Err(error) => {
                    tracing::debug!(%error, "accept");
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

fn is_short(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}
