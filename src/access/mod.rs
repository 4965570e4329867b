//! Who may connect, publish, play and use the API. Decides from the question alone, or leaves the question to a
//! service. Knows no connection, no socket and no clock.

#![forbid(unsafe_code)]

mod adobe;
mod application;
mod digests;
mod guesses;
mod key_ring;
mod links;
mod networks;
mod question;
mod rules;
mod service;
mod shown;
mod token_keys;
mod tokens;
mod users;
mod verdict;

use std::net::IpAddr;

pub use key_ring::KeyRing;
pub use links::Link;
pub use question::{Action, Details, Login, Party, Question};
pub use rules::Rules;
pub use service::{HookReport, Notice, NoticeKind, Service, ServiceReport, Wiring};
pub use verdict::{Cause, Decision, Denial, Grant, Verdict};

/// The rules in force.
pub trait Access: Send + Sync {
    /// Decides, in no time: it is called on a core's thread.
    fn decide(&self, question: &Question) -> Decision;

    /// Whether so many wrong tokens of the API have come from the network of this address that no other is to be looked at.
    fn has_guessed_too_often(&self, _address: IpAddr) -> bool {
        false
    }

    /// This token of the API, which came from this address, is wrong.
    fn note_wrong_token(&self, _address: IpAddr, _token: &str) {}
}

/// Everything is allowed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;

impl Access for Open {
    fn decide(&self, _question: &Question) -> Decision {
        Decision::Verdict(Verdict::allow())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_relay_allows_each_action() {
        for action in Action::ALL {
            let question = Question::new(action, "live/a", ([192, 0, 2, 1], 9).into(), "rtmp");
            assert_eq!(Open.decide(&question), Decision::Verdict(Verdict::allow()));
        }
    }
}
