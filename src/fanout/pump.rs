//! When the next pass over the players begins: how long frames pile up before they are sent. Knows times only.

use std::time::Duration;

/// The share of a core's time that passes may take before frames are left to pile up: then more bytes per send cost
/// less than more sends, and accepting, handshakes and publishers keep their share.
const BUSY_SHARE: (u64, u64) = (2, 3);
/// How much rest may be outstanding before a pass waits for it, microseconds: a core that is busy only for a moment
/// need not rest.
const CREDIT_US: u64 = 10_000;

/// Decides when passes begin. Times are microseconds of one clock that never goes back.
#[derive(Debug)]
pub struct Pump {
    latency_budget_us: u64,
    /// When the first new data came that no pass has sent yet.
    new_data_us: Option<u64>,
    /// When the current pass began.
    begun_us: Option<u64>,
    /// When the core has rested enough for all passes so far.
    rested_us: u64,
}

impl Pump {
    /// A pass begins as soon as there is a frame, or later where passes take long; but never later than
    /// `latency_budget` after that frame.
    pub fn new(latency_budget: Duration) -> Self {
        Self {
            latency_budget_us: latency_budget.as_micros() as u64,
            new_data_us: None,
            begun_us: None,
            rested_us: 0,
        }
    }

    /// Another latency budget is in force.
    pub fn set_latency_budget(&mut self, latency_budget: Duration) {
        self.latency_budget_us = latency_budget.as_micros() as u64;
    }

    /// There is new data in a stream.
    pub fn new_data(&mut self, now_us: u64) {
        self.new_data_us.get_or_insert(now_us);
    }

    /// When the next pass is to begin; `None` while there is no new data, or during a pass.
    pub fn due_us(&self) -> Option<u64> {
        let new_data_us = self.new_data_us.filter(|_| self.begun_us.is_none())?;
        let rested_us = self.rested_us.saturating_sub(CREDIT_US);
        Some(rested_us.clamp(new_data_us, new_data_us + self.latency_budget_us))
    }

    /// A pass over this many players begins: it sends all new data so far. One over no players is over at once.
    pub fn begin(&mut self, players: usize, now_us: u64) {
        self.new_data_us = None;
        self.begun_us = (players > 0).then_some(now_us);
    }

    /// The current pass, if there is one, is over, and the kernel has taken its sends: how long it took, microseconds.
    pub fn end(&mut self, now_us: u64) -> Option<u64> {
        let begun_us = self.begun_us.take()?;
        let pass_us = now_us - begun_us;
        let (busy, whole) = BUSY_SHARE;
        self.rested_us = self.rested_us.max(begun_us) + pass_us * whole / busy;
        Some(pass_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pump() -> Pump {
        Pump::new(Duration::from_millis(100))
    }

    #[test]
    fn an_idle_core_sends_a_frame_at_once() {
        let mut pump = pump();
        assert_eq!(pump.due_us(), None);
        pump.new_data(5_000);
        assert_eq!(pump.due_us(), Some(5_000));
        pump.begin(1, 5_000);
        assert_eq!(pump.due_us(), None);
    }

    #[test]
    fn a_busy_core_lets_frames_pile_up() {
        let mut pump = pump();
        pump.begin(9_500, 0);
        pump.end(60_000);
        pump.new_data(61_000);
        assert_eq!(
            pump.due_us(),
            Some(80_000),
            "60 ms of work, 30 ms of rest, of which 10 may be outstanding"
        );
    }

    #[test]
    fn outstanding_rest_adds_up() {
        let mut pump = pump();
        let mut begun_us = 0;
        for _ in 0..10 {
            pump.begin(9_500, begun_us);
            assert_eq!(pump.end(begun_us + 60_000), Some(60_000));
            pump.new_data(begun_us + 60_000);
            begun_us = pump.due_us().expect("there is new data");
        }
        assert_eq!(begun_us, 10 * 90_000 - 10_000, "two thirds of the time");
    }

    #[test]
    fn a_core_that_is_busy_only_at_times_does_not_rest() {
        let mut pump = pump();
        for begun_us in (0..10).map(|i| i * 33_000) {
            pump.begin(4_000, begun_us);
            pump.end(begun_us + 18_000);
            pump.new_data(begun_us + 18_000);
            assert_eq!(pump.due_us(), Some(begun_us + 18_000));
        }
    }

    #[test]
    fn no_frame_waits_longer_than_the_latency_budget() {
        let mut pump = pump();
        pump.begin(9_500, 0);
        pump.end(900_000);
        pump.new_data(900_000);
        assert_eq!(pump.due_us(), Some(1_000_000));
    }

    #[test]
    fn no_pass_begins_during_another() {
        let mut pump = pump();
        pump.begin(9_500, 0);
        pump.new_data(10_000);
        assert_eq!(pump.due_us(), None);
        pump.end(60_000);
        assert_eq!(pump.due_us(), Some(80_000));
    }

    #[test]
    fn a_pass_over_no_players_needs_no_rest() {
        let mut pump = pump();
        pump.begin(0, 0);
        pump.end(60_000);
        pump.new_data(60_000);
        assert_eq!(pump.due_us(), Some(60_000));
    }
}
