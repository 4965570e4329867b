//! Accepts connections on one listener of one core, and waits where descriptors or memory are short.

use std::{cell::RefCell, io, net::TcpListener, rc::Rc, time::Duration};

use super::core::Core;

/// How long accepting rests when the process or the machine is out of descriptors: connections wait in the backlog.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the listener is stopped.
pub(super) async fn accept(core: Rc<RefCell<Core>>, listener: TcpListener) {
    let listener = tokio_uring::net::TcpListener::from_std(listener);
    let mut is_paused = false;
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                if std::mem::replace(&mut is_paused, false) {
                    tracing::info!("accepting goes on");
                }
                if core.borrow().is_draining {
                    return;
                }
                core.borrow_mut().admit(socket, peer);
            }
            Err(_) if core.borrow().is_draining => return,
            Err(error) if is_short(&error) => {
                if !std::mem::replace(&mut is_paused, true) {
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

fn is_short(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}
