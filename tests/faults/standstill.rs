//! A machine that swaps, a debugger, a virtual machine that is migrated: all clocks go on, the relay does not. While it
//! stands still it can neither receive nor send, and no peer is to blame for that.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use fanfare::rtmp::handshake::PACKET_LEN;

use crate::crowd::{Crowd, Id};
use crate::frames::Source;
use crate::support::{Relay, Signal};

/// Longer than each of the limits below, and than each default that counts against a publisher.
const STANDSTILL: Duration = Duration::from_secs(17);
const ROUNDS: usize = 3;
const ENCODERS: usize = 40;
const PLAYERS_EACH: usize = 2;
/// What an encoder sends at a time: 40 ms of audio and video.
const FRAMES_AT_A_TIME: u64 = 2;

struct Encoder {
    id: Id,
    source: Source,
    players: Vec<Id>,
}

#[test]
fn a_standstill_longer_than_every_limit_costs_no_frame_and_no_connection() {
    let mut relay = Relay::start(
        "play.wait_for_publisher = '10s'\nlimits = { request_timeout = '10s', handshake_timeout = '10s' }",
    );
    let mut crowd = Crowd::new();
    let encoders: Vec<Encoder> = (0..ENCODERS)
        .map(|number| {
            let name = format!("live/{number}");
            let source = Source::small(number as u32 + 1);
            let players = crowd.play_all(&relay, &name, PLAYERS_EACH);
            let id = crowd.publish(&relay, &name);
            crowd.begin(id, &source, &players);
            Encoder { id, source, players }
        })
        .collect();
    // The player of this one stops reading at times: frames wait for it in the relay.
    let large = Source { bytes: 20_000, ..Source::new(1_000) };
    let slow = crowd.play_with_buffer(&relay, "live/large", 4 << 10);
    let publisher = crowd.publish(&relay, "live/large");
    crowd.begin(publisher, &large, &[slow]);
    let large = Encoder { id: publisher, source: large, players: vec![slow] };

    let mut sent = 1;
    for round in 0..ROUNDS {
        serve_for(&mut crowd, &encoders, &large, Duration::from_secs(1), &mut sent);
        crowd[slow].may_read = 0;
        serve_for(&mut crowd, &encoders, &large, Duration::from_secs(2), &mut sent);
        // Their timeouts begin now, and are shorter than the standstill.
        let waiting = crowd.play_all(&relay, "live/unpublished", 1)[0];
        let mut silent = std::net::TcpStream::connect(relay.address()).unwrap();
        let handshake: Vec<u8> = [&[3][..], &[0; 2 * PACKET_LEN]].concat();
        silent.write_all(&handshake[..100]).unwrap();
        // Without waiting for players: frames are in flight everywhere.
        send(&mut crowd, &encoders, &large, &mut sent);
        relay.signal(Signal::STOP);
        serve_for(&mut crowd, &encoders, &large, STANDSTILL, &mut sent);
        // Other publishers request each name; their requests are the first to be read afterwards.
        let others: Vec<Id> = (0..ENCODERS)
            .map(|number| crowd.request_publish(&relay, &format!("live/{number}"), 4096))
            .collect();
        crowd[slow].may_read = usize::MAX;
        relay.signal(Signal::CONT);
        serve_for(&mut crowd, &encoders, &large, Duration::from_secs(1), &mut sent);
        for encoder in encoders.iter().chain([&large]) {
            crowd.until_seen(&encoder.players, sent - 1);
            assert!(!crowd[encoder.id].is_closed, "round {round}: an encoder was disconnected");
        }
        assert!(!crowd[waiting].is_closed, "round {round}: the standstill counted against a waiting player");
        silent.write_all(&handshake[100..]).expect("the handshake goes on");
        crowd.until("other publishers are refused", |crowd| others.iter().all(|&id| crowd[id].is_closed));
        assert!(others.iter().all(|&id| !crowd[id].has_started), "round {round}: a name was taken over");
    }
    for Encoder { source, players, .. } in encoders.iter().chain([&large]) {
        for &player in players {
            source.assert_from_the_start("a player", &crowd[player].seen, 0..sent);
        }
    }
    assert_eq!(relay.log().iter().filter(|line| line.contains("publish ended")).count(), 0);
    relay.expect_running();
}

/// Encoders send at their pace, whether or not the relay reads.
fn serve_for(crowd: &mut Crowd, encoders: &[Encoder], large: &Encoder, time: Duration, sent: &mut u64) {
    let began = Instant::now();
    let step = Duration::from_millis(20 * FRAMES_AT_A_TIME);
    let mut steps = 0;
    while began.elapsed() < time {
        if began.elapsed() >= step * steps {
            send(crowd, encoders, large, sent);
            steps += 1;
        }
        crowd.serve_for(Duration::from_millis(5));
    }
}

fn send(crowd: &mut Crowd, encoders: &[Encoder], large: &Encoder, sent: &mut u64) {
    let frames = *sent..*sent + FRAMES_AT_A_TIME;
    for encoder in encoders.iter().chain([large]) {
        crowd.send_frames(encoder.id, &encoder.source, frames.clone());
    }
    *sent = frames.end;
}
