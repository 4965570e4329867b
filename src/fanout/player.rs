//! One player: its place in the log and what it asked for. Decides how much the next batch has.

use std::{
    rc::{Rc, Weak},
    sync::Arc,
};

use bytes::{Buf, Bytes};

use super::batch::{Batch, Local};
use crate::{
    flv::Kinds,
    stream::{Class, Entry, PointKind, Preamble, Segment, Wants},
};

/// Bytes of one batch, rounded down to whole messages where there are several: so many that bytes and not calls decide
/// the cost, and few enough that a player that lags is looked at again soon.
const BATCH_BYTES: u32 = 256 << 10;
/// Bytes that one batch gathers for a player that does not want all kinds: what it wants lies between what it does not
/// want, and a send for each audio message costs twenty times as much as its bytes. 20 audio messages at 128 kbit/s.
const GATHERED_BYTES: u32 = 8 << 10;

pub(super) struct Player {
    /// Names it in what the hub returns.
    pub owner: usize,
    pub follower: usize,
    /// Its index among the follower's players.
    pub position: usize,
    pub place: Place,
    /// What is left of the preamble, to be sent before anything from the log.
    pub preamble: Bytes,
    is_preamble_begun: bool,
    /// It has been given the stream header, which is sent once: with its first preamble.
    has_stream_header: bool,
    /// The generation of the headers that it was given last.
    pub generation: u32,
    /// The kinds of media whose headers were among them, where the form leaves out those of the other kinds.
    kinds: Kinds,
    /// The log's epoch when it began; 0 before that.
    pub epoch: u32,
    /// A batch of it is being sent: until [`Player::sent`] its place must not be moved. What the peer asks meanwhile
    /// takes effect at the message boundary after it.
    is_sending: bool,
    /// The place in the log, by segment and offset, up to which the last batch has all that is wanted; none for a
    /// preamble.
    reach: Option<(u64, u32)>,
    /// Where the last message of that batch ends. What lies between this and `reach` was not wanted.
    batch_end: u32,
    /// The stretches of the cursor's segment that the current batch was gathered from; none where it is one stretch.
    gathered: Vec<(u32, u32)>,
    pub is_paused: bool,
    /// It was paused and is not any more: at the next message boundary it goes on at the newest key frame.
    pub is_resuming: bool,
    /// It was given all that there was: what has come since is sent with the next pass, in one batch with what comes
    /// until then.
    pub is_served: bool,
    pub wants_audio: bool,
    pub video: VideoState,
}

/// Whether a player wants video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VideoState {
    Wanted,
    /// Wanted again: from the next key frame on, since nothing before it can be decoded.
    FromNextKeyFrame,
    Unwanted,
}

pub(super) enum Place {
    /// Waits for a join point that is not before `after` (segment and offset).
    Waiting {
        since_ms: u64,
        after: (u64, u32),
        wants: Wants,
    },
    At(Cursor),
    /// Paused. Holds nothing of the log, and goes on here if this place is still kept.
    Parked(Parked),
}

/// Where a paused player stands, without a hold on the segment: a player may pause for as long as its stream lives.
pub(super) struct Parked {
    segment: Weak<Arc<Segment>>,
    /// Segment and offset.
    pub position: (u64, u32),
}

/// A place in the log: the next byte to send, and the message that it belongs to.
pub(super) struct Cursor {
    pub segment: Local,
    pub offset: u32,
    /// The first message that has not been sent whole.
    pub entry: usize,
}

impl Player {
    pub(super) fn new(owner: usize, follower: usize, position: usize, place: Place) -> Self {
        Self {
            owner,
            follower,
            position,
            place,
            preamble: Bytes::new(),
            is_preamble_begun: false,
            has_stream_header: false,
            generation: NO_HEADERS,
            kinds: Kinds::default(),
            epoch: 0,
            is_sending: false,
            reach: None,
            batch_end: 0,
            gathered: Vec::new(),
            is_paused: false,
            is_resuming: false,
            is_served: false,
            wants_audio: true,
            video: VideoState::Wanted,
        }
    }

