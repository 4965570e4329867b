//! One core's view of one stream: the segments from the oldest kept to the head, and the players that watch it here.

use std::{collections::VecDeque, rc::Rc, sync::Arc};

use bytes::Bytes;

use super::{
    batch::{Batch, Local},
    player::{Cursor, Place, Player},
};
use crate::stream::{Follow, Join, JoinPoint, Next, Segment, Stream, StreamLog, Wire};

pub(super) struct Follower {
    follow: Follow,
    /// Oldest first, without a gap in the sequence; empty before the first player needed one.
    view: VecDeque<Local>,
    /// Keys of its players.
    pub players: Vec<usize>,
    /// Bytes that its players were sent.
    pub bytes_out: u64,
    /// How often one of them was moved ahead.
    pub skips: u64,
}

impl Follower {
    pub(super) fn new(follow: Follow) -> Self {
        Self { follow, view: VecDeque::new(), players: Vec::new(), bytes_out: 0, skips: 0 }
    }

    pub(super) fn stream(&self) -> &Arc<Stream> {
        self.follow.stream()
    }

    pub(super) fn log(&self) -> &StreamLog {
        self.follow.log()
    }

    pub(super) fn wire(&self) -> Wire {
        self.follow.wire()
    }

    /// Takes in segments that have been opened, lets go of those that have been retired.
    pub(super) fn sync(&mut self) {
        while let Some(newest) = self.view.back() {
            match newest.next() {
                Next::Segment(next) => self.view.push_back(Rc::new(next)),
                Next::NotYet => break,
                // So slow was this core that the log went on without it; its players will be placed anew.
                Next::Gone => self.view.clear(),
            }
        }
        let oldest = self.log().oldest();
        while self.view.front().is_some_and(|local| local.sequence < oldest) {
            self.view.pop_front();
        }
    }

    /// Whether nothing comes after this batch as yet.
    pub(super) fn ends_with(&self, batch: &Batch) -> bool {
        self.view.back().is_some_and(|newest| batch.is_end_of(newest))
    }

    /// Puts the player where it can begin, if there is such a place now. True where it stands in the log then.
    pub(super) fn place(&mut self, player: &mut Player, now_ms: u64) -> bool {
        if let Place::Parked(parked) = &player.place {
            player.place = match parked.cursor() {
                Some(cursor) => Place::At(cursor),
                None => Place::Waiting { since_ms: now_ms, after: parked.position, is_before_all: false },
            };
        }
        let Place::Waiting { after, is_before_all, .. } = player.place else { return true };
        match &**self.log().join() {
            Join::At(point @ JoinPoint { start: Some(start), .. }) if is_before_all => {
                self.place_at_start(player, start) || self.place_at(player, point)
            }
            // Who asked for the next key frame asked for no wait where there are no pictures.
            Join::At(point) if position(point) >= after || !point.is_key_frame => {
                self.place_at(player, point)
            }
            Join::At(_) | Join::Nothing | Join::NextKeyFrame => false,
        }
    }

    /// Moves a player that stands between two messages to the point where players join, if that is ahead of it. A
    /// player that has fallen out of the log and finds no such point waits for the next.
    pub(super) fn skip(&mut self, player: &mut Player, now_ms: u64) -> bool {
        let Place::At(cursor) = &player.place else { return false };
        let after = cursor.position();
        match &**self.log().join() {
            Join::At(point) if position(point) > after => self.place_at(player, point),
            _ => {
                if self.has_left(after.0) {
                    player.place = Place::Waiting { since_ms: now_ms, after, is_before_all: false };
                }
                false
            }
        }
    }

    /// Moves a cursor that has come to its segment's end to the next one. False where the log ends there as yet, or
    /// went on without this player.
    pub(super) fn step(&self, cursor: &mut Cursor) -> bool {
        let Some(next) = self.local(cursor.segment.sequence + 1) else {
            return false;
        };
        // The view had the next one before the cursor looked: it has seen this one closed, and its last message.
        debug_assert_eq!(cursor.offset as usize, cursor.segment.committed().bytes.len());
        *cursor = Cursor::new(next.clone(), 0);
        true
    }

    /// Whether what follows segment `sequence` is no longer held.
    pub(super) fn has_left(&self, sequence: u64) -> bool {
        self.view.front().is_none_or(|oldest| sequence + 1 < oldest.sequence)
    }

    /// The log's end, as (segment, offset): what comes now comes at or after it.
    pub(super) fn head(&self) -> (u64, u32) {
        match self.log().newest() {
            Some(segment) => (segment.sequence, segment.committed().bytes.len() as u32),
            // Another form's log begins in this segment with what RTMP's has kept, and that first message has come
            // already; if nothing is kept, it begins in the next one.
            None => (self.log().oldest(), u32::from(self.wire() != Wire::Rtmp)),
        }
    }

    fn place_at(&mut self, player: &mut Player, point: &JoinPoint) -> bool {
        let Some(local) = self.adopt(&point.segment) else { return false };
        let opening_len = point.opening_len;
        player.place_at(Cursor::new(local, point.offset), &point.preamble, opening_len, point.generation);
        true
    }

    /// To the log's first message. No header has been sent by then: they come with the log.
    fn place_at_start(&mut self, player: &mut Player, start: &Arc<Segment>) -> bool {
        let Some(local) = self.adopt(start) else { return false };
        player.place_at(Cursor::new(local, 0), &Bytes::new(), 0, NO_HEADERS);
        true
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

/// The state of the headers before the first one.
const NO_HEADERS: u32 = 0;

fn position(point: &JoinPoint) -> (u64, u32) {
    (point.segment.sequence, point.offset)
}
