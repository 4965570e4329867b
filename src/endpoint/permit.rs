//! What a session that was let in keeps of the decision: when its right ends, and the question, where a service is told of
//! sessions. Most have neither, and keep nothing. Knows no connection.

use std::sync::Arc;

use crate::access::{Grant, Party, Question};

/// What a session keeps of the decision that let it in.
#[derive(Clone, Debug)]
pub struct Permit {
    /// When the right ends, milliseconds of the relay's clock. Not of a core's patient one: a right that ends at a time of
    /// day ends then, whatever a core did meanwhile, and nobody is blamed for it.
    expires_ms: Option<u64>,
    told: Option<Told>,
}

/// For a service that is told of the session.
#[derive(Clone, Debug)]
struct Told {
    question: Arc<Question>,
    /// When it is next told that the session goes on, milliseconds of the relay's clock; none before that is known.
    update_due_ms: Option<u64>,
}

impl Permit {
    /// Of a session that was let in at this time; none where it lasts for as long as it likes and no service is told of
    /// it. `question` is there if one is.
    pub fn of(grant: &Grant, question: Option<Question>, now_ms: u64) -> Option<Box<Self>> {
        let expires_ms = grant.lasts_ms.map(|lasts_ms| now_ms.saturating_add(lasts_ms));
        let told = question.map(|question| {
            let question = Arc::new(Question { granted: grant.clone(), ..question });
            Told { question, update_due_ms: None }
        });
        (expires_ms.is_some() || told.is_some()).then(|| Box::new(Self { expires_ms, told }))
    }

    /// Whether the right has ended.
    pub(super) fn has_expired(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|expires_ms| now_ms >= expires_ms)
    }

    /// The question that let it in, if a service is told of it.
    pub(super) fn question(&self) -> Option<&Arc<Question>> {
        self.told.as_ref().map(|told| &told.question)
    }

    /// Whether it is time to tell the service that the session goes on: every `interval_ms`, and for the first time after
    /// between half of that and all, by the connection's number, so that those who came together are spread.
    pub(super) fn is_update_due(&mut self, interval_ms: u64, now_ms: u64) -> bool {
        let Some(Told { question, update_due_ms }) = &mut self.told else { return false };
        let half_ms = interval_ms / 2;
        let spread = question.connection.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let first_ms = || now_ms + interval_ms - (half_ms.saturating_mul(spread) >> 32);
        // It may have been made shorter since.
        let due_ms = (*update_due_ms.get_or_insert_with(first_ms)).min(now_ms + interval_ms);
        let is_due = now_ms >= due_ms;
        *update_due_ms = Some(if is_due { (due_ms + interval_ms).max(now_ms) } else { due_ms });
        is_due
    }

    /// Memory, bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let question = self.told.as_ref().map_or(0, |told| {
            let Question { name, query, party, .. } = &*told.question;
            size_of::<Question>() + name.capacity() + query.capacity() + party_bytes(party)
        });
        size_of::<Self>() + question
    }
}

/// Memory of what a peer said of itself, bytes.
pub(super) fn party_bytes(party: &Party) -> usize {
    let Party { app, tc_url, swf_url, page_url, client, .. } = party;
    size_of::<Party>() + [app, tc_url, swf_url, page_url, client].map(String::capacity).iter().sum::<usize>()
}

/// What is granted in all where a service has decided: on top of what the rules granted when it was asked, so many
/// milliseconds ago.
pub fn granted_in_all(by_rules: Grant, waited_ms: u64, by_service: Grant) -> Grant {
    let lasts_ms = by_rules.lasts_ms.map(|lasts_ms| lasts_ms.saturating_sub(waited_ms));
    Grant { lasts_ms, ..by_rules }.and(by_service)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Action;

    fn lasting(lasts_ms: u64) -> Grant {
        Grant { lasts_ms: Some(lasts_ms), ..Grant::default() }
    }

    #[test]
    fn a_right_ends_when_its_time_is_over() {
        let permit = Permit::of(&lasting(50), None, 1_000).expect("it ends");
        assert!(!permit.has_expired(1_049) && permit.has_expired(1_050));
        let permit = Permit::of(&lasting(u64::MAX), None, 1_000).expect("it ends");
        assert!(!permit.has_expired(u64::MAX - 1), "a time without an end in sight");
    }

    #[test]
    fn a_session_without_end_of_which_no_service_is_told_keeps_nothing() {
        assert!(Permit::of(&Grant::default(), None, 0).is_none());
        let question = Question::new(Action::Play, "live/a", ([192, 0, 2, 1], 9).into(), "rtmp");
        let permit = Permit::of(&Grant::default(), Some(question), 0).expect("it is told of");
        assert!(!permit.has_expired(u64::MAX));
        assert!(permit.memory_bytes() > size_of::<Question>());
    }

    #[test]
    fn updates_come_at_their_interval_and_those_of_many_sessions_are_spread() {
        let told = |connection| {
            let question = Question::new(Action::Play, "live/a", ([192, 0, 2, 1], 9).into(), "rtmp");
            Permit::of(&Grant::default(), Some(Question { connection, ..question }), 0)
                .expect("it is told of")
        };
        let times = |permit: &mut Permit| {
            (1..=100)
                .map(|second| second * 1_000)
                .filter(|&ms| permit.is_update_due(30_000, ms))
                .collect::<Vec<_>>()
        };
        let mut per_second = [0; 101];
        for connection in 0..9_000 {
            let times = times(&mut told(connection));
            assert!((15_000..=31_000).contains(&times[0]), "{times:?}");
            assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 30_000), "{times:?}");
            times.iter().for_each(|ms| per_second[(ms / 1_000) as usize] += 1);
        }
        assert!(per_second.iter().all(|&count| count < 900), "{per_second:?}");
        let mut permit = told(7);
        assert!(!permit.is_update_due(3_600_000, 1_000));
        assert!(
            !permit.is_update_due(2_000, 2_000) && permit.is_update_due(2_000, 4_000),
            "it is shorter now"
        );
        assert!(!Permit::of(&lasting(1), None, 0).expect("it ends").is_update_due(1, 9_000));
    }

    #[test]
    fn what_the_rules_grant_runs_while_a_service_thinks() {
        assert_eq!(granted_in_all(lasting(5_000), 2_000, Grant::default()), lasting(3_000));
        assert_eq!(
            granted_in_all(lasting(5_000), 2_000, lasting(5_000)),
            lasting(3_000),
            "it repeats what they grant"
        );
        assert_eq!(granted_in_all(lasting(5_000), 2_000, lasting(1_000)), lasting(1_000));
        assert_eq!(granted_in_all(lasting(5_000), 9_000, Grant::default()), lasting(0));
        assert_eq!(granted_in_all(Grant::default(), 9_000, lasting(10)), lasting(10));
    }
}
