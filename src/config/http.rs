//! What is served over HTTP, to which pages, and who may ask the API and have it act.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{fault::Fault, units};

/// What HTTP serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// How long a request's head may take, and how long a connection may ask for nothing.
    #[serde(with = "units::DurationText")]
    pub header_timeout: Duration,
    /// Origins whose pages may play the streams: `https://example.org`, or `*` for all.
    pub allow_origins: Vec<String>,
    /// Streams that have metrics of their own; those beyond it are counted together.
    pub metrics_max_streams: usize,
}

/// Who may ask the API, and have it act. Tokens are secrets: see [`Api::without_secrets`].
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Addresses that API and metrics have to themselves; none leaves them on those of HTTP.
    pub listen: Vec<SocketAddr>,
    /// Requests with it may act, and read. Empty: one is made, and kept in `token_file`.
    pub token: String,
    /// Where a token that was made is kept. Empty: in the state directory of the service, or of the user.
    pub token_file: PathBuf,
    /// Requests with it may read.
    pub read_token: String,
    /// Origins whose pages may read the API: `https://example.org`, or `*` for all.
    pub allow_origins: Vec<String>,
}

impl Http {
    pub(super) fn check(&self) -> Result<(), Fault> {
        check_origins(&self.allow_origins).map_err(|what| Fault { key: "http.allow_origins", what })
    }
}

fn check_origins(origins: &[String]) -> Result<(), String> {
    if origins.len() > MAX_ORIGINS {
        return Err(format!("{} origins are more than {MAX_ORIGINS}", origins.len()));
    }
    match origins.iter().find(|origin| !is_origin(origin)) {
        Some(origin) => Err(format!("`{origin}` is not an origin, such as https://example.org, or *")),
        None => Ok(()),
    }
}

impl Api {
    pub(super) fn check(&self) -> Result<(), Fault> {
        for (key, token) in [("api.token", &self.token), ("api.read_token", &self.read_token)] {
            if !token.is_empty() {
                check_token(token).map_err(|what| Fault { key, what })?;
            }
        }
        check_origins(&self.allow_origins).map_err(|what| Fault { key: "api.allow_origins", what })
    }

    /// With `***` for each token that there is.
    pub fn without_secrets(&self) -> Api {
        let hide = |token: &String| if token.is_empty() { String::new() } else { SECRET.to_owned() };
        Api { token: hide(&self.token), read_token: hide(&self.read_token), ..self.clone() }
    }
}

/// Whether a text can be a token. What is wrong with it does not repeat it: it is a secret even when it is wrong.
///
/// # Errors
/// What is wrong, as one line.
pub fn check_token(token: &str) -> Result<(), String> {
    if !(MIN_TOKEN..=MAX_TOKEN).contains(&token.len()) {
        return Err(format!("a token of {} bytes is outside {MIN_TOKEN} to {MAX_TOKEN}", token.len()));
    }
    if !token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)) {
        return Err("a token is of letters, digits and -._~+/= alone (RFC 6750)".to_owned());
    }
    Ok(())
}

/// A line of the log must not show a token either.
impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Api { listen, token, token_file, read_token, allow_origins } = self.without_secrets();
        let mut debug = f.debug_struct("Api");
        debug.field("listen", &listen).field("token", &token).field("token_file", &token_file);
        debug.field("read_token", &read_token).field("allow_origins", &allow_origins).finish()
    }
}

/// A scheme and a host, and a port perhaps: as a browser writes it, so nothing behind them.
fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    text == "*" || rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(is_of_a_host))
}

fn is_of_a_host(c: char) -> bool {
    c.is_ascii_digit() || c.is_ascii_lowercase() || "-.:[]_".contains(c)
}

impl Default for Http {
    fn default() -> Http {
        Http {
            header_timeout: Duration::from_secs(10),
            allow_origins: vec!["*".to_owned()],
            metrics_max_streams: 100,
        }
    }
}

/// More sites than embed one relay.
const MAX_ORIGINS: usize = 64;
/// Shorter ones can be guessed.
const MIN_TOKEN: usize = 8;
/// Bytes of a token: it fits the header of a request with room to spare.
pub const MAX_TOKEN: usize = 1024;
/// What is shown of a secret.
const SECRET: &str = "***";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_and_a_host_and_nothing_behind() {
        for origin in ["*", "https://example.org", "http://localhost:8080", "http://[::1]:80"] {
            assert!(is_origin(origin), "{origin}");
        }
        for other in
            ["", "example.org", "https://", "https://example.org/", "https://Example.org", "https://*"]
        {
            assert!(!is_origin(other), "{other}");
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        let api = Api { token: "a-secret-of-ours".to_owned(), ..Api::default() };
        assert!(!format!("{api:?}{:?}", api.without_secrets().token).contains("secret"));
        assert_eq!(api.without_secrets().read_token, "", "that there is none is no secret");
    }

    #[test]
    fn a_token_that_is_short_or_odd_is_refused_and_not_repeated() {
        for token in ["short", "with a space in it", "quote\"quote\"quote"] {
            let api = Api { token: token.to_owned(), ..Api::default() };
            let fault = api.check().unwrap_err();
            assert!(fault.key == "api.token" && !fault.what.contains(token), "{fault}");
        }
        let api = Api { token: "dG9rZW4tb2Ytb3Vycw==".to_owned(), ..Api::default() };
        assert_eq!(api.check(), Ok(()));
    }
}
