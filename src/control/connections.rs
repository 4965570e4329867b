//! The list of all connections. To make it, each core walks over its connections, so all requests of half a second
//! share one list.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use crate::{
    endpoint::{Stalled, report::ConnectionReport},
    net::Handle,
};

/// How old the list may be.
const MAX_AGE: Duration = Duration::from_millis(500);

/// The newest list, and when it was made.
#[derive(Default)]
pub(super) struct Connections(Mutex<Option<(Instant, List)>>);

/// That a core did not answer is kept for as long: requests at the same time wait for it once.
type List = Result<Arc<Vec<ConnectionReport>>, Stalled>;

impl Connections {
    /// All connections, ordered by id, as of half a second ago at most.
    pub(super) async fn list(&self, relay: &Handle) -> List {
        let mut newest = self.0.lock().await;
        if let Some((since, list)) = &*newest
            && since.elapsed() < MAX_AGE
        {
            return list.clone();
        }
        let list = relay.connections().await.map(|mut all| {
            all.sort_unstable_by_key(|it| it.id);
            Arc::new(all)
        });
        *newest = Some((Instant::now(), list.clone()));
        list
    }

    /// Makes the next request get a new list.
    pub(super) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}
