//! Publishers that die, hang and come back; players that wait; a relay that stops.

use std::time::Duration;

use crate::support::{
    Clip, Player, Process, Publisher, Recording, Relay, SOON, Signal, assert_gap_free, eventually, packets,
    play_without_output,
};

#[test]
fn a_publisher_that_was_killed_and_comes_back_within_the_grace_keeps_its_players() {
    let relay = Relay::start("publish.publisher_grace = '5s'");
    let (one, two) = (Clip::AUDIO_VIDEO.seconds(20), Clip::OTHER.seconds(3));
    let players = Player::ALL.map(|player| player.record(&relay, NAME));
    relay.wait_for_players(NAME, players.len());
    let first = Publisher::Ffmpeg.publish(&relay, &one.file(), NAME);
    expect_to_stay_over_a_change_of_publisher(&relay, players.into(), first, &one, &two);
}

/// Kills the first publisher once all players have received something of it, and starts a second one.
pub fn expect_to_stay_over_a_change_of_publisher(
    relay: &Relay,
    players: Vec<Recording>,
    first: Process,
    one: &Clip,
    two: &Clip,
) {
    for player in &players {
        player.wait_for_bytes(one.size() / 10, SOON);
    }

    first.signal(Signal::KILL);
    relay.wait_for_publisher_gone(NAME);
    let mut second = Publisher::Ffmpeg.publish(relay, &two.file(), NAME);
    second.expect_success(two.duration() + SOON);

    for player in players {
        player.expect_change_of_publisher(one, two);
    }
}

#[test]
fn a_publisher_that_falls_silent_gives_way_to_a_second_one() {
    let relay = Relay::start("publish = { takeover_after = '1s', publisher_grace = '2s' }");
    let (one, two) = (Clip::AUDIO_VIDEO.seconds(20), Clip::OTHER.seconds(3));
    let player = Player::Rtmpdump.record(&relay, NAME);
    let mut first = Publisher::Ffmpeg.publish(&relay, &one.file(), NAME);
    player.wait_for_bytes(one.size() / 10, SOON);

    first.signal(Signal::STOP);
    // The second one is refused until the first has been silent for long enough; encoders retry.
    eventually("the second publisher is accepted", SOON, || {
        let mut second = Publisher::Ffmpeg.publish(&relay, &two.file(), NAME);
        second.expect_end(two.duration() + SOON).success().then_some(())
    });

    player.expect_change_of_publisher(&one, &two);
    // When it continues, its connection is closed.
    first.signal(Signal::CONT);
    assert!(!first.expect_end(SOON).success(), "{}", first.output());
}

#[test]
fn players_of_an_unpublished_name_are_notified_and_end() {
    let relay = Relay::start("play.wait_for_publisher = '1s'");
    let players = Player::ALL.map(|player| player.record(&relay, NAME));
    for mut recording in players {
        recording.process.expect_end(SOON);
        // Some clients write a header or a data message by themselves.
        assert!(recording.size() < 100, "{:?} got something", recording.player);
    }
    let mut ffplay = play_without_output("ffplay", &relay, NAME);
    ffplay.expect_end(SOON);
}

#[test]
fn sigterm_ends_players_cleanly_and_the_relay_exits() {
    let mut relay = Relay::start("");
    let clip = Clip::AUDIO_VIDEO.seconds(20);
    let players = Player::ALL.map(|player| player.record(&relay, NAME));
    relay.wait_for_players(NAME, players.len());
    let mut publisher = Publisher::Ffmpeg.publish(&relay, &clip.file(), NAME);
    for recording in &players {
        recording.wait_for_bytes(clip.size() / 10, SOON);
    }

    relay.signal(Signal::TERM);
    let status = relay.expect_end(SHUTDOWN_TIMEOUT + SOON);
    assert!(status.success(), "the relay exited with {status}");
    let published = packets(&clip.file());
    for recording in players {
        let player = format!("{:?}", recording.player);
        assert_gap_free(&player, &published, &recording.finish(SOON));
    }
    publisher.expect_end(SOON);
}

#[test]
fn a_player_that_is_killed_harms_no_other_and_the_relay_keeps_nothing_of_it() {
    let mut relay = Relay::start("publish.publisher_grace = '500ms'");
    let sockets = relay.open_sockets();
    let clip = Clip::AUDIO_VIDEO;
    let stays = Player::Rtmpdump.record(&relay, NAME);
    let leaves =
        [Player::Rtmpdump, Player::Ffmpeg, Player::Rtmp2src].map(|player| player.record(&relay, NAME));
    relay.wait_for_players(NAME, 1 + leaves.len());
    let mut publisher = Publisher::Ffmpeg.publish(&relay, &clip.file(), NAME);
    stays.wait_for_bytes(clip.size() / 4, SOON);
    for recording in leaves {
        recording.process.signal(Signal::KILL);
    }

    publisher.expect_success(clip.duration() + SOON);
    let published = packets(&clip.file());
    let recorded = stays.finish(SOON);
    assert_gap_free("the player that stays", &published, &recorded);
    assert_eq!(recorded.len(), published.len());
    relay.expect_running();
    eventually("the relay has closed all connections", SOON, || {
        (relay.open_sockets() <= sockets).then_some(())
    });
}

#[test]
fn a_second_signal_ends_the_relay_at_once() {
    let mut relay = Relay::start("shutdown_timeout = '1m'");
    let player = play_without_output("ffplay", &relay, NAME);
    relay.wait_for_players(NAME, 1);
    // A stopped player neither reads nor closes.
    player.signal(Signal::STOP);
    relay.signal(Signal::TERM);
    relay.wait_for_log(&["SIGTERM"]);
    relay.signal(Signal::TERM);
    relay.expect_end(SOON);
}

const NAME: &str = "live/stream";

/// The default of `shutdown_timeout`.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
