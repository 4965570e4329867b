//! JSON Web Tokens (RFC 7519): who signed one, and what it allows. A key has one algorithm, whatever a token claims.

use std::sync::Arc;

use globset::GlobBuilder;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;

use super::{Action, Cause, KeyRing};
use crate::config::Jwt;

/// Which tokens are right.
pub(super) struct Tokens {
    keys: Vec<TokenKey>,
    ring: KeyRing,
    audience: String,
    issuer: String,
}

/// A key, and the only algorithm that it is for.
#[derive(Clone)]
pub(super) struct TokenKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// What a token allows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Permit {
    /// Until when, Unix seconds.
    pub(super) expires: u64,
    /// Its subject.
    pub(super) user: Option<Arc<str>>,
}

/// A public key in JSON (RFC 7517, RFC 7518 §6, RFC 8037). Names are the specification's.
#[derive(Deserialize)]
pub(super) struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
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
        let of_secret = |secret: &String| TokenKey {
            id: None,
            algorithm: Algorithm::HS256,
            key: DecodingKey::from_secret(secret.as_bytes()),
        };
        let mut keys: Vec<_> = config.secrets.values().iter().map(of_secret).collect();
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
        let is_meant = |key: &&TokenKey| match (&header.kid, &key.id) {
            (Some(meant), Some(id)) => meant == id,
            _ => true,
        };
        // Without an id each key may be the right one.
        let fetched =
            fetched.iter().filter(is_meant).filter(|key| key.algorithm == header.alg).take(MAX_TRIES);
        let own = self.keys.iter().filter(|key| key.algorithm == header.alg);
        own.chain(fetched).find_map(|key| key.claims(token))
    }
}

impl TokenKey {
    fn of_pem(pem: &[u8]) -> Option<Self> {
        let (algorithm, key) = if let Ok(key) = DecodingKey::from_ed_pem(pem) {
            (Algorithm::EdDSA, key)
        } else if let Ok(key) = DecodingKey::from_ec_pem(pem) {
            (Algorithm::ES256, key)
        } else {
            (Algorithm::RS256, DecodingKey::from_rsa_pem(pem).ok()?)
        };
        let length = key.try_get_as_bytes().ok()?.len();
        let is_large_enough = match algorithm {
            Algorithm::EdDSA => length == ED25519_BYTES,
            Algorithm::ES256 => length == P256_BYTES,
            _ => length > MIN_RSA_BYTES,
        };
        is_large_enough.then_some(Self { id: None, algorithm, key })
    }

    /// None where it cannot be used, or is for something else.
    pub(super) fn of_jwk(jwk: &Jwk) -> Option<Self> {
        if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        let (algorithm, name, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                let key = DecodingKey::from_rsa_components(jwk.n.as_ref()?, jwk.e.as_ref()?).ok()?;
                // In base64.
                (Algorithm::RS256, "RS256", (jwk.n.as_ref()?.len() > MIN_RSA_BYTES * 4 / 3).then_some(key)?)
            }
            ("EC", Some("P-256")) => {
                let key = DecodingKey::from_ec_components(jwk.x.as_ref()?, jwk.y.as_ref()?).ok()?;
                let length = key.try_get_as_bytes().ok()?.len();
                (Algorithm::ES256, "ES256", (length == P256_BYTES).then_some(key)?)
            }
            ("OKP", Some("Ed25519")) => {
                let key = DecodingKey::from_ed_components(jwk.x.as_ref()?).ok()?;
                let length = key.try_get_as_bytes().ok()?.len();
                (Algorithm::EdDSA, "EdDSA", (length == ED25519_BYTES).then_some(key)?)
            }
            // A secret is none once it is published.
            _ => return None,
        };
        let is_for_it = jwk.alg.as_ref().is_none_or(|alg| alg == name || name == "EdDSA" && alg == "Ed25519");
        is_for_it.then(|| Self { id: jwk.kid.clone(), algorithm, key })
    }

    /// What a token says, if this key has signed it. Its times are checked elsewhere, by the clock of the rules.
    fn claims(&self, token: &str) -> Option<Claims> {
        let mut validation = Validation::new(self.algorithm);
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
        decode(token, &self.key, &validation).ok().map(|token| token.claims)
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
/// 2048 bits.
const MIN_RSA_BYTES: usize = 255;
/// A point that is not compressed.
const P256_BYTES: usize = 65;
const ED25519_BYTES: usize = 32;
