//! Questions to the rules of a configuration, at a time that the test chooses.

use std::{cell::Cell, sync::Arc};

use fanfare::{
    access::{Access, Action, Cause, Decision, Denial, Grant, KeyRing, Party, Question, Rules, Verdict},
    config::Config,
};

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(1_700_000_000) };
}

/// What the rules take for the time, Unix seconds.
pub fn now() -> u64 {
    NOW.get()
}

/// Lets time pass, for this test's thread.
pub fn pass(seconds: u64) {
    NOW.set(now() + seconds);
}

/// The rules of this configuration.
pub fn rules(toml: &str) -> Rules {
    rules_with(toml, KeyRing::new())
}

pub fn rules_with(toml: &str, ring: KeyRing) -> Rules {
    let config = Config::from_toml("f", toml).unwrap_or_else(|error| panic!("{error}"));
    Rules::new(&config.with_secret_files().unwrap(), ring, now).unwrap()
}

/// A question about `app/name`, with parameters after a `?`.
pub fn question(action: Action, address: &str, peer: &str) -> Question {
    let (name, query) = address.split_once('?').unwrap_or((address, ""));
    let peer = (peer.parse::<std::net::IpAddr>().unwrap(), 9).into();
    Question { query: query.to_owned(), ..Question::new(action, name, peer, "rtmp") }
}

/// From somewhere on the internet.
pub fn publish(rules: &Rules, address: &str) -> Decision {
    rules.decide(&question(Action::Publish, address, FAR))
}

pub fn play(rules: &Rules, address: &str) -> Decision {
    rules.decide(&question(Action::Play, address, FAR))
}

/// With what a party has said of itself.
pub fn decide_for(rules: &Rules, action: Action, address: &str, party: Party) -> Decision {
    rules.decide(&Question { party: Arc::new(party), ..question(action, address, FAR) })
}

/// It may, without more.
pub fn allowed() -> Decision {
    Decision::Verdict(Verdict::allow())
}

/// It may, for this long.
pub fn allowed_for(seconds: u64) -> Decision {
    Decision::Verdict(Verdict::Allow(Grant { lasts_ms: Some(1000 * seconds), ..Grant::default() }))
}

/// It may, as this user.
pub fn allowed_as(user: &str) -> Decision {
    Decision::Verdict(Verdict::Allow(Grant { user: Some(user.into()), ..Grant::default() }))
}

/// Why it may not, and which rule decided that.
pub fn denied(decision: &Decision) -> (Cause, &str) {
    match decision {
        Decision::Verdict(Verdict::Deny(Denial { cause, rule, reason })) => {
            assert!(!reason.is_empty());
            (*cause, rule)
        }
        other => panic!("it is {other:?}"),
    }
}

pub const FAR: &str = "203.0.113.7";
