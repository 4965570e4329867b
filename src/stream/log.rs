//! The writer's end of a stream log: which segments there are, how large the next one is, which ones go.

#![forbid(unsafe_code)]

use std::collections::VecDeque;

use super::{
    entry::{Entry, age_ms},
    memory::{LogShare, Memory},
    segment::{Appender, INDEX_ENTRIES, Segment},
    sync::Arc,
};

/// Bytes of the smallest segment: 8 s of a 64 kb/s audio stream, and little enough for a thousand idle streams.
const MIN_SEGMENT_BYTES: usize = 64 << 10;
/// Bytes of the largest, unless a message is larger: what one stalled player can pin.
const MAX_SEGMENT_BYTES: usize = 1 << 20;
/// A buffer is at least this many segments: memory is given back per segment, and the open one counts as full.
const SEGMENTS_PER_BUFFER: usize = 8;

/// How much of a stream is kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Memory of the log, bytes: older segments go when it is exceeded, whatever they hold.
    pub buffer_bytes: usize,
    /// Segments that end with a younger message than this stay while the buffer has room, milliseconds.
    pub keep_ms: u32,
}

/// The segments of one stream, oldest first, and the right to append to the newest.
pub(super) struct LogWriter {
    retention: Retention,
    memory: Memory,
    /// From the first segment on.
    share: Option<LogShare>,
    kept: VecDeque<Kept>,
    open: Option<Appender>,
    next_sequence: u64,
    capacity: usize,
}

/// A closed segment that joiners or lagging players may still need.
struct Kept {
    segment: Arc<Segment>,
    last_arrival_ms: u32,
}

/// Where a message was appended.
pub(super) struct MessagePlace {
    pub segment: Arc<Segment>,
    /// Bytes from the segment's start.
    pub offset: u32,
    /// Whether this message opened the segment.
    pub is_first: bool,
}

impl LogWriter {
    pub(super) fn new(retention: Retention, memory: Memory) -> Self {
        Self::starting_at(0, retention, memory)
    }

    /// One whose first segment has this sequence: it goes on where another one has ended.
    pub(super) fn starting_at(sequence: u64, retention: Retention, memory: Memory) -> Self {
        Self {
            retention,
            memory,
            share: None,
            kept: VecDeque::new(),
            open: None,
            next_sequence: sequence,
            capacity: 0,
        }
    }

    /// The sequence of the segment that comes next.
    pub(super) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Bytes of its segments.
    pub(super) fn bytes(&self) -> usize {
        self.capacity
    }

