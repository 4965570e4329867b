//! Accounts for all memory that peers make the relay hold: how much of each kind there is, the budget, and the share of
//! each holder where memory is short. ARCHITECTURE.md says which holders give memory back, and in which order.

#![forbid(unsafe_code)]

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicIsize, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use bytes::Bytes;

use super::pool::{Pool, Storage};

/// What memory is held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MemoryKind {
    /// Segments of all logs, in every wire format, including those that only a slow player still holds.
    Segments = 0,
    /// Metadata and sequence headers of all streams, and the preambles made of them.
    Headers = 1,
    /// What has been received and not used: receive buffers, unfinished messages, input of a publish that waits.
    Input = 2,
    /// Answers that peers have not read.
    Output = 3,
    /// Connections and streams themselves.
    Connections = 4,
    /// Responses over HTTP that wait for their reader.
    Http = 5,
    /// Memory of segments that rests until the next ones need it: see `pool`.
    Spare = 6,
}

impl MemoryKind {
    /// How many there are.
    pub const COUNT: usize = 7;
    /// All of them, in the order of their index.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Segments,
        Self::Headers,
        Self::Input,
        Self::Output,
        Self::Connections,
        Self::Http,
        Self::Spare,
    ];

    /// As labels and the API call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Segments => "segments",
            Self::Headers => "headers",
            Self::Input => "input",
            Self::Output => "output",
            Self::Connections => "connections",
            Self::Http => "http",
            Self::Spare => "spare",
        }
    }
}

/// The account that all share. A clone is the same one.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Account>);

#[derive(Debug)]
struct Account {
    budget: AtomicUsize,
    /// By kind. A core posts what it has counted a little later, so a count may be below 0 for a moment.
    bytes: [AtomicIsize; MemoryKind::COUNT],
    /// Logs with segments, and the bytes that they keep.
    logs: AtomicUsize,
    log_bytes: AtomicUsize,
    /// Streams that are published.
    publishers: AtomicUsize,
    /// When the budget was first exceeded, milliseconds; [`WITHIN`] while it is not.
    exceeded_ms: AtomicU64,
    /// Bytes of segments that were given up before their time.
    given_up_bytes: AtomicU64,
    /// Connections that were ended.
    ended: AtomicU64,
    /// Memory of segments that rests.
    pool: Pool,
    /// What was reported last, and when.
    reported: Mutex<(Relief, Option<u64>)>,
}

/// `Account::exceeded_ms`: the budget is not exceeded.
const WITHIN: u64 = u64::MAX;

/// The least memory for a stream, beside its publisher's input: a log per form with an open segment of 64 KiB and its
/// index, and most of the segment before it.
const MIN_STREAM_BYTES: usize = 512 << 10;
/// The least memory for a publisher's input where memory is short: half of a key frame.
const MIN_PUBLISHER_BYTES: usize = 64 << 10;
/// The least that counts as a connection: see [`Memory::has_room_for_connection`].
const MIN_CONNECTION_BYTES: usize = 8 << 10;
/// How long the budget may be exceeded before newcomers are refused, milliseconds: time for holders to give memory
/// back.
const PATIENCE_MS: u64 = 1_000;
/// Time for each core to report which connection holds most, milliseconds.
const LOOK_ROUND_MS: u64 = 20;
/// The least between two reports, milliseconds.
const BETWEEN_REPORTS_MS: u64 = 10_000;

/// What had to be given up since the start because memory was short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relief {
    /// Bytes of segments that logs gave up before their time.
    pub given_up_bytes: u64,
    /// Connections that were ended.
    pub ended: u64,
}

/// Counts as memory of a kind, until it is dropped.
#[derive(Debug)]
pub struct Held {
    memory: Memory,
    kind: MemoryKind,
    bytes: usize,
}

/// One thread's entries, posted to the account when they add up to more than a little, so that cores do not contend for
/// the account at each read.
#[derive(Debug)]
pub struct Ledger {
    memory: Memory,
    unposted: [isize; MemoryKind::COUNT],
}

/// Counts as a log with segments, until it is dropped.
#[derive(Debug)]
pub(super) struct LogShare {
    memory: Memory,
    bytes: usize,
}

impl Memory {
    /// An account with nothing in it. `budget` is what all kinds together may come to, bytes.
    pub fn new(budget: usize) -> Self {
        Self(Arc::new(Account {
            budget: AtomicUsize::new(budget),
            bytes: Default::default(),
            logs: AtomicUsize::new(0),
            log_bytes: AtomicUsize::new(0),
            publishers: AtomicUsize::new(0),
            exceeded_ms: AtomicU64::new(WITHIN),
            given_up_bytes: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            pool: Pool::default(),
            reported: Mutex::default(),
        }))
    }

