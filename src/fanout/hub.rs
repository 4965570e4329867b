//! All players of one core, by the streams they watch: joining, leaving, what to send next, who must be moved ahead,
//! who has waited long enough.

use std::{collections::HashMap, rc::Rc, sync::Arc, time::Duration};

use slab::Slab;

use super::{
    batch::Batch,
    follower::{Follower, NOT_BEGUN},
    player::{Place, Player, Video},
};
use crate::stream::{Form, Patience, Registry, SLOTS, Start, Stream, Wants};

/// How much patience players are shown; see the configuration for each.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// A player this far behind is moved to the newest key frame.
    pub max_lag: Duration,
    /// A player of a name that nobody publishes is turned away after this.
    pub play_wait: Duration,
    /// A publisher has this long to come back.
    pub publisher_grace: Duration,
}

/// A player of this hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayerKey(usize);

/// Why a player's stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nobody published the name in time.
    NotFound,
    /// The publisher went away and did not come back in time.
    Unpublished,
    /// The publisher came back with other kinds of media, or the log begins anew: what comes now is not what the player
    /// was given headers for.
    OtherMedia,
}

/// One core's fan-out.
pub struct Hub {
    core: usize,
    registry: Arc<Registry>,
    policy: Policy,
    followers: Slab<Follower>,
    by_name: [HashMap<Box<str>, usize>; Form::COUNT],
    players: Slab<Player>,
    skips: u64,
}

impl Hub {
    /// The hub of core number `core`.
    pub fn new(core: usize, registry: Arc<Registry>, policy: Policy) -> Self {
        Self {
            core,
            registry,
            policy,
            followers: Slab::new(),
            by_name: Default::default(),
            players: Slab::new(),
            skips: 0,
        }
    }

    /// Another policy is in force.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Players on this core.
    pub fn len(&self) -> usize {
        self.players.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.players.is_empty()
    }

    /// How often a player has been moved ahead.
    pub fn skips(&self) -> u64 {
        self.skips
    }

    /// A player wants to watch `name` in the form `form`, published or not. `owner` is what the hub's answers call it.
    pub fn join(&mut self, owner: usize, name: &str, form: Form, start: Start, now_ms: u64) -> PlayerKey {
        let follower = match self.by_name[form.index()].get(name) {
            Some(&follower) => follower,
            None => {
                let vacant = self.followers.vacant_key();
                self.by_name[form.index()].insert(name.into(), vacant);
                self.followers.insert(Follower::new(self.registry.follow(name, form, self.core, vacant)))
            }
        };
        let followed = &mut self.followers[follower];
        let (wants, after) = Wants::on_arrival(start, form, followed.log());
        let waiting = Place::Waiting { since_ms: now_ms, after, wants };
        let key = self.players.insert(Player::new(owner, follower, followed.players.len(), waiting));
        followed.players.push(key);
        PlayerKey(key)
    }

    /// A player goes.
    pub fn leave(&mut self, key: PlayerKey) {
        let player = self.players.remove(key.0);
        let follower = &mut self.followers[player.follower];
        follower.players.swap_remove(player.position);
        if let Some(&moved) = follower.players.get(player.position) {
            self.players[moved].position = player.position;
        }
        if follower.players.is_empty() {
            let follower = self.followers.remove(player.follower);
            self.by_name[follower.form().index()].remove(follower.stream().name());
        }
    }

    /// The streams of these slots have grown: names the owners of their players. `first` and `bits` are what
    /// [`Signal::take_new_data`](crate::stream::Signal::take_new_data) gave.
    pub fn new_data(&mut self, first: usize, bits: u64, due: &mut Vec<usize>) {
        for bit in (0..64).filter(|bit| bits >> bit & 1 == 1) {
            // More streams than slots: those that share one are all looked at.
            for follower in (first + bit..self.followers.capacity()).step_by(SLOTS) {
                let Some(follower) = self.followers.get_mut(follower) else {
                    continue;
                };
                follower.sync();
                for &key in &follower.players {
                    let player = &mut self.players[key];
                    player.is_served = false;
                    due.push(player.owner);
                }
            }
        }
    }

