//! A socket of an HTTP connection, as it is or with TLS on it, that can be given to a core together with the state of its
//! TLS.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::client_hello::{self, FIRST_BYTES};
use crate::endpoint::{HandshakeCounts, Pool, Tls, Transport};

/// Read from the socket at a time: a record.
const READ_BYTES: usize = 17 << 10;

/// The socket.
pub(super) enum Stream {
    Plain(TcpStream),
    Encrypted(Box<Encrypted>),
}

/// A socket with TLS on it.
pub(super) struct Encrypted {
    socket: TcpStream,
    tls: Tls,
    pool: Pool,
    counts: Arc<HandshakeCounts>,
    /// What came, decrypted, and has not been read.
    plain: Bytes,
    /// What the socket has not taken.
    out: Bytes,
    has_ended: bool,
    /// The peer broke a rule: the alert is sent, and then reads fail.
    error: Option<String>,
    /// The same, which stays: for the log.
    violation: Option<String>,
}

impl Stream {
    pub(super) fn encrypted(socket: TcpStream, tls: Tls, pool: Pool, counts: Arc<HandshakeCounts>) -> Self {
        let (plain, out) = (Bytes::new(), Bytes::new());
        let (has_ended, error, violation) = (false, None, None);
        Self::Encrypted(Box::new(Encrypted {
            socket,
            tls,
            pool,
            counts,
            plain,
            out,
            has_ended,
            error,
            violation,
        }))
    }

    /// Which rule of TLS the peer broke, if it did.
    pub(super) fn violation(&self) -> Option<&str> {
        match self {
            Self::Plain(_) => None,
            Self::Encrypted(encrypted) => encrypted.violation.as_deref(),
        }
    }

    /// The socket, its transport, and what came and was not read.
    pub(super) fn into_parts(self) -> (TcpStream, Transport, Bytes) {
        match self {
            Self::Plain(socket) => (socket, Transport::Plain, Bytes::new()),
            Self::Encrypted(encrypted) => {
                let Encrypted { socket, mut tls, plain, out, .. } = *encrypted;
                tls.put_back(&out);
                (socket, Transport::Tls(Box::new(tls)), plain)
            }
        }
    }

    /// Shakes hands; there is nothing to do without TLS. `with_http2` is for clients that are known to go on without HTTP/2
    /// where that is required. What goes wrong with TLS is the error of the next read.
    ///
    /// # Errors
    /// The socket's.
    pub(super) async fn shake_hands(&mut self, with_http2: impl FnOnce() -> Option<Tls>) -> io::Result<()> {
        let Self::Encrypted(encrypted) = self else { return Ok(()) };
        let mut first = [0; FIRST_BYTES];
        let len = encrypted.socket.peek(&mut first).await?;
        if client_hello::may_take_http2(&first[..len])
            && let Some(tls) = with_http2()
        {
            encrypted.tls = tls;
        }
        poll_fn(|cx| encrypted.poll_handshake(cx)).await
    }

    /// Whether the client has chosen this by ALPN.
    pub(super) fn speaks(&self, name: &[u8]) -> bool {
        matches!(self, Self::Encrypted(encrypted) if encrypted.tls.protocol() == Some(name))
    }
}

impl Encrypted {
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // What waits is sent before the next read or write in any case.
            let _ = self.poll_out(cx)?;
            if !self.tls.is_shaking_hands() || self.has_ended || self.error.is_some() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_socket(cx))?;
        }
    }

    /// Reads from the socket once, and opens what has come.
    fn poll_socket(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut room = [std::mem::MaybeUninit::uninit(); READ_BYTES];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut read))?;
        if read.filled().is_empty() {
            self.has_ended = true;
            return Poll::Ready(Ok(()));
        }
        let opened = self.tls.open(read.filled());
        if let Some(result) = self.tls.take_handshake() {
            self.counts.count(result);
        }
        match opened {
            Ok(opened) => {
                self.has_ended |= opened.has_ended;
                self.plain = opened.plain;
            }
            Err(error) => {
                self.violation = Some(error.to_string());
                self.error.clone_from(&self.violation);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Gives the socket what waits for it.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.out.is_empty() {
                if !self.tls.has_replies() {
                    return Poll::Ready(Ok(()));
                }
                self.out = self.tls.take_replies();
            }
            match ready!(Pin::new(&mut self.socket).poll_write(cx, &self.out))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => self.out.advance(taken),
            }
        }
    }

    fn poll_plain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let sent = self.poll_out(cx)?;
            if !self.plain.is_empty() || self.has_ended {
                return Poll::Ready(Ok(()));
            }
            if self.error.is_some() {
                ready!(sent);
                let error = self.error.take().unwrap_or_default();
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
            ready!(self.poll_socket(cx))?;
        }
    }

    fn poll_seal(&mut self, cx: &mut Context<'_>, content: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_out(cx))?;
        let len = self.tls.record_bytes(content.len());
        if len == 0 {
            return Poll::Ready(Ok(0));
        }
        let sealed = self.tls.seal(&content[..len], &self.pool);
        self.out = sealed.map_err(|error| io::Error::other(error.to_string()))?;
        // The record is this stream's own by now, whether the socket takes it at once or later.
        match self.poll_out(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(len)),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Encrypted(encrypted) => {
                ready!(encrypted.poll_plain(cx))?;
                let len = encrypted.plain.len().min(buffer.remaining());
                buffer.put_slice(&encrypted.plain.split_to(len));
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Encrypted(encrypted) => encrypted.poll_seal(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Self::Encrypted(encrypted) => {
                let first = slices.iter().find(|slice| !slice.is_empty());
                encrypted.poll_seal(cx, first.map_or(&[], |slice| slice))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            // hyper then gathers small pieces into one, which makes one record.
            Self::Encrypted(_) => false,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Encrypted(encrypted) => encrypted.poll_out(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Encrypted(encrypted) => {
                encrypted.tls.close();
                ready!(encrypted.poll_out(cx))?;
                Pin::new(&mut encrypted.socket).poll_shutdown(cx)
            }
        }
    }
}
