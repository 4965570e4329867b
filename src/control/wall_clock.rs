//! Times on the relay's clock as dates, in RFC 3339. The same time gives the same text for as long as nobody sets the
//! system's clock.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// More than two readings of the clocks differ by, and less than an operator notices. A larger difference means that the
/// system's clock was set, as at the start of a machine without a battery.
const MAX_DIFFERENCE: Duration = Duration::from_secs(1);

/// When the relay started, by the system's clock.
pub(super) struct WallClock {
    started_at: Mutex<SystemTime>,
}

impl WallClock {
    /// `uptime` is that of the relay now.
    pub(super) fn new(now: SystemTime, uptime: Duration) -> Self {
        Self { started_at: Mutex::new(start(now, uptime)) }
    }

    /// The date of `at_ms` on the relay's clock. `now` and `uptime` are those of this moment.
    pub(super) fn date(&self, at_ms: u64, now: SystemTime, uptime: Duration) -> String {
        let mut started_at = self.started_at.lock().unwrap_or_else(PoisonError::into_inner);
        let by_now = start(now, uptime);
        let ahead = by_now.duration_since(*started_at).unwrap_or_else(|error| error.duration());
        if ahead > MAX_DIFFERENCE {
            *started_at = by_now;
        }
        rfc3339(*started_at + Duration::from_millis(at_ms))
    }
}

/// In UTC, with milliseconds.
pub(super) fn rfc3339(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

fn start(now: SystemTime, uptime: Duration) -> SystemTime {
    now.checked_sub(uptime).unwrap_or(SystemTime::UNIX_EPOCH).max(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_time_has_one_date_until_the_clock_of_the_system_is_set() {
        let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_115_200);
        let clock = WallClock::new(began + 10 * MS, 10 * MS);
        let date = |now: SystemTime, uptime| clock.date(1_500, now, uptime);
        assert_eq!(date(began + 2_000 * MS, 2_000 * MS), "2025-11-26T00:00:01.500Z");
        // The clocks are read one after the other.
        assert_eq!(date(began + 3_007 * MS, 3_000 * MS), "2025-11-26T00:00:01.500Z");
        let hour = Duration::from_secs(3_600);
        assert_eq!(date(began + hour + 4_000 * MS, 4_000 * MS), "2025-11-26T01:00:01.500Z");
        assert_eq!(date(began + 5_000 * MS, 5_000 * MS), "2025-11-26T00:00:01.500Z", "set back");
        assert_eq!(date(SystemTime::UNIX_EPOCH, 5_000 * MS), "1970-01-01T00:00:01.500Z");
    }
}
