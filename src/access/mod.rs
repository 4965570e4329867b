//! Who may connect, publish and play. Decides from the question alone, or leaves the question to a
//! service. Knows no connection, no socket and no clock.

#![forbid(unsafe_code)]

use std::net::SocketAddr;

/// What a peer wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// To use an application: RTMP's `connect`.
    Connect,
    /// To publish a stream.
    Publish,
    /// To play a stream.
    Play,
}

/// What is to be decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What the peer wants to do.
    pub action: Action,
    /// `app/name`; the application alone where the action is to connect.
    pub name: String,
    /// Parameters of the address, without `?`; may hold secrets.
    pub query: String,
    /// Where the peer comes from.
    pub peer: SocketAddr,
    /// What is spoken, as the API names it.
    pub protocol: &'static str,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Allow,
    /// It may, and the stream's name is this one: `app/name`.
    AllowAs(String),
    /// It is to go to another server: an `rtmp://` address, or one of HTTP for a player over HTTP.
    Redirect(String),
    /// It may not.
    Deny {
        /// Why, for the peer and the log.
        reason: String,
    },
}

impl Verdict {
    /// The rules leave the question to a service, and there is none.
    pub fn undecided() -> Self {
        Self::Deny { reason: "no service decides".to_owned() }
    }
}

/// What the rules make of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is decided.
    Verdict(Verdict),
    /// A service has to be asked.
    Ask,
}

impl Decision {
    /// The verdict where no service can be asked.
    pub fn at_once(self) -> Verdict {
        match self {
            Self::Verdict(verdict) => verdict,
            Self::Ask => Verdict::undecided(),
        }
    }
}

/// The rules in force.
pub trait Access: Send + Sync {
    /// Decides, in no time: it is called on a core's thread.
    fn decide(&self, question: &Question) -> Decision;
}

/// Everything is allowed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;

impl Access for Open {
    fn decide(&self, _question: &Question) -> Decision {
        Decision::Verdict(Verdict::Allow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_relay_allows_each_action() {
        for action in [Action::Connect, Action::Publish, Action::Play] {
            let question = Question {
                action,
                name: "live/a".into(),
                query: String::new(),
                peer: ([192, 0, 2, 1], 9).into(),
                protocol: "rtmp",
            };
            assert_eq!(Open.decide(&question), Decision::Verdict(Verdict::Allow));
        }
    }
}
