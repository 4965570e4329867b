//! Which query parameters each path takes. Others are refused, because a misspelt `limit` or `stream` would otherwise
//! return everything, or disconnect more than was meant.

use axum::http::{Method, Uri};

use super::error::HttpError;

/// The parameter that each path takes.
const TOKEN: &str = "token";
/// What the rules take as credentials, on each path.
const CREDENTIALS: [&str; 9] = ["key", "exp", "sig", "net", "session", "jwt", "token", "user", "pass"];
/// How much of an unknown name the error repeats, characters.
const MAX_NAME_CHARS: usize = 60;

/// Checks the query of a request to this route.
///
/// # Errors
/// Which parameter is unknown, or is given more than once.
pub(super) fn check(method: &Method, route: &str, uri: &Uri) -> Result<(), HttpError> {
    let (Some(query), Some(known)) = (uri.query(), known(method, route)) else {
        return Ok(());
    };
    let mut given: Vec<String> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        let shown: String = name.chars().take(MAX_NAME_CHARS).collect();
        if !CREDENTIALS.contains(&&*name) && !known.contains(&&*name) {
            let names: Vec<String> = known.iter().chain(&[TOKEN]).map(|name| format!("`{name}`")).collect();
            let reason = format!("unknown parameter `{shown}`: this path takes {}", names.join(", "));
            return Err(HttpError::bad_request(reason));
        }
        if given.contains(&shown) {
            return Err(HttpError::bad_request(format!("parameter `{shown}` is given more than once")));
        }
        given.push(shown);
    }
    Ok(())
}

/// The parameters of a route besides the token; none if it does not have this method.
fn known(method: &Method, route: &str) -> Option<&'static [&'static str]> {
    match (method, route) {
        (&Method::DELETE, "/api/v1/publishers/{id}") => Some(&["stream"]),
        (&Method::DELETE, "/api/v1/players/{id}") => Some(&[]),
        (_, "/api/v1/publishers/{id}" | "/api/v1/players/{id}") => None,
        (&Method::GET | &Method::HEAD, "/api/v1/streams") => Some(&["limit", "after"]),
        (&Method::GET | &Method::HEAD, "/api/v1/players") => Some(&["stream", "limit", "offset", "after"]),
        (&Method::GET | &Method::HEAD, "/api/v1/events/past") => Some(&["after"]),
        (&Method::POST, "/api/v1/reload") => Some(&[]),
        (&Method::GET | &Method::HEAD, "/api/v1/reload") => None,
        (&Method::GET | &Method::HEAD, _) => Some(&[]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(method: Method, route: &str, query: &str) -> Option<String> {
        let uri = format!("/x?{query}").parse().unwrap();
        check(&method, route, &uri).err().map(|error| error.detail)
    }

    #[test]
    fn each_known_parameter_may_be_given_once() {
        let streams = |query| refusal(Method::GET, "/api/v1/streams", query);
        for query in ["", "&", "limit=7&after=live%2Fa&token=x", "l%69mit=7", "limit", "key=x&exp=1&sig=y"] {
            assert_eq!(streams(query), None, "{query}");
        }
        for query in ["limit=7&limit=7", "limit=7&l%69mit=8", "token=x&limit=7&token=x", "key=1&key=2"] {
            assert!(streams(query).is_some_and(|refusal| refusal.contains("more than once")), "{query}");
        }
    }

    #[test]
    fn an_unknown_parameter_is_named() {
        for (method, route, query, name) in [
            (Method::GET, "/api/v1/streams", "limits=7", "`limits`"),
            (Method::GET, "/api/v1/streams", "limit=7&stream=a", "`stream`"),
            (Method::HEAD, "/api/v1/cores", "limit=7", "`limit`"),
            (Method::GET, "/api/v1/summary", "%20=", "` `"),
            (Method::GET, "/api/v1/summary", "=7", "``"),
            (Method::DELETE, "/api/v1/players/{id}", "stream=live%2Fa", "`stream`"),
            (Method::DELETE, "/api/v1/publishers/{id}", "name=live%2Fa", "`name`"),
        ] {
            let refusal = refusal(method, route, query).expect(query);
            assert!(refusal.starts_with(&format!("unknown parameter {name}: ")), "{refusal}");
        }
        let long = refusal(Method::GET, "/api/v1/streams", &"x".repeat(5_000)).unwrap();
        assert!(long.len() < 200, "{long}");
    }
}
