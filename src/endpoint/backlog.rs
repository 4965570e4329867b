//! What came on a core's connections and is not worked off: how far each of them is, and in which order they have their
//! turn. Knows no connection.

use std::collections::VecDeque;

/// What a publisher sends is averaged over this, milliseconds: a key frame is no excess.
pub(super) const RATE_WINDOW_MS: u64 = 5_000;

/// How long one connection's input is worked off before others get their turn, microseconds. A read of 64 KiB of video
/// takes a tenth of it.
pub(super) const SLICE_US: u64 = 250;

/// What a connection sends, and how far it has been worked off.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// What came is not worked off: the connection is in the backlog.
    pub is_behind: bool,
    /// Slices that the newest read has taken and used up.
    pub slices: u32,
    /// The read before took more than a slice: the next one goes to the backlog at once, after all that is there.
    pub is_heavy: bool,
    /// Since when each read has taken more than a slice, by the relay's clock.
    pub behind_since_ms: Option<u64>,
    /// When the window began in which messages are counted, and how many had come by then.
    pub counted_since_ms: u64,
    pub counted_before: u64,
}

/// Connections whose input is not worked off, by key and number: the one that has waited longest first.
#[derive(Debug, Default)]
pub(super) struct Backlog(VecDeque<(usize, u64)>);

impl Input {
    /// All that came has been worked off.
    pub(super) fn caught_up(&mut self) {
        self.is_heavy = self.slices > 0;
        self.slices = 0;
        if !self.is_heavy {
            self.behind_since_ms = None;
        }
    }
}

impl Backlog {
    pub(super) fn push(&mut self, key: usize, connection_id: u64) {
        self.0.push_back((key, connection_id));
    }

    pub(super) fn pop(&mut self) -> Option<(usize, u64)> {
        self.0.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