    /// Bytes of its newest segment, which always stays.
    pub(super) fn newest_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.segment().capacity())
    }

    /// Whether there is memory for a message of `len` bytes. There always is within the log's share: what else the log
    /// holds can be given up.
    pub(super) fn has_room_for(&self, len: usize) -> bool {
        len <= MIN_SEGMENT_BYTES
            || self.open.as_ref().is_some_and(|open| open.has_room(len))
            || len <= self.memory.room()
            || len <= self.memory.log_share()
    }

    /// Appends one message of `len` bytes; `fill` writes it.
    pub(super) fn append(&mut self, len: usize, entry: Entry, fill: impl FnOnce(&mut [u8])) -> MessagePlace {
        let mut open = match self.open.take() {
            Some(open) if open.has_room(len) => open,
            full => self.open_segment(full, len, entry.arrival_ms),
        };
        let offset = open.end() as u32;
        open.append(len, entry, fill);
        let place = MessagePlace { segment: open.segment().clone(), offset, is_first: offset == 0 };
        self.open = Some(open);
        place
    }

    /// Lets go of what is beyond the retention, and where memory is short of what is beyond the log's share. Segments
    /// from `join_sequence` on hold the newest group of pictures and stay if there is room for them; the newest segment
    /// always stays. Returns the oldest sequence that is kept.
    pub(super) fn retire(&mut self, join_sequence: u64, now_ms: u32) -> u64 {
        let mut missing = self.memory.excess();
        let share = if missing > 0 { self.memory.log_share() } else { usize::MAX };
        while let Some(oldest) = self.kept.front() {
            let is_over_budget = self.capacity > self.retention.buffer_bytes;
            let is_young = age_ms(oldest.last_arrival_ms, now_ms) <= self.retention.keep_ms;
            let is_due = is_over_budget || !(is_young || oldest.segment.sequence >= join_sequence);
            let gives_up = missing > 0 && self.capacity > share;
            if !is_due && !gives_up {
                break;
            }
            let capacity = oldest.segment.capacity();
            if !is_due {
                self.memory.note_given_up(capacity);
            }
            missing = missing.saturating_sub(capacity);
            self.capacity -= capacity;
            self.kept.pop_front();
        }
        if let Some(share) = &mut self.share {
            share.set(self.capacity);
        }
        self.oldest_segment().map_or(self.next_sequence, |segment| segment.sequence)
    }

    /// The oldest segment that is kept.
    pub(super) fn oldest_segment(&self) -> Option<&Arc<Segment>> {
        let oldest = self.kept.front().map(|kept| &kept.segment);
        oldest.or(self.open.as_ref().map(Appender::segment))
    }

    /// The writer's core was stalled for `lasted_ms`, until now. Meanwhile nothing was sent to players: what is kept
    /// for them counts as younger by that.
    pub(super) fn was_stalled(&mut self, lasted_ms: u64) {
        for kept in &mut self.kept {
            kept.last_arrival_ms = kept.last_arrival_ms.wrapping_add(lasted_ms as u32);
        }
    }

    fn open_segment(&mut self, full: Option<Appender>, len: usize, now_ms: u32) -> Appender {
        let capacity =
            full.as_ref().map_or(MIN_SEGMENT_BYTES, |full| self.one_second(full.segment())).max(len);
        let next = Appender::new(Segment::new(self.next_sequence, capacity, INDEX_ENTRIES, &self.memory));
        self.next_sequence += 1;
        self.capacity += capacity;
        self.share.get_or_insert_with(|| self.memory.enter_log()).set(self.capacity);
        if let Some(full) = full {
            let segment = full.segment().clone();
            full.close(next.segment());
            self.kept.push_back(Kept { segment, last_arrival_ms: now_ms });
        }
        next
    }

    /// The power of two that holds about a second at the rate this segment was filled, within the bounds; but no more
    /// than the index would have entries for, if messages stay as long as they were.
    fn one_second(&self, segment: &Segment) -> usize {
        let committed = segment.committed();
        let (Some(first), Some(last)) = (committed.entries.first(), committed.entries.last()) else {
            return MIN_SEGMENT_BYTES;
        };
        let duration_ms = last.arrival_ms.wrapping_sub(first.arrival_ms).max(1) as usize;
        let a_second = committed.bytes.len() * 1000 / duration_ms;
        let an_index = committed.bytes.len() * INDEX_ENTRIES / committed.entries.len();
        let wanted = a_second.min(an_index).min(MAX_SEGMENT_BYTES);
        let buffer_bytes = self.retention.buffer_bytes.min(self.memory.log_share());
        let largest = (buffer_bytes / SEGMENTS_PER_BUFFER).clamp(MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES);
        wanted.next_power_of_two().clamp(MIN_SEGMENT_BYTES, largest)
    }
}

