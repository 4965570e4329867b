//! Requests for a stream: `/app/name.flv`, over HTTP or WebSocket. Decides on the response, or on the format and the
//! start of a player that a core then serves.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header, request::Parts},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use tungstenite::handshake::derive_accept_key;

use super::{
    client::Client,
    cors::{self, Origins},
    error::HttpError,
    party::party,
    rights,
    state::{self, Control},
};
use crate::{
    access::{Action, Denial, Grant, Question, Verdict},
    endpoint::{ClientName, DeniedPeer, Permit, Protocol},
    http::{
        paths,
        websocket::{self, CloseCode},
    },
    rtmp::name::StreamName,
    stream::{Form, Start},
};

/// A player for a core, and the head of its response.
pub(super) struct Live {
    pub(super) peer: SocketAddr,
    pub(super) stream: String,
    pub(super) client: Option<ClientName>,
    pub(super) form: Form,
    pub(super) start: Start,
    /// What it keeps of the decision that let it in.
    pub(super) permit: Option<Box<Permit>>,
    pub(super) head: Bytes,
}

/// What is sent instead.
pub(super) enum Refusal {
    /// A complete response.
    Response(Box<Response>),
    /// A WebSocket that is opened and closed at once: no page can read the status of a response to its handshake.
    WebSocket(Bytes),
}

const METHODS: &str = "GET, HEAD, OPTIONS";
/// nginx forwards a response without it in blocks of 4 or 8 KB: several seconds of audio.
pub(super) const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// Whether this is the path of a stream. The page's files end otherwise, and the API's paths are excluded.
pub(super) fn is_stream(uri: &Uri) -> bool {
    let path = uri.path();
    path.ends_with(".flv") && !paths::is_of_api(path)
}

/// The player that this request becomes, or in the error what is sent instead.
pub(super) async fn answer(
    control: &Control,
    client: Client,
    request: &Parts,
    has_body: bool,
) -> Result<Live, Refusal> {
    let config = control.relay.config();
    let origins = state::stream_origins(&config);
    let respond = |response: Response| with_origin(origins, &request.headers, response);
    match request.method {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return Err(respond(cors::preflight(&request.headers, METHODS))),
        _ => {
            let mut response = HttpError::method().into_response();
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(METHODS));
            return Err(respond(response));
        }
    }
    let refuse = |error: HttpError| respond(error.into_response());
    let (name, start) = requested(control, request, has_body).map_err(refuse)?;
    let form = form(request);
    let head = match form {
        Form::WebsocketFlv => websocket_head(origins, request).map_err(|response| respond(*response))?,
        _ => {
            let mut headers = body_headers();
            if form == Form::HttpFlvChunked {
                headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            origins.allow(&request.headers, &mut headers);
            head("200 OK", &headers)
        }
    };
    let said = party(&request.uri, &request.headers);
    let client_name = ClientName::of(&said.client);
    let question = Question {
        query: request.uri.query().unwrap_or_default().to_owned(),
        connection: client.id,
        party: Arc::new(said),
        ..Question::new(Action::Play, &name.to_string(), client.peer, Protocol::of(form).name())
    };
    let (asked_for, protocol) = (question.name.clone(), question.protocol);
    let told = control.relay.tells_of(Action::Play).then(|| question.clone());
    let grant = match with_valid_name(control.relay.decide(question).await) {
        Verdict::Allow(grant) => grant,
        Verdict::Redirect(address) => return Err(refuse(HttpError::redirect(&address))),
        Verdict::Deny(denial) => {
            let Client { id, peer, .. } = client;
            let client = client_name.as_ref();
            let (action, name) = (Action::Play, &*asked_for);
            control.relay.denied(DeniedPeer { id, peer, client, action, name, protocol }, &denial);
            return Err(match form {
                Form::WebsocketFlv => Refusal::WebSocket(closed_at_once(&head, &denial)),
                _ => refuse(HttpError::denied(&denial, &request.headers)),
            });
        }
    };
    let permit = Permit::of(&grant, told, control.relay.uptime().as_millis() as u64);
    let stream = grant.name.unwrap_or(asked_for);
    // A stream that only RTMP players wait for does not exist for HTTP.
    if !control.relay.can_be_watched(&stream) {
        return Err(refuse(HttpError::not_found(format!("{stream} is not published"))));
    }
    if request.method == Method::HEAD {
        return Err(respond((body_headers(), Body::empty()).into_response()));
    }
    Ok(Live { peer: client.peer, stream, client: client_name, form, start, permit, head })
}

/// The name that is asked for, and where the player starts.
fn requested(control: &Control, request: &Parts, has_body: bool) -> Result<(StreamName, Start), HttpError> {
    if has_body {
        return Err(HttpError::bad_request("a request for a stream cannot have a body"));
    }
    let path = percent_encoding::percent_decode_str(request.uri.path()).decode_utf8();
    let path = path.map_err(|_| HttpError::bad_request("the path is not UTF-8"))?;
    let name = StreamName::of_path(&path).map_err(|error| HttpError::bad_request(error.to_string()))?;
    let requested = Start::requested(rights::parameter(&request.uri, "start").as_deref());
    let requested = requested.map_err(|error| HttpError::bad_request(error.to_string()))?;
    let start = requested.unwrap_or(control.relay.config().play.start);
    if control.relay.is_draining() {
        return Err(HttpError::new(StatusCode::SERVICE_UNAVAILABLE, "the relay is shutting down"));
    }
    Ok((name, start))
}

