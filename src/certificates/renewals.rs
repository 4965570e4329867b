//! What the renewal of certificates and the control plane share: answers to an authority that asks over HTTP whether the
//! relay has a name (RFC 8555 §8.3), and how often a renewal has failed.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Answers, and failures.
#[derive(Debug, Default)]
pub struct Renewals {
    answers: Mutex<HashMap<String, String>>,
    failures: AtomicU64,
}

/// An answer, for as long as it is needed.
#[derive(Debug)]
pub struct Offer {
    renewals: Arc<Renewals>,
    token: String,
}

impl Renewals {
    /// The key authorization for a token, while an authority may ask for it.
    pub fn answer(&self, token: &str) -> Option<String> {
        self.answers().get(token).cloned()
    }

    /// Answers to this token until the offer is dropped.
    #[must_use]
    pub fn offer(self: &Arc<Self>, token: String, key_authorization: String) -> Offer {
        self.answers().insert(token.clone(), key_authorization);
        Offer { renewals: self.clone(), token }
    }

    /// Counts a renewal that failed.
    pub fn failed(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    /// Renewals that failed, since the start.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.renewals.answers().remove(&self.token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_answered_only_as_long_as_it_is_offered() {
        let renewals = Arc::new(Renewals::default());
        let offer = renewals.offer("token".to_owned(), "token.thumbprint".to_owned());
        assert_eq!(renewals.answer("token").as_deref(), Some("token.thumbprint"));
        assert_eq!(renewals.answer("other"), None);
        drop(offer);
        assert_eq!(renewals.answer("token"), None);
    }
}