#[cfg(all(test, not(fanfare_loom)))]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::stream::segment::Next;

    fn entry(arrival_ms: u32) -> Entry {
        Entry { arrival_ms, timestamp_ms: arrival_ms, ..Entry::default() }
    }

    fn log(buffer_bytes: usize, keep_ms: u32) -> LogWriter {
        LogWriter::new(Retention { buffer_bytes, keep_ms }, Memory::default())
    }

    #[test]
    fn a_reader_follows_every_byte_over_segment_ends() {
        let mut log = log(64 << 20, u32::MAX);
        let mut expected = Vec::new();
        let mut first = None;
        for i in 0..3000u32 {
            let message = vec![i as u8; 1 + (i as usize * 37) % 900];
            let place = log.append(message.len(), entry(i * 10), |out| out.copy_from_slice(&message));
            first.get_or_insert(place.segment);
            expected.extend(message);
        }
        let mut segment = first.expect("something was appended");
        let mut read = Vec::new();
        loop {
            let committed = segment.committed();
            assert_eq!(committed.entries.last().map(|e| e.end as usize), Some(committed.bytes.len()));
            read.extend_from_slice(committed.bytes);
            match segment.next() {
                Next::Segment(next) => segment = next,
                Next::NotYet => break,
                Next::Gone => panic!("nothing was retired"),
            }
        }
        assert_eq!(read, expected);
    }

    #[test]
    fn a_message_larger_than_any_segment_gets_one_of_its_own() {
        let mut log = log(64 << 20, 0);
        log.append(10, entry(0), |_| ());
        let place = log.append(5 << 20, entry(1), |out| out.fill(7));
        assert_eq!((place.offset, place.segment.capacity()), (0, 5 << 20));
        let place = log.append(10, entry(2), |_| ());
        assert_eq!(place.offset, 0, "the next message opens an ordinary segment");
        assert!(place.segment.capacity() <= MAX_SEGMENT_BYTES);
    }

    #[test]
    fn memory_stays_within_the_buffer_and_the_newest_segment_always_stays() {
        let mut log = log(256 << 10, u32::MAX);
        for i in 0..1000 {
            let place = log.append(10_000, entry(i), |_| ());
            let oldest = log.retire(0, i);
            assert!(oldest <= place.segment.sequence);
            assert!(log.capacity <= (256 << 10) + MAX_SEGMENT_BYTES, "{} bytes", log.capacity);
        }
        log.append(3 << 20, entry(1000), |_| ());
        assert_eq!(log.retire(0, 1000), log.next_sequence - 1, "only what cannot go is left");
    }

    #[test]
    fn a_small_buffer_filled_at_once_keeps_most_of_what_fits() {
        let mut log = log(1 << 20, u32::MAX);
        let mut kept_from = 0;
        let mut appended = Vec::new();
        for _ in 0..300 {
            let place = log.append(10_000, entry(0), |_| ());
            appended.push(place.segment.sequence);
            kept_from = log.retire(u64::MAX, 0);
        }
        let kept = appended.iter().filter(|&&sequence| sequence >= kept_from).count() * 10_000;
        assert!(kept > 700_000, "{kept} bytes of a buffer of 1 MiB");
    }

    #[test]
    fn old_segments_go_but_not_those_since_the_newest_key_frame() {
        let mut log = log(64 << 20, 1000);
        let mut join = 0;
        for i in 0..600 {
            let place = log.append(2_000, entry(i * 10), |_| ());
            if i == 300 {
                join = place.segment.sequence;
            }
            let oldest = log.retire(join, i * 10);
            assert!(oldest <= join.max(1));
        }
        assert!(join > 1);
        assert_eq!(log.retire(join, 6000), join, "older than the lag limit and than the key frame: gone");
    }

    #[test]
    fn a_retired_segment_leaves_its_stalled_reader_with_that_segment_alone() {
        let mut log = log(1 << 20, 0);
        let stalled = log.append(60_000, entry(0), |_| ()).segment;
        let next = Arc::downgrade(&log.append(60_000, entry(1), |_| ()).segment);
        for i in 2..100 {
            log.append(60_000, entry(i * 1000), |_| ());
            log.retire(u64::MAX, i * 1000);
        }
        assert!(next.upgrade().is_none(), "the segments after the stalled one are free");
        assert!(matches!(stalled.next(), Next::Gone));
        assert_eq!(stalled.committed().bytes.len(), 60_000);
    }

    /// Fills ten segments of a log that keeps the newest. Returns where their bytes were.
    fn fill(log: &mut LogWriter, from: u32) -> BTreeSet<usize> {
        let append = |i: u32| {
            let place = log.append(MIN_SEGMENT_BYTES / 2, entry(i * 10_000), |_| ());
            log.retire(u64::MAX, i * 10_000);
            place.segment.committed().bytes.as_ptr().addr()
        };
        (from..from + 20).map(append).collect()
    }

    #[test]
    fn a_log_that_goes_on_uses_the_memory_of_its_old_segments_and_what_rests_counts() {
        let memory = Memory::default();
        let mut log = LogWriter::new(Retention { buffer_bytes: 64 << 20, keep_ms: 0 }, memory.clone());
        let held = || memory.bytes();
        let reader = log.append(MIN_SEGMENT_BYTES / 2, entry(0), |_| ()).segment;
        let one = held();
        let used = fill(&mut log, 1);
        assert_eq!((used.len(), held()), (3, 3 * one), "one that is read, and two by turns");
        drop(reader);
        assert_eq!(held(), 3 * one, "it rests");
        assert_eq!(fill(&mut log, 21), used);
        drop(log);
        assert_eq!(held(), 0, "without logs nothing rests");
    }

    #[test]
    fn nothing_rests_where_memory_is_short() {
        let memory = Memory::new(3 * MIN_SEGMENT_BYTES);
        let mut log = LogWriter::new(Retention { buffer_bytes: 64 << 20, keep_ms: 0 }, memory.clone());
        fill(&mut log, 1);
        memory.observe(0);
        assert!(memory.excess() == 0, "{} bytes too many", memory.excess());
    }

    #[test]
    fn segments_grow_to_about_a_second_of_the_stream() {
        let mut log = log(64 << 20, 0);
        for i in 0..400 {
            log.append(25_000, entry(i * 40), |_| ()); // 5 Mb/s
        }
        assert_eq!(log.open.as_ref().map(|open| open.segment().capacity()), Some(MAX_SEGMENT_BYTES));
    }

    #[test]
    fn a_burst_of_small_messages_opens_no_larger_segments_than_its_index_can_fill() {
        let mut log = log(64 << 20, 0);
        for _ in 0..10 * INDEX_ENTRIES {
            assert_eq!(log.append(20, entry(0), |_| ()).segment.capacity(), MIN_SEGMENT_BYTES);
        }
    }

    #[test]
    fn a_segment_is_full_when_its_index_is() {
        let mut log = log(64 << 20, u32::MAX);
        for _ in 0..INDEX_ENTRIES {
            assert_eq!(log.append(12, entry(0), |_| ()).segment.sequence, 0);
        }
        assert_eq!(log.append(12, entry(0), |_| ()).segment.sequence, 1);
    }
}

