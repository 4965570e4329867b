//! Asks the kernel how much of what a socket was given its peer has not acknowledged.

use std::os::fd::RawFd;

/// Bytes that the socket holds, sent or not, until the peer acknowledges them (SIOCOUTQ); none if that is not
/// known.
pub(super) fn queued_bytes(socket: RawFd) -> Option<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the call writes one `int`, to the given place; a descriptor that is no socket is an error.
    let outcome = unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &raw mut bytes) };
    if outcome == 0 { u32::try_from(bytes).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        os::fd::AsRawFd,
    };

    use super::*;

    #[test]
    fn what_the_peer_has_acknowledged_is_no_longer_queued() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        assert_eq!(queued_bytes(sender.as_raw_fd()), Some(0));
        sender.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(n) = sender.write(&[0; 64 << 10]) {
            sent += n;
        }
        let full = queued_bytes(sender.as_raw_fd()).unwrap();
        assert!(full > 0);
        receiver.read_exact(&mut vec![0; sent]).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while queued_bytes(sender.as_raw_fd()) != Some(0) {
            assert!(std::time::Instant::now() < deadline, "all was read, and not all acknowledged");
            std::thread::yield_now();
        }
        assert_eq!(queued_bytes(-1), None);
    }
}
