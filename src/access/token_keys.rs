//! Keys that verify tokens, from PEM, JSON or as a secret. A key has one algorithm, whatever a token claims: a public key
//! is never taken for a secret.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::{Deserialize, de::DeserializeOwned};

/// A key, and the only algorithm that it is for.
#[derive(Clone)]
pub(super) struct TokenKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
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

impl TokenKey {
    /// For HS256.
    pub(super) fn of_secret(secret: &str) -> Self {
        Self { id: None, algorithm: Algorithm::HS256, key: DecodingKey::from_secret(secret.as_bytes()) }
    }

    /// None where it is not a public key that can be used.
    pub(super) fn of_pem(pem: &[u8]) -> Option<Self> {
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

    /// Whether a token that names this algorithm and this key may be signed by it. Without the name of a key, each may be
    /// the right one.
    pub(super) fn is_for(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        let is_named = self.id.as_deref().zip(id).is_none_or(|(own, id)| own == id);
        self.algorithm == algorithm && is_named
    }

    /// What a token says, if this key has signed it. Its times are not checked.
    pub(super) fn payload<T: DeserializeOwned>(&self, token: &str) -> Option<T> {
        let mut validation = Validation::new(self.algorithm);
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
        decode(token, &self.key, &validation).ok().map(|token| token.claims)
    }
}

/// 2048 bits.
const MIN_RSA_BYTES: usize = 255;
/// A point that is not compressed.
const P256_BYTES: usize = 65;
const ED25519_BYTES: usize = 32;
