//! Requests of a player while it plays, and the relay's pings.

use fanfare::amf0::Value;
use fanfare::flv::FrameKind;
use fanfare::rtmp::command::Command;
use fanfare::rtmp::message::type_id;

use crate::crowd::{Crowd, Id};
use crate::frames::Source;
use crate::support::Relay;

/// A player, and another one to compare with, that have both received frame 0.
fn start(relay: &Relay, source: &Source) -> (Crowd, Id, Id, Id) {
    let mut crowd = Crowd::new();
    let players = crowd.play_all(relay, "live/a", 2);
    let publisher = crowd.publish(relay, "live/a");
    crowd.begin(publisher, source, &players);
    (crowd, publisher, players[0], players[1])
}

fn request(crowd: &mut Crowd, player: Id, name: &str, flag: bool) {
    crowd.command(player, &Command::call(name, 0.0, [Value::from(flag)]));
    crowd.round_trip(player);
}

#[test]
fn a_paused_player_gets_nothing_and_goes_on_at_the_newest_key_frame() {
    let (relay, source) = (Relay::start(""), Source::small(1));
    let (mut crowd, publisher, player, witness) = start(&relay, &source);
    crowd.send_frames(publisher, &source, 1..30);
    crowd.until_seen(&[player, witness], 29);
    request(&mut crowd, player, "pause", true);
    assert!(crowd[player].got_status("NetStream.Pause.Notify"));
    crowd.send_frames(publisher, &source, 30..130);
    crowd.until_seen(&[witness], 129);
    crowd.round_trip(player);
    assert_eq!(crowd[player].last(), Some(29), "it got frames while it was paused");
    request(&mut crowd, player, "pause", false);
    assert!(crowd[player].got_status("NetStream.Unpause.Notify"));
    crowd.send_frames(publisher, &source, 130..150);
    crowd.until_seen(&[player, witness], 149);
    let numbered: Vec<_> =
        crowd[player].seen.iter().filter(|seen| seen.number().is_some()).cloned().collect();
    source.assert_run("the player", &numbered, (0..30).chain(100..150));
    source.assert_from_the_start("the witness", &crowd[witness].seen, 0..150);
}

#[test]
fn a_player_without_audio_gets_every_video_frame_and_then_audio_again() {
    let (relay, source) = (Relay::start(""), Source::small(1));
    let (mut crowd, publisher, player, witness) = start(&relay, &source);
    request(&mut crowd, player, "receiveAudio", false);
    crowd.send_frames(publisher, &source, 1..31);
    crowd.until_seen(&[player, witness], 30);
    request(&mut crowd, player, "receiveAudio", true);
    crowd.send_frames(publisher, &source, 31..61);
    crowd.until_seen(&[player, witness], 60);
    let rest = source.assert_headers("the player", &crowd[player].seen);
    let without_audio = (0..31).filter(|&number| source.kind(number) == FrameKind::Video);
    source.assert_run("the player", rest, without_audio.chain(31..61));
    source.assert_from_the_start("the witness", &crowd[witness].seen, 0..61);
}

#[test]
fn a_player_without_video_gets_all_audio_and_video_again_from_a_key_frame_on() {
    let (relay, source) = (Relay::start(""), Source::small(1));
    let (mut crowd, publisher, player, witness) = start(&relay, &source);
    request(&mut crowd, player, "receiveVideo", false);
    crowd.send_frames(publisher, &source, 1..32);
    crowd.until_seen(&[player, witness], 31);
    request(&mut crowd, player, "receiveVideo", true);
    crowd.send_frames(publisher, &source, 32..80);
    crowd.until_seen(&[player, witness], 79);
    let rest = source.assert_headers("the player", &crowd[player].seen);
    let audio = (1..50).filter(|&number| source.kind(number) == FrameKind::Audio);
    source.assert_run("the player", rest, (0..1).chain(audio).chain(50..80));
    source.assert_from_the_start("the witness", &crowd[witness].seen, 0..80);
}

#[test]
fn a_player_that_sends_nothing_is_pinged_at_each_interval() {
    let relay = Relay::start("play.ping_interval = '1s'");
    let mut crowd = Crowd::new();
    let player = crowd.play(&relay, "live/a");
    crowd.tap(player);
    crowd.until("it plays", |crowd| crowd[player].has_started);
    let pings = |crowd: &Crowd| {
        crowd[player].received(type_id::USER_CONTROL).iter().filter(|body| body.starts_with(&[0, 6])).count()
    };
    assert_eq!(pings(&crowd), 0);
    crowd.until("two PingRequests", |crowd| pings(crowd) >= 2);
}
