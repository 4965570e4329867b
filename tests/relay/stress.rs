//! Publishers and players of many names that connect, disconnect and are reset all the time, on several cores.
//! `loadtest/sanitize.sh` runs this under a sanitizer.

use std::time::Duration;

use crate::bystanders::Bystanders;
use crate::crowd::{Crowd, Id};
use crate::frames::Source;
use crate::support::{Relay, Signal};

const NAMES: usize = 8;
const ROUNDS: usize = 400;
/// Publishers at any time; as many players.
const MAX_CLIENTS: usize = 40;

#[test]
fn publishers_and_players_come_go_and_are_reset_and_others_miss_nothing() {
    let config = "publish.on_second_publisher = 'takeover'\npublish.publisher_grace = '50ms'";
    let mut relay = Relay::start_with(config, 4);
    let mut bystanders = Bystanders::new(&relay);
    let mut crowd = Crowd::new();
    let (mut publishers, mut players) = (Vec::new(), Vec::new());
    let mut state = 7;
    for round in 0..ROUNDS {
        let name = format!("churn/{}", random(&mut state, NAMES));
        let is_open = |crowd: &Crowd, id: Id| !crowd[id].is_closed;
        if random(&mut state, 3) == 0 {
            // Takes over from the publisher of the name, if there is one.
            let id = crowd.request_publish(&relay, &name, 4096);
            crowd.until("it is accepted or closed", |crowd| crowd[id].has_started || crowd[id].is_closed);
            publishers.push((id, 0));
        } else {
            let id = crowd.play(&relay, &name);
            if random(&mut state, 2) == 0 {
                crowd.until("it plays", |crowd| crowd[id].has_started || crowd[id].is_closed);
            }
            players.push(id);
        }
        for (id, sent) in &mut publishers {
            if !crowd[*id].has_started {
                continue;
            }
            let source = Source { key_every: 10, ..Source::small(1) };
            if *sent == 0 {
                crowd.send_headers(*id, &source);
            }
            crowd.send_frames(*id, &source, *sent..*sent + 5);
            *sent += 5;
        }
        publishers.retain(|&(id, _)| is_open(&crowd, id));
        players.retain(|&id| is_open(&crowd, id));
        if publishers.len() > MAX_CLIENTS || random(&mut state, 6) == 0 {
            take(&mut state, &mut publishers).into_iter().for_each(|(id, _)| crowd.reset(id));
        }
        if players.len() > MAX_CLIENTS || random(&mut state, 3) == 0 {
            take(&mut state, &mut players).into_iter().for_each(|id| crowd.reset(id));
        }
        if round % 20 == 0 {
            bystanders.go_on();
        }
    }
    publishers.into_iter().for_each(|(id, _)| crowd.reset(id));
    players.into_iter().for_each(|id| crowd.reset(id));
    // Afterwards every name can be published and played.
    for number in 0..NAMES {
        let (name, source) = (format!("churn/{number}"), Source::small(2));
        let publisher = crowd.publish(&relay, &name);
        crowd.send_headers(publisher, &source);
        crowd.send_frames(publisher, &source, 0..10);
        let player = crowd.play(&relay, &name);
        crowd.until_seen(&[player], 9);
    }
    bystanders.finish();
    relay.signal(Signal::TERM);
    let status = relay.expect_end(Duration::from_secs(60));
    assert!(status.success(), "{status}: {:?}", relay.log().last());
}

fn take<T>(state: &mut u64, from: &mut Vec<T>) -> Option<T> {
    (!from.is_empty()).then(|| from.swap_remove(random(state, from.len())))
}

fn random(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % below
}