    /// Places the player at `cursor`, where there is what `kind` says. The preamble is sent first if its headers are
    /// not those that the player has; `kinds` have come so far.
    pub(super) fn place_at(
        &mut self,
        cursor: Cursor,
        kind: PointKind,
        preamble: Option<&Preamble>,
        kinds: Kinds,
    ) {
        debug_assert!(!self.is_sending, "a batch is being sent from its place");
        let is_first = matches!(self.place, Place::Waiting { .. });
        let generation = preamble.map_or(NO_HEADERS, Preamble::generation);
        // Headers of a kind that came since are in the log before its first frame, which may be passed over here.
        let has_more = kinds != self.kinds && preamble.is_some_and(Preamble::names_kinds);
        if is_first || generation != self.generation || has_more || kind == PointKind::Still {
            self.preamble = preamble.map_or_else(Bytes::new, |preamble| {
                let opened = preamble.wire(kinds);
                opened.bytes.slice(if self.has_stream_header { opened.stream_header_len } else { 0 }..)
            });
            self.is_preamble_begun = false;
        }
        if kind == PointKind::Audio && kinds.video && self.video == VideoState::Wanted {
            self.video = VideoState::FromNextKeyFrame;
        }
        (self.generation, self.kinds) = (generation, kinds);
        self.is_served = false;
        self.place = Place::At(cursor);
    }

    /// Whether other bytes may be sent now: no message is half sent.
    pub(super) fn is_at_boundary(&self) -> bool {
        match &self.place {
            _ if !self.preamble.is_empty() => !self.is_preamble_begun,
            Place::Waiting { .. } | Place::Parked(_) => true,
            Place::At(cursor) => cursor.is_at_boundary(),
        }
    }

    /// Whether a batch is being sent: [`Player::sent`] has not been called for it.
    pub(super) fn is_sending(&self) -> bool {
        self.is_sending
    }

    /// The place in the log, by segment and offset, up to which the last batch has all that is wanted.
    pub(super) fn reach(&self) -> Option<(u64, u32)> {
        self.reach
    }

    /// Memory of a batch that was gathered for this player alone.
    pub(super) fn gathered_bytes(&self) -> usize {
        let bytes: u32 = self.gathered.iter().map(|(from, to)| to - from).sum();
        bytes as usize + self.gathered.capacity() * size_of::<(u32, u32)>()
    }

    /// Drops the hold on the log while the player is paused. Only between two messages.
    pub(super) fn park(&mut self) {
        debug_assert!(!self.is_sending && self.is_at_boundary());
        if let Place::At(cursor) = &self.place {
            self.place = Place::Parked(Parked {
                segment: Rc::downgrade(&cursor.segment),
                position: cursor.position(),
            });
        }
    }

    /// The next batch from where the player stands, if something is due; call [`Player::sent`] for it. `only_rest` asks
    /// for the rest of a half-sent message and nothing more.
    pub(super) fn next_batch(&mut self, only_rest: bool) -> Option<Batch> {
        debug_assert!(!self.is_sending, "one batch at a time");
        let batch = self.pick_batch(only_rest);
        self.is_sending = batch.is_some();
        batch
    }

    fn pick_batch(&mut self, only_rest: bool) -> Option<Batch> {
        self.reach = None;
        if !self.preamble.is_empty() {
            let is_rest = std::mem::replace(&mut self.is_preamble_begun, true);
            if only_rest && !is_rest {
                self.is_preamble_begun = false;
                return None;
            }
            self.has_stream_header = true;
            return Some(Batch::Own(self.preamble.clone()));
        }
        let wants_all = self.wants_audio && self.video == VideoState::Wanted;
        let Place::At(cursor) = &mut self.place else {
            return None;
        };
        if cursor.is_at_boundary() {
            if only_rest {
                return None;
            }
            if !wants_all {
                cursor.skip_unwanted(self.wants_audio, &mut self.video);
            }
        }
        let entries = cursor.segment.committed().entries;
        let unsent = entries.get(cursor.entry..).filter(|unsent| !unsent.is_empty())?;
        let sequence = cursor.segment.sequence;
        if !only_rest && !wants_all {
            let stretches = Stretches::of(unsent, cursor.offset, self.wants_audio, self.video);
            self.reach = Some((sequence, stretches.reach));
            self.batch_end = stretches.more.last().map_or(stretches.first_end, |&(_, to)| to);
            if stretches.more.is_empty() {
                return Some(Batch::shared(&cursor.segment, cursor.offset, stretches.first_end));
            }
            self.gathered = stretches.more;
            let bytes = cursor.segment.committed().bytes;
            let parts: Vec<&[u8]> =
                self.gathered.iter().map(|&(from, to)| &bytes[from as usize..to as usize]).collect();
            return Some(Batch::Own(parts.concat().into()));
        }
        let to = if only_rest { unsent[0].end } else { reach(unsent, cursor.offset) };
        (self.reach, self.batch_end) = (Some((sequence, to)), to);
        Some(Batch::shared(&cursor.segment, cursor.offset, to))
    }

