//! JSON Web Tokens (RFC 7519): who signed one, and what it allows. A key has one algorithm, whatever a token claims.

use std::sync::Arc;

use globset::GlobBuilder;
use jsonwebtoken::decode_header;
use serde::Deserialize;

use super::{Action, Cause, KeyRing, token_keys::TokenKey};
use crate::config::Jwt;

/// Which tokens are right.
pub(super) struct Tokens {
    keys: Vec<TokenKey>,
    ring: KeyRing,
    audience: String,
    issuer: String,
}

/// What a token allows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Permit {
    /// Until when, Unix seconds.
    pub(super) expires: u64,
    /// Its subject.
    pub(super) user: Option<Arc<str>>,
}

#[derive(Deserialize)]
struct Claims {
    exp: NumericDate,
    nbf: Option<NumericDate>,
    iss: Option<String>,
    aud: Option<OneOrMore>,
    sub: Option<String>,
    action: Option<OneOrMore>,
    streams: Option<OneOrMore>,
    #[serde(default)]
    mediamtx_permissions: Vec<MediamtxPermission>,
}

/// What MediaMTX' tokens have in place of `action` and `streams`.
#[derive(Deserialize)]
struct MediamtxPermission {
    action: String,
    #[serde(default)]
    path: String,
}

/// Seconds, possibly with a fraction (RFC 7519 §2).
#[derive(Deserialize)]
struct NumericDate(f64);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl Tokens {
    /// The error is the key and what is wrong with it.
    pub(super) fn new(config: &Jwt, ring: KeyRing) -> Result<Self, String> {
        let mut keys: Vec<_> = config.secrets.values().iter().map(|it| TokenKey::of_secret(it)).collect();
        for (path, pem) in config.public_keys.files() {
            let key = TokenKey::of_pem(pem.as_bytes()).ok_or_else(|| {
                let path = path.display();
                format!("jwt.public_keys: {path}: not a public key for RS256 (2048 bits or more), ES256 or EdDSA in PEM")
            })?;
            keys.push(key);
        }
        Ok(Self { keys, ring, audience: config.audience.clone(), issuer: config.issuer.clone() })
    }

    /// Whether a token allows this.
    pub(super) fn check(&self, token: &str, action: Action, name: &str, now: u64) -> Result<Permit, Cause> {
        let claims = self.verified(token).ok_or(Cause::WrongCredentials)?;
        let is_ours = (self.issuer.is_empty() || claims.iss.as_ref() == Some(&self.issuer))
            && (self.audience.is_empty()
                || claims.aud.as_ref().is_some_and(|it| it.any(|audience| audience == self.audience)));
        if !is_ours {
            return Err(Cause::WrongCredentials);
        }
        let expires = claims.exp.seconds().ok_or(Cause::WrongCredentials)?;
        let not_before = claims.nbf.as_ref().map_or(Some(0), NumericDate::seconds);
        let not_before = not_before.ok_or(Cause::WrongCredentials)?;
        if expires <= now || not_before > now + CLOCKS_DIFFER {
            return Err(Cause::Expired);
        }
        if !claims.allow(action, name) {
            return Err(Cause::NotForThis);
        }
        let is_name = |name: &String| name.len() <= MAX_USER_BYTES && !name.chars().any(char::is_control);
        Ok(Permit { expires, user: claims.sub.filter(is_name).map(Arc::from) })
    }

    /// What a token says, if one of the keys has signed it.
    fn verified(&self, token: &str) -> Option<Claims> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let header = decode_header(token).ok()?;
        // What has to be understood according to RFC 7515 §4.1.11, and is not.
        if header.crit.is_some() {
            return None;
        }
        let fetched = self.ring.fetched();
        let is_meant = |key: &&TokenKey| key.is_for(header.alg, header.kid.as_deref());
        let fetched = fetched.iter().filter(is_meant).take(MAX_TRIES);
        self.keys.iter().filter(is_meant).chain(fetched).find_map(|key| key.payload(token))
    }
}

impl Claims {
    fn allow(&self, action: Action, name: &str) -> bool {
        let is_stream = matches!(action, Action::Publish | Action::Play);
        let own = self.action.as_ref().zip(self.streams.as_ref()).is_some_and(|(actions, streams)| {
            actions.any(|it| it == action.name() || is_stream && it == "any")
                && streams.any(|pattern| matches(pattern, name))
        });
        let mediamtx = match action {
            Action::Publish => "publish",
            Action::Play => "read",
            Action::Connect | Action::Api => return own,
        };
        let is_path = |path: &str| path.is_empty() || path == name;
        own || self.mediamtx_permissions.iter().any(|it| it.action == mediamtx && is_path(&it.path))
    }
}

impl NumericDate {
    fn seconds(&self) -> Option<u64> {
        // Beyond 2^53 a float has no seconds.
        (0.0..9e15).contains(&self.0).then_some(self.0 as u64)
    }
}

impl OneOrMore {
    fn any(&self, is_it: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::One(one) => is_it(one),
            Self::More(more) => more.iter().any(|one| is_it(one)),
        }
    }
}

/// A pattern as in the configuration. Most are names, or all.
fn matches(pattern: &str, name: &str) -> bool {
    let is_pattern = pattern.contains(['*', '?', '[', '{', '\\']);
    let glob = || GlobBuilder::new(pattern).literal_separator(false).build();
    pattern == name
        || pattern == "*"
        || is_pattern && glob().is_ok_and(|glob| glob.compile_matcher().is_match(name))
}

/// An address over RTMP has a query of 4 KiB at most; FFmpeg cuts it at 1 KiB.
const MAX_TOKEN_BYTES: usize = 4096;
/// Keys of one issuer for one algorithm that a token without the id of its key is tried with.
const MAX_TRIES: usize = 8;
/// Seconds by which the issuer's clock may be ahead.
const CLOCKS_DIFFER: u64 = 10;
/// More than a name has.
const MAX_USER_BYTES: usize = 255;
