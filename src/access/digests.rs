//! Secrets that a peer has to know, compared in constant time: neither what they contain nor how long they are can be
//! measured.

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Several secrets, each of which is right. Keeps their digests only.
#[derive(Clone, Default)]
pub(super) struct Digests(Vec<[u8; 32]>);

impl Digests {
    pub(super) fn of(secrets: &[String]) -> Self {
        Self(secrets.iter().map(|secret| Sha256::digest(secret).into()).collect())
    }

    /// Whether this is one of them. What is too long to be one is not looked at.
    pub(super) fn contains(&self, shown: &str) -> bool {
        if shown.len() > MAX_SECRET_BYTES {
            return false;
        }
        let shown: [u8; 32] = Sha256::digest(shown).into();
        let found = self.0.iter().fold(Choice::from(0), |found, secret| found | secret.ct_eq(&shown));
        found.into()
    }
}

/// The longest secret of a configuration.
pub(super) const MAX_SECRET_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_secret_is_right_and_nothing_else_is() {
        let digests = Digests::of(&["one-key".to_owned(), "another".to_owned()]);
        assert!(digests.contains("one-key") && digests.contains("another"));
        for other in ["", "one-ke", "one-keys", "One-key", "one-keyanother", &"x".repeat(2000)] {
            assert!(!digests.contains(other), "{other}");
        }
        assert!(!Digests::default().contains(""));
    }
}
