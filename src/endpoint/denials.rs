//! What access was denied to: counted by action, rule and cause, logged, and reported as events. Knows no connection.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{client_name::ClientName, log_limits::LineKind, report::RelayEvent};
use crate::access::{Action, Cause, Denial};

/// Different labels that are counted: those of all rules that a configuration may have, a few causes each. The rules of
/// a configuration that was replaced keep theirs.
const MAX_COUNTED: usize = 2_048;
/// The rule under which denials beyond that are counted. A rule's name from a configuration has no slash before it.
const OTHER_RULES: &str = "/others";

/// Counts denials since the start.
#[derive(Default)]
pub struct Denials(Mutex<BTreeMap<DenialLabels, u64>>);

/// By what denials are counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DenialLabels {
    /// What was denied.
    pub action: Action,
    /// The rule that decided.
    pub rule: Arc<str>,
    /// Why.
    pub cause: Cause,
}

/// A peer that was denied something.
#[derive(Clone, Copy, Debug)]
pub struct DeniedPeer<'a> {
    /// The connection's number.
    pub id: u64,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Name and version of the client, as it says.
    pub client: Option<&'a ClientName>,
    /// What it wanted to do.
    pub action: Action,
    /// `app/name`, the application, or the path of the API.
    pub name: &'a str,
    /// What is spoken, as the API names it.
    pub protocol: &'static str,
}

impl Denials {
    /// Counts one.
    fn count(&self, action: Action, denial: &Denial) {
        let mut counts = self.lock();
        let mut labels = DenialLabels { action, rule: denial.rule.clone(), cause: denial.cause };
        if counts.len() >= MAX_COUNTED && !counts.contains_key(&labels) {
            labels.rule = OTHER_RULES.into();
        }
        *counts.entry(labels).or_default() += 1;
    }

    /// A peer is denied what it wants to do: counts it, and if `may_log` this kind of line, logs it and returns the event.
    pub(super) fn note(
        &self,
        denied: DeniedPeer<'_>,
        denial: &Denial,
        may_log: impl FnOnce(LineKind) -> bool,
    ) -> Option<RelayEvent> {
        let DeniedPeer { id, peer, client, action, name, protocol } = denied;
        let (rule, cause, detail) = (&*denial.rule, denial.cause.label(), &*denial.reason);
        if is_step_of_a_challenge(denial) {
            tracing::debug!(id, %peer, app = name, rule, detail, "connect answered with a challenge");
            return None;
        }
        self.count(action, denial);
        if !may_log(LineKind::of_refusal(action)) {
            return None;
        }
        let client_name = client.map(|name| &**name);
        match action {
            Action::Connect => {
                tracing::info!(id, %peer, app = name, protocol, client = client_name, rule, cause, detail, "connection refused: access denied");
            }
            Action::Publish => {
                tracing::info!(id, %peer, stream = name, protocol, client = client_name, rule, cause, detail, "publisher refused: access denied");
            }
            Action::Play => {
                tracing::info!(id, %peer, stream = name, protocol, client = client_name, rule, cause, detail, "player refused: access denied");
            }
            Action::Api => {
                tracing::info!(id, %peer, path = name, client = client_name, rule, cause, detail, "API request refused: access denied");
            }
        }
        Some(RelayEvent::Denied {
            id,
            peer,
            client: client.cloned(),
            action: action.name(),
            name: name.to_owned(),
            protocol,
            rule: rule.to_owned(),
            cause,
            detail: detail.to_owned(),
        })
    }

    /// How many there have been.
    pub fn counts(&self) -> Vec<(DenialLabels, u64)> {
        self.lock().iter().map(|(labels, count)| (labels.clone(), *count)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DenialLabels, u64>> {
        // A count is added whole or not at all: a panic elsewhere spoils nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this is one of the two answers that Adobe's challenge begins with: each encoder that is let in by it gets them
/// first, so they are no refusals.
fn is_step_of_a_challenge(denial: &Denial) -> bool {
    denial.cause == Cause::NoCredentials && denial.reason.starts_with("[ AccessManager.Reject ]")
}

#[cfg(test)]
mod tests {
    use super::*;
    fn denial(rule: &str, cause: Cause, reason: &str) -> Denial {
        Denial { reason: reason.to_owned(), cause, rule: rule.into() }
    }

    fn deny(denials: &Denials, action: Action, denial: &Denial) -> Option<RelayEvent> {
        let peer = ([192, 0, 2, 1], 9).into();
        let denied = DeniedPeer { id: 7, peer, client: None, action, name: "live/a", protocol: "rtmp" };
        denials.note(denied, denial, |_| true)
    }

    #[test]
    fn denials_are_counted_by_action_rule_and_cause() {
        let denials = Denials::default();
        deny(&denials, Action::Play, &denial("1", Cause::Expired, "the link has expired"));
        deny(&denials, Action::Play, &denial("1", Cause::Expired, "the token has expired"));
        deny(&denials, Action::Publish, &denial("1", Cause::Expired, "the link has expired"));
        let counts: Vec<_> = denials.counts();
        let counts: Vec<_> =
            counts.iter().map(|(it, count)| (it.action, &*it.rule, it.cause, *count)).collect();
        assert_eq!(
            counts,
            [(Action::Publish, "1", Cause::Expired, 1), (Action::Play, "1", Cause::Expired, 2)]
        );
    }

    #[test]
    fn the_steps_of_a_challenge_are_no_denials() {
        let denials = Denials::default();
        let step = "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : ";
        assert!(deny(&denials, Action::Connect, &denial("1", Cause::NoCredentials, step)).is_none());
        assert_eq!(denials.counts().len(), 0);
        assert!(deny(&denials, Action::Connect, &denial("1", Cause::WrongCredentials, step)).is_some());
        assert_eq!(denials.counts().len(), 1);
    }

    #[test]
    fn rules_of_ever_new_names_are_counted_together_in_the_end() {
        let denials = Denials::default();
        for number in 0..MAX_COUNTED + 10 {
            deny(&denials, Action::Play, &denial(&number.to_string(), Cause::Rule, "no"));
        }
        deny(&denials, Action::Play, &denial("0", Cause::Rule, "no"));
        let counts = denials.counts();
        assert_eq!(counts.len(), MAX_COUNTED + 1);
        let of = |rule: &str| counts.iter().find(|(labels, _)| &*labels.rule == rule).map(|it| it.1);
        assert_eq!((of(OTHER_RULES), of("0")), (Some(10), Some(2)));
    }
}
