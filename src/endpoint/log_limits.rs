//! Keeps peers from flooding the log: of the lines of one kind about one network only so many are written within 10 s.
//! Further ones are counted, and summed up in one line. Decides only; the caller writes.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::origin::Origin;
use crate::access::Action;

/// The time that `log.lines_per_network` is for, and how often one network's lines are summed up, milliseconds.
const WINDOW_MS: u64 = 10_000;
/// A block may cause as many lines as this many of its networks: the owner of an IPv6 /32 has 16 million of those.
const NETWORKS_PER_BLOCK: u32 = 10;
/// Networks, and blocks, that are distinguished at a time for each kind of line; all further ones share what one block
/// may cause. They are forgotten when they have caused no line for [`WINDOW_MS`].
const MAX_TRACKED: usize = 4096;
/// Networks that get a summary of their own at a time, for each kind of line: those with the most suppressed lines.
const MAX_SUMMARIES: usize = 3;

/// Lines that a peer can cause as often as it likes. A flood of one kind takes nothing from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// A connection has ended.
    Closed,
    /// A connection has broken a rule of its protocol.
    Violation,
    /// A player has begun.
    Playing,
    /// A player is gone.
    PlayEnded,
    /// A publisher has its name.
    Publishing,
    /// A publisher is gone.
    PublishEnded,
    /// A publisher takes a name over.
    Takeover,
    /// A publisher is refused.
    PublishRefused,
    /// A player is refused.
    PlayRefused,
    /// A connection is refused by the rules or the service.
    ConnectRefused,
    /// A request to the API is refused by the rules.
    ApiRefused,
}

impl LineKind {
    /// Each of them.
    pub const ALL: [Self; 11] = [
        Self::Closed,
        Self::Violation,
        Self::Playing,
        Self::PlayEnded,
        Self::Publishing,
        Self::PublishEnded,
        Self::Takeover,
        Self::PublishRefused,
        Self::PlayRefused,
        Self::ConnectRefused,
        Self::ApiRefused,
    ];

    /// A peer may not do this.
    pub(super) fn of_refusal(action: Action) -> Self {
        match action {
            Action::Connect => Self::ConnectRefused,
            Action::Publish => Self::PublishRefused,
            Action::Play => Self::PlayRefused,
            Action::Api => Self::ApiRefused,
        }
    }

    /// Its name in metrics and summaries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Violation => "violation",
            Self::Playing => "playing",
            Self::PlayEnded => "play_ended",
            Self::Publishing => "publishing",
            Self::PublishEnded => "publish_ended",
            Self::Takeover => "takeover",
            Self::PublishRefused => "publish_refused",
            Self::PlayRefused => "play_refused",
            Self::ConnectRefused => "connect_refused",
            Self::ApiRefused => "api_refused",
        }
    }
}

/// What is to be written once: so many lines of this kind were not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    /// Which kind.
    pub kind: LineKind,
    /// The first address of the network that they are about; none where they are about several.
    pub network: Option<IpAddr>,
    /// How many.
    pub suppressed: u64,
}

/// How many lines there have been of each kind about each network.
#[derive(Default)]
pub struct LogLimits {
    kinds: Mutex<[Kind; LineKind::ALL.len()]>,
}

#[derive(Default)]
struct Kind {
    networks: HashMap<IpAddr, Window>,
    blocks: HashMap<IpAddr, Window>,
    /// All that cannot be tracked.
    others: Window,
    /// Not written, since the start.
    total: u64,
}

#[derive(Clone, Copy, Default)]
struct Window {
    since_ms: u64,
    lines: u32,
    /// Not written, and not summed up.
    suppressed: u64,
    /// When the first of those came.
    suppressed_ms: u64,
}

impl LogLimits {
    /// Whether a line of this kind about this peer is to be written; a suppressed one is counted. `lines_per_network` is
    /// the limit per network, kind and [`WINDOW_MS`]; 0 is none.
    pub(super) fn may_write(
        &self,
        lines_per_network: usize,
        kind: LineKind,
        peer: IpAddr,
        now_ms: u64,
    ) -> bool {
        if lines_per_network == 0 {
            return true;
        }
        let limit = u32::try_from(lines_per_network).unwrap_or(u32::MAX);
        let origin = Origin::of(peer);
        let block_limit = limit.saturating_mul(NETWORKS_PER_BLOCK);
        let kind = &mut self.kinds()[kind as usize];
        let Kind { networks, blocks, others, total } = kind;
        // The block first: what it may not cause takes no place among the networks.
        let may_write = match track(blocks, origin.block) {
            None => others.take(block_limit, now_ms),
            Some(block) => {
                if block.has_room(block_limit, now_ms) {
                    let may_write = match track(networks, origin.network) {
                        Some(network) => network.take(limit, now_ms),
                        None => others.take(block_limit, now_ms),
                    };
                    block.lines += u32::from(may_write);
                    may_write
                } else {
                    block.suppress(now_ms);
                    false
                }
            }
        };
        *total += u64::from(!may_write);
        may_write
    }