#[cfg(all(test, fanfare_loom))]
mod model {
    use super::*;
    use crate::stream::segment::Next;

    /// A writer appends messages to several small segments and retires old ones, while a reader follows.
    #[test]
    fn loom_a_reader_sees_whole_messages_in_order_or_falls_out() {
        loom::model(|| {
            let first = Appender::new(Segment::new(0, 4, 2, &Memory::default()));
            let mut reading = first.segment().clone();
            let writer = loom::thread::spawn(move || {
                let mut open = first;
                let mut value = 0;
                for sequence in 1..3u64 {
                    while open.has_room(2) {
                        value += 1;
                        open.append(2, Entry::default(), |out| out.fill(value));
                    }
                    let next = Appender::new(Segment::new(sequence, 4, 2, &Memory::default()));
                    let retired = open.segment().clone();
                    open.close(next.segment());
                    drop(retired);
                    open = next;
                }
                open // keeps only the newest alive: the ones before are retired
            });
            let mut seen = 0;
            let mut offset = 0;
            for _ in 0..4 {
                let next = reading.next();
                let committed = reading.committed();
                assert_eq!(committed.bytes.len(), committed.entries.last().map_or(0, |e| e.end as usize));
                for message in committed.bytes[offset..].chunks(2) {
                    seen += 1;
                    assert_eq!(message, [seen; 2]);
                }
                offset = committed.bytes.len();
                match next {
                    Next::NotYet => loom::thread::yield_now(),
                    Next::Gone => break,
                    Next::Segment(next) => {
                        assert_eq!(offset, 4, "a closed segment has been read to its end");
                        (reading, offset) = (next, 0);
                    }
                }
            }
            writer.join().expect("the writer does not panic");
        });
    }
}
