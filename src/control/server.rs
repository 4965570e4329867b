//! HTTP connections: accepts or refuses them, serves them, and takes the socket back from the HTTP server when a
//! request for a stream makes it a player. The responses are made elsewhere.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, HttpBody},
    http::{Method, Request, StatusCode, Version, header},
    response::Response,
};
use bytes::Bytes;
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustls::ServerConfig;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use super::{
    api, challenge,
    client::Client,
    cors,
    encrypted::Stream,
    error::{self, HttpError},
    forwarded, http2, linger,
    live::{self, Live},
    named::{self, NoHeader},
    secure,
    state::{Control, Entrance},
    write_timeout::WriteTimeout,
};
use crate::{
    endpoint::{HttpPlayer, LineKind, Pool, ReasonKind, Refusal, Ticket, Tls},
    stream::MemoryKind,
};

/// The largest head of a request: a token and the cookies of another service on the same host fit.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// Memory of a connection with its task, buffers and small responses: measured.
const CONNECTION_BYTES: usize = 16 << 10;
/// Headers of a request. Browsers send about twenty.
const MAX_HEADERS: usize = 64;
/// Between two attempts to accept when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long the last bytes may take: a client that has not read earlier responses is not waited for.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
/// Refused connections that get a response at the same time; in a flood, others are closed without one.
const MAX_REFUSALS: usize = 64;

/// Accepts connections as long as the process lives.
pub(super) async fn serve(control: Arc<Control>, listener: TcpListener, entrance: Entrance) {
    let pool = Pool::default();
    let router = api::router(control.clone());
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    let address = listener.local_addr().ok();
    loop {
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "HTTP accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let proxy = &control.relay.config().proxy;
        let is_behind_proxy = address.is_some_and(|address| proxy.expects_header(address));
        match control.relay.admit(peer, is_behind_proxy && proxy.is_trusted(peer.ip())) {
            Ok(ticket) => {
                let tls = match (entrance.is_encrypted, control.relay.tls()) {
                    (false, _) => None,
                    (true, Some(configs)) => match Tls::new(configs.https.clone()) {
                        Ok(tls) => Some((tls, pool.clone(), control.relay.handshakes().clone())),
                        Err(error) => {
                            tracing::warn!(%peer, %error, "connection refused: TLS cannot be used");
                            continue;
                        }
                    },
                    (true, None) => continue,
                };
                let encrypt = |socket| match tls {
                    Some((tls, pool, counts)) => Stream::encrypted(socket, tls, pool, counts),
                    None => Stream::Plain(socket),
                };
                let service = Requests {
                    control: control.clone(),
                    router: TowerToHyperService::new(router.clone()),
                    client: Client { id: ticket.id(), peer, scope: entrance.scope },
                    entrance,
                    requests: Arc::default(),
                    ending: Arc::default(),
                };
                match is_behind_proxy {
                    true => drop(tokio::spawn(behind_proxy(socket, encrypt, ticket, service))),
                    false => drop(tokio::spawn(connection(encrypt(socket), ticket, service))),
                }
            }
            Err(refusal) => {
                if let Ok(place) = refusals.clone().try_acquire_owned() {
                    tokio::spawn(async move {
                        refuse(Stream::Plain(socket), refusal).await;
                        drop(place);
                    });
                }
            }
        }
    }
}

/// Serves a connection that a proxy makes for a client, once the proxy has named it. That comes before TLS.
async fn behind_proxy(
    mut socket: TcpStream,
    encrypt: impl FnOnce(TcpStream) -> Stream,
    mut ticket: Ticket,
    mut service: Requests,
) {
    let control = service.control.clone();
    let Client { id, peer, .. } = service.client;
    let config = control.relay.config();
    let header = named::read_header(&mut socket, config.http.header_timeout).await;
    // Of a peer that says nothing nothing is said.
    let header = match header {
        Err(NoHeader::Fault(_)) | Ok(_) if !config.proxy.is_trusted(peer.ip()) => {
            Err("this address takes connections from proxies in proxy.trusted alone (proxy.listeners)"
                .to_owned())
        }
        Err(NoHeader::Fault(fault)) => Err(fault.to_string()),
        Err(silent) => return tracing::debug!(id, %peer, reason = %silent, "HTTP connection ended"),
        Ok(header) => Ok(header),
    };
    match header {
        Err(detail) if control.relay.may_log(LineKind::Violation, peer) => {
            let reason = ReasonKind::Violation.label();
            tracing::warn!(id, %peer, reason, detail, "closed: protocol violation");
        }
        Err(_) => {}
        Ok(header) => {
            let client = header.client.unwrap_or(peer);
            service.client.peer = client;
            match control.relay.name_client(&mut ticket, client) {
                Ok(()) => connection(encrypt(socket), ticket, service).await,
                Err(refusal) => refuse(Stream::Plain(socket), refusal).await,
            }
        }
    }
}

