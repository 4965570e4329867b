//! What happens, as it happens: the relay's events with their time and a number, the newest of them kept, and all of
//! them as server-sent events for whoever asks.

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

use crate::{endpoint::report::Event, net::Handle};

/// Past events that a newcomer is told.
const PAST: usize = 200;
/// Events that a listener may be behind before it misses some.
const BEHIND: usize = 1024;
/// So that neither side, nor a proxy between them, takes a quiet connection for a dead one.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Events since the start.
pub(super) struct Events {
    /// Taken by [`Events::collect`].
    source: Mutex<Option<broadcast::Receiver<Event>>>,
    inside: Mutex<Inside>,
    told: broadcast::Sender<Arc<Told>>,
}

#[derive(Default)]
struct Inside {
    last: u64,
    past: VecDeque<Arc<Told>>,
}

/// An event, its number and its text.
struct Told {
    number: u64,
    json: String,
}

#[derive(Serialize)]
struct Body<'a> {
    at: String,
    #[serde(flatten)]
    event: &'a Event,
}

impl Events {
    /// From now on.
    pub(super) fn new(relay: &Handle) -> Self {
        Self::from(relay.events())
    }

    fn from(source: broadcast::Receiver<Event>) -> Self {
        Self {
            source: Mutex::new(Some(source)),
            inside: Mutex::default(),
            told: broadcast::Sender::new(BEHIND),
        }
    }

    fn note(&self, event: &Event, at: SystemTime) {
        let at = humantime::format_rfc3339_millis(at).to_string();
        let Ok(json) = serde_json::to_string(&Body { at, event }) else {
            return;
        };
        let mut inside = self.inside();
        inside.last += 1;
        let told = Arc::new(Told { number: inside.last, json });
        if inside.past.len() == PAST {
            inside.past.pop_front();
        }
        inside.past.push_back(told.clone());
        // Within the lock: a newcomer gets each event once, among the past ones or from here.
        let _ = self.told.send(told);
    }

    /// Events came faster than they were taken. The gap in the numbers tells every listener.
    fn note_missed(&self, missed: u64) {
        self.inside().last += missed;
        tracing::debug!(missed, "events came faster than they could be passed on");
    }

    /// Past events after `last`, then all that come.
    fn since(&self, last: Option<u64>) -> impl Stream<Item = Arc<Told>> + use<> {
        let inside = self.inside();
        // A number that is yet to come was of the relay before this one.
        let last = last.filter(|&last| last <= inside.last).unwrap_or(0);
        let past: Vec<_> = inside.past.iter().filter(|told| told.number > last).cloned().collect();
        let live = stream::unfold(self.told.subscribe(), |mut live| async {
            loop {
                match live.recv().await {
                    Ok(told) => return Some((told, live)),
                    // The gap in the numbers tells the listener.
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

    /// The answer to `GET /api/v1/events`. `request` are the headers of the request.
    pub(super) fn response(&self, request: &HeaderMap) -> Response {
        let last = request.get("last-event-id").and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let events = self.since(last).map(|told| {
            Ok::<_, Infallible>(sse::Event::default().id(told.number.to_string()).data(&told.json))
        });
        Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn events(count: u64) -> Events {
        let events = Events::from(broadcast::channel(1).1);
        (0..count).for_each(|_| events.note(&Event::Draining, SystemTime::UNIX_EPOCH));
        events
    }

    /// The numbers that are there without waiting.
    fn numbers(stream: &mut (impl Stream<Item = Arc<Told>> + Unpin)) -> Vec<u64> {
        std::iter::from_fn(|| stream.next().now_or_never().flatten()).map(|told| told.number).collect()
    }

    #[test]
    fn a_newcomer_hears_the_newest_and_then_what_comes_each_once() {
        let events = events(PAST as u64 + 7);
        let mut stream = Box::pin(events.since(None));
        let past = numbers(&mut stream);
        assert_eq!((past.len(), past[0], past[PAST - 1]), (PAST, 8, PAST as u64 + 7));
        events.note(&Event::Draining, SystemTime::UNIX_EPOCH);
        assert_eq!(numbers(&mut stream), [PAST as u64 + 8]);
    }

    #[test]
    fn one_who_comes_back_hears_what_it_missed() {
        let events = events(9);
        assert_eq!(numbers(&mut Box::pin(events.since(Some(7)))), [8, 9]);
        assert_eq!(numbers(&mut Box::pin(events.since(Some(9)))).len(), 0);
        assert_eq!(numbers(&mut Box::pin(events.since(Some(10)))).len(), 9, "of a relay before this one");
    }

    #[test]
    fn events_that_were_missed_are_a_gap_in_the_numbers() {
        let events = events(2);
        events.note_missed(3);
        events.note(&Event::Draining, SystemTime::UNIX_EPOCH);
        assert_eq!(numbers(&mut Box::pin(events.since(None))), [1, 2, 6]);
    }

    #[test]
    fn an_event_has_its_time_and_a_publisher_its_address() {
        let events = events(0);
        let peer = ([192, 0, 2, 1], 5).into();
        let stream = "live/a".to_owned();
        events.note(&Event::Published { id: 7, peer, stream: stream.clone() }, SystemTime::UNIX_EPOCH);
        let json: serde_json::Value = serde_json::from_str(&events.inside().past[0].json).unwrap();
        let expected = serde_json::json!({"at": "1970-01-01T00:00:00.000Z", "event": "published", "id": 7,
            "peer": "192.0.2.1:5", "stream": "live/a"});
        assert_eq!(json, expected);
    }
}
