//! Publishers of several programs: what they send, and how they are refused and taken over.

use crate::support::{Clip, Player, Publisher, Relay, SOON, assert_gap_free, packets};

#[test]
fn gstreamer_rtmp2sink_publishes_and_players_lose_nothing() {
    gstreamer_publishes(Publisher::Rtmp2sink);
}

#[test]
fn gstreamer_rtmpsink_publishes_and_players_lose_nothing() {
    gstreamer_publishes(Publisher::Rtmpsink);
}

fn gstreamer_publishes(publisher: Publisher) {
    let relay = Relay::start("publish.publisher_grace = '500ms'");
    let clip = Clip::AUDIO_VIDEO.seconds(3);
    let players =
        [Player::Rtmpdump, Player::Ffmpeg, Player::Rtmp2src].map(|player| player.record(&relay, NAME));
    relay.wait_for_players(NAME, players.len());

    let mut process = publisher.publish(&relay, &clip.file(), NAME);
    process.expect_success(clip.duration() + SOON);

    let published = packets(&publisher.sent_file(&relay));
    assert_eq!(published.len(), packets(&clip.file()).len(), "GStreamer has sent all");
    for recording in players {
        let player = format!("{:?}", recording.player);
        let recorded = recording.finish(SOON);
        assert_gap_free(&player, &published, &recorded);
        assert_eq!(recorded.len(), published.len(), "{player} misses packets at the start or the end");
    }
}

#[test]
fn every_second_publisher_is_refused_and_the_first_goes_on_unharmed() {
    let mut relay = Relay::start("publish.publisher_grace = '500ms'");
    let clip = Clip::AUDIO_VIDEO;
    let player = Player::Rtmpdump.record(&relay, NAME);
    let mut first = Publisher::Ffmpeg.publish(&relay, &clip.file(), NAME);
    relay.wait_for_publisher(NAME);

    let other = Clip::OTHER.seconds(3).file();
    for publisher in [Publisher::Ffmpeg, Publisher::Rtmpsink, Publisher::Rtmp2sink] {
        let mut second = publisher.publish(&relay, &other, NAME);
        let status = second.expect_end(SOON);
        assert!(!status.success(), "{publisher:?} was not notified: {}", second.output());
    }

    first.expect_success(clip.duration() + SOON);
    let published = packets(&clip.file());
    let recorded = player.finish(SOON);
    assert_gap_free("rtmpdump", &published, &recorded);
    assert_eq!(recorded.len(), published.len());
    relay.expect_running();
}

#[test]
fn with_takeover_the_second_publisher_gets_the_name_and_players_go_on() {
    let relay = Relay::start("publish = { on_second_publisher = 'takeover', publisher_grace = '500ms' }");
    let (one, two) = (Clip::AUDIO_VIDEO.seconds(20), Clip::OTHER.seconds(3));
    let player = Player::Rtmpdump.record(&relay, NAME);
    let mut first = Publisher::Ffmpeg.publish(&relay, &one.file(), NAME);
    player.wait_for_bytes(one.size() / 10, SOON);

    let mut second = Publisher::Ffmpeg.publish(&relay, &two.file(), NAME);
    assert!(!first.expect_end(SOON).success(), "the first was not disconnected: {}", first.output());
    second.expect_success(two.duration() + SOON);

    player.expect_change_of_publisher(&one, &two);
}

const NAME: &str = "live/stream";
