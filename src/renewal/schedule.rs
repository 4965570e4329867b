//! When a certificate is asked for: if there is none, when two thirds of its time are over, and after a failure later and
//! later.

use std::{
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{authority, in_force::InForce};
use crate::{
    certificates::{self, Renewals, Store},
    config,
};

/// Between two looks at what is due.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// How long an authority may take: it asks from several places, and has a queue.
const ISSUE_WITHIN: Duration = Duration::from_secs(300);
/// After the first failure. Let's Encrypt allows five failures per name and hour.
const FIRST_RETRY: Duration = Duration::from_secs(5 * 60);
/// After many.
const LAST_RETRY: Duration = Duration::from_secs(6 * 3600);

/// Failures in a row for one name.
struct Failures {
    count: u32,
    retry_at: Instant,
}

/// Asks for what is due, one certificate after the other, as long as the process lives.
pub(super) async fn keep_valid(certificates: Rc<InForce>, renewals: Arc<Renewals>) {
    let mut failures: HashMap<String, Failures> = HashMap::new();
    let mut tls = certificates.relay.config().tls.clone();
    let mut tick = interval(CHECK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let config = certificates.relay.config();
        if config.tls != tls {
            // What was wrong may be right by now.
            failures.clear();
            tls.clone_from(&config.tls);
        }
        for name in &tls.acme_names {
            if failures.get(name).is_some_and(|failures| Instant::now() < failures.retry_at) {
                continue;
            }
            match renew(&tls, name, &renewals).await {
                Ok(false) => {}
                Ok(true) => {
                    failures.remove(name);
                    certificates.read_now();
                }
                Err(reason) => {
                    renewals.failed();
                    let count = failures.get(name).map_or(0, |failures| failures.count);
                    let after = retry_after(count);
                    let retry_at = Instant::now() + after;
                    let retry_in = humantime::format_duration(Duration::from_secs(after.as_secs()));
                    tracing::warn!(name, reason, %retry_in, "certificate not issued");
                    failures.insert(name.clone(), Failures { count: count + 1, retry_at });
                }
            }
        }
    }
}

/// Asks for the certificate of this name if it is due, and stores it. Whether it did.
async fn renew(tls: &config::Tls, name: &str, renewals: &Arc<Renewals>) -> Result<bool, String> {
    let store = Store::of(tls)?;
    let file = store.certificate(name);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
    let facts = certificates::facts(&file);
    if facts.is_some_and(|(facts, jitter)| now < facts.renew_at(jitter)) {
        return Ok(false);
    }
    tracing::info!(name, directory = tls.acme_directory, "certificate requested");
    let issued = timeout(ISSUE_WITHIN, authority::issue(tls, &store, name, renewals)).await;
    let pem = issued.map_err(|_| format!("nothing after {} s", ISSUE_WITHIN.as_secs()))??;
    store.write(&file, &pem).map_err(|error| format!("{}: {error}", file.display()))?;
    match certificates::facts(&file) {
        Some(_) => Ok(true),
        None => Err(format!("{}: what was issued cannot be used", file.display())),
    }
}

/// Twice as long after each failure, and up to a quarter longer, so that many relays do not come at once.
fn retry_after(earlier_failures: u32) -> Duration {
    let delay = FIRST_RETRY.saturating_mul(1 << earlier_failures.min(16)).min(LAST_RETRY);
    // Without random bytes all come at once, which is no reason not to come.
    let random = getrandom::u32().unwrap_or_default();
    delay + delay.mul_f64(f64::from(random) / f64::from(u32::MAX) / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_failures_it_waits_longer_and_longer_but_never_a_day() {
        let minutes = |failures| retry_after(failures).as_secs() / 60;
        for (failures, expected) in [(0, 5), (1, 10), (2, 20), (6, 320), (7, 360), (1_000, 360)] {
            let found = minutes(failures);
            assert!((expected..=expected + expected / 4 + 1).contains(&found), "{failures}: {found}");
        }
        let in_an_hour = (0..).scan(0, |at, failures| {
            *at += minutes(failures);
            Some(*at)
        });
        assert!(in_an_hour.take_while(|at| *at < 60).count() < 5);
    }
}
