//! Closes a connection so that the peer can read the last response: if a socket is closed with unread bytes in it, the
//! kernel resets the connection, and the peer loses what it has not read yet.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// How long the peer has to close its side.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How much of what it still sends is read.
const MAX_BYTES: usize = 256 << 10;

/// Ends the sending side, and waits a moment until the peer does the same.
pub(super) async fn close(mut socket: impl AsyncRead + AsyncWrite + Unpin) {
    let ended = async {
        socket.shutdown().await?;
        let mut buffer = [0; 4096];
        let mut left = MAX_BYTES;
        while left > 0 {
            match socket.read(&mut buffer).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        std::io::Result::Ok(())
    };
    // Whatever the outcome, the socket is closed now.
    let _ = timeout(TIMEOUT, ended).await;
}
