//! Options for HTTP, and for access to the API.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{addresses, fault::Fault, secret_value::SECRET, units};

/// Options for HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// How long a client may take to send a request's header, and how long a connection may be idle.
    #[serde(with = "units::DurationText")]
    pub header_timeout: Duration,
    /// Origins whose pages may play the streams: `https://example.org`, or `*` for all of them.
    pub allow_origins: Vec<String>,
    /// The number of streams with metrics of their own; the others are added up.
    pub metrics_max_streams: usize,
    /// Which requests over plain HTTP are redirected to HTTPS.
    pub redirect_to_https: RedirectToHttps,
    /// Host, and port if it is not 443, where clients are redirected to. If empty, the host that they ask for, and the port
    /// of the first address in `listen.https`.
    pub https_host: String,
    /// For how long browsers that have been here over HTTPS use nothing else; 0 lets them.
    #[serde(with = "units::DurationText")]
    pub hsts: Duration,
}

/// Which requests over plain HTTP are redirected to HTTPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RedirectToHttps {
    /// None.
    Off,
    /// Those for the page and the API.
    Page,
    /// Those for streams as well.
    All,
}

/// Access to the API. Tokens are secrets: see [`Api::without_secrets`].
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Separate addresses for the API and the metrics; if empty, they are on the addresses for HTTP.
    #[serde(deserialize_with = "addresses::deserialize")]
    pub listen: Vec<SocketAddr>,
    /// Requests with this token may change and read everything. If empty, one is generated and stored in `token_file`.
    pub token: String,
    /// The file that stores a generated token. If empty, it is in the state directory of the service or the user.
    pub token_file: PathBuf,
    /// Requests with this token may read everything.
    pub read_token: String,
    /// The file that contains `read_token`: [`super::Config::with_secret_files`] reads it. If empty, there is none.
    pub read_token_file: PathBuf,
    /// Origins whose pages may read the API: `https://example.org`, or `*` for all of them.
    pub allow_origins: Vec<String>,
}

impl Http {
    /// `has_https`: the relay has addresses for HTTPS.
    pub(super) fn check(&self, has_https: bool) -> Result<(), Fault> {
        check_origins(&self.allow_origins).map_err(|what| Fault { key: "http.allow_origins", what })?;
        let is_redirecting = self.redirect_to_https != RedirectToHttps::Off;
        if is_redirecting && !has_https && self.https_host.is_empty() {
            let what = "there is nothing to redirect to: set listen.https or http.https_host".to_owned();
            return Err(Fault { key: "http.redirect_to_https", what });
        }
        if !self.https_host.chars().all(is_host_char) {
            let what = format!("`{}` is not a host in lower case, such as relay.example", self.https_host);
            return Err(Fault { key: "http.https_host", what });
        }
        Ok(())
    }
}

fn check_origins(origins: &[String]) -> Result<(), String> {
    if origins.len() > MAX_ORIGINS {
        return Err(format!("{} origins are too many: at most {MAX_ORIGINS}", origins.len()));
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
        if !self.read_token.is_empty() && !self.read_token_file.as_os_str().is_empty() {
            let what = "read_token is set as well: set only one of the two".to_owned();
            return Err(Fault { key: "api.read_token_file", what });
        }
        check_origins(&self.allow_origins).map_err(|what| Fault { key: "api.allow_origins", what })
    }

    /// The same options with `***` in place of each token; a token that a file contains is not among them.
    pub fn without_secrets(&self) -> Api {
        let hide = |token: &String| if token.is_empty() { String::new() } else { SECRET.to_owned() };
        let is_in_file = !self.read_token_file.as_os_str().is_empty();
        let read_token = if is_in_file { String::new() } else { hide(&self.read_token) };
        Api { token: hide(&self.token), read_token, ..self.clone() }
    }
}

/// Checks that a text can be a token.
///
/// # Errors
/// What is wrong, as one line. It does not contain the text: an invalid token is a secret as well.
pub fn check_token(token: &str) -> Result<(), String> {
    if !(MIN_TOKEN_BYTES..=MAX_TOKEN_BYTES).contains(&token.len()) {
        return Err(format!("a token has {MIN_TOKEN_BYTES} to {MAX_TOKEN_BYTES} bytes, not {}", token.len()));
    }
    if !token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)) {
        return Err("a token has only letters, digits and -._~+/= (RFC 6750)".to_owned());
    }
    Ok(())
}

/// Shows no token in a log line.
impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Api { listen, token, token_file, read_token, read_token_file, allow_origins } =
            self.without_secrets();
        let mut debug = f.debug_struct("Api");
        debug.field("listen", &listen).field("token", &token).field("token_file", &token_file);
        debug.field("read_token", &read_token).field("read_token_file", &read_token_file);
        debug.field("allow_origins", &allow_origins).finish()
    }
}

/// A scheme, a host and possibly a port, as a browser writes it: nothing after them.
fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    text == "*" || rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(is_host_char))
}

fn is_host_char(c: char) -> bool {
    c.is_ascii_digit() || c.is_ascii_lowercase() || "-.:[]_".contains(c)
}

impl Default for Http {
    fn default() -> Http {
        Http {
            header_timeout: Duration::from_secs(10),
            allow_origins: vec!["*".to_owned()],
            metrics_max_streams: 100,
            redirect_to_https: RedirectToHttps::Off,
            https_host: String::new(),
            hsts: Duration::ZERO,
        }
    }
}

/// More than the sites that embed one relay.
const MAX_ORIGINS: usize = 64;
/// Shorter ones can be guessed.
const MIN_TOKEN_BYTES: usize = 8;
/// Bytes of a token: it fits into a request's header with room to spare.
pub const MAX_TOKEN_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_and_a_host_and_nothing_after() {
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
        assert_eq!(api.without_secrets().read_token, "", "an empty token is not a secret");
        let from_file = |file: &str| {
            let read_token = "a-secret-of-ours".to_owned();
            Api { read_token, read_token_file: file.into(), ..Api::default() }.without_secrets().read_token
        };
        assert_eq!((from_file("").as_str(), from_file("/a/file").as_str()), ("***", ""));
    }

    #[test]
    fn an_invalid_token_is_refused_and_not_repeated() {
        for token in ["short", "with a space in it", "quote\"quote\"quote"] {
            let api = Api { token: token.to_owned(), ..Api::default() };
            let fault = api.check().unwrap_err();
            assert!(fault.key == "api.token" && !fault.what.contains(token), "{fault}");
        }
        let api = Api { token: "dG9rZW4tb2Ytb3Vycw==".to_owned(), ..Api::default() };
        assert_eq!(api.check(), Ok(()));
    }
}