    /// The first `n` bytes of the last batch have been sent, and no more of it will be.
    pub(super) fn sent(&mut self, n: usize) {
        debug_assert!(self.is_sending, "a batch is being sent");
        self.is_sending = false;
        if !self.preamble.is_empty() {
            self.preamble.advance(n);
            self.is_preamble_begun = !self.preamble.is_empty();
        } else if let Place::At(cursor) = &mut self.place {
            cursor.offset = match std::mem::take(&mut self.gathered).as_slice() {
                [] => cursor.offset + n as u32,
                stretches => within(stretches, n as u32),
            };
            // What came after it was not wanted then, and is not sent even if it is wanted now.
            if let Some((_, reach)) = self.reach.filter(|_| cursor.offset == self.batch_end) {
                cursor.offset = reach;
            }
            let entries = &cursor.segment.committed().entries[cursor.entry..];
            cursor.entry += entries.partition_point(|entry| entry.end <= cursor.offset);
        }
    }
}

impl Parked {
    /// The cursor, if its segment is still kept here.
    pub(super) fn cursor(&self) -> Option<Cursor> {
        Some(Cursor::new(self.segment.upgrade()?, self.position.1))
    }
}

impl Cursor {
    /// At the message that begins at `offset`.
    pub(super) fn new(segment: Local, offset: u32) -> Self {
        let entry = segment.committed().entries.partition_point(|entry| entry.end <= offset);
        Self { segment, offset, entry }
    }

    pub(super) fn is_at_boundary(&self) -> bool {
        let before = self.entry.checked_sub(1).map(|i| self.segment.committed().entries[i]);
        self.offset == before.map_or(0, |entry| entry.end)
    }

    /// How long ago the first message that has not been sent whole was appended to the log, milliseconds.
    pub(super) fn lag_ms(&self, now_ms: u64) -> u32 {
        self.segment.committed().entries.get(self.entry).map_or(0, |entry| entry.age_ms(now_ms))
    }

    pub(super) fn position(&self) -> (u64, u32) {
        (self.segment.sequence, self.offset)
    }

    fn skip_unwanted(&mut self, wants_audio: bool, video: &mut VideoState) {
        let segment = self.segment.clone();
        for entry in segment.committed().entries.iter().skip(self.entry) {
            if entry.class == Class::KeyFrame && *video == VideoState::FromNextKeyFrame {
                *video = VideoState::Wanted;
            }
            if is_wanted(entry.class, wants_audio, *video) {
                return;
            }
            self.offset = entry.end;
            self.entry += 1;
        }
    }
}

/// The generation before any headers.
const NO_HEADERS: u32 = 0;

fn is_wanted(class: Class, audio: bool, video: VideoState) -> bool {
    match class {
        Class::Audio => audio,
        Class::Video | Class::KeyFrame | Class::KeyFrameRest => video == VideoState::Wanted,
        Class::Data => true,
    }
}

/// What a player that does not want all kinds is sent next.
struct Stretches {
    /// Where the first stretch of wanted messages ends. It is all of the batch where there are no `more`.
    first_end: u32,
    /// The first stretch and others after it, small enough to be gathered.
    more: Vec<(u32, u32)>,
    /// Between the end of the last stretch and this place nothing is wanted.
    reach: u32,
}

impl Stretches {
    /// Of these messages, at least one. `offset` is where the first one goes on; it is sent to its end even if it is
    /// not wanted any more.
    fn of(unsent: &[Entry], offset: u32, wants_audio: bool, video: VideoState) -> Self {
        let is_wanted = |entry: &Entry| is_wanted(entry.class, wants_audio, video);
        let count = unsent.iter().take_while(|entry| is_wanted(entry)).count().max(1);
        let first_end = reach(&unsent[..count], offset);
        let mut stretches = Self { first_end, more: Vec::new(), reach: first_end };
        let mut gathered = first_end - offset;
        // If the first stretch is too long for one batch there is nothing to gather.
        let mut rest = if first_end == unsent[count - 1].end { &unsent[count..] } else { &[] };
        while let Some(next) = rest.first() {
            // From a key frame on video is wanted too, but only once the player has been sent all before it.
            if next.class == Class::KeyFrame && video == VideoState::FromNextKeyFrame {
                break;
            }
            if !is_wanted(next) {
                stretches.reach = next.end;
                rest = &rest[1..];
                continue;
            }
            let from = stretches.reach;
            let count = rest.iter().take_while(|entry| is_wanted(entry)).count();
            let fitting =
                rest[..count].partition_point(|entry| gathered + (entry.end - from) <= GATHERED_BYTES);
            let Some(last) = fitting.checked_sub(1).and_then(|last| rest.get(last)) else { break };
            if stretches.more.is_empty() {
                stretches.more.push((offset, first_end));
            }
            stretches.more.push((from, last.end));
            gathered += last.end - from;
            stretches.reach = last.end;
            if fitting < count {
                break;
            }
            rest = &rest[count..];
        }
        stretches
    }
}

