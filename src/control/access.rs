//! What the rules in force, and the service that they leave questions to, say to requests of the API. Tokens are another
//! question: see `rights`.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, Uri};
use percent_encoding::percent_decode_str;

use super::{client::Client, error::HttpError, party::party, state::Control};
use crate::{
    access::{Action, Decision, Question, Verdict},
    endpoint::{ClientName, DeniedPeer, Protocol},
};

/// What requests to the API speak, as rules and services are told.
pub(super) const PROTOCOL: &str = "http";
/// How much of a refused request's path is logged.
pub(super) const MAX_LOGGED_CHARS: usize = 200;

/// Whether the rules let this client use the API. Which rights it has there is another question.
pub(super) async fn may_use_api(
    control: &Control,
    client: Client,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), HttpError> {
    let Client { id, peer, .. } = client;
    let said = party(uri, headers);
    let client = ClientName::of(&said.client);
    // As the routes read it, so that no other spelling evades a pattern.
    let path = percent_decode_str(uri.path()).decode_utf8_lossy();
    let question = Question {
        query: uri.query().unwrap_or_default().to_owned(),
        connection: id,
        party: Arc::new(said),
        ..Question::new(Action::Api, &path, peer, PROTOCOL)
    };
    match control.relay.decide(question).await {
        Verdict::Allow(_) => Ok(()),
        Verdict::Redirect(address) => Err(HttpError::redirect(&address)),
        Verdict::Deny(denial) => {
            let name: String = path.chars().take(MAX_LOGGED_CHARS).collect();
            let (client, action, name, protocol) = (client.as_ref(), Action::Api, &*name, PROTOCOL);
            control.relay.denied(DeniedPeer { id, peer, client, action, name, protocol }, &denial);
            Err(HttpError::denied(&denial, headers))
        }
    }
}

/// Whether the rules let this client watch a stream, of which it wants a still. A page asks for many of them again and
/// again, so no service is asked, and no refusal is logged: without a yes from the rules there is none.
pub(super) fn may_see_still(
    control: &Control,
    client: Client,
    name: &str,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), HttpError> {
    let question = Question {
        query: uri.query().unwrap_or_default().to_owned(),
        connection: client.id,
        party: Arc::new(party(uri, headers)),
        ..Question::new(Action::Play, name, client.peer, Protocol::HttpFlv.name())
    };
    match control.relay.decide_at_once(&question) {
        Decision::Verdict(Verdict::Allow(_)) => Ok(()),
        Decision::Verdict(Verdict::Deny(denial)) => Err(HttpError::new(StatusCode::FORBIDDEN, denial.reason)),
        Decision::Verdict(Verdict::Redirect(_)) | Decision::Ask(_) => Err(HttpError::new(
            StatusCode::FORBIDDEN,
            "a service decides who may watch this stream: no stills",
        )),
    }
}