/// Serves a connection until it ends or becomes a player.
async fn connection(mut socket: Stream, mut ticket: Ticket, service: Requests) {
    let control = service.control.clone();
    let idle = control.relay.config().http.header_timeout;
    match timeout(idle, socket.shake_hands(|| with_http2(&control))).await {
        Ok(Ok(())) if socket.speaks(http2::NAME) => return over_http2(socket, ticket, service).await,
        Ok(Ok(())) => {}
        // As without TLS: of a peer that says nothing nothing is said.
        Ok(Err(_)) | Err(_) => return,
    }
    let (id, peer, ending) = (ticket.id(), service.client.peer, service.ending.clone());
    let held = control.relay.memory().hold(MemoryKind::Connections, CONNECTION_BYTES);
    let relay = control.relay.clone();
    let socket = WriteTimeout::new(socket, move || relay.config().play.send_timeout);
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(control.relay.config().http.header_timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        // A client that has closed its sending side may still wait for the response.
        .half_close(true)
        .serve_connection(TokioIo::new(socket), service);
    let outcome = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    let parts = connection.into_parts();
    let socket = parts.io.into_inner().into_socket();
    let ending = ending.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (ending, outcome) {
        (Some(Ending::Player(live)), Err(error)) if error.is_user() => {
            // From now on its core counts it.
            drop(held);
            // It counted for the proxy that has named it in a header.
            if live.peer != peer
                && let Err(refusal) = control.relay.name_client(&mut ticket, live.peer)
            {
                return refuse(socket, refusal).await;
            }
            let player = as_player(socket, ticket, live, parts.read_buf);
            match player {
                Ok(player) => control.relay.play(player),
                Err(error) => tracing::debug!(id, %peer, %error, "HTTP socket cannot be passed to a core"),
            }
        }
        (Some(Ending::Farewell(bytes)), Err(error)) if error.is_user() => say_farewell(socket, &bytes).await,
        (_, outcome) => {
            let is_no_http = outcome.as_ref().is_err_and(hyper::Error::is_parse);
            let other = other_protocol(&parts.read_buf).filter(|_| is_no_http);
            // Where TLS has failed before a request, there is no error of HTTP.
            let violation = socket.violation().or(other);
            match (violation.filter(|_| control.relay.may_log(LineKind::Violation, peer)), outcome) {
                (Some(detail), _) => {
                    let reason = ReasonKind::Violation.label();
                    tracing::warn!(id, %peer, reason, detail, "closed: protocol violation");
                }
                (None, Err(error)) => tracing::debug!(id, %peer, %error, "HTTP connection ended"),
                (None, Ok(())) => {}
            }
            linger::close(socket).await;
        }
    }
}

/// Serves a connection on which the client has chosen HTTP/2.
async fn over_http2(socket: Stream, ticket: Ticket, service: Requests) {
    let (control, requests) = (service.control.clone(), service.requests.clone());
    let (id, peer) = (ticket.id(), service.client.peer);
    let _held = control.relay.memory().hold(MemoryKind::Connections, http2::CONNECTION_BYTES);
    let (relay, idle) = (control.relay.clone(), control.relay.config().http.header_timeout);
    let socket = WriteTimeout::new(socket, move || relay.config().play.send_timeout);
    if let Err(error) = http2::serve(socket, service, requests, MAX_HEAD_BYTES, idle).await {
        tracing::debug!(id, %peer, %error, "HTTP/2 connection ended");
    }
}

/// TLS that offers HTTP/2 as well.
fn with_http2(control: &Control) -> Option<Tls> {
    // A copy costs a thousandth of the handshake.
    let mut config = ServerConfig::clone(&control.relay.tls()?.https);
    config.alpn_protocols.insert(0, http2::NAME.to_vec());
    Tls::new(Arc::new(config)).ok()
}

/// What a peer speaks whose first bytes are no HTTP: ports get mixed up.
fn other_protocol(first_bytes: &[u8]) -> Option<&'static str> {
    match first_bytes {
        // C0: the version of RTMP, or of its encrypted kinds.
        [3 | 6 | 8 | 9, ..] => Some("the peer speaks RTMP, this port speaks HTTP"),
        // A record with a ClientHello.
        [0x16, 3, ..] => Some("the peer speaks TLS (https), this port speaks plain HTTP"),
        _ => None,
    }
}

/// Removes the socket from this runtime: from now on the ring of a core waits on it.
fn as_player(
    socket: Stream,
    ticket: Ticket,
    live: Live,
    rest: Bytes,
) -> std::io::Result<HttpPlayer<std::net::TcpStream>> {
    let (socket, transport, unread) = socket.into_parts();
    let rest = if unread.is_empty() { rest } else { [rest, unread].concat().into() };
    let socket = socket.into_std()?;
    let Live { peer, stream, client, form, start, permit, head } = live;
    Ok(HttpPlayer { socket, peer, ticket, stream, client, form, transport, start, permit, head, rest })
}

