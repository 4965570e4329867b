//! What the tests of this folder share. Rules of the business are tested from outside, in `tests/endpoint/`.

use std::sync::Arc;

use super::{EventSink, Shared, report::RelayEvent};
use crate::{access, config::Config, stream::Signal};

/// Has no listeners.
struct NoListener;

impl EventSink for NoListener {
    fn is_wanted(&self) -> bool {
        false
    }

    fn send(&self, _event: RelayEvent) {}
}

/// What so many cores share.
pub(super) fn shared(cores: usize, config: Config) -> Arc<Shared> {
    let signals = (0..cores).map(|_| Signal::new(|| ())).collect();
    Shared::new(config, signals, Box::new(access::Open), Box::new(NoListener), |_, _| ())
}
