//! The routes, and the responses of the API: JSON made from reports. Access is checked before a handler runs; which
//! token gives which right is in `rights`.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Instant};

use axum::{
    Extension, Json, Router,
    extract::{MatchedPath, Path, Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde::{Deserialize, Serialize};

use super::{
    access,
    client::{Client, Scope},
    configuration,
    error::HttpError,
    given_token, gzip,
    history::{self, Sample, Watched},
    metrics, page, parameters,
    rights::{self, Granted, Right},
    state::{self, Control},
    stills,
    streams::{Players, Stream},
    system, unread,
};
use crate::{
    endpoint::{
        self, ClientName, Protocol, ReasonKind,
        report::{ConnectionReport, ConnectionRole, CoreReport, StreamReport},
    },
    http::paths,
    stream::{self, MemoryKind},
};

/// Players, or streams, in one page.
const MAX_PAGE: usize = 1_000;
/// More players than there can be.
const MAX_OFFSET: usize = 1_000_000;

type Shared = State<Arc<Control>>;
type JsonResult<T> = Result<Json<T>, HttpError>;

pub(super) fn router(control: Arc<Control>) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/assets/{*path}", get(page::asset))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::scrape))
        .route("/api/v1/openapi.yaml", get(openapi))
        .route("/api/v1/summary", get(summary))
        .route("/api/v1/streams", get(streams))
        .route("/api/v1/streams/{*name}", get(stream))
        .route("/api/v1/players", get(players))
        .route("/api/v1/players/{id}", delete(|a, b, c, d, e| end(ConnectionRole::Player, a, b, c, d, e)))
        .route("/api/v1/publishers", get(publishers))
        .route(
            "/api/v1/publishers/{id}",
            delete(|a, b, c, d, e| end(ConnectionRole::Publisher, a, b, c, d, e)),
        )
        .route("/api/v1/cores", get(cores))
        .route("/api/v1/history", get(samples))
        .route("/api/v1/config", get(configuration::show))
        .route("/api/v1/reload", post(configuration::reload))
        .route("/api/v1/events", get(events))
        .route("/api/v1/events/past", get(past_events))
        .fallback(unknown)
        .method_not_allowed_fallback(|| async { HttpError::method() })
        .layer(middleware::from_fn_with_state(control.clone(), guard))
        .with_state(control)
}

/// Before each handler: checks that the address serves the API and that the request has the right to it. After it: adds
/// the headers that every response has.
async fn guard(State(control): Shared, mut request: Request, next: Next) -> Response {
    let Some(&client) = request.extensions().get::<Client>() else {
        return HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error: the request has no peer")
            .into_response();
    };
    let headers = request.headers().clone();
    let config = control.relay.config();
    let needed = rights::needed(request.method(), request.uri().path());
    let allowed = match needed {
        // A browser sends its preflight request without credentials.
        Some(_) if request.method() != Method::OPTIONS => {
            access::may_use_api(&control, client, request.uri(), &headers).await
        }
        _ => Ok(()),
    };
    let checked = allowed
        .and_then(|()| given_token::check(&control, &config, client, &request, needed))
        .and_then(|granted| check_parameters(&request, needed).map(|()| granted));
    let mut response = match checked {
        Ok(granted) => {
            request.extensions_mut().insert(granted);
            let response = next.run(request).await;
            match needed {
                Some(_) => {
                    let response = gzip::compress(&headers, response).await;
                    unread::count(control.relay.memory(), response).await
                }
                None => response,
            }
        }
        Err(error) => error.into_response(),
    };
    let answer = response.headers_mut();
    if needed.is_some() {
        state::api_origins(&config).allow(&headers, answer);
        answer.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
    answer.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Checks the query parameters of a request to the API. A path that does not exist gets 404 whatever its query is.
fn check_parameters(request: &Request, needed: Option<Right>) -> Result<(), HttpError> {
    match request.extensions().get::<MatchedPath>().filter(|_| needed.is_some()) {
        Some(route) => parameters::check(request.method(), route.as_str(), request.uri()),
        None => Ok(()),
    }
}

/// A path that leads nowhere. It may be a stream's, as other servers have them.
async fn unknown(uri: Uri) -> HttpError {
    let path = uri.path().trim_end_matches('/');
    let components = path.bytes().filter(|&byte| byte == b'/').count();
    let has_ending = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    HttpError::not_found(if components < 2 || has_ending || paths::is_of_api(path) {
        "not found".to_owned()
    } else {
        format!("not found; a stream of this name is at {path}.flv")
    })
}

/// Whether the relay works: a stalled core serves none of its connections, even if the others do.
async fn health(State(control): Shared) -> Response {
    match control.relay.stalled() {
        None => "ok".into_response(),
        Some(stalled) => (StatusCode::SERVICE_UNAVAILABLE, stalled.to_string()).into_response(),
    }
}

async fn ready(State(control): Shared) -> Response {
    match control.relay.is_draining() {
        false => "ready".into_response(),
        true => (StatusCode::SERVICE_UNAVAILABLE, "draining").into_response(),
    }
}

async fn openapi() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/yaml; charset=utf-8")];
    (kind, include_str!("../../docs/openapi.yaml")).into_response()
}

#[derive(Serialize)]
struct Summary {
    version: &'static str,
    started_at: String,
    uptime_ms: u64,
    is_draining: bool,
    cores: usize,
    streams: StreamCounts,
    publishers: usize,
    players: Players,
    connections: u64,
    received_kbps: u64,
    sent_kbps: u64,
    received_bytes: u64,
    sent_bytes: u64,
    skips: u64,
    refusals: u64,
    send_timeouts: u64,
    memory: Memory,
    open_files: u64,
    open_files_limit: u64,
    listen: Listen,
    has_api: bool,
    may_read: bool,
    may_write: bool,
}

#[derive(Serialize)]
struct StreamCounts {
    live: usize,
    waiting: usize,
}

#[derive(Serialize)]
struct Memory {
    resident_bytes: u64,
    budget_bytes: usize,
    counted_bytes: usize,
    /// `counted_bytes` by kind.
    kinds: BTreeMap<&'static str, usize>,
    freed_bytes: u64,
    ended_connections: u64,
}

impl Memory {
    fn of(memory: &stream::Memory) -> Self {
        let relief = memory.relief();
        Self {
            resident_bytes: system::resident_bytes(),
            budget_bytes: memory.budget(),
            counted_bytes: memory.bytes(),
            kinds: MemoryKind::ALL.iter().map(|&kind| (kind.name(), memory.of(kind))).collect(),
            freed_bytes: relief.given_up_bytes,
            ended_connections: relief.ended,
        }
    }
}

#[derive(Serialize)]
struct Listen {
    rtmp: Vec<SocketAddr>,
    rtmps: Vec<SocketAddr>,
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
}

async fn summary(
    State(control): Shared,
    Extension(client): Extension<Client>,
    Extension(granted): Extension<Granted>,
) -> Json<Summary> {
    let relay = &control.relay;
    let (cores, streams) = (relay.cores(), relay.streams());
    let live = streams.iter().filter(|stream| stream.is_live).count();
    let sum = |of: fn(&CoreReport) -> u64| cores.iter().map(|core| of(core)).sum();
    let rates = control.history.all();
    Json(Summary {
        version: env!("CARGO_PKG_VERSION"),
        started_at: control.date(0),
        uptime_ms: relay.uptime().as_millis() as u64,
        is_draining: relay.is_draining(),
        cores: cores.len(),
        streams: StreamCounts { live, waiting: streams.len() - live },
        publishers: live,
        players: players_of(&cores),
        connections: sum(|core| core.connections),
        received_kbps: rates.received_kbps,
        sent_kbps: rates.sent_kbps,
        received_bytes: sum(|core| core.bytes_in),
        sent_bytes: sum(|core| core.bytes_out.iter().sum()),
        skips: sum(|core| core.skips),
        refusals: relay.refusals().iter().map(|(_, count)| count).sum(),
        send_timeouts: sum(|core| core.ends[ReasonKind::SendTimeout.index()]),
        memory: Memory::of(relay.memory()),
        open_files: system::open_files(),
        open_files_limit: system::open_files_limit(),
        listen: Listen {
            rtmp: relay.addresses().rtmp.clone(),
            rtmps: relay.addresses().rtmps.clone(),
            http: control.addresses(granted, false),
            https: control.addresses(granted, true),
        },
        has_api: client.scope == Scope::All,
        may_read: granted.read,
        may_write: granted.write,
    })
}

fn players_of(cores: &[Arc<CoreReport>]) -> Players {
    let of = |protocol: Protocol| cores.iter().map(|core| core.players[protocol.index()]).sum();
    Players::of(Protocol::ALL.map(of))
}

#[derive(Deserialize)]
struct StreamsPage {
    after: Option<String>,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Streams {
    streams: Vec<Stream>,
    /// The `after` of the next page, if there is one.
    next: Option<String>,
}

/// The cursor is a name, so that streams that come and go between two pages move no other from one page to the next.
async fn streams(
    State(control): Shared,
    Extension(granted): Extension<Granted>,
    page: Result<Query<StreamsPage>, QueryRejection>,
) -> JsonResult<Streams> {
    let StreamsPage { after, limit } = parsed(page)?;
    check_limit(limit)?;
    let mut reports = control.relay.streams();
    reports.retain(|report| control.shows(&report.name, granted));
    reports.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    if let Some(after) = after {
        reports.retain(|report| *report.name > *after);
    }
    let limit = limit.unwrap_or(usize::MAX);
    let next = (reports.len() > limit).then(|| reports[limit - 1].name.to_string());
    let watched = history::watched(&control.relay.cores());
    let watched = |name| watched.get(name).copied().unwrap_or_default();
    let page = reports.iter().take(limit);
    let streams = page.map(|report| describe(&control, granted, report, watched(&report.name))).collect();
    Ok(Json(Streams { streams, next }))
}

fn check_limit(limit: Option<usize>) -> Result<(), HttpError> {
    match limit {
        Some(limit) if !(1..=MAX_PAGE).contains(&limit) => {
            Err(HttpError::bad_request(format!("limit is out of range: 1 to {MAX_PAGE}")))
        }
        _ => Ok(()),
    }
}

/// Also serves streams that are not listed: a client that knows the name may watch.
async fn stream(
    State(control): Shared,
    Extension(client): Extension<Client>,
    Extension(granted): Extension<Granted>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let none = || HttpError::not_found("no such stream");
    if let Some(name) = name.strip_suffix("/still.flv") {
        if !granted.read {
            access::may_see_still(&control, client, name, &uri, &headers)?;
        }
        let make = || endpoint::key_frame(control.relay.registry(), name);
        return Ok(stills::response(control.stills.of(
            name,
            control.relay.memory(),
            Instant::now(),
            make,
        )?));
    }
    let report = control.relay.stream(&name).ok_or_else(none)?;
    let watched = history::watched(&control.relay.cores()).get(&report.name).copied().unwrap_or_default();
    Ok(Json(describe(&control, granted, &report, watched)).into_response())
}

fn describe(control: &Control, granted: Granted, report: &StreamReport, watched: Watched) -> Stream {
    let publisher = report.publisher.filter(|_| report.is_live && granted.read);
    let publisher = publisher.and_then(|id| control.relay.publisher(id));
    let now_ms = control.relay.uptime().as_millis() as u64;
    let description = control.descriptions.of(report, Instant::now());
    let rates = control.history.stream(&report.name);
    let date = |at_ms| control.date(at_ms);
    Stream::of(report, &description, publisher, rates, watched, now_ms, date)
}

#[derive(Deserialize)]
struct Page {
    stream: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
    /// The id after which the page begins.
    after: Option<u64>,
}

#[derive(Serialize)]
struct PlayerList {
    total: usize,
    players: Vec<Player>,
    /// The `after` of the next page, if there is one.
    next: Option<u64>,
}

#[derive(Serialize)]
struct Player {
    id: u64,
    peer: SocketAddr,
    client: Option<ClientName>,
    protocol: &'static str,
    stream: String,
    core: usize,
    started_at: String,
    duration_ms: u64,
    sent_bytes: u64,
    lag_ms: Option<u64>,
}

async fn players(
    State(control): Shared,
    page: Result<Query<Page>, QueryRejection>,
) -> JsonResult<PlayerList> {
    let page = parsed(page)?;
    check_limit(page.limit)?;
    let limit = page.limit.unwrap_or(100);
    let offset = page.offset.unwrap_or(0);
    if offset > MAX_OFFSET {
        return Err(HttpError::bad_request(format!("offset is out of range: 0 to {MAX_OFFSET}")));
    }
    let all = control.connections.list(&control.relay).await?;
    let is_wanted = |it: &&ConnectionReport| {
        it.role == ConnectionRole::Player
            && page.stream.as_ref().is_none_or(|name| it.stream.as_ref() == Some(name))
    };
    let total = all.iter().filter(is_wanted).count();
    let is_after = |it: &&ConnectionReport| page.after.is_none_or(|after| it.id > after);
    let mut rest = all.iter().filter(is_wanted).filter(is_after).skip(offset);
    let players: Vec<_> = rest.by_ref().take(limit).map(|it| Player::of(&control, it)).collect();
    let next = rest.next().and_then(|_| players.last()).map(|player| player.id);
    Ok(Json(PlayerList { total, players, next }))
}

impl Player {
    fn of(control: &Control, it: &ConnectionReport) -> Self {
        Self {
            id: it.id,
            peer: it.peer,
            client: it.client.clone(),
            protocol: it.protocol.name(),
            stream: it.stream.clone().unwrap_or_default(),
            core: it.core,
            started_at: control.date(it.since_ms),
            duration_ms: it.duration_ms,
            sent_bytes: it.bytes_out,
            lag_ms: it.lag_ms,
        }
    }
}

#[derive(Serialize)]
struct PublisherList {
    publishers: Vec<Publisher>,
}

#[derive(Serialize)]
struct Publisher {
    id: u64,
    /// Only for clients that may read, as is the client's name.
    peer: Option<SocketAddr>,
    client: Option<ClientName>,
    stream: String,
    core: usize,
    started_at: String,
    duration_ms: u64,
    received_bytes: u64,
}

/// Clients that may not read get no more than the list of streams contains.
async fn publishers(
    State(control): Shared,
    Extension(granted): Extension<Granted>,
) -> JsonResult<PublisherList> {
    let all = control.connections.list(&control.relay).await?;
    let is_shown = |it: &&ConnectionReport| {
        it.role == ConnectionRole::Publisher
            && control.shows(it.stream.as_deref().unwrap_or_default(), granted)
    };
    let publishers = all.iter().filter(is_shown).map(|it| Publisher {
        id: it.id,
        peer: granted.read.then_some(it.peer),
        client: it.client.clone().filter(|_| granted.read),
        stream: it.stream.clone().unwrap_or_default(),
        core: it.core,
        started_at: control.date(it.since_ms),
        duration_ms: it.duration_ms,
        received_bytes: it.bytes_in,
    });
    Ok(Json(PublisherList { publishers: publishers.collect() }))
}

#[derive(Deserialize)]
struct Which {
    /// Of several that a publisher publishes, only this one.
    stream: Option<String>,
}

async fn end(
    role: ConnectionRole,
    State(control): Shared,
    Extension(client): Extension<Client>,
    Extension(granted): Extension<Granted>,
    Path(id): Path<String>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<StatusCode, HttpError> {
    if !granted.write {
        return Err(HttpError::new(StatusCode::FORBIDDEN, "this request needs [api] token"));
    }
    let Which { stream } = parsed(which)?;
    let id = id.parse().map_err(|_| HttpError::bad_request("the id is not a number"))?;
    if !control.relay.end(id, role, stream.map(Arc::from)).await? {
        return Err(HttpError::not_found("no such connection"));
    }
    tracing::info!(id, by = %client.peer, "disconnected by the API");
    control.connections.forget().await;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize)]
struct Cores {
    cores: Vec<Core>,
}

#[derive(Serialize)]
struct Core {
    core: usize,
    connections: u64,
    publishers: u64,
    players: Players,
    received_kbps: u64,
    sent_kbps: u64,
    busy_ratio: f64,
    passes: u64,
    skips: u64,
    sends: u64,
    bytes_per_send: u64,
}

async fn cores(State(control): Shared) -> Json<Cores> {
    let core = |report: Arc<CoreReport>| {
        let rates = control.history.core(report.core);
        Core {
            core: report.core,
            connections: report.connections,
            publishers: report.publishers,
            players: Players::of(report.players),
            received_kbps: rates.received_kbps,
            sent_kbps: rates.sent_kbps,
            busy_ratio: rates.busy_ratio,
            passes: report.passes,
            skips: report.skips,
            sends: report.sends,
            bytes_per_send: report.send_bytes.sum().checked_div(report.send_bytes.count()).unwrap_or(0),
        }
    };
    Json(Cores { cores: control.relay.cores().into_iter().map(core).collect() })
}

#[derive(Serialize)]
struct Samples {
    interval_ms: u64,
    samples: Vec<Sample>,
}

async fn samples(State(control): Shared) -> Json<Samples> {
    let interval_ms = history::INTERVAL.as_millis() as u64;
    Json(Samples { interval_ms, samples: control.history.samples() })
}

async fn events(State(control): Shared, headers: HeaderMap) -> Response {
    control.events.response(&headers)
}

#[derive(Deserialize)]
struct Since {
    after: Option<String>,
}

async fn past_events(
    State(control): Shared,
    since: Result<Query<Since>, QueryRejection>,
) -> Result<Response, HttpError> {
    let Since { after } = parsed(since)?;
    Ok(control.events.list(after.as_deref()))
}

/// The values of query parameters, or which of them is not valid.
fn parsed<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, HttpError> {
    query.map(|Query(values)| values).map_err(|error| HttpError::bad_request(error.body_text()))
}