    /// What is to be summed up now; call it about once a second. With `is_last`, all that there is.
    pub(super) fn summaries(&self, now_ms: u64, is_last: bool) -> Vec<Summary> {
        let mut summaries = Vec::new();
        for (kind, of) in LineKind::ALL.into_iter().zip(self.kinds().iter_mut()) {
            let mut own = Vec::new();
            of.networks.retain(|&network, window| {
                own.extend(window.sum_up(now_ms, is_last).map(|suppressed| (network, suppressed)));
                !window.is_over(now_ms) || window.suppressed > 0
            });
            let mut rest = of.others.sum_up(now_ms, is_last).unwrap_or(0);
            of.blocks.retain(|_, window| {
                rest += window.sum_up(now_ms, is_last).unwrap_or(0);
                !window.is_over(now_ms) || window.suppressed > 0
            });
            own.sort_unstable_by_key(|&(network, suppressed)| (std::cmp::Reverse(suppressed), network));
            let of_others = own.split_off(own.len().min(MAX_SUMMARIES));
            rest += of_others.iter().map(|&(_, suppressed)| suppressed).sum::<u64>();
            let own = own.into_iter().map(|(network, suppressed)| (Some(network), suppressed));
            let rest = (rest > 0).then_some((None, rest));
            summaries.extend(own.chain(rest).map(|(network, suppressed)| Summary {
                kind,
                network,
                suppressed,
            }));
        }
        summaries
    }

    /// How many lines were not written since the start, by kind.
    pub fn suppressed(&self) -> Vec<(LineKind, u64)> {
        LineKind::ALL.into_iter().zip(self.kinds().iter().map(|kind| kind.total)).collect()
    }

    fn kinds(&self) -> MutexGuard<'_, [Kind; LineKind::ALL.len()]> {
        // Counts are whole between any two statements: a panic elsewhere spoils nothing.
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The window of this key, unless there are too many.
fn track<K: Eq + Hash>(windows: &mut HashMap<K, Window>, key: K) -> Option<&mut Window> {
    if windows.len() >= MAX_TRACKED && !windows.contains_key(&key) {
        return None;
    }
    Some(windows.entry(key).or_default())
}

impl Window {
    fn is_over(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.since_ms) >= WINDOW_MS
    }

    /// Whether another line fits; starts over where time is up. What is not summed up stays.
    fn has_room(&mut self, limit: u32, now_ms: u64) -> bool {
        if self.is_over(now_ms) || self.lines == 0 {
            (self.since_ms, self.lines) = (now_ms, 0);
        }
        self.lines < limit
    }

    /// Counts a line as written, if it fits, or as suppressed.
    fn take(&mut self, limit: u32, now_ms: u64) -> bool {
        let has_room = self.has_room(limit, now_ms);
        if has_room {
            self.lines += 1;
        } else {
            self.suppress(now_ms);
        }
        has_room
    }

    fn suppress(&mut self, now_ms: u64) {
        if self.suppressed == 0 {
            self.suppressed_ms = now_ms;
        }
        self.suppressed += 1;
    }