    /// What to send to this player next, if something is due: all that there is, once a pass. A player that lags is
    /// moved ahead here. `only_rest` asks for the rest of a half-sent message and nothing more.
    pub fn next_batch(&mut self, key: PlayerKey, only_rest: bool, now_ms: u64) -> Option<Batch> {
        let patience = self.registry.patience(self.core);
        let player = &mut self.players[key.0];
        let follower = &mut self.followers[player.follower];
        if player.is_sending() {
            return None;
        }
        if !player.is_at_boundary() {
            let must_skip = is_lagging(player, &self.policy, patience, now_ms);
            return player.next_batch(only_rest || must_skip || player.is_paused || player.is_resuming);
        }
        if player.is_paused {
            player.park();
            return None;
        }
        if only_rest || player.is_served || !follower.place(player, now_ms) {
            return None;
        }
        let is_out = matches!(&player.place, Place::At(cursor) if follower.has_left(cursor.segment.sequence));
        let must_skip = is_out || is_lagging(player, &self.policy, patience, now_ms);
        let is_resuming = std::mem::take(&mut player.is_resuming);
        let is_moved = (must_skip || is_resuming) && follower.skip(player, now_ms);
        // A pause is the player's own wish, and not a skip.
        if is_moved && must_skip {
            self.skips += 1;
            follower.skips += 1;
        }
        // As long as segments end here: all that is wanted may be in the next one.
        loop {
            if let Some(batch) = player.next_batch(false) {
                player.is_served = player.reach().is_some_and(|reach| follower.ends_at(reach));
                return Some(batch);
            }
            let Place::At(cursor) = &mut player.place else {
                return None;
            };
            if !follower.step(cursor) {
                return None;
            }
        }
    }

    /// `n` bytes of the batch that this player was given last have been sent; `is_all` if that is all of it.
    pub fn sent(&mut self, key: PlayerKey, n: usize, is_all: bool) {
        let player = &mut self.players[key.0];
        player.sent(n);
        self.followers[player.follower].bytes_out += n as u64;
        // A full socket took a part: what remains goes as soon as there is room, with what has come since.
        player.is_served &= is_all;
    }

    /// Whether other bytes may go to this player now: no message is half sent.
    pub fn is_at_boundary(&self, key: PlayerKey) -> bool {
        self.players[key.0].is_at_boundary()
    }

    /// Pauses a player, or lets it go on: at the newest key frame, for what it missed is past. Where a send is under way
    /// that happens at the message boundary after it.
    pub fn pause(&mut self, key: PlayerKey, is_paused: bool) {
        let player = &mut self.players[key.0];
        let was_paused = std::mem::replace(&mut player.is_paused, is_paused);
        if was_paused && !is_paused {
            player.is_resuming = true;
            player.is_served = false;
        }
        if is_paused && !player.is_sending() && player.is_at_boundary() {
            player.park();
        }
    }

    /// Whether the player wants audio.
    pub fn receive_audio(&mut self, key: PlayerKey, wants: bool) {
        self.players[key.0].wants_audio = wants;
    }

    /// Whether the player wants video. One that wants it again gets it from the next key frame on.
    pub fn receive_video(&mut self, key: PlayerKey, wants: bool) {
        let video = &mut self.players[key.0].video;
        *video = match (wants, *video) {
            (false, _) => Video::Unwanted,
            (true, Video::Unwanted) => Video::FromNextKeyFrame,
            (true, unchanged) => unchanged,
        };
    }

    /// How old the oldest message is that this player has not been sent whole, milliseconds; none while it waits.
    pub fn lag_ms(&self, key: PlayerKey, now_ms: u64) -> Option<u32> {
        match &self.players[key.0].place {
            Place::At(cursor) => Some(cursor.lag_ms(now_ms)),
            Place::Waiting { .. } | Place::Parked(_) => None,
        }
    }

    /// Bytes that are kept for this player alone, or for it and few others: its preamble, while that is not sent, what was
    /// gathered for it, and the segment in which it stands, if its stream has let go of that.
    pub fn pinned_bytes(&self, key: PlayerKey) -> usize {
        let player = &self.players[key.0];
        let segment = match &player.place {
            Place::At(cursor) if cursor.segment.sequence < self.followers[player.follower].log().oldest() => {
                // Its cursor and its batch count one each.
                let players = Rc::strong_count(&cursor.segment).div_ceil(2).max(1);
                cursor.segment.capacity() / players
            }
            Place::At(_) | Place::Waiting { .. } | Place::Parked(_) => 0,
        };
        segment + player.preamble.len() + player.gathered_bytes()
    }

