//! The end of a connection whose last words are to be read: closing a socket with unread bytes in it takes from the
//! peer what it has not read yet.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long the peer has to see the end.
const PATIENCE: Duration = Duration::from_secs(1);
/// How much of what it still says is read.
const MOST_BYTES: usize = 256 << 10;

/// Says the end, and waits a moment for the peer's.
pub(super) async fn close(mut socket: TcpStream) {
    let ended = async {
        socket.shutdown().await?;
        let mut buffer = [0; 4096];
        let mut left = MOST_BYTES;
        while left > 0 {
            match socket.read(&mut buffer).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        std::io::Result::Ok(())
    };
    // Whatever comes of it, the socket is closed now.
    let _ = timeout(PATIENCE, ended).await;
}
