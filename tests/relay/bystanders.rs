//! A stream that other clients must not affect.

use crate::crowd::{Crowd, Id};
use crate::frames::Source;
use crate::support::Relay;

/// A publisher and four players that go on while other clients misbehave.
pub struct Bystanders {
    crowd: Crowd,
    source: Source,
    publisher: Id,
    players: Vec<Id>,
    sent: u64,
}

impl Bystanders {
    pub fn new(relay: &Relay) -> Bystanders {
        let mut crowd = Crowd::new();
        let source = Source::small(1);
        let players = crowd.play_all(relay, "live/a", 4);
        let publisher = crowd.publish(relay, "live/a");
        crowd.begin(publisher, &source, &players);
        Bystanders { crowd, source, publisher, players, sent: 1 }
    }

    /// Sends ten more frames; fails the test unless all players get them.
    pub fn go_on(&mut self) {
        self.crowd.send_frames(self.publisher, &self.source, self.sent..self.sent + 10);
        self.sent += 10;
        self.crowd.until_seen(&self.players, self.sent - 1);
    }

    /// Fails the test unless the players have missed nothing.
    pub fn finish(mut self) {
        self.go_on();
        for &player in &self.players {
            self.source.assert_from_the_start("a bystander", &self.crowd[player].seen, 0..self.sent);
        }
    }
}
