//! One core's view of one stream: its segments from the oldest kept to the newest, and the players that watch it here.

use std::{collections::VecDeque, rc::Rc, sync::Arc};

use super::{
    batch::Local,
    player::{Cursor, Place, Player},
};
use crate::stream::{
    self, Follow, Form, Join, JoinPoint, Next, PointKind, Preamble, Segment, Stream, StreamLog, Wants,
};

pub(super) struct Follower {
    follow: Follow,
    /// Oldest first, without a gap in the sequence; empty before the first player needed one.
    view: VecDeque<Local>,
    /// Keys of its players.
    pub players: Vec<usize>,
    /// Bytes that its players were sent, and how often one of them was moved ahead: as far as the stream's totals do not
    /// contain it yet.
    pub bytes_out: u64,
    pub skips: u64,
    /// There is new data, and its players wait for their turn.
    pub is_due: bool,
    /// Its players wait for the pass: as its log knows.
    is_crowd: bool,
    /// Players wait until it is known which kinds of media there are.
    pub awaits_kinds: bool,
    /// Players of earlier epochs have been ended.
    pub kept_from: u32,
}

impl Follower {
    pub(super) fn new(follow: Follow) -> Self {
        Self {
            follow,
            view: VecDeque::new(),
            players: Vec::new(),
            bytes_out: 0,
            skips: 0,
            is_due: false,
            is_crowd: false,
            awaits_kinds: false,
            kept_from: 0,
        }
    }

    /// Adds to the stream's totals what these do not contain yet.
    pub(super) fn add_to_totals(&mut self) {
        let (bytes_out, skips) = (std::mem::take(&mut self.bytes_out), std::mem::take(&mut self.skips));
        self.stream().add_to_totals(self.form(), bytes_out, skips);
    }

    pub(super) fn stream(&self) -> &Arc<Stream> {
        self.follow.stream()
    }

    pub(super) fn log(&self) -> &StreamLog {
        self.follow.log()
    }

    /// Its players on this core wait for the pass, or are sent to at once.
    pub(super) fn set_crowd(&mut self, core: usize, is_crowd: bool) {
        if self.is_crowd != is_crowd {
            self.is_crowd = is_crowd;
            self.log().set_crowd(core, is_crowd);
        }
    }

    pub(super) fn form(&self) -> Form {
        self.follow.form()
    }

    /// Adds segments that have been opened, drops those that have been retired.
    pub(super) fn sync(&mut self) {
        while let Some(newest) = self.view.back() {
            match newest.next() {
                Next::Segment(next) => self.view.push_back(Rc::new(next)),
                Next::NotYet => break,
                // This core was so slow that the log has left its view behind; its players will be placed anew.
                Next::Gone => self.view.clear(),
            }
        }
        let oldest = self.log().oldest();
        while self.view.front().is_some_and(|local| local.sequence < oldest) {
            self.view.pop_front();
        }
    }

    /// Whether nothing comes after this place yet.
    pub(super) fn ends_at(&self, (sequence, offset): (u64, u32)) -> bool {
        self.view.back().is_some_and(|newest| {
            newest.sequence == sequence && newest.committed().bytes.len() == offset as usize
        })
    }

    /// Places the player where it can begin, if there is such a place now. True where it stands in the log.
    pub(super) fn place(&mut self, player: &mut Player, now_ms: u64) -> bool {
        if let Place::Parked(parked) = &player.place {
            player.place = match parked.cursor() {
                Some(cursor) => Place::At(cursor),
                None => Place::Waiting { since_ms: now_ms, after: parked.position, wants: Wants::Newest },
            };
        }
        let Place::Waiting { after, wants, .. } = player.place else { return true };
        let join = self.log().join();
        let Join::At(point) = &**join else { return false };
        if wants == Wants::Start && self.place_at_start(player) {
            return true;
        }
        let names_kinds = point.preamble.as_ref().is_some_and(Preamble::names_kinds);
        if names_kinds && !self.stream().media().is_settled(now_ms) {
            self.awaits_kinds = true;
            return false;
        }
        // The kinds are those of the current publish, and headers of no other kind are sent.
        let after = if names_kinds { after.max(self.log().start_of(point.epoch)) } else { after };
        let first = wants.accepts_audio_before(point).and_then(|audio| self.first_since(after, point, audio));
        if let Some((local, offset, kind)) = first {
            self.put(player, Cursor::new(local, offset), kind, point);
            return true;
        }
        if !wants.accepts(after, point) {
            return false;
        }
        self.place_at(player, point)
    }

