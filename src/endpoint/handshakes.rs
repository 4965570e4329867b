//! Counts TLS handshakes by how they ended: those of all cores, and those over HTTPS.

use std::sync::atomic::{AtomicU64, Ordering};

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeResult {
    /// The client is new, and was shown the certificate.
    Full,
    /// The client came back with a session ticket, and no certificate was needed.
    Resumed,
    /// The peer broke a rule, sent an alert, or spoke something else. One that hangs up or says nothing is not counted.
    Failed,
}

/// Counts of handshakes since the start.
#[derive(Debug, Default)]
pub struct HandshakeCounts([AtomicU64; HandshakeResult::ALL.len()]);

impl HandshakeResult {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Full, Self::Resumed, Self::Failed];

    /// As a label of the metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Resumed => "resumed",
            Self::Failed => "failed",
        }
    }
}

impl HandshakeCounts {
    /// Counts one.
    pub fn count(&self, result: HandshakeResult) {
        self.0[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many ended so.
    pub fn of(&self, result: HandshakeResult) -> u64 {
        self.0[result as usize].load(Ordering::Relaxed)
    }
}
