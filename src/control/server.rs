//! HTTP connections: accepted, let in or turned away, served; and taken back from the server whole, as a socket, when a
//! request asks for a live body. What is served is elsewhere.

use std::{
    fmt,
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{Method, Request},
    response::Response,
};
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use super::{
    api,
    client::{Client, Scope},
    cors, linger,
    live::{self, Live},
    patience::Patient,
    state::Control,
};
use crate::{
    endpoint::{HttpPlayer, Refusal, Ticket},
    stream::MemoryKind,
};

/// The largest head of a request: a token and the cookies of a neighbour on the same host fit.
const MOST_HEAD_BYTES: usize = 16 << 10;
/// A connection with its task, and as much of its head and of small responses as is here at a time: measured.
const CONNECTION_BYTES: usize = 16 << 10;
/// Lines of it. Browsers send about twenty.
const MOST_HEADERS: usize = 64;
/// Between two attempts to accept, when there are no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections that are told why they are turned away, at a time; in a flood, the others are closed without a word.
const MOST_TOLD: usize = 64;

/// Takes connections as long as the process lives.
pub(super) async fn serve(control: Arc<Control>, listener: TcpListener, scope: Scope) {
    let router = api::router(control.clone());
    let told = Arc::new(Semaphore::new(MOST_TOLD));
    loop {
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "HTTP: cannot accept");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        match control.relay.admit(peer) {
            Ok(ticket) => {
                let service = Requests {
                    control: control.clone(),
                    router: TowerToHyperService::new(router.clone()),
                    client: Client { peer, scope },
                    live: Arc::default(),
                };
                tokio::spawn(connection(socket, ticket, service));
            }
            Err(refusal) => {
                if let Ok(place) = told.clone().try_acquire_owned() {
                    tokio::spawn(async move {
                        turn_away(socket, refusal).await;
                        drop(place);
                    });
                }
            }
        }
    }
}

/// Serves a connection until it ends, or becomes a player's.
async fn connection(socket: TcpStream, ticket: Ticket, service: Requests) {
    let control = service.control.clone();
    let (peer, live) = (service.client.peer, service.live.clone());
    let held = control.relay.memory().hold(MemoryKind::Connections, CONNECTION_BYTES);
    let relay = control.relay.clone();
    let socket = Patient::new(socket, move || relay.config().play.send_timeout);
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(control.relay.config().http.header_timeout)
        .max_buf_size(MOST_HEAD_BYTES)
        .max_headers(MOST_HEADERS)
        // Whoever has said all it has to say may still be waiting for the answer.
        .half_close(true)
        .serve_connection(TokioIo::new(socket), service);
    let outcome = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    let parts = connection.into_parts();
    let socket = parts.io.into_inner().into_socket();
    let live = live.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (live, outcome) {
        (Some(live), Err(error)) if error.is_user() => {
            // Its core counts it from now on.
            drop(held);
            let player = as_player(socket, peer, ticket, live, parts.read_buf);
            match player {
                Ok(player) => control.relay.play(player),
                Err(error) => tracing::debug!(%peer, %error, "HTTP: a socket cannot be handed to a core"),
            }
        }
        (_, outcome) => {
            if let Err(error) = outcome {
                tracing::debug!(%peer, %error, "HTTP: ended");
            }
            linger::close(socket).await;
        }
    }
}

/// Gives up waiting on the socket here: a core's ring waits on it from now on.
fn as_player(
    socket: TcpStream,
    peer: SocketAddr,
    ticket: Ticket,
    live: Live,
    rest: bytes::Bytes,
) -> std::io::Result<HttpPlayer<std::net::TcpStream>> {
    let socket = socket.into_std()?;
    let Live { stream, form, start, head } = live;
    Ok(HttpPlayer { socket, peer, ticket, stream, form, start, head, rest })
}

/// The way to the routes, and around them for live bodies.
struct Requests {
    control: Arc<Control>,
    router: TowerToHyperService<Router>,
    client: Client,
    /// What the connection is to become.
    live: Arc<Mutex<Option<Live>>>,
}

/// Ends the service of a connection without a byte being written: it goes on as a player's. Nothing that was written
/// before is lost: hyper reads no request before the response to the one before has gone to the socket whole.
#[derive(Debug)]
struct HandedOver;

impl fmt::Display for HandedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is a player's now")
    }
}

impl std::error::Error for HandedOver {}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Body>;
    type Error = HandedOver;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, HandedOver>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if !live::is_asked_for(request.uri()) {
            request.extensions_mut().insert(self.client);
            let is_options = request.method() == Method::OPTIONS;
            let response = self.router.call(request);
            return Box::pin(async move {
                match response.await {
                    Ok(response) if is_options => Ok(cors::options(response)),
                    Ok(response) => Ok(response),
                    Err(never) => match never {},
                }
            });
        }
        let answer = match live::answer(&self.control, &request) {
            Ok(live) => {
                *self.live.lock().unwrap_or_else(PoisonError::into_inner) = Some(live);
                Err(HandedOver)
            }
            Err(response) => Ok(*response),
        };
        Box::pin(std::future::ready(answer))
    }
}

/// Says why, and closes.
async fn turn_away(mut socket: TcpStream, refusal: Refusal) {
    let body = format!("{{\"error\":\"{refusal} is reached\"}}");
    let head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 10\r\n\
                Connection: close\r\nCache-Control: no-store\r\n";
    let response = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    // It is new, so there is room for a few bytes.
    if socket.write_all(response.as_bytes()).await.is_ok() {
        linger::close(socket).await;
    }
}
