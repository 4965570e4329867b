//! The token of a request to the API: which rights it gives, and what becomes of those who guess. Which tokens there are is
//! decided in `rights`.

use axum::{
    extract::Request,
    http::{Method, StatusCode},
};

use super::{
    access::{MAX_LOGGED_CHARS, PROTOCOL},
    client::{Client, Scope},
    error::HttpError,
    party::party,
    rights::{self, Credentials, Granted, Right},
    state::Control,
};
use crate::{
    access::{Action, Cause, Denial},
    config::Config,
    endpoint::{ClientName, DeniedPeer},
};

/// What the log and metrics call the tokens of the API, which are checked after the rules.
const API_TOKENS: &str = "api.token";

/// Checks that a request has the right that it needs, and returns the rights that its token gives.
pub(super) fn check(
    control: &Control,
    config: &Config,
    client: Client,
    request: &Request,
    needed: Option<Right>,
) -> Result<Granted, HttpError> {
    let Some(right) = needed else {
        return Ok(Granted::default());
    };
    if client.scope == Scope::WithoutApi {
        // The addresses of the streams serve what a viewer's page needs, and nothing else, whatever the token.
        return match right {
            Right::Watch => Ok(Granted::default()),
            _ => Err(HttpError::not_found("the API and the metrics are on a separate address")),
        };
    }
    let tokens = control.rights(config);
    let credentials = Credentials { uri: request.uri(), headers: request.headers() };
    // A browser sends its preflight request without a token.
    if request.method() == Method::OPTIONS {
        return Ok(Granted::default());
    }
    let address = client.peer.ip();
    if rights::token_of(credentials).is_some() && control.relay.has_guessed_too_often(address) {
        return match tokens.is_open(right) {
            // As without a token.
            true => Ok(Granted::default()),
            false => Err(refuse(control, client, request, Cause::TooManyAttempts)),
        };
    }
    if let Some(token) = tokens.wrong_token(credentials) {
        control.relay.note_wrong_token(address, &token);
    }
    let checked = tokens.check(right, credentials);
    if checked.as_ref().is_err_and(|error| error.status == StatusCode::UNAUTHORIZED)
        && rights::token_of(credentials).is_some()
    {
        refuse(control, client, request, Cause::WrongCredentials);
    }
    checked.map(|()| tokens.granted(credentials))
}

/// A token of the API is wrong, or not looked at because so many were: counts and logs it like what a rule denies.
fn refuse(control: &Control, client: Client, request: &Request, cause: Cause) -> HttpError {
    let Client { id, peer, .. } = client;
    let name = ClientName::of(&party(request.uri(), request.headers()).client);
    let path: String = request.uri().path().chars().take(MAX_LOGGED_CHARS).collect();
    let reason = match cause {
        Cause::TooManyAttempts => "too many wrong tokens from this network: try again in a minute",
        _ => "wrong token",
    };
    let denial = Denial { reason: reason.to_owned(), cause, rule: API_TOKENS.into() };
    let (client, action, name, protocol) = (name.as_ref(), Action::Api, &*path, PROTOCOL);
    control.relay.denied(DeniedPeer { id, peer, client, action, name, protocol }, &denial);
    HttpError::denied(&denial, request.headers())
}
