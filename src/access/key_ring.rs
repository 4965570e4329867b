//! Keys that outlive rules: those that the issuer of tokens publishes, which are fetched on another thread, and the one
//! that authenticates challenges. All rules that are built one after the other share them.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use serde::Deserialize;

use super::token_keys::TokenKey;

/// Keys that outlive rules. A clone is the same ring.
#[derive(Clone)]
pub struct KeyRing(Arc<Keys>);

struct Keys {
    fetched: ArcSwap<Fetched>,
    /// Random, of this process.
    challenge: [u8; 32],
}

/// The issuer's keys.
#[derive(Default)]
struct Fetched {
    /// Where they are published. Those of another issuer are not taken.
    url: String,
    keys: Arc<[TokenKey]>,
}

impl KeyRing {
    /// Without keys of an issuer.
    pub fn new() -> Self {
        let mut challenge = [0; 32];
        getrandom::fill(&mut challenge).expect("the system has random bytes");
        Self(Arc::new(Keys { fetched: ArcSwap::default(), challenge }))
    }

    /// Replaces the issuer's keys by those of a JWK Set (RFC 7517), and returns how many of them can be used: public keys
    /// for RS256, ES256 and EdDSA.
    ///
    /// # Errors
    /// It is not a JWK Set, or none of its keys can be used. The keys in force stay.
    pub fn set_jwks(&self, json: &str) -> Result<usize, String> {
        let set: JwkSet = serde_json::from_str(json).map_err(|error| format!("not a JWK Set: {error}"))?;
        if set.keys.len() > MAX_KEYS {
            return Err(format!("{} keys are too many: at most {MAX_KEYS}", set.keys.len()));
        }
        let of_json = |key| serde_json::from_value(key).ok().and_then(|jwk| TokenKey::of_jwk(&jwk));
        let keys: Vec<TokenKey> = set.keys.into_iter().filter_map(of_json).collect();
        if keys.is_empty() {
            return Err("no key for RS256, ES256 or EdDSA".to_owned());
        }
        let count = keys.len();
        let url = self.0.fetched.load().url.clone();
        self.0.fetched.store(Arc::new(Fetched { url, keys: keys.into() }));
        Ok(count)
    }

    /// Keys are fetched from this address now. Those that another one has published are dropped.
    pub(super) fn follow(&self, url: &str) {
        if self.0.fetched.load().url != url {
            self.0.fetched.store(Arc::new(Fetched { url: url.to_owned(), keys: Arc::default() }));
        }
    }

    pub(super) fn fetched(&self) -> Arc<[TokenKey]> {
        self.0.fetched.load().keys.clone()
    }

    pub(super) fn challenge_key(&self) -> &[u8; 32] {
        &self.0.challenge
    }
}

impl Default for KeyRing {
    fn default() -> Self {
        Self::new()
    }
}

/// Shows no key.
impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({} fetched)", self.fetched().len())
    }
}

/// Keys that cannot be read are ignored, as RFC 7517 §5 wants.
#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<serde_json::Value>,
}

/// More than an issuer rotates through.
const MAX_KEYS: usize = 64;