    /// Moves a player that stands between two messages to the join point, if that is ahead of it. A player that has
    /// fallen out of the log waits if there is no such point.
    pub(super) fn skip(&mut self, player: &mut Player, now_ms: u64) -> bool {
        let Place::At(cursor) = &player.place else { return false };
        let after = cursor.position();
        match &**self.log().join() {
            Join::At(point) if point.position() > after => self.place_at(player, point),
            _ => {
                if self.has_left(after.0) {
                    player.place = Place::Waiting { since_ms: now_ms, after, wants: Wants::Newest };
                }
                false
            }
        }
    }

    /// Moves a cursor from its segment's end to the next segment. False where there is none yet, or where it is no
    /// longer held.
    pub(super) fn step(&self, cursor: &mut Cursor) -> bool {
        let Some(next) = self.local(cursor.segment.sequence + 1) else {
            return false;
        };
        // The next segment was in the view before the cursor looked: this one was closed by then, so all of it was
        // seen.
        debug_assert_eq!(cursor.offset as usize, cursor.segment.committed().bytes.len());
        *cursor = Cursor::new(next.clone(), 0);
        true
    }

    /// Whether what follows segment `sequence` is no longer held.
    pub(super) fn has_left(&self, sequence: u64) -> bool {
        self.view.front().is_none_or(|oldest| sequence + 1 < oldest.sequence)
    }

    fn place_at(&mut self, player: &mut Player, point: &JoinPoint) -> bool {
        let Some(local) = self.adopt(&point.segment) else { return false };
        self.put(player, Cursor::new(local, point.offset), point.kind, point);
        true
    }

    /// Places the player at the log's first message, while that is kept. There no header has been sent: they come with
    /// the log.
    fn place_at_start(&mut self, player: &mut Player) -> bool {
        let Some(first) = self.log().oldest_segment().filter(|oldest| oldest.sequence == 0) else {
            return false;
        };
        let Some(local) = self.adopt(&first) else { return false };
        player.place_at(Cursor::new(local, 0), PointKind::Start, None, self.stream().media().kinds());
        player.epoch = FIRST_EPOCH;
        true
    }

    /// Places the player where the headers of `point` are the right ones.
    fn put(&self, player: &mut Player, cursor: Cursor, kind: PointKind, point: &JoinPoint) {
        if player.epoch == NOT_BEGUN {
            player.epoch = point.epoch;
        }
        player.place_at(cursor, kind, point.preamble.as_ref(), self.stream().media().kinds());
    }

    /// The first place since `after` where the player can begin: see [`stream::first_since`].
    fn first_since(
        &mut self,
        after: (u64, u32),
        point: &JoinPoint,
        accepts_audio: bool,
    ) -> Option<(Local, u32, PointKind)> {
        let oldest = self.log().oldest_segment()?;
        self.adopt(&oldest)?;
        let segments = self.view.iter().map(|local| (local, &***local));
        let (local, offset, kind) = stream::first_since(segments, after, point, accepts_audio)?;
        Some((local.clone(), offset, kind))
    }

    /// This core's hold on `segment`, with all between it and the view.
    fn adopt(&mut self, segment: &Arc<Segment>) -> Option<Local> {
        let Some(front) = self.view.front().map(|local| local.sequence) else {
            let local: Local = Rc::new(segment.clone());
            self.view.push_back(local.clone());
            self.sync();
            return Some(local);
        };
        if segment.sequence < front {
            let mut older = vec![segment.clone()];
            while let Some(last) = older.last().filter(|last| last.sequence + 1 < front) {
                let Next::Segment(next) = last.next() else {
                    return None;
                };
                older.push(next);
            }
            older.into_iter().rev().for_each(|segment| self.view.push_front(Rc::new(segment)));
        }
        self.sync();
        self.local(segment.sequence).cloned()
    }

    fn local(&self, sequence: u64) -> Option<&Local> {
        let front = self.view.front()?.sequence;
        self.view.get(usize::try_from(sequence.checked_sub(front)?).ok()?)
    }
}

/// The epoch of a player that has not been placed yet.
pub(super) const NOT_BEGUN: u32 = 0;
/// The epoch of the first publish.
const FIRST_EPOCH: u32 = 1;
