//! HTTP/2 (RFC 9113) on one connection, for the page and the API. A live body takes a connection of its own, which a core
//! serves, so a request for one is sent back to HTTP/1.1.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    body::Body,
    http::{HeaderValue, Request, Uri, Version, header},
    response::Response,
};
use hyper::{body::Incoming, server::conn::http2, service::Service};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

/// What clients are offered in the handshake (RFC 9113 §3.2).
pub(super) const NAME: &[u8] = b"h2";
/// Memory of a connection with its task and the buffers of a few responses.
pub(super) const CONNECTION_BYTES: usize = 64 << 10;
/// Requests at a time. A browser asks for about twenty files at once.
const MAX_STREAMS: u32 = 64;
/// What is buffered of a response, bytes.
const MAX_SEND_BYTES: usize = 64 << 10;
/// Requests that a client may reset before they are looked at (CVE-2023-44487).
const MAX_RESETS: usize = 32;

/// Serves it until it ends, or nothing has been requested for some time.
pub(super) async fn serve<S>(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: S,
    requests: Arc<AtomicU64>,
    max_head_bytes: usize,
    idle: Duration,
) -> hyper::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(max_head_bytes as u32)
        .max_send_buf_size(MAX_SEND_BYTES)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = pin!(connection);
    let mut before = 0;
    loop {
        if let Ok(outcome) = timeout(idle, connection.as_mut()).await {
            return outcome;
        }
        match requests.load(Relaxed) {
            // It has said nothing, perhaps not even that it speaks HTTP/2.
            0 => return Ok(()),
            // What has been requested goes on, such as events.
            now if now == before => connection.as_mut().graceful_shutdown(),
            now => before = now,
        }
    }
}

/// The error of a service by which a client learns that this request takes HTTP/1.1 (RFC 9113 §7).
pub(super) fn takes_http1() -> h2::Error {
    h2::Reason::HTTP_1_1_REQUIRED.into()
}

/// A request as one over HTTP/1.1 is: with a path, and the host in a header.
pub(super) fn as_http1<B>(request: &mut Request<B>) {
    if request.version() != Version::HTTP_2 {
        return;
    }
    let uri = request.uri();
    let host = uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(path) = uri.path_and_query().cloned() {
        *request.uri_mut() = Uri::from(path);
    }
    if let Some(host) = host {
        request.headers_mut().entry(header::HOST).or_insert(host);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use hyper::service::service_fn;
    use tokio::io::duplex;

    use super::*;

    #[tokio::test]
    async fn a_request_that_takes_http_1_1_is_sent_back_and_others_are_answered() {
        let (client, socket) = duplex(64 << 10);
        let service = service_fn(async |request: Request<Incoming>| match request.uri().path() {
            "/live/a.flv" => Err(takes_http1()),
            _ => Ok(Response::new(Body::from("page"))),
        });
        drop(tokio::spawn(serve(socket, service, Arc::default(), 16 << 10, Duration::from_secs(60))));
        let (requests, connection) = h2::client::handshake(client).await.unwrap();
        drop(tokio::spawn(connection));
        let ask = async |path: &str| {
            let request = Request::get(format!("https://relay.example{path}")).body(()).unwrap();
            let mut requests = requests.clone().ready().await.unwrap();
            requests.send_request(request, true).unwrap().0.await
        };
        assert_eq!(ask("/").await.unwrap().status(), 200);
        let error = ask("/live/a.flv").await.unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::HTTP_1_1_REQUIRED));
        assert_eq!(ask("/").await.unwrap().status(), 200, "the connection goes on");
    }

    #[tokio::test]
    async fn a_client_that_requests_nothing_does_not_stay() {
        let (_client, socket) = duplex(1 << 10);
        let service = service_fn(async |_| Ok::<_, Infallible>(Response::new(Body::empty())));
        let served = serve(socket, service, Arc::default(), 16 << 10, Duration::from_millis(20));
        assert!(timeout(Duration::from_secs(20), served).await.unwrap().is_ok());
    }

    #[test]
    fn a_request_has_its_host_in_a_header_and_a_path() {
        let request = Request::get("https://relay.example:8443/api/v1/streams?page=2");
        let mut request = request.version(Version::HTTP_2).body(()).unwrap();
        as_http1(&mut request);
        assert_eq!(request.uri(), "/api/v1/streams?page=2");
        assert_eq!(request.headers()[header::HOST], "relay.example:8443");
    }
}