    /// Each stream that is watched here in some form: with how many players, what they were sent in bytes, and how often
    /// one was moved ahead.
    pub fn followed(&self) -> impl Iterator<Item = (&Arc<Stream>, Form, usize, u64, u64)> {
        self.followers.iter().map(|(_, follower)| {
            let players = follower.players.len();
            (follower.stream(), follower.form(), players, follower.bytes_out, follower.skips)
        })
    }

    /// The stream that this player watches.
    pub fn stream(&self, key: PlayerKey) -> &Arc<Stream> {
        self.followers[self.players[key.0].follower].stream()
    }

    /// Names the owners of players that waited until it was known which kinds of media there are, and can begin now.
    pub fn wake(&mut self, now_ms: u64, due: &mut Vec<usize>) {
        for (_, follower) in &mut self.followers {
            if follower.awaits_kinds && follower.stream().media().is_settled(now_ms) {
                follower.awaits_kinds = false;
                let players = follower.players.iter().map(|&key| &self.players[key]);
                let waiting = players.filter(|player| matches!(player.place, Place::Waiting { .. }));
                due.extend(waiting.map(|player| player.owner));
            }
        }
    }

    /// Names the players whose patience, or whose publisher's, is at its end, and those that what comes now is not for.
    pub fn expire(&mut self, now_ms: u64, ended: &mut Vec<(usize, Ended)>) {
        let patience = self.registry.patience(self.core);
        for (_, follower) in &mut self.followers {
            let kept_from = follower.log().kept_from();
            if std::mem::replace(&mut follower.kept_from, kept_from) != kept_from {
                let players = follower.players.iter().map(|&key| &self.players[key]);
                let begun = players.filter(|player| player.epoch != NOT_BEGUN);
                let earlier = begun.filter(|player| player.epoch < kept_from);
                ended.extend(earlier.map(|player| (player.owner, Ended::OtherMedia)));
            }
            let stream = follower.stream();
            if stream.is_live() {
                continue;
            }
            let vacant_since_ms = stream.vacant_since_ms();
            let vacant_ms = vacant_since_ms.map(|since_ms| waited_ms(patience, since_ms, now_ms));
            for player in follower.players.iter().map(|&key| &self.players[key]) {
                match &player.place {
                    Place::Waiting { since_ms, .. } => {
                        // While there was a publisher they waited for its key frame.
                        let since_ms = vacant_since_ms.map_or(*since_ms, |vacant| vacant.max(*since_ms));
                        if waited_ms(patience, since_ms, now_ms) >= millis(self.policy.play_wait) {
                            ended.push((player.owner, Ended::NotFound));
                        }
                    }
                    place @ (Place::At(_) | Place::Parked(_)) => {
                        // What is in the log is still theirs, but not for longer than a live player may lag.
                        let late_ms =
                            vacant_ms.and_then(|ms| ms.checked_sub(millis(self.policy.publisher_grace)));
                        let has_all = match place {
                            Place::At(cursor) => {
                                player.preamble.is_empty() && cursor.position() == follower.log().end()
                            }
                            // It wants nothing of it.
                            _parked => true,
                        };
                        if late_ms.is_some_and(|late_ms| has_all || late_ms >= millis(self.policy.max_lag)) {
                            ended.push((player.owner, Ended::Unpublished));
                        }
                    }
                }
            }
        }
    }
}

/// Whether the player is too far behind, through no standstill of ours.
fn is_lagging(player: &Player, policy: &Policy, patience: &Patience, now_ms: u64) -> bool {
    let Place::At(cursor) = &player.place else {
        return false;
    };
    let lag_ms = u64::from(cursor.lag_ms(now_ms));
    lag_ms > millis(policy.max_lag)
        && waited_ms(patience, now_ms.saturating_sub(lag_ms), now_ms) > millis(policy.max_lag)
}

/// How long a peer has waited for something that we might have done: without the time in which this core stood
/// still.
fn waited_ms(patience: &Patience, since_ms: u64, now_ms: u64) -> u64 {
    now_ms.saturating_sub(since_ms).saturating_sub(patience.standstill_ms_since(since_ms))
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}
