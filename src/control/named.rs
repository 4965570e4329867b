//! What a proxy says first on an HTTP connection: whose it is. The rest stays in the socket, for the HTTP server.

use std::io;

use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use crate::endpoint::{HeaderFault, HeaderReader, MAX_HEADER_BYTES, ProxyHeader};

/// Why no header was read.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoHeader {
    /// The peer has gone without a byte, as checks of health do, or it is waited for in vain.
    #[error("no PROXY header came: {0}")]
    Silent(io::Error),
    /// What came is no header.
    #[error(transparent)]
    Fault(#[from] HeaderFault),
}

/// Reads a PROXY header, and not a byte more.
pub(super) async fn read_header(
    socket: &mut TcpStream,
    within: std::time::Duration,
) -> Result<ProxyHeader, NoHeader> {
    match timeout(within, read(socket)).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => Err(NoHeader::Silent(io::ErrorKind::TimedOut.into())),
    }
}

async fn read(socket: &mut TcpStream) -> Result<ProxyHeader, NoHeader> {
    let mut reader = HeaderReader::default();
    let mut buffer = [0; MAX_HEADER_BYTES];
    loop {
        let count = socket.peek(&mut buffer).await.map_err(NoHeader::Silent)?;
        if count == 0 {
            return Err(NoHeader::Silent(io::ErrorKind::UnexpectedEof.into()));
        }
        let header = reader.receive(&buffer[..count])?;
        // They are there already.
        let used = header.map_or(count, |header| header.used);
        socket.read_exact(&mut buffer[..used]).await.map_err(NoHeader::Silent)?;
        if let Some(header) = header {
            return Ok(header);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.unwrap().0, peer)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn not_a_byte_after_the_header_is_taken_however_it_comes() {
        let said = b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 80\r\nGET / HTTP/1.1\r\n";
        for cut in [1, 20, 43, 44, 45, said.len()] {
            let (mut socket, mut peer) = pair().await;
            let (first, second) = said.split_at(cut);
            peer.write_all(first).await.unwrap();
            let (header, ()) = tokio::join!(read_header(&mut socket, LONG), async {
                tokio::task::yield_now().await;
                peer.write_all(second).await.unwrap();
            });
            assert_eq!(header.unwrap().client, Some("192.0.2.7:50000".parse().unwrap()));
            let mut rest = [0; 16];
            socket.read_exact(&mut rest).await.unwrap();
            assert_eq!(&rest, b"GET / HTTP/1.1\r\n", "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn a_peer_that_says_nothing_is_told_from_one_that_says_something_else() {
        let (mut socket, peer) = pair().await;
        let outcome = read_header(&mut socket, Duration::from_millis(20)).await;
        assert!(matches!(outcome, Err(NoHeader::Silent(_))), "{outcome:?}");
        drop(peer);
        assert!(matches!(read_header(&mut socket, LONG).await, Err(NoHeader::Silent(_))));
        let (mut socket, mut peer) = pair().await;
        peer.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let outcome = read_header(&mut socket, LONG).await;
        assert!(matches!(outcome, Err(NoHeader::Fault(HeaderFault::Missing))), "{outcome:?}");
    }
}
