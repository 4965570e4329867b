//! The relay's events, each with its time and an id: keeps the newest ones, returns them as a list, and sends all of them
//! to clients as server-sent events.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    http::{HeaderMap, header},
    response::{
        IntoResponse, Response, Sse,
        sse::{self, KeepAlive},
    },
};
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use tokio::sync::broadcast::{self, error::RecvError};

use super::wall_clock::rfc3339;
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
    /// None is the end: no event comes after it.
    clients: broadcast::Sender<Option<Arc<NumberedEvent>>>,
    /// When the relay started, milliseconds: ids of an earlier run differ from those of this one.
    epoch: u64,
}

#[derive(Default)]
struct State {
    last: u64,
    past: VecDeque<Arc<NumberedEvent>>,
    has_ended: bool,
}

/// An event with its number, which is one more than that of the event before it, as JSON.
struct NumberedEvent {
    number: u64,
    kind: &'static str,
    json: String,
}

#[derive(Serialize)]
struct Body<'a> {
    at: String,
    #[serde(flatten)]
    event: &'a RelayEvent,
}

impl NumberedEvent {
    fn sse(&self, epoch: u64) -> sse::Event {
        sse::Event::default().id(id(epoch, self.number)).event(self.kind).data(&self.json)
    }
}

impl Events {
    /// Events from now on.
    pub(super) fn new(relay: &Handle) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from(relay.events(), since_1970.as_millis() as u64)
    }

    fn from(source: broadcast::Receiver<RelayEvent>, epoch: u64) -> Self {
        Self {
            epoch,
            source: Mutex::new(Some(source)),
            state: Mutex::default(),
            clients: broadcast::Sender::new(MAX_LAG),
        }
    }

    fn note(&self, event: &RelayEvent, at: SystemTime) {
        let at = rfc3339(at);
        let Ok(json) = serde_json::to_string(&Body { at, event }) else {
            return;
        };
        let mut state = self.state();
        state.last += 1;
        let event = Arc::new(NumberedEvent { number: state.last, kind: event.kind(), json });
        if state.past.len() == MAX_PAST {
            state.past.pop_front();
        }
        state.past.push_back(event.clone());
        // While locked, so that a new client gets each event once, either as a past one or from here.
        let _ = self.clients.send(Some(event));
    }

    /// Events came faster than they were collected. Clients see a gap in the numbers.
    fn note_missed(&self, missed: u64) {
        self.state().last += missed;
        tracing::debug!(missed, "events lost: they came too fast");
    }

    /// The number of the event with this id; 0, that is, before all events, if it is none of this run of the relay.
    fn number(&self, id: &str) -> u64 {
        let of_this_run = |(epoch, number): (&str, &str)| {
            (epoch.parse() == Ok(self.epoch)).then(|| number.parse().ok()).flatten()
        };
        id.trim().split_once('-').and_then(of_this_run).unwrap_or(0)
    }

    /// Past events after the one with the id `last`: all of them if it is not known.
    fn past(&self, state: &State, last: Option<&str>) -> Vec<Arc<NumberedEvent>> {
        let last = last.map_or(0, |last| self.number(last));
        state.past.iter().filter(|event| event.number > last).cloned().collect()
    }

    /// Past events after the one with the id `last`, then all later ones until the end.
    fn since(&self, last: Option<&str>) -> impl Stream<Item = Arc<NumberedEvent>> + use<> {
        let state = self.state();
        let past = self.past(&state, last);
        let live = (!state.has_ended).then(|| self.clients.subscribe());
        let live = stream::unfold(live, |live| async {
            let mut live = live?;
            loop {
                match live.recv().await {
                    Ok(event) => return Some((event?, Some(live))),
                    // The client sees a gap in the numbers.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        stream::iter(past).chain(live)
    }

    /// Numbers and keeps the relay's events until `end` is over, then ends all responses after the events that there are.
    /// Returns once they have ended.
    pub(super) async fn collect(&self, end: impl Future) {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut source) = source else {
            return;
        };
        let mut end = pin!(end);
        loop {
            tokio::select! {
                // What has happened before the end comes before it.
                biased;
                event = source.recv() => match event {
                    Ok(event) => self.note(&event, SystemTime::now()),
                    Err(RecvError::Lagged(missed)) => self.note_missed(missed),
                    Err(RecvError::Closed) => break,
                },
                _ = &mut end => break,
            }
        }
        self.state().has_ended = true;
        let _ = self.clients.send(None);
        self.clients.closed().await;
    }

    /// The response to `GET /api/v1/events/past`: the events after the one with the id `after`, as JSON.
    pub(super) fn list(&self, after: Option<&str>) -> Response {
        let (past, last) = {
            let state = self.state();
            (self.past(&state, after), id(self.epoch, state.last))
        };
        let events: Vec<_> = past.iter().map(|event| event.json.as_str()).collect();
        let kind = [(header::CONTENT_TYPE, "application/json")];
        (kind, format!("{{\"last\":\"{last}\",\"events\":[{}]}}", events.join(","))).into_response()
    }

    /// The response to `GET /api/v1/events`. `request` are the headers of the request.
    pub(super) fn response(&self, request: &HeaderMap) -> Response {
        let last = request.get("last-event-id").and_then(|value| value.to_str().ok());
        let epoch = self.epoch;
        let events = self.since(last).map(move |event| Ok::<_, Infallible>(event.sse(epoch)));
        Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn id(epoch: u64, number: u64) -> String {
    format!("{epoch}-{number}")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::{
        access::Cause,
        endpoint::{ClientName, Protocol, ReasonKind, Refusal},
    };

    fn events(count: u64) -> Events {
        let events = Events::from(broadcast::channel(1).1, 1_700);
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
        assert_eq!(numbers(&mut Box::pin(events.since(Some("1700-7")))), [8, 9]);
        assert_eq!(numbers(&mut Box::pin(events.since(Some("1700-9")))).len(), 0);
    }

    #[test]
    fn a_client_with_an_id_of_another_run_gets_all_past_events() {
        let events = events(9);
        for id in ["1699-7", "7", "", "-7", "1700-", "1700-x", "1700-7-7", "\u{fffd}"] {
            assert_eq!(numbers(&mut Box::pin(events.since(Some(id)))).len(), 9, "{id}");
        }
    }

    #[tokio::test]
    async fn a_client_that_polls_gets_the_events_after_the_last_it_knows() {
        let events = events(3);
        for (after, count) in [(None, 3), (Some("1700-2"), 1), (Some("1700-3"), 0), (Some("1699-3"), 3)] {
            let body = axum::body::to_bytes(events.list(after).into_body(), usize::MAX).await.unwrap();
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let event = serde_json::json!({"at": "1970-01-01T00:00:00.000Z", "event": "draining"});
            assert_eq!(
                json,
                serde_json::json!({"last": "1700-3", "events": vec![event; count]}),
                "{after:?}"
            );
        }
    }

    #[test]
    fn lost_events_are_a_gap_in_the_numbers() {
        let events = events(2);
        events.note_missed(3);
        events.note(&RelayEvent::Draining, SystemTime::UNIX_EPOCH);
        assert_eq!(numbers(&mut Box::pin(events.since(None))), [1, 2, 6]);
    }

    #[test]
    fn an_event_has_its_time_its_peer_and_its_reason() {
        let events = events(0);
        let peer = ([192, 0, 2, 1], 5).into();
        let stream = "live/a".to_owned();
        let client = ClientName::of("OBS/30");
        let (protocol, reason) = (Protocol::Rtmp, ReasonKind::Kicked.into());
        events.note(
            &RelayEvent::PlayEnded { id: 7, peer, client, stream, protocol, reason, duration_ms: 5 },
            SystemTime::UNIX_EPOCH,
        );
        let json: serde_json::Value = serde_json::from_str(&events.state().past[0].json).unwrap();
        let expected = serde_json::json!({"at": "1970-01-01T00:00:00.000Z", "event": "play_ended", "id": 7,
            "peer": "192.0.2.1:5", "client": "OBS/30", "stream": "live/a", "protocol": "rtmp", "reason": "kicked",
            "detail": "ended by the operator", "duration_ms": 5});
        assert_eq!(json, expected);
    }

    /// The values of an `enum` of `docs/openapi.yaml`.
    fn documented(schema: &str) -> Vec<&'static str> {
        let document = include_str!("../../docs/openapi.yaml");
        let (_, from) = document.split_once(&format!("\n    {schema}:\n")).unwrap();
        let (values, _) = from.split_once("enum: [").unwrap().1.split_once(']').unwrap();
        values.split(',').map(str::trim).collect()
    }

    #[test]
    fn each_reason_each_cause_and_each_limit_is_in_the_schema() {
        assert_eq!(documented("Reason"), ReasonKind::ALL.map(ReasonKind::label));
        assert_eq!(documented("Cause"), Cause::ALL.map(Cause::label));
        assert_eq!(documented("Limit"), Refusal::ALL.map(|limit| limit.to_string()));
    }

    #[test]
    fn the_kind_of_an_event_is_its_field_and_the_name_of_the_server_sent_event() {
        let peer = ([192, 0, 2, 1], 5).into();
        let (stream, protocol, reason) = ("live/a".to_owned(), Protocol::Rtmp, ReasonKind::Kicked);
        let all = [
            RelayEvent::Publishing { id: 7, peer, client: None, stream: stream.clone() },
            RelayEvent::PublishEnded {
                id: 7,
                peer,
                client: None,
                stream: stream.clone(),
                reason: reason.into(),
                duration_ms: 5,
            },
            RelayEvent::Playing { id: 7, peer, client: None, stream: stream.clone(), protocol },
            RelayEvent::PlayEnded {
                id: 7,
                peer,
                client: None,
                stream,
                protocol,
                reason: reason.into(),
                duration_ms: 5,
            },
            RelayEvent::Refused { peer, limit: "limits.streams".to_owned() },
            RelayEvent::Denied {
                id: 7,
                peer,
                client: None,
                action: "play",
                name: "live/a".to_owned(),
                protocol: "rtmp",
                rule: "1".into(),
                cause: Cause::Rule.label(),
                detail: "no".to_owned(),
            },
            RelayEvent::Draining,
        ];
        for event in all {
            assert_eq!(serde_json::to_value(&event).unwrap()["event"], event.kind());
        }
    }
}
