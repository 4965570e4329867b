//! Several streams published on one connection: an encoder with several bitrates sends each under its own name.

use fanfare::rtmp::command::Command;

use crate::crowd::{Crowd, Id};
use crate::frames::Source;
use crate::support::Relay;

/// An encoder that publishes `live/a` on message stream 1 and `live/b` on 2, frame 0 of each sent, and one player per
/// stream.
struct Stage {
    crowd: Crowd,
    encoder: Id,
    sources: [Source; 2],
    players: [Id; 2],
}

impl Stage {
    fn new(relay: &Relay) -> Stage {
        let mut crowd = Crowd::new();
        let sources = [Source::small(1), Source::small(2)];
        let players = ["live/a", "live/b"].map(|name| crowd.play_all(relay, name, 1)[0]);
        let encoder = crowd.publish(relay, "live/a");
        crowd.command(encoder, &Command::call("createStream", 7.0, []));
        publish_on(&mut crowd, encoder, 2, "b");
        let mut stage = Stage { crowd, encoder, sources, players };
        for (number, source) in [1, 2].into_iter().zip(&stage.sources) {
            for header in source.headers() {
                stage.crowd.send_on(encoder, number, &header);
            }
        }
        let count = stage.sources[0].headers().len();
        stage.crowd.until("headers at both players", |crowd| {
            players.iter().all(|&player| crowd[player].seen.len() == count)
        });
        stage.send([0, 0]);
        stage.until_seen([0, 0]);
        stage
    }

    /// Sends these frames, one per stream.
    fn send(&mut self, numbers: [u64; 2]) {
        for (index, number) in numbers.into_iter().enumerate() {
            let frame = self.sources[index].frame(number);
            self.crowd.send_on(self.encoder, index as u32 + 1, &frame);
        }
    }

    fn until_seen(&mut self, numbers: [u64; 2]) {
        for (player, number) in self.players.into_iter().zip(numbers) {
            self.crowd.until_seen(&[player], number);
        }
    }

    fn count_of_status(&self, code: &str) -> usize {
        self.crowd[self.encoder].statuses.iter().filter(|&status| status == code).count()
    }
}

fn publish_on(crowd: &mut Crowd, encoder: Id, message_stream_id: u32, key: &str) {
    let code = "NetStream.Publish.Start";
    let count = |crowd: &Crowd| crowd[encoder].statuses.iter().filter(|&status| status == code).count();
    let before = count(crowd);
    crowd.command_on(encoder, message_stream_id, &Command::call("publish", 0.0, [key.into()]));
    crowd.until("it publishes this stream as well", |crowd| count(crowd) > before);
}

#[test]
fn two_publishes_on_one_connection_are_two_streams_at_the_same_time() {
    let relay = Relay::start("");
    let mut stage = Stage::new(&relay);
    for number in 1..60 {
        stage.send([number, number]);
    }
    stage.until_seen([59, 59]);
    for (source, player) in stage.sources.iter().zip(stage.players) {
        source.assert_from_the_start("a player", &stage.crowd[player].seen, 0..60);
    }
    let late = ["live/a", "live/b"].map(|name| stage.crowd.play(&relay, name));
    stage.crowd.until("late players have a frame", |crowd| late.iter().all(|&id| crowd[id].last().is_some()));
    for (source, player) in stage.sources.iter().zip(late) {
        source.assert_headers("a late player", &stage.crowd[player].seen);
    }
}

#[test]
fn each_of_two_streams_ends_on_its_own() {
    let stops = [
        (0, Command::call("FCUnpublish", 0.0, ["b".into()])),
        (0, Command::call("deleteStream", 0.0, [2.0.into()])),
        (2, Command::call("closeStream", 0.0, [])),
        (2, Command::call("publish", 0.0, [false.into()])),
    ];
    let relay = Relay::start("publish.publisher_grace = '100ms'");
    for (on, stop) in stops {
        let mut stage = Stage::new(&relay);
        stage.crowd.command_on(stage.encoder, on, &stop);
        let [player, other] = stage.players;
        stage.crowd.until("the other stream's player is disconnected", |crowd| crowd[other].is_closed);
        for number in 1..10 {
            stage.send([number, number]);
        }
        stage.crowd.until_seen(&[player], 9);
        stage.sources[0].assert_from_the_start(&stop.name, &stage.crowd[player].seen, 0..10);
        assert_eq!(stage.count_of_status("NetStream.Unpublish.Success"), 1);
        stage.crowd.reset(stage.encoder);
        stage
            .crowd
            .until("the first stream's player is disconnected as well", |crowd| crowd[player].is_closed);
    }
}

#[test]
fn each_of_two_streams_is_refused_and_taken_over_on_its_own() {
    let relay = Relay::start("publish.on_second_publisher = 'takeover'");
    let mut stage = Stage::new(&relay);
    let [player, other] = stage.players;
    let taker = stage.crowd.publish(&relay, "live/b");
    stage.crowd.until("the encoder has lost one stream", |crowd| {
        crowd[stage.encoder].got_status("NetStream.Publish.BadName")
    });
    let third = Source { first_ms: 0, ..Source::small(3) };
    stage.crowd.send_headers(taker, &third);
    for number in 1..30 {
        stage.send([number, number]);
        stage.crowd.send(taker, &third.frame(number - 1));
    }
    stage.crowd.until_seen(&[player], 29);
    stage.crowd.until_seen(&[other], 28);
    stage.sources[0].assert_from_the_start("the first stream's player", &stage.crowd[player].seen, 0..30);
    assert!(!stage.crowd[stage.encoder].is_closed);
    // Without any stream left, it is disconnected.
    stage.crowd.publish(&relay, "live/a");
    stage.crowd.until("the encoder is disconnected", |crowd| crowd[stage.encoder].is_closed);
    assert_eq!(stage.count_of_status("NetStream.Publish.BadName"), 2);

    let relay = Relay::start("");
    let mut stage = Stage::new(&relay);
    stage.crowd.command_on(stage.encoder, 3, &Command::call("publish", 0.0, ["a".into()]));
    stage.crowd.until("the publish is refused", |crowd| {
        crowd[stage.encoder].got_status("NetStream.Publish.BadName")
    });
    stage.send([1, 1]);
    stage.until_seen([1, 1]);
}