/// Passes requests to the routes, except requests for streams.
struct Requests {
    control: Arc<Control>,
    router: TowerToHyperService<Router>,
    client: Client,
    entrance: Entrance,
    /// How many there were.
    requests: Arc<AtomicU64>,
    /// What becomes of the connection when its HTTP service ends by [`EndsHere`].
    ending: Arc<Mutex<Option<Ending>>>,
}

/// What becomes of a connection after HTTP.
enum Ending {
    /// A player.
    Player(Live),
    /// These bytes are sent, and it is closed.
    Farewell(Bytes),
}

/// Ends the HTTP service of a connection, which becomes a player or is closed, without writing anything. Earlier
/// responses are not lost: hyper reads the next request only after the response to the one before is completely in the
/// socket. Over HTTP/2 it ends the request alone, by the code in the error.
#[derive(Debug, thiserror::Error)]
enum EndsHere {
    #[error("the connection goes on without HTTP")]
    WithoutHttp,
    #[error("a live body takes HTTP/1.1")]
    TakesHttp1(#[source] h2::Error),
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Body>;
    type Error = EndsHere;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, EndsHere>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.requests.fetch_add(1, Relaxed);
        http2::as_http1(&mut request);
        if let Some(answer) = challenge::answer(&self.control.renewals, &request) {
            return Box::pin(async { Ok(answer) });
        }
        let config = self.control.relay.config();
        let https = self.control.encrypted_address();
        if let Some(answer) = secure::redirect(&config, https, self.entrance, self.client.peer, &request) {
            return Box::pin(async { Ok(answer) });
        }
        let response = self.respond(request);
        match secure::strict_transport_security(&config).filter(|_| self.entrance.is_encrypted) {
            None => response,
            Some(value) => Box::pin(async {
                let mut response = response.await?;
                response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, value);
                Ok(response)
            }),
        }
    }
}

impl Requests {
    fn respond(&self, mut request: Request<Incoming>) -> <Self as Service<Request<Incoming>>>::Future {
        let proxy = &self.control.relay.config().proxy;
        let client =
            Client { peer: forwarded::client(self.client.peer, request.headers(), proxy), ..self.client };
        if !live::is_stream(request.uri()) {
            request.extensions_mut().insert(client);
            let preflight = (request.method() == Method::OPTIONS).then(|| request.headers().clone());
            let response = self.router.call(request);
            return Box::pin(async move {
                let Ok(mut response) = response.await;
                if response.body().size_hint().exact().is_none() {
                    // Events: each is to reach the client at once.
                    let (name, value) = live::UNBUFFERED;
                    response.headers_mut().insert(name, value);
                }
                Ok(match preflight {
                    Some(request) => cors::options(&request, response),
                    None => response,
                })
            });
        }
        if request.version() == Version::HTTP_2 && request.method() == Method::GET {
            return Box::pin(async { Err(EndsHere::TakesHttp1(http2::takes_http1())) });
        }
        let (control, ending) = (self.control.clone(), self.ending.clone());
        let (request, body) = request.into_parts();
        let has_body = !body.is_end_stream();
        Box::pin(async move {
            let becomes = match live::answer(&control, client, &request, has_body).await {
                Ok(player) => Ending::Player(player),
                Err(live::Refusal::WebSocket(bytes)) => Ending::Farewell(bytes),
                Err(live::Refusal::Response(response)) => {
                    return Ok(if request.method == Method::HEAD {
                        without_body(*response)
                    } else {
                        *response
                    });
                }
            };
            *ending.lock().unwrap_or_else(PoisonError::into_inner) = Some(becomes);
            Err(EndsHere::WithoutHttp)
        })
    }
}

/// The response to HEAD: the length is that of the body for GET. hyper does the same over HTTP/1.1 alone.
fn without_body(mut response: Response) -> Response {
    if let Some(len) = response.body().size_hint().exact().filter(|&len| len > 0) {
        response.headers_mut().insert(header::CONTENT_LENGTH, len.into());
    }
    *response.body_mut() = Body::empty();
    response
}

/// Sends the last bytes, and closes.
async fn say_farewell(mut socket: Stream, bytes: &[u8]) {
    let said = async {
        socket.write_all(bytes).await?;
        socket.flush().await
    };
    if let Ok(Ok(())) = timeout(FAREWELL_TIMEOUT, said).await {
        linger::close(socket).await;
    }
}

/// Responds with the reason, and closes.
async fn refuse(mut socket: Stream, refusal: Refusal) {
    let body = HttpError::new(StatusCode::SERVICE_UNAVAILABLE, format!("{refusal} is reached")).body();
    let kind = error::CONTENT_TYPE;
    let head =
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\nConnection: close\r\nCache-Control: no-store";
    let response = format!("{head}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    // The connection is new, so its send buffer has room.
    if socket.write_all(response.as_bytes()).await.is_ok() && socket.flush().await.is_ok() {
        linger::close(socket).await;
    }
}
