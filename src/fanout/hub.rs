//! All players of one core, by the streams that they watch: joining, leaving, what to send next, skipping, and the end
//! of their waits.

use std::{
    collections::{HashMap, VecDeque},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use slab::Slab;

use super::{
    batch::Batch,
    follower::{Follower, NOT_BEGUN},
    player::{Place, Player, VideoState},
};
use crate::stream::{Form, Patience, Registry, SLOTS, Start, Stream, Wants};

/// Time limits for players and their publishers; see the configuration for each.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// A player that lags further than this is moved to the newest key frame.
    pub max_lag: Duration,
    /// A player of a name without a publisher is refused after this.
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
    /// The name was not published in time.
    NotFound,
    /// The publisher has gone and did not come back in time.
    Unpublished,
    /// The publisher came back with other kinds of media, or the log begins anew: the headers that the player was sent
    /// do not go with what comes now.
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
    /// Followers with new data whose players are due at once, and those whose players wait for a pass.
    at_once: VecDeque<usize>,
    with_pass: VecDeque<usize>,
    skips: u64,
}

/// A stream with so many players on this core or fewer does not wait for a pass over the players of others, which lasts
/// up to a tenth of a second: it costs them 0.1 ms.
const FEW_PLAYERS: usize = 32;

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
            at_once: VecDeque::new(),
            with_pass: VecDeque::new(),
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

    /// Adds a player of `name`, published or not, in this form. `owner` names it in what the hub returns.
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

    /// Removes a player.
    pub fn leave(&mut self, key: PlayerKey) {
        let player = self.players.remove(key.0);
        let follower = &mut self.followers[player.follower];
        follower.players.swap_remove(player.position);
        if let Some(&moved) = follower.players.get(player.position) {
            self.players[moved].position = player.position;
        }
        if follower.players.is_empty() {
            let mut follower = self.followers.remove(player.follower);
            follower.add_to_totals();
            self.by_name[follower.form().index()].remove(follower.stream().name());
        }
    }

    /// There is new data in the streams of these slots: `first` and `bits` come from
    /// [`Signal::take_new_data`](crate::stream::Signal::take_new_data). Their players are due at once where a stream has few
    /// ([`Hub::due_at_once`]), and with the next pass otherwise ([`Hub::begin_pass`]).
    pub fn new_data(&mut self, first: usize, bits: u64) {
        for bit in (0..64).filter(|bit| bits >> bit & 1 == 1) {
            // With more streams than slots, all streams of a slot are looked at.
            for key in (first + bit..self.followers.capacity()).step_by(SLOTS) {
                let Some(follower) = self.followers.get_mut(key) else {
                    continue;
                };
                if !std::mem::replace(&mut follower.is_due, true) {
                    let is_small = follower.players.len() <= FEW_PLAYERS;
                    follower.set_crowd(self.core, !is_small);
                    if is_small { &mut self.at_once } else { &mut self.with_pass }.push_back(key);
                }
            }
        }
    }

    /// Appends the owners of players that are due at once to `due`: about so many, the others next time.
    pub fn due_at_once(&mut self, count: usize, due: &mut Vec<usize>) {
        let enough = due.len().saturating_add(count);
        while due.len() < enough
            && let Some(key) = self.at_once.pop_front()
        {
            self.grow(key, due);
        }
    }

    /// Whether players wait for a pass.
    pub fn awaits_pass(&self) -> bool {
        !self.with_pass.is_empty()
    }

    /// A pass begins: appends the owners of all players that wait for it to `due`.
    pub fn begin_pass(&mut self, due: &mut Vec<usize>) {
        while let Some(key) = self.with_pass.pop_front() {
            self.grow(key, due);
        }
    }

    /// The stream of this follower has grown: its players are due. It may have lost them since, and another one may have
    /// its place.
    fn grow(&mut self, key: usize, due: &mut Vec<usize>) {
        let Some(follower) = self.followers.get_mut(key) else { return };
        follower.is_due = false;
        follower.sync();
        for &key in &follower.players {
            let player = &mut self.players[key];
            player.is_served = false;
            due.push(player.owner);
        }
    }

    /// The next batch for this player, if something is due: all that there is, once per pass. A player that lags is
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
        // It has fallen out of the log, and waits for a place to go on at.
        let has_lost = matches!(player.place, Place::Waiting { .. });
        // A pause that the player asked for is no skip.
        if (is_moved || has_lost) && must_skip {
            self.skips += 1;
            follower.skips += 1;
        }
        // At a segment's end: the next message that is wanted may be in the next one.
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

    /// The first `n_log_bytes` bytes of this player's last batch have been sent, and no more of it will be; `is_whole`
    /// if that is all of the batch. They are counted in log bytes, whatever the transport has made of them for the
    /// socket.
    pub fn sent(&mut self, key: PlayerKey, n_log_bytes: usize, is_whole: bool) {
        let player = &mut self.players[key.0];
        player.sent(n_log_bytes);
        self.followers[player.follower].bytes_out += n_log_bytes as u64;
        // The socket was full and took a part: the rest is due as soon as there is room, with what has come since.
        player.is_served &= is_whole;
    }

    /// Whether other bytes may be sent to this player now: no message is half sent.
    pub fn is_at_boundary(&self, key: PlayerKey) -> bool {
        self.players[key.0].is_at_boundary()
    }

    /// Pauses a player, or resumes it at the newest key frame. While a batch is being sent, that happens at the message
    /// boundary after it.
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
            (false, _) => VideoState::Unwanted,
            (true, VideoState::Unwanted) => VideoState::FromNextKeyFrame,
            (true, unchanged) => unchanged,
        };
    }

    /// The age of the oldest message that has not been sent whole to this player, milliseconds; none while it waits.
    pub fn lag_ms(&self, key: PlayerKey, now_ms: u64) -> Option<u32> {
        match &self.players[key.0].place {
            Place::At(cursor) => Some(cursor.lag_ms(now_ms)),
            Place::Waiting { .. } | Place::Parked(_) => None,
        }
    }

    /// Bytes that are kept for this player alone, or for it and few others: its preamble until it is sent, what was
    /// gathered for it, and the segment in which it stands, if the stream has retired that.
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

    /// Each stream and form that is watched here, with the number of players.
    pub fn followed(&self) -> impl Iterator<Item = (&Arc<Stream>, Form, usize)> {
        let followers = self.followers.iter().map(|(_, follower)| follower);
        followers.map(|follower| (follower.stream(), follower.form(), follower.players.len()))
    }

    /// Adds to the totals of the streams what their players here were sent since the last call.
    pub fn add_to_totals(&mut self) {
        self.followers.iter_mut().for_each(|(_, follower)| follower.add_to_totals());
    }

    /// The stream that this player watches.
    pub fn stream(&self, key: PlayerKey) -> &Arc<Stream> {
        self.followers[self.players[key.0].follower].stream()
    }

    /// Appends to `due` the owners of players that waited until it was known which kinds of media there are, and can
    /// begin now.
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

    /// Appends to `ended` the players whose wait is over, whose publisher has not come back, or that began in an
    /// earlier epoch.
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
                        // While there was a publisher the player waited for a key frame.
                        let since_ms = vacant_since_ms.map_or(*since_ms, |vacant| vacant.max(*since_ms));
                        if waited_ms(patience, since_ms, now_ms) >= millis(self.policy.play_wait) {
                            ended.push((player.owner, Ended::NotFound));
                        }
                    }
                    place @ (Place::At(_) | Place::Parked(_)) => {
                        // It may still be sent the rest of the log, for as long as a live player may lag.
                        let late_ms =
                            vacant_ms.and_then(|ms| ms.checked_sub(millis(self.policy.publisher_grace)));
                        let has_all = match place {
                            Place::At(cursor) => {
                                player.preamble.is_empty() && cursor.position() == follower.log().end()
                            }
                            // It is paused and wants nothing.
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

/// Whether the player is too far behind, not counting the time in which this core was stalled.
fn is_lagging(player: &Player, policy: &Policy, patience: &Patience, now_ms: u64) -> bool {
    let Place::At(cursor) = &player.place else {
        return false;
    };
    let lag_ms = u64::from(cursor.lag_ms(now_ms));
    lag_ms > millis(policy.max_lag)
        && waited_ms(patience, now_ms.saturating_sub(lag_ms), now_ms) > millis(policy.max_lag)
}

/// How long a peer has waited for this core: without the time in which the core was stalled.
fn waited_ms(patience: &Patience, since_ms: u64, now_ms: u64) -> u64 {
    now_ms.saturating_sub(since_ms).saturating_sub(patience.stalled_ms_since(since_ms))
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}
