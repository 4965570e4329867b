//! What was decided.

use std::sync::Arc;

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Allow(Grant),
    /// It is to go to another server: an `rtmp://` address, or one of HTTP for a player over HTTP.
    Redirect(String),
    /// It may not.
    Deny(Denial),
}

/// What comes with a permission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// The stream's name is this one, `app/name`, instead of the one that was asked for.
    pub name: Option<String>,
    /// The user that it was given to.
    pub user: Option<Arc<str>>,
    /// How long it lasts from now on, milliseconds: the session is ended then.
    pub lasts_ms: Option<u64>,
}

/// A refusal, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// For the peer and the log, as text; contains no secret.
    pub reason: String,
    /// For metrics, and for the status over HTTP.
    pub cause: Cause,
    /// The rule that decided, for the log and metrics: its name or number, `default` or `hook`.
    pub rule: Arc<str>,
}

/// Kinds of reasons for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The rule lets nobody in.
    Rule,
    /// No rule matches, and without one only networks nearby may publish.
    Network,
    /// The rule takes a key, a link, a token or a user, and none came.
    NoCredentials,
    /// What came is wrong.
    WrongCredentials,
    /// What came is right, and for another stream, another action or another network.
    NotForThis,
    /// What came is right, and no longer valid, or not yet.
    Expired,
    /// Too much that was wrong has come from this network: what came now was not looked at.
    TooManyAttempts,
    /// The service refused.
    Service,
    /// The service did not answer, or not in its terms.
    ServiceFailed,
}

/// What the rules make of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is decided.
    Verdict(Verdict),
    /// A service has to be asked. This is what the rules grant if it agrees.
    Ask(Grant),
}

impl Verdict {
    /// It may, without more.
    pub fn allow() -> Self {
        Self::Allow(Grant::default())
    }

    /// It may, under this name.
    pub fn allow_as(name: impl Into<String>) -> Self {
        Self::Allow(Grant { name: Some(name.into()), ..Grant::default() })
    }

    /// It may not, for this reason, which a service gave.
    pub fn deny(reason: impl Into<String>) -> Self {
        Self::Deny(Denial { reason: reason.into(), cause: Cause::Service, rule: "hook".into() })
    }

    /// The rules leave the question to a service, and there is none, or none that answers.
    pub fn undecided(reason: impl Into<String>) -> Self {
        Self::Deny(Denial { reason: reason.into(), cause: Cause::ServiceFailed, rule: "hook".into() })
    }
}

impl Grant {
    /// Both together: what a service grants on top of what the rules do. Its name and user come first, and the shorter
    /// time counts.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let lasts_ms = match (self.lasts_ms, other.lasts_ms) {
            (Some(one), Some(another)) => Some(one.min(another)),
            (one, another) => one.or(another),
        };
        Self { name: other.name.or(self.name), user: other.user.or(self.user), lasts_ms }
    }
}

impl Cause {
    /// Each of them.
    pub const ALL: [Self; 9] = [
        Self::Rule,
        Self::Network,
        Self::NoCredentials,
        Self::WrongCredentials,
        Self::NotForThis,
        Self::Expired,
        Self::TooManyAttempts,
        Self::Service,
        Self::ServiceFailed,
    ];

    /// As a label of metrics and in log lines.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Network => "network",
            Self::NoCredentials => "no_credentials",
            Self::WrongCredentials => "wrong_credentials",
            Self::NotForThis => "not_for_this",
            Self::Expired => "expired",
            Self::TooManyAttempts => "too_many_attempts",
            Self::Service => "service",
            Self::ServiceFailed => "service_failed",
        }
    }

    /// Whether better credentials may help: 401 over HTTP, and 403 otherwise.
    pub const fn is_about_credentials(self) -> bool {
        matches!(self, Self::NoCredentials | Self::WrongCredentials | Self::Expired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_may_rename_and_shorten_what_the_rules_grant() {
        let rules = Grant { name: None, user: Some("ann".into()), lasts_ms: Some(50) };
        let service = Grant { name: Some("live/b".into()), user: None, lasts_ms: Some(70) };
        let both = Grant { name: Some("live/b".into()), user: Some("ann".into()), lasts_ms: Some(50) };
        assert_eq!(rules.clone().and(service.clone()), both);
        assert_eq!(service.and(Grant { lasts_ms: Some(20), ..Grant::default() }).lasts_ms, Some(20));
        assert_eq!(rules.clone().and(Grant::default()), rules);
    }
}