/// Another name that came with the permission, as RTMP players have it: in its normal form, or none of them gets in.
fn with_valid_name(verdict: Verdict) -> Verdict {
    let Verdict::Allow(Grant { name: Some(name), user, lasts_ms }) = verdict else { return verdict };
    match StreamName::of_path(&name) {
        Ok(name) => Verdict::Allow(Grant { name: Some(name.to_string()), user, lasts_ms }),
        Err(error) => Verdict::undecided(format!("another name was given, which is none: {error}")),
    }
}

/// The end of a handshake, and the close of the WebSocket.
fn closed_at_once(head: &[u8], denial: &Denial) -> Bytes {
    let code = match denial.cause.is_about_credentials() {
        true => CloseCode::Unauthorized,
        false => CloseCode::Forbidden,
    };
    [head, &websocket::close_for(code, &denial.reason)].concat().into()
}

fn body_headers() -> HeaderMap {
    HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static("video/x-flv")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        UNBUFFERED,
        // The body ends with the stream: it has no length, and there is no next request.
        (header::CONNECTION, HeaderValue::from_static("close")),
    ])
}

/// With chunks a client can distinguish the end of the body from a broken connection. HTTP/1.0, which nginx uses for
/// proxied requests by default, has no chunks.
fn form(request: &Parts) -> Form {
    match request.version {
        _ if is_websocket(request) => Form::WebsocketFlv,
        Version::HTTP_11 if has_http_library(&request.headers) => Form::HttpFlvChunked,
        _ => Form::HttpFlv,
    }
}

/// Every player and browser sends one of these headers. A request with none of them comes from a client that writes its
/// request by hand and reads the raw socket, as viewers in the firmware of cameras do: it cannot parse chunks.
fn has_http_library(headers: &HeaderMap) -> bool {
    [header::USER_AGENT, header::ACCEPT, header::TE].iter().any(|name| headers.contains_key(name))
}

fn is_websocket(request: &Parts) -> bool {
    has_word(&request.headers, &header::UPGRADE, "websocket")
}

/// RFC 6455 §4.2.
fn websocket_head(origins: Origins<'_>, request: &Parts) -> Result<Bytes, Box<Response>> {
    let headers = &request.headers;
    let refuse = |status, reason: &str| Box::new(HttpError::new(status, reason).into_response());
    let is_valid = request.method == Method::GET
        && request.version == Version::HTTP_11
        && has_word(headers, &header::CONNECTION, "upgrade");
    if !is_valid {
        let reason = "a WebSocket handshake is a GET request with HTTP/1.1 and Connection: Upgrade";
        return Err(refuse(StatusCode::BAD_REQUEST, reason));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let mut response = refuse(StatusCode::UPGRADE_REQUIRED, "the WebSocket version must be 13");
        let headers = response.headers_mut();
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        return Err(response);
    }
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .filter(|key| BASE64_STANDARD.decode(key.as_bytes()).is_ok_and(|nonce| nonce.len() == 16));
    let Some(key) = key else {
        return Err(refuse(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key must be 16 bytes in base64"));
    };
    if !origins.may_open(headers) {
        return Err(refuse(StatusCode::FORBIDDEN, "the origin of this page is not in http.allow_origins"));
    }
    let accept = derive_accept_key(key.as_bytes());
    let mut response = HeaderMap::from_iter([
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
    ]);
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        response.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(subprotocol) = first_word(headers, &header::SEC_WEBSOCKET_PROTOCOL) {
        response.insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    Ok(head("101 Switching Protocols", &response))
}

/// The first word of a comma-separated header. A browser that offers subprotocols fails if the response chooses none of
/// them; the relay sends the same with each.
fn first_word(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let first = headers.get(name)?.to_str().ok()?.split(',').next()?.trim();
    HeaderValue::from_str(first).ok().filter(|word| !word.is_empty())
}

/// Whether a comma-separated header contains this word.
fn has_word(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|found| found.trim().eq_ignore_ascii_case(word))
}

/// The head of a response as bytes.
fn head(status: &str, headers: &HeaderMap) -> Bytes {
    let mut head =
        format!("HTTP/1.1 {status}\r\nDate: {}\r\n", httpdate::fmt_http_date(SystemTime::now())).into_bytes();
    for (name, value) in headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

fn with_origin(origins: Origins<'_>, request: &HeaderMap, mut response: Response) -> Refusal {
    origins.allow(request, response.headers_mut());
    Refusal::Response(Box::new(response))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_page_and_the_api_are_not_streams() {
        let is = |path: &str| is_stream(&path.parse().unwrap());
        assert!(is("/live/a.flv") && is("/live/a.flv?start=live") && is("/a.flv"));
        assert!(
            !is("/live/a") && !is("/api/v1/streams/live/a/still.flv") && !is("/api/v1/a.flv") && !is("/")
        );
        assert!(is("/api/a.flv") && is("/assets/a.flv") && is("/metrics.flv") && is("/healthz/a.flv"));
    }

    #[test]
    fn a_word_in_a_header_s_list_is_found_in_any_case() {
        let headers =
            HeaderMap::from_iter([(header::CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"))]);
        assert!(has_word(&headers, &header::CONNECTION, "upgrade"));
        assert!(!has_word(&headers, &header::CONNECTION, "grade"));
        assert!(!has_word(&headers, &header::UPGRADE, "upgrade"));
    }
}
