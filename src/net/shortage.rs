//! Sends and receives that failed for a reason that is not the peer's. Where the kernel is short of memory, asking at
//! once again would only keep it busy: they rest until the next tick.

use std::io;

use super::{
    connection::{Sending, Step},
    core::Core,
};
use crate::fanout::Batch;

/// What an error of a send or receive means.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nothing is wrong: ask again.
    Interrupted,
    /// The kernel has no memory for it at the moment.
    Shortage,
    /// The connection is over.
    Broken(io::Error),
}

/// What is tried again with the next tick. Its connection stays as long: the send or receive counts as under way.
pub(super) enum Resting {
    Send { key: usize, batch: Batch },
    Receive { key: usize },
}

impl Trouble {
    pub(super) fn of(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EINTR | libc::EAGAIN) => Trouble::Interrupted,
            Some(libc::ENOBUFS | libc::ENOMEM) => Trouble::Shortage,
            _ => Trouble::Broken(error),
        }
    }
}

impl Core {
    pub(super) fn send_later(&mut self, key: usize, what: Sending, batch: Batch) {
        self.connections[key].sending = what;
        self.resting.push(Resting::Send { key, batch });
    }

    pub(super) fn receive_later(&mut self, key: usize) {
        self.connections[key].is_receiving = true;
        self.resting.push(Resting::Receive { key });
    }

    /// Takes up all that rests.
    pub(super) fn try_again(&mut self) {
        for resting in std::mem::take(&mut self.resting) {
            let (Resting::Send { key, .. } | Resting::Receive { key }) = resting;
            let connection = &mut self.connections[key];
            let is_shut = connection.step() == Some(Step::Shut);
            match resting {
                Resting::Send { batch, .. } => {
                    // It may have left its stream since.
                    let what = std::mem::replace(&mut connection.sending, Sending::No);
                    if !is_shut {
                        self.send(key, what, batch);
                    }
                }
                Resting::Receive { .. } => {
                    connection.is_receiving = false;
                    self.receive(key);
                }
            }
            self.reap(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        net::{TcpListener, TcpStream},
        time::Duration,
    };

    use bytes::Bytes;

    use super::*;
    use crate::net::{
        process,
        ring::{Completion, RingSize},
    };

    /// A core with one connection that nothing is known of as yet, and its peer.
    fn core_with_a_peer() -> (Core, usize, TcpStream) {
        let (common, mut wakes) =
            process::common(Default::default(), RingSize::LARGEST).expect("pipes are to be had");
        let mut core = Core::new(0, common, wakes.remove(0)).expect("io_uring is to be had");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let peer = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
        peer.set_read_timeout(Some(Duration::from_secs(10))).expect("it is a socket");
        let (socket, address) = listener.accept().expect("one waits");
        core.admit(tokio_uring::net::TcpStream::from_std(socket), address);
        (core, 0, peer)
    }

    fn short(errno: i32) -> io::Error {
        io::Error::from_raw_os_error(errno)
    }

    #[test]
    fn a_send_that_found_no_memory_goes_with_the_next_tick() {
        tokio_uring::start(async {
            let (mut core, key, mut peer) = core_with_a_peer();
            core.connections[key].sending = Sending::Own;
            let batch = Batch::Own(Bytes::from_static(b"frame"));
            core.completed(Completion::Sent { owner: key, batch, result: Err(short(libc::ENOBUFS)) });
            assert_eq!(core.resting.len(), 1);
            assert_eq!(core.connections[key].sending, Sending::Own, "nothing else may go out before it");
            core.completed(Completion::Ticked);
            assert!(core.resting.is_empty());
            core.submit();
            let mut got = [0; 5];
            peer.read_exact(&mut got).expect("it was sent");
            assert_eq!(&got, b"frame");
        });
    }

    #[test]
    fn a_connection_that_ends_while_its_send_rests_is_let_go_of() {
        tokio_uring::start(async {
            let (mut core, key, _peer) = core_with_a_peer();
            core.connections[key].sending = Sending::Own;
            core.connections[key].is_receiving = false;
            let batch = Batch::Own(Bytes::from_static(b"frame"));
            core.completed(Completion::Sent { owner: key, batch, result: Err(short(libc::ENOMEM)) });
            core.end(key, crate::net::connection::Reason::PeerClosed);
            core.completed(Completion::Ticked);
            assert!(core.connections.is_empty());
        });
    }

    #[test]
    fn a_receive_that_found_no_memory_is_tried_with_the_next_tick() {
        tokio_uring::start(async {
            let (mut core, key, _peer) = core_with_a_peer();
            core.connections[key].is_receiving = false;
            let buffer = bytes::BytesMut::with_capacity(16);
            core.completed(Completion::Received { owner: key, buffer, result: Err(short(libc::ENOMEM)) });
            assert_eq!(core.resting.len(), 1);
            assert!(core.connections[key].closing.is_none());
            core.completed(Completion::Ticked);
            assert!(core.resting.is_empty() && core.connections[key].is_receiving);
        });
    }

    #[test]
    fn only_the_peer_s_own_trouble_ends_its_connection() {
        assert!(matches!(Trouble::of(short(libc::EINTR)), Trouble::Interrupted));
        assert!(matches!(Trouble::of(short(libc::ENOBUFS)), Trouble::Shortage));
        assert!(matches!(Trouble::of(short(libc::ECONNRESET)), Trouble::Broken(_)));
        assert!(matches!(Trouble::of(short(libc::EPIPE)), Trouble::Broken(_)));
    }
}
