//! The relay's events, each with its time and a number: keeps the newest ones and sends all of them to clients as
//! server-sent events.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use axum::{
    http::HeaderMap,
    response::{
        IntoResponse, Response, Sse,
        sse::{self, KeepAlive},
    },
};
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::{endpoint::report::RelayEvent, net::Handle};

/// Past events that a new client gets.
const MAX_PAST: usize = 200;
/// Events that a client may lag before it misses some.
const MAX_LAG: usize = 1024;
/// Keeps the connection alive while there are no events, for both sides and for proxies between them.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Events since the start.
pub(super) struct Events {
    /// Until [`Events::collect`] takes it.
    source: Mutex<Option<broadcast::Receiver<RelayEvent>>>,
    state: Mutex<State>,
    clients: broadcast::Sender<Arc<NumberedEvent>>,
}

#[derive(Default)]
struct State {
    last: u64,
    past: VecDeque<Arc<NumberedEvent>>,
}

/// An event with its number, as JSON.
struct NumberedEvent {
    number: u64,
    json: String,
}

#[derive(Serialize)]
struct Body<'a> {
    at: String,
    #[serde(flatten)]
    event: &'a RelayEvent,
}

impl Events {
    /// Events from now on.
    pub(super) fn new(relay: &Handle) -> Self {
        Self::from(relay.events())
    }

    fn from(source: broadcast::Receiver<RelayEvent>) -> Self {
        Self {
            source: Mutex::new(Some(source)),
            state: Mutex::default(),
            clients: broadcast::Sender::new(MAX_LAG),
        }
    }

    fn note(&self, event: &RelayEvent, at: SystemTime) {
        let at = humantime::format_rfc3339_millis(at).to_string();
        let Ok(json) = serde_json::to_string(&Body { at, event }) else {
            return;
        };
        let mut state = self.state();
        state.last += 1;
        let event = Arc::new(NumberedEvent { number: state.last, json });
        if state.past.len() == MAX_PAST {
            state.past.pop_front();
        }
        state.past.push_back(event.clone());
        // While locked, so that a new client gets each event once, either as a past one or from here.
        let _ = self.clients.send(event);
    }

    /// Events came faster than they were collected. Clients see a gap in the numbers.
    fn note_missed(&self, missed: u64) {
        self.state().last += missed;
        tracing::debug!(missed, "events lost: they came too fast");
    }

    /// Past events after `last`, then all later ones.
    fn since(&self, last: Option<u64>) -> impl Stream<Item = Arc<NumberedEvent>> + use<> {
        let state = self.state();
        // A higher number than the last is from an earlier run of the relay.
        let last = last.filter(|&last| last <= state.last).unwrap_or(0);
        let past: Vec<_> = state.past.iter().filter(|event| event.number > last).cloned().collect();
        let live = stream::unfold(self.clients.subscribe(), |mut live| async {
            loop {
                match live.recv().await {
                    Ok(event) => return Some((event, live)),
                    // The client sees a gap in the numbers.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        stream::iter(past).chain(live)
    }

    /// Numbers and keeps the relay's events as long as the process lives.
    pub(super) async fn collect(&self) {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut source) = source else {
            return;
        };
        loop {
            match source.recv().await {
                Ok(event) => self.note(&event, SystemTime::now()),
                Err(RecvError::Lagged(missed)) => self.note_missed(missed),
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// The response to `GET /api/v1/events`. `request` are the headers of the request.
    pub(super) fn response(&self, request: &HeaderMap) -> Response {
        let last = request.get("last-event-id").and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let events = self.since(last).map(|event| {
            Ok::<_, Infallible>(sse::Event::default().id(event.number.to_string()).data(&event.json))
        });
        Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn events(count: u64) -> Events {
        let events = Events::from(broadcast::channel(1).1);
        (0..count).for_each(|_| events.note(&RelayEvent::Draining, SystemTime::UNIX_EPOCH));
        events
    }

    /// The numbers of the events that are available without waiting.
    fn numbers(stream: &mut (impl Stream<Item = Arc<NumberedEvent>> + Unpin)) -> Vec<u64> {
        std::iter::from_fn(|| stream.next().now_or_never().flatten()).map(|event| event.number).collect()
    }

    #[test]
    fn a_new_client_gets_the_newest_events_and_then_later_ones_each_once() {
        let events = events(MAX_PAST as u64 + 7);
        let mut stream = Box::pin(events.since(None));
        let past = numbers(&mut stream);
        assert_eq!((past.len(), past[0], past[MAX_PAST - 1]), (MAX_PAST, 8, MAX_PAST as u64 + 7));
        events.note(&RelayEvent::Draining, SystemTime::UNIX_EPOCH);
        assert_eq!(numbers(&mut stream), [MAX_PAST as u64 + 8]);
    }

    #[test]
    fn a_client_that_reconnects_gets_what_it_missed() {
        let events = events(9);
        assert_eq!(numbers(&mut Box::pin(events.since(Some(7)))), [8, 9]);
        assert_eq!(numbers(&mut Box::pin(events.since(Some(9)))).len(), 0);
        assert_eq!(numbers(&mut Box::pin(events.since(Some(10)))).len(), 9, "from an earlier run");
    }

    #[test]
    fn lost_events_are_a_gap_in_the_numbers() {
        let events = events(2);
        events.note_missed(3);
        events.note(&RelayEvent::Draining, SystemTime::UNIX_EPOCH);
        assert_eq!(numbers(&mut Box::pin(events.since(None))), [1, 2, 6]);
    }

    #[test]
    fn an_event_has_its_time_and_a_publisher_its_address() {
        let events = events(0);
        let peer = ([192, 0, 2, 1], 5).into();
        let stream = "live/a".to_owned();
        events.note(&RelayEvent::Published { id: 7, peer, stream: stream.clone() }, SystemTime::UNIX_EPOCH);
        let json: serde_json::Value = serde_json::from_str(&events.state().past[0].json).unwrap();
        let expected = serde_json::json!({"at": "1970-01-01T00:00:00.000Z", "event": "published", "id": 7,
            "peer": "192.0.2.1:5", "stream": "live/a"});
        assert_eq!(json, expected);
    }
}