    /// What all kinds together may come to, bytes.
    pub fn budget(&self) -> usize {
        self.0.budget.load(Relaxed)
    }

    /// All kinds together may come to this from now on. What exceeds it is given back in the usual order.
    pub fn set_budget(&self, budget: usize) {
        self.0.budget.store(budget, Relaxed);
    }

    /// Bytes that are held now.
    pub fn bytes(&self) -> usize {
        MemoryKind::ALL.iter().map(|&kind| self.of(kind)).sum()
    }

    /// Bytes of one kind.
    pub fn of(&self, kind: MemoryKind) -> usize {
        self.0.bytes[kind as usize].load(Relaxed).try_into().unwrap_or(0)
    }

    /// Bytes beyond the budget.
    pub fn excess(&self) -> usize {
        self.bytes().saturating_sub(self.budget())
    }

    /// Bytes up to the budget.
    pub fn room(&self) -> usize {
        self.budget().saturating_sub(self.bytes())
    }

    /// Counts bytes until the guard is dropped.
    pub fn hold(&self, kind: MemoryKind, bytes: usize) -> Held {
        self.add(kind, bytes as isize);
        Held { memory: self.clone(), kind, bytes }
    }

    /// The same bytes, counted until their last reader drops them.
    pub fn counted(&self, kind: MemoryKind, bytes: Vec<u8>) -> Bytes {
        if bytes.is_empty() {
            return Bytes::new();
        }
        let held = self.hold(kind, bytes.capacity());
        Bytes::from_owner(Counted { bytes, _held: held })
    }

    /// A thread's own entries.
    pub fn ledger(&self) -> Ledger {
        Ledger { memory: self.clone(), unposted: [0; MemoryKind::COUNT] }
    }

    /// What a log may hold where memory is short: its part of the half of the budget that is the logs', or of what the
    /// rest leaves, if that is more.
    pub fn log_share(&self) -> usize {
        let pot = (self.budget() / 2).max(self.budget().saturating_sub(self.beside_logs()));
        pot / self.0.logs.load(Relaxed).max(1)
    }

    /// What a publisher's connection may hold beside its logs where memory is short: its part of a quarter of the
    /// budget.
    pub fn publisher_share(&self) -> usize {
        (self.budget() / 4 / self.0.publishers.load(Relaxed).max(1)).max(MIN_PUBLISHER_BYTES)
    }

    /// Whether connections that hold much are to be ended: connections hold more than the half of the budget that logs
    /// leave to them, or logs had time to give memory back and it was not enough.
    pub fn must_end_connections(&self, now_ms: u64) -> bool {
        let is_theirs = self.beside_logs() > self.budget() / 2;
        let patience_ms = if is_theirs { LOOK_ROUND_MS } else { PATIENCE_MS / 2 };
        self.excess() > 0 && self.exceeded_for_ms(now_ms) >= patience_ms
    }

    /// Whether there is room for one more publisher: the half of the budget that is the logs' has the least memory for
    /// each stream, and the budget is not exceeded for long.
    pub(super) fn has_room_for_publisher(&self, now_ms: u64) -> bool {
        let streams = (self.budget() / 2 / MIN_STREAM_BYTES).max(1);
        self.0.publishers.load(Relaxed) < streams && !self.is_hopeless(now_ms)
    }

    /// Counts one more publisher, if there are fewer than `limit`.
    pub(super) fn enter_publisher(&self, limit: usize) -> bool {
        let enter = |published| (published < limit).then_some(published + 1);
        self.0.publishers.fetch_update(Relaxed, Relaxed, enter).is_ok()
    }

    pub(super) fn leave_publisher(&self) {
        self.0.publishers.fetch_sub(1, Relaxed);
    }

    /// Whether there is room for one more connection: with the least memory per connection, all fit into a quarter of
    /// the budget.
    pub fn has_room_for_connection(&self, connections: usize) -> bool {
        connections < (self.budget() / 4 / MIN_CONNECTION_BYTES).max(1)
    }

    /// Takes note of whether the budget is exceeded; to be called often. True where that is new.
    pub fn observe(&self, now_ms: u64) -> bool {
        if self.excess() > 0 {
            self.clear_pool();
        } else {
            self.add(MemoryKind::Spare, -(self.0.pool.trim(now_ms) as isize));
        }
        if self.excess() == 0 {
            self.0.exceeded_ms.store(WITHIN, Relaxed);
            return false;
        }
        self.0.exceeded_ms.compare_exchange(WITHIN, now_ms, Relaxed, Relaxed).is_ok()
    }

    /// Takes note of connections that were ended; the other holders have time again.
    pub fn note_ended(&self, connections: u64, now_ms: u64) {
        self.0.ended.fetch_add(connections, Relaxed);
        self.0.exceeded_ms.store(now_ms, Relaxed);
    }

