//! Players of one core against a real log, without a socket: what they would be sent, byte for byte.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::stream::{Form, Start};
use crate::stream::{
    Publication, Registry, Retention,
    tests::{
        audio, audio_header, data, inter_frame, key_frame, marks, metadata, publisher, registry,
        registry_with, track_frame, track_header, video_header,
    },
};

mod ending;
mod joining;
mod lagging;
mod model;
mod sending;

const NAME: &str = "live/s";

struct Bench {
    registry: Arc<Registry>,
    hub: Hub,
    now_ms: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with(registry(1))
    }

    fn with(registry: Arc<Registry>) -> Self {
        let policy = Policy {
            max_lag: Duration::from_secs(5),
            play_wait: Duration::from_secs(30),
            publisher_grace: Duration::from_secs(10),
        };
        Self { hub: Hub::new(0, registry.clone(), policy), registry, now_ms: 1_000 }
    }

    fn publish(&self) -> Publication {
        self.registry.publish(NAME, publisher(1), self.now_ms).expect("the name is free")
    }

    fn join(&mut self, start: Start) -> PlayerKey {
        self.hub.join(7, NAME, Form::Rtmp, start, self.now_ms)
    }

    /// All that is due to the player, taken at once.
    fn drain(&mut self, player: PlayerKey) -> String {
        marks(&self.drain_bytes(player))
    }

    fn drain_bytes(&mut self, player: PlayerKey) -> Vec<u8> {
        self.take_new_data();
        let mut out = Vec::new();
        while let Some(batch) = self.hub.next_batch(player, false, self.now_ms) {
            out.extend_from_slice(batch.bytes());
            self.hub.sent(player, batch.bytes().len(), true);
        }
        out
    }

    /// The one batch that a pass gives the player.
    fn take(&mut self, player: PlayerKey) -> String {
        let batch = self.hub.next_batch(player, false, self.now_ms);
        batch.map_or_else(String::new, |batch| {
            self.hub.sent(player, batch.bytes().len(), true);
            marks(batch.bytes())
        })
    }

    /// Owners of players that are due, at once or with a pass that begins now.
    fn due(&mut self) -> Vec<usize> {
        let mut due = Vec::new();
        self.hub.due_at_once(usize::MAX, &mut due);
        self.hub.begin_pass(&mut due);
        due
    }

    /// Takes in new data, as after the core's signal.
    fn take_new_data(&mut self) {
        self.hub.new_data(0, 1);
        self.due();
    }

    fn ended(&mut self) -> Vec<(usize, Ended)> {
        let mut ended = Vec::new();
        self.hub.expire(self.now_ms, &mut ended);
        ended
    }
}

fn headers(publication: &mut Publication) {
    for frame in [metadata("M "), video_header("V "), audio_header("A ")] {
        publication.append_and_notify(frame, 1_000);
    }
}

/// A stream, and a player that has been sent its headers and first key frame.
fn watched() -> (Bench, Publication, PlayerKey) {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append_and_notify(key_frame(0, "K0 "), 1_000);
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "M V A K0 ");
    (bench, publication, player)
}