/// The offset in the segment at which the first `n` bytes of these stretches end.
fn within(stretches: &[(u32, u32)], mut n: u32) -> u32 {
    let mut at = 0;
    for &(from, to) in stretches {
        at = from + n.min(to - from);
        if n <= to - from {
            break;
        }
        n -= to - from;
    }
    at
}

/// The end of the last of these messages within [`BATCH_BYTES`] from `offset`; at least the first one's.
fn reach(entries: &[Entry], offset: u32) -> u32 {
    let whole = entries.last().map_or(offset, |entry| entry.end);
    if whole - offset <= BATCH_BYTES {
        return whole;
    }
    let fitting = entries.partition_point(|entry| entry.end - offset <= BATCH_BYTES);
    entries[fitting.max(1) - 1].end
}

#[cfg(all(test, not(fanfare_loom)))]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::stream::{
        Form, Retention,
        tests::{Named, audio_header, key_frame, publisher, registry_in, video_header},
    };

    #[test]
    fn the_stream_header_goes_with_the_first_preamble_that_is_sent_and_with_no_other() {
        let registry = registry_in(|_| Box::new(Named), Retention { buffer_bytes: 32 << 20, keep_ms: 5_000 });
        let mut publication = registry.publish("live/s", publisher(1), 0).expect("the name is free");
        let mut preamble_after = |header: &str, timestamp_ms: u32| {
            publication.append_and_notify(video_header(header), 0);
            publication.append_and_notify(key_frame(timestamp_ms, "K "), 0);
            let join = publication.stream().log(Form::Rtmp).join();
            let crate::stream::Join::At(point) = &**join else { panic!("there is a key frame") };
            (Rc::new(point.segment.clone()), point.offset, point.preamble.clone())
        };
        let (old, new, newer) =
            (preamble_after("old ", 0), preamble_after("new ", 40), preamble_after("newer ", 80));
        let kinds = Kinds { audio: false, video: true };
        let waiting = Place::Waiting { since_ms: 0, after: (0, 0), wants: Wants::Newest };
        let mut player = Player::new(0, 0, 0, waiting);
        let place = |player: &mut Player, (segment, offset, preamble): &(Local, u32, Option<Preamble>)| {
            player.place_at(
                Cursor::new(segment.clone(), *offset),
                PointKind::KeyFrame,
                preamble.as_ref(),
                kinds,
            );
        };
        // The headers change before anything is sent.
        place(&mut player, &old);
        place(&mut player, &new);
        let batch = player.next_batch(false).expect("the preamble is due");
        assert_eq!(batch.bytes(), b"v:\x17\x00\0\0\0new ");
        player.sent(batch.bytes().len());
        place(&mut player, &newer);
        assert_eq!(
            player.next_batch(false).expect("the headers have changed").bytes(),
            b"\x17\x00\0\0\0newer "
        );
    }

    #[test]
    fn a_player_that_is_moved_past_the_first_audio_of_a_file_gets_the_header_of_audio() {
        let registry = registry_in(|_| Box::new(Named), Retention { buffer_bytes: 32 << 20, keep_ms: 5_000 });
        let mut publication = registry.publish("live/s", publisher(1), 0).expect("the name is free");
        publication.append_and_notify(video_header("V "), 0);
        publication.append_and_notify(audio_header("A "), 0);
        publication.append_and_notify(key_frame(0, "K "), 0);
        let join = publication.stream().log(Form::Rtmp).join();
        let crate::stream::Join::At(point) = &**join else { panic!("there is a key frame") };
        let waiting = Place::Waiting { since_ms: 0, after: (0, 0), wants: Wants::Newest };
        let mut player = Player::new(0, 0, 0, waiting);
        let mut preamble_with = |audio: bool| {
            let cursor = Cursor::new(Rc::new(point.segment.clone()), point.offset);
            let kinds = Kinds { audio, video: true };
            player.place_at(cursor, PointKind::KeyFrame, point.preamble.as_ref(), kinds);
            let preamble = std::mem::take(&mut player.preamble);
            String::from_utf8_lossy(&preamble).into_owned()
        };
        let first = preamble_with(false);
        assert!(first.contains("V ") && !first.contains("A "), "no audio was announced: {first}");
        assert_eq!(preamble_with(false), "", "it has these headers");
        assert!(preamble_with(true).contains("A "));
        assert_eq!(preamble_with(true), "", "and this one");
    }
}