    /// What had to be given up since the start.
    pub fn relief(&self) -> Relief {
        Relief { given_up_bytes: self.0.given_up_bytes.load(Relaxed), ended: self.0.ended.load(Relaxed) }
    }

    /// What had to be given up, if it is time to report it: something was given up since the last report, at least
    /// 10 s ago.
    pub fn relief_to_report(&self, now_ms: u64) -> Option<Relief> {
        let relief = self.relief();
        let mut reported = self.0.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, last_ms) = *reported;
        let is_time = last_ms.is_none_or(|last_ms| now_ms.saturating_sub(last_ms) >= BETWEEN_REPORTS_MS);
        (relief != last && is_time).then(|| {
            *reported = (relief, Some(now_ms));
            relief
        })
    }

    /// Unused memory for a segment of this many bytes, if there is some.
    pub(super) fn take_rested(&self, bytes: usize) -> Option<Storage> {
        let storage = self.0.pool.take(bytes)?;
        self.add(MemoryKind::Spare, -(storage.total_bytes() as isize));
        Some(storage)
    }

    /// Keeps the memory of a segment for the next one, if that is likely to come. Meanwhile it counts.
    pub(super) fn let_rest(&self, storage: Storage) {
        let bytes = storage.total_bytes() as isize;
        let has_logs = self.0.logs.load(Relaxed) > 0;
        if has_logs && self.room() > 0 && self.0.pool.give(storage) {
            self.add(MemoryKind::Spare, bytes);
        }
    }

    fn clear_pool(&self) {
        self.add(MemoryKind::Spare, -(self.0.pool.clear() as isize));
    }

    pub(super) fn enter_log(&self) -> LogShare {
        self.0.logs.fetch_add(1, Relaxed);
        LogShare { memory: self.clone(), bytes: 0 }
    }

    pub(super) fn note_given_up(&self, bytes: usize) {
        self.0.given_up_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Bytes of all that logs do not keep. Segments that only slow players hold do not count as the logs'.
    fn beside_logs(&self) -> usize {
        self.bytes().saturating_sub(self.0.log_bytes.load(Relaxed) + self.of(MemoryKind::Spare))
    }

    fn exceeded_for_ms(&self, now_ms: u64) -> u64 {
        match self.0.exceeded_ms.load(Relaxed) {
            WITHIN => 0,
            since_ms => now_ms.saturating_sub(since_ms),
        }
    }

    /// Whether the budget is exceeded although the holders had time to give memory back.
    pub fn is_hopeless(&self, now_ms: u64) -> bool {
        self.excess() > 0 && self.exceeded_for_ms(now_ms) >= PATIENCE_MS
    }

    fn add(&self, kind: MemoryKind, bytes: isize) {
        self.0.bytes[kind as usize].fetch_add(bytes, Relaxed);
    }
}

impl Default for Memory {
    /// Without a limit.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl Held {
    /// Counts `bytes` instead.
    pub fn set(&mut self, bytes: usize) {
        self.memory.add(self.kind, bytes as isize - self.bytes as isize);
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl LogShare {
    /// The log keeps this many bytes now.
    pub(super) fn set(&mut self, bytes: usize) {
        let log_bytes = &self.memory.0.log_bytes;
        if bytes >= self.bytes {
            log_bytes.fetch_add(bytes - self.bytes, Relaxed);
        } else {
            log_bytes.fetch_sub(self.bytes - bytes, Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for LogShare {
    fn drop(&mut self) {
        self.set(0);
        // Without logs no segment is needed soon.
        if self.memory.0.logs.fetch_sub(1, Relaxed) == 1 {
            self.memory.clear_pool();
        }
    }
}

impl Ledger {
    /// Entries of one kind up to this size stay unposted.
    const UNPOSTED_BYTES: isize = 16 << 10;

    /// What was `counted` is `bytes` now.
    pub fn change(&mut self, kind: MemoryKind, counted: &mut usize, bytes: usize) {
        let unposted = &mut self.unposted[kind as usize];
        *unposted += bytes as isize - *counted as isize;
        *counted = bytes;
        if unposted.abs() >= Self::UNPOSTED_BYTES {
            self.memory.add(kind, std::mem::take(unposted));
        }
    }

    /// Posts what is unposted.
    pub fn post(&mut self) {
        for kind in MemoryKind::ALL {
            match std::mem::take(&mut self.unposted[kind as usize]) {
                0 => {}
                bytes => self.memory.add(kind, bytes),
            }
        }
    }

    /// The account.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }
}

struct Counted {
    bytes: Vec<u8>,
    _held: Held,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