    /// How many lines were suppressed, once it is time to log it.
    fn sum_up(&mut self, now_ms: u64, is_last: bool) -> Option<u64> {
        let is_due = is_last || now_ms.saturating_sub(self.suppressed_ms) >= WINDOW_MS;
        (is_due && self.suppressed > 0).then(|| std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 5;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// How many of so many lines are written.
    fn written(log_limits: &LogLimits, kind: LineKind, peer: IpAddr, count: usize, now_ms: u64) -> usize {
        (0..count).filter(|_| log_limits.may_write(LIMIT, kind, peer, now_ms)).count()
    }

    #[test]
    fn at_the_limit_lines_are_written_and_one_past_it_is_summed_up_once() {
        let log_limits = LogLimits::default();
        let stranger = ip("192.0.2.1");
        assert_eq!(written(&log_limits, LineKind::Closed, stranger, LIMIT, 0), LIMIT);
        assert!(log_limits.summaries(WINDOW_MS, false).is_empty(), "nothing was suppressed");
        assert_eq!(written(&log_limits, LineKind::Closed, stranger, LIMIT + 1, 20_000), LIMIT);
        assert!(log_limits.summaries(20_000 + WINDOW_MS - 1, false).is_empty(), "not yet");
        let summary = Summary { kind: LineKind::Closed, network: Some(ip("192.0.2.0")), suppressed: 1 };
        assert_eq!(log_limits.summaries(20_000 + WINDOW_MS, false), [summary]);
        assert!(log_limits.summaries(20_000 + 2 * WINDOW_MS, true).is_empty(), "once");
        assert_eq!(log_limits.suppressed()[LineKind::Closed as usize], (LineKind::Closed, 1));
    }

    #[test]
    fn a_flood_takes_nothing_from_other_networks_and_other_kinds() {
        let log_limits = LogLimits::default();
        assert_eq!(written(&log_limits, LineKind::Playing, ip("192.0.2.1"), 100_000, 0), LIMIT);
        assert_eq!(written(&log_limits, LineKind::Playing, ip("192.0.2.200"), 1, 0), 0, "the same network");
        assert_eq!(written(&log_limits, LineKind::Playing, ip("192.0.3.1"), LIMIT, 0), LIMIT);
        assert_eq!(written(&log_limits, LineKind::Publishing, ip("192.0.2.1"), LIMIT, 0), LIMIT);
    }

    #[test]
    fn a_flood_that_goes_on_gets_as_many_lines_in_each_window() {
        let log_limits = LogLimits::default();
        let (mut lines, mut suppressed, mut summaries) = (0, 0, 0);
        for now_ms in (0..10 * WINDOW_MS).step_by(100) {
            lines += written(&log_limits, LineKind::Closed, ip("192.0.2.1"), 10, now_ms);
            if now_ms % 1_000 == 0 {
                let due = log_limits.summaries(now_ms, false);
                summaries += due.len();
                suppressed += due.iter().map(|it| it.suppressed).sum::<u64>();
            }
        }
        assert_eq!(summaries, 9, "one in each window but the last");
        suppressed += log_limits.summaries(10 * WINDOW_MS, true).iter().map(|it| it.suppressed).sum::<u64>();
        assert_eq!(lines, 10 * LIMIT);
        assert_eq!(lines as u64 + suppressed, 10_000, "each line is written or summed up");
    }

    #[test]
    fn the_owner_of_a_block_causes_as_many_lines_as_some_networks_and_few_summaries() {
        let log_limits = LogLimits::default();
        let owner = |network: u32| {
            IpAddr::from(((0x2001_0db8_u128 << 96) | (u128::from(network) << 72)).to_be_bytes())
        };
        let lines: usize =
            (0..100_000).map(|network| written(&log_limits, LineKind::Closed, owner(network), 1, 0)).sum();
        assert_eq!(lines, LIMIT * NETWORKS_PER_BLOCK as usize);
        assert!(log_limits.kinds()[LineKind::Closed as usize].networks.len() <= lines);
        assert_eq!(written(&log_limits, LineKind::Closed, ip("2001:db9::1"), 1, 0), 1, "others go on");
        let summaries = log_limits.summaries(WINDOW_MS, false);
        assert_eq!(summaries.len(), 1);
        assert_eq!(summaries[0].suppressed, 100_000 - lines as u64);
    }

    #[test]
    fn what_is_kept_is_bounded_and_forgotten() {
        let log_limits = LogLimits::default();
        let far_apart = |number: u32| IpAddr::from((number << 16).to_be_bytes());
        let count = 2 * MAX_TRACKED as u32;
        let lines: usize = (0..count)
            .map(|number| written(&log_limits, LineKind::Closed, far_apart(number), LIMIT, 0))
            .sum();
        assert_eq!(lines, MAX_TRACKED * LIMIT + LIMIT * NETWORKS_PER_BLOCK as usize);
        {
            let kind = &log_limits.kinds()[LineKind::Closed as usize];
            assert_eq!((kind.networks.len(), kind.blocks.len()), (MAX_TRACKED, MAX_TRACKED));
        }
        assert_eq!(log_limits.summaries(WINDOW_MS, false).len(), 1);
        let kind = &log_limits.kinds()[LineKind::Closed as usize];
        assert!(kind.networks.is_empty() && kind.blocks.is_empty());
    }

    #[test]
    fn the_worst_networks_are_named_and_the_others_summed_up_together() {
        let log_limits = LogLimits::default();
        for network in 0..10_u8 {
            written(
                &log_limits,
                LineKind::Violation,
                [10, network, 2, 1].into(),
                LIMIT + 1 + usize::from(network),
                0,
            );
        }
        let summaries = log_limits.summaries(WINDOW_MS, false);
        let logged: Vec<_> =
            summaries.iter().map(|it| (it.network.map(|it| it.to_string()), it.suppressed)).collect();
        let network = |number| Some(format!("10.{number}.2.0"));
        assert_eq!(logged, [(network(9), 10), (network(8), 9), (network(7), 8), (None, 28)]);
    }

    #[test]
    fn without_a_limit_each_line_is_written() {
        let log_limits = LogLimits::default();
        assert!((0..10_000).all(|_| log_limits.may_write(0, LineKind::Closed, ip("192.0.2.1"), 0)));
    }
}
