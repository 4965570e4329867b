//! Players of one core against a real log, without a socket: what they would be sent, byte for byte.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::stream::Wire;
use crate::stream::{
    Publication, Registry, Retention,
    tests::{
        audio, audio_header, data, inter_frame, key_frame, marks, metadata, publisher, registry,
        registry_with, video_header,
    },
};

const NAME: &str = "live/s";

struct Bench {
    registry: Arc<Registry>,
    hub: Hub,
    now_ms: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with(registry(1))
    }

    fn with(registry: Arc<Registry>) -> Self {
        let policy = Policy {
            max_lag: Duration::from_secs(5),
            play_wait: Duration::from_secs(30),
            publisher_grace: Duration::from_secs(10),
        };
        Self { hub: Hub::new(0, registry.clone(), policy), registry, now_ms: 1_000 }
    }

    fn publish(&self) -> Publication {
        self.registry.publish(NAME, publisher(1), self.now_ms).expect("the name is free")
    }

    fn join(&mut self, start: Start) -> PlayerKey {
        self.hub.join(7, NAME, Wire::Rtmp, start, self.now_ms)
    }

    /// All that is due to the player, taken at once.
    fn drain(&mut self, player: PlayerKey) -> String {
        marks(&self.drain_bytes(player))
    }

    fn drain_bytes(&mut self, player: PlayerKey) -> Vec<u8> {
        self.grow();
        let mut out = Vec::new();
        while let Some(batch) = self.hub.next_batch(player, false, self.now_ms) {
            out.extend_from_slice(batch.bytes());
            self.hub.sent(player, batch.bytes().len(), true);
        }
        out
    }

    /// The one send that a pass gives the player.
    fn take(&mut self, player: PlayerKey) -> String {
        let batch = self.hub.next_batch(player, false, self.now_ms);
        batch.map_or_else(String::new, |batch| {
            self.hub.sent(player, batch.bytes().len(), true);
            marks(batch.bytes())
        })
    }

    /// As after the core's signal.
    fn grow(&mut self) {
        self.hub.grown(0, 1, &mut Vec::new());
    }

    fn ended(&self) -> Vec<(usize, Ended)> {
        let mut ended = Vec::new();
        self.hub.expire(self.now_ms, &mut ended);
        ended
    }
}

fn headers(publication: &mut Publication) {
    for frame in [metadata("M "), video_header("V "), audio_header("A ")] {
        publication.append(frame, 1_000);
    }
}

#[test]
fn a_player_that_waited_gets_the_stream_from_its_first_message() {
    let mut bench = Bench::new();
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "");
    let mut publication = bench.publish();
    headers(&mut publication);
    assert_eq!(bench.drain(player), "M V A ");
    publication.append(audio(0, "a0 "), 1_000);
    publication.append(key_frame(0, "K0 "), 1_000);
    assert_eq!(bench.drain(player), "a0 K0 ");
}

#[test]
fn a_player_that_waited_gets_the_sound_ahead_of_the_first_picture_however_late_its_core_looks() {
    let mut bench = Bench::new();
    let waited = bench.join(Start::KeyFrame);
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append(audio(0, "a0 "), 1_000);
    // A key frame that opens a segment of its own.
    let large = format!("K0 {}", "x".repeat(100 << 10));
    publication.append(key_frame(7, &large), 1_000);
    let late = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(waited), format!("M V A a0 {large}"));
    assert_eq!(bench.drain(late), format!("M V A {large}"));
}

#[test]
fn a_late_player_starts_at_the_newest_key_frame_with_the_headers() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    headers(&mut publication);
    for frame in [key_frame(0, "K0 "), inter_frame(40, "i1 "), key_frame(80, "K2 "), inter_frame(120, "i3 ")]
    {
        publication.append(frame, 1_000);
    }
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "M V A K2 i3 ");
    publication.append(audio(130, "a4 "), 1_000);
    assert_eq!(bench.drain(player), "a4 ");
}

#[test]
fn a_live_player_starts_at_the_next_key_frame() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append(key_frame(0, "K0 "), 1_000);
    let player = bench.join(Start::Live);
    publication.append(inter_frame(40, "i1 "), 1_000);
    assert_eq!(bench.drain(player), "");
    publication.append(key_frame(80, "K2 "), 1_000);
    assert_eq!(bench.drain(player), "M V A K2 ");
}

#[test]
fn an_audio_only_stream_starts_at_once_with_its_last_second() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    publication.append(audio_header("A "), 1_000);
    for i in 0..2_000 {
        publication.append(audio(i * 20, "s "), 1_000 + u64::from(i) * 20);
    }
    bench.now_ms = 41_000;
    for start in [Start::KeyFrame, Start::Live] {
        let player = bench.join(start);
        let first = bench.drain(player);
        let sounds = first.strip_prefix("A ").expect("the header comes first").matches("s ").count();
        assert!((1..=51).contains(&sounds), "{sounds} sounds");
        publication.append(audio(40_000, "s "), 41_000);
        assert_eq!(bench.drain(player), "s ");
        bench.hub.leave(player);
    }
}

#[test]
fn players_that_wait_get_the_first_sound_of_a_stream_without_pictures() {
    let mut bench = Bench::new();
    let player = bench.join(Start::KeyFrame);
    let mut publication = bench.publish();
    publication.append(audio_header("A "), 1_000);
    for i in 0..3 {
        publication.append(audio(i * 20, &format!("a{i} ")), 1_000);
    }
    assert_eq!(bench.drain(player), "A a0 a1 a2 ");
}

#[test]
fn pictures_that_come_behind_the_sound_begin_with_a_key_frame() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    publication.append(audio_header("A "), 1_000);
    publication.append(audio(0, "a0 "), 1_000);
    publication.append(inter_frame(0, "lost "), 1_000);
    publication.append(video_header("V "), 1_000);
    let early = bench.join(Start::KeyFrame);
    publication.append(audio(20, "a1 "), 1_000);
    publication.append(key_frame(20, "K1 "), 1_000);
    let late = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(late), "V A K1 ");
    assert_eq!(bench.drain(early), "V A K1 ", "looked at only now");
}

#[test]
fn a_stream_whose_pictures_never_begin_is_watched_for_its_sound() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    headers(&mut publication);
    for i in 0..1_000 {
        publication.append(audio(i * 20, "a "), 1_000 + u64::from(i) * 20);
        publication.append(inter_frame(i * 20, "lost "), 1_000 + u64::from(i) * 20);
    }
    bench.now_ms = 21_000;
    let player = bench.join(Start::KeyFrame);
    let first = bench.drain(player);
    assert!(first.starts_with("M V A a a ") && first.len() < 200, "{first}");
}

#[test]
fn an_encoder_that_comes_back_without_pictures_is_joined_for_its_sound() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append(key_frame(0, "K0 "), 1_000);
    drop(publication);
    let player = bench.join(Start::KeyFrame);
    let mut publication = bench.publish();
    publication.append(audio_header("A "), 2_000);
    for i in 0..100 {
        publication.append(audio(i * 20, "a "), 2_000 + u64::from(i) * 20);
    }
    assert!(bench.drain(player).starts_with("A a a "));
    publication.append(video_header("V "), 4_000);
    assert_eq!(bench.drain(player), "V ", "known to players of the publisher before, but not to this one");
}

#[test]
fn a_stream_of_data_alone_can_be_joined_at_any_time() {
    let mut bench = Bench::with(registry_with(1, Retention { buffer_bytes: 1 << 20, keep_ms: 5_000 }));
    let mut publication = bench.publish();
    publication.append(metadata("M "), 1_000);
    for i in 0..2_000 {
        publication.append(data(i * 1_000, &"d".repeat(1_000)), 1_000 + u64::from(i) * 1_000);
    }
    let player = bench.join(Start::KeyFrame);
    assert!(bench.drain(player).starts_with("M dddd"));
}

#[test]
fn video_that_has_stopped_keeps_nobody_from_the_sound() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append(key_frame(0, "K0 "), 1_000);
    for i in 1..=500 {
        publication.append(audio(i * 20, "old "), 1_000 + u64::from(i) * 20);
    }
    let player = bench.join(Start::KeyFrame);
    let first = bench.drain(player);
    assert!(first.starts_with("M V A old ") && first.len() < 250, "no further back than a second: {first}");
    publication.append(audio(10_020, "a1 "), 11_020);
    assert_eq!(bench.drain(player), "a1 ");
    publication.append(key_frame(10_040, "K1 "), 11_040);
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "M V A K1 ", "and when it comes back, players begin with it");
}

#[test]
fn who_joins_between_two_headers_of_an_encoder_that_came_back_gets_both() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append(key_frame(0, "K0 "), 1_000);
    let keeper = bench.join(Start::KeyFrame);
    drop(publication);
    let mut publication = bench.publish();
    publication.append(video_header("V "), 1_000);
    publication.append(key_frame(0, "K1 "), 1_000);
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "V K1 ");
    publication.append(audio_header("A "), 1_000);
    publication.append(audio(20, "a2 "), 1_000);
    assert_eq!(bench.drain(player), "A a2 ");
    bench.hub.leave(keeper);
}

#[test]
fn who_joins_sound_right_behind_a_changed_header_has_it() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    publication.append(audio_header("A "), 1_000);
    publication.append(audio(0, "a0 "), 1_000);
    publication.append(audio_header("B "), 1_000);
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "A a0 B ");
    publication.append(audio(20, "a1 "), 1_000);
    assert_eq!(bench.drain(player), "a1 ");
}

#[test]
fn a_player_that_lags_is_moved_to_the_newest_key_frame_between_two_messages() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append(key_frame(0, "K0 "), 1_000);
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "M V A K0 ");
    publication.append(inter_frame(40, "i1-half-sent "), 1_040);
    publication.append(inter_frame(80, "i2 "), 1_080);
    bench.grow();
    let batch = bench.hub.next_batch(player, false, 1_080).expect("two frames are due");
    assert_eq!(marks(batch.bytes()), "i1halfsent i2 ");
    bench.hub.sent(player, 8, false);
    assert!(!bench.hub.is_at_boundary(player));
    publication.append(key_frame(6_000, "K3 "), 7_000);
    publication.append(inter_frame(6_040, "i4 "), 7_040);
    bench.now_ms = 7_040;
    assert_eq!(bench.drain(player), "halfsent K3 i4 ", "the message is finished, i2 is passed over");
    assert_eq!(bench.hub.skips(), 1);
}

#[test]
fn a_core_whose_clock_is_a_little_behind_the_publishers_takes_nobody_for_lagging() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    publication.append(key_frame(0, "K0 "), bench.now_ms + 3);
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "K0 ");
    for frame in [inter_frame(40, "i1 "), key_frame(80, "K2 ")] {
        publication.append(frame, bench.now_ms + 3);
    }
    assert_eq!(bench.drain(player), "i1 K2 ");
}

#[test]
fn a_player_that_lags_within_one_group_of_pictures_stays_where_it_is() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    publication.append(key_frame(0, "K0 "), 1_000);
    publication.append(inter_frame(40, "i1 "), 1_040);
    let player = bench.join(Start::KeyFrame);
    bench.now_ms = 20_000;
    assert_eq!(bench.drain(player), "K0 i1 ");
    assert_eq!(bench.hub.skips(), 0);
}

#[test]
fn headers_go_out_with_a_skip_only_if_they_changed() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append(key_frame(0, "K0 "), 1_000);
    let player = bench.join(Start::KeyFrame);
    bench.drain(player);
    publication.append(inter_frame(40, "i1 "), 1_040);
    publication.append(video_header("W "), 6_000);
    publication.append(key_frame(6_000, "K2 "), 6_100);
    bench.now_ms = 6_100;
    assert_eq!(bench.drain(player), "M W A K2 ");
}

#[test]
fn a_player_that_has_fallen_out_of_the_log_goes_on_at_the_newest_key_frame() {
    let mut bench = Bench::with(registry_with(1, Retention { buffer_bytes: 1 << 20, keep_ms: 5_000 }));
    let mut publication = bench.publish();
    publication.append(key_frame(0, "K0 "), 1_000);
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "K0 ");
    let large = "x".repeat(100_000);
    for i in 0..100 {
        publication.append(inter_frame(i, &large), 1_000);
    }
    publication.append(key_frame(200, "K1 "), 1_000);
    assert_eq!(bench.drain(player), "K1 ");
}

#[test]
fn a_player_whose_segment_was_the_last_to_go_misses_nothing() {
    let mut bench = Bench::with(registry_with(1, Retention { buffer_bytes: 1 << 30, keep_ms: 0 }));
    let mut publication = bench.publish();
    publication.append(key_frame(0, "K0 "), 1_000);
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "K0 ");
    let first = bench.hub.stream(player).log(Wire::Rtmp).newest().expect("there is a message").sequence;
    let mut expected = String::new();
    for i in 1..u32::MAX {
        let mark = format!("K{i} ");
        publication.append(key_frame(i, &mark), 1_000 + u64::from(i));
        expected += &mark;
        if bench.hub.stream(player).log(Wire::Rtmp).oldest() > first {
            break;
        }
    }
    assert_eq!(bench.hub.stream(player).log(Wire::Rtmp).oldest(), first + 1);
    assert_eq!(bench.drain(player), expected);
    assert_eq!(bench.hub.skips(), 0);
}

#[test]
fn a_core_holds_what_its_players_stand_in_and_nothing_else_that_is_retired() {
    let mut bench = Bench::with(registry_with(1, Retention { buffer_bytes: 1 << 20, keep_ms: 0 }));
    let mut publication = bench.publish();
    publication.append(key_frame(0, "K0 "), 1_000);
    let [stalled, quick] = [(); 2].map(|()| bench.join(Start::KeyFrame));
    assert_eq!([bench.drain(quick), bench.drain(stalled)], ["K0 ", "K0 "]);
    let large = "x".repeat(60_000);
    let mut segments = Vec::new();
    for i in 1..200 {
        publication.append(key_frame(i * 1_000, &large), 1_000 + u64::from(i) * 1_000);
        bench.now_ms = 1_000 + u64::from(i) * 1_000;
        bench.drain(quick);
        segments.push(Arc::downgrade(
            &bench.hub.stream(quick).log(Wire::Rtmp).newest().expect("there is a message"),
        ));
    }
    segments.dedup_by(|a, b| a.ptr_eq(b));
    assert!(segments.len() > 20);
    let held = segments.iter().filter(|segment| segment.strong_count() > 0).count();
    assert!(held <= 4, "{held} segments: the stalled player's, the newest, and what is still young");
    bench.hub.leave(stalled);
}

#[test]
fn a_player_that_has_begun_at_a_key_frame_stands_between_two_messages() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append(key_frame(0, "K0 "), 1_000);
    let player = bench.join(Start::KeyFrame);
    let preamble = bench.hub.next_batch(player, false, 1_000).expect("the headers are due");
    assert_eq!(marks(preamble.bytes()), "M V A ");
    bench.hub.sent(player, preamble.bytes().len(), true);
    assert!(bench.hub.is_at_boundary(player));
}

#[test]
fn a_player_on_another_core_misses_nothing_while_the_log_grows() {
    // Fewer than the log keeps: a player that fell out would rightly miss some.
    const FRAMES: u32 = 100_000;
    // All fits: a reader that the machine holds up must not fall out of the log, where no key frame would follow.
    let mut bench = Bench::with(registry_with(1, Retention { buffer_bytes: 1 << 30, keep_ms: 5_000 }));
    let mut publication = bench.publish();
    publication.append(key_frame(0, "0 "), 1_000);
    let player = bench.join(Start::KeyFrame);
    let writer = std::thread::spawn(move || {
        for i in 1..FRAMES {
            publication.append(inter_frame(0, &format!("{i} ")), 1_000);
        }
        publication
    });
    let mut next = 0;
    while next < FRAMES {
        for mark in bench.drain(player).split_whitespace() {
            assert_eq!(mark.parse(), Ok(next));
            next += 1;
        }
    }
    writer.join().expect("the writer does not panic");
}

#[test]
fn a_group_of_pictures_larger_than_the_buffer_makes_joiners_wait_for_the_next_key_frame() {
    let mut bench = Bench::with(registry_with(1, Retention { buffer_bytes: 1 << 20, keep_ms: 5_000 }));
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append(key_frame(0, "K0 "), 1_000);
    let large = "x".repeat(100_000);
    for i in 0..100 {
        publication.append(inter_frame(i, &large), 1_000);
    }
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "");
    publication.append(key_frame(200, "K1 "), 1_000);
    assert_eq!(bench.drain(player), "M V A K1 ");
}

#[test]
fn every_byte_arrives_in_order_however_little_each_send_takes() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    let player = bench.join(Start::KeyFrame);
    let mut expected = String::new();
    let mut received = Vec::new();
    for i in 0..5_000u32 {
        let mark = format!("{}{i} ", "p".repeat((i as usize * 31) % 300));
        expected += &mark;
        let frame = if i % 50 == 0 { key_frame(i, &mark) } else { inter_frame(i, &mark) };
        publication.append(frame, 1_000);
        if i % 7 == 0 {
            bench.grow();
            if let Some(batch) = bench.hub.next_batch(player, false, 1_000) {
                let n = batch.bytes().len().min(1 + (i as usize * 97) % 4_000);
                received.extend_from_slice(&batch.bytes()[..n]);
                bench.hub.sent(player, n, n == batch.bytes().len());
            }
        }
    }
    received.extend(bench.drain_bytes(player));
    assert_eq!(marks(&received), expected);
}

#[test]
fn a_batch_is_whole_messages_up_to_its_bound() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    let player = bench.join(Start::KeyFrame);
    publication.append(key_frame(0, &"x".repeat(300_000)), 1_000);
    for i in 1..40 {
        publication.append(inter_frame(i, &"y".repeat(30_000 - 5)), 1_000);
    }
    bench.grow();
    let mut lens = Vec::new();
    while let Some(batch) = bench.hub.next_batch(player, false, 1_000) {
        lens.push(batch.bytes().len());
        bench.hub.sent(player, batch.bytes().len(), true);
        assert!(bench.hub.is_at_boundary(player));
    }
    assert_eq!(lens[0], 300_005, "a message larger than the bound goes alone");
    assert!(lens[1..].iter().all(|len| len % 30_000 == 0 && *len <= 256 << 10), "{lens:?}");
}

#[test]
fn an_encoder_that_comes_back_goes_on_at_its_key_frame_and_repeats_no_header() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append(key_frame(0, "K0 "), 1_000);
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "M V A K0 ");
    drop(publication);
    bench.now_ms = 9_000;
    assert_eq!(bench.ended(), []);
    let newcomer = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(newcomer), "", "old pictures are not shown to newcomers");
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append(inter_frame(0, "lost "), 9_000);
    publication.append(audio(0, "a1 "), 9_000);
    publication.append(key_frame(40, "K1 "), 9_000);
    assert_eq!(bench.drain(player), "a1 K1 ");
    assert_eq!(bench.drain(newcomer), "M V A K1 ");
    drop(publication);
    let mut publication = bench.publish();
    publication.append(metadata("N "), 9_000);
    publication.append(key_frame(0, "K2 "), 9_000);
    assert_eq!(bench.drain(player), "N K2 ", "changed metadata goes out again");
}

#[test]
fn players_are_ended_after_the_grace_and_not_before() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    publication.append(key_frame(0, "K0 "), 1_000);
    let player = bench.join(Start::KeyFrame);
    bench.drain(player);
    drop(publication);
    bench.now_ms = 10_999;
    assert_eq!(bench.ended(), []);
    bench.now_ms = 11_000;
    assert_eq!(bench.ended(), [(7, Ended::Unpublished)]);
}

#[test]
fn a_player_that_has_not_all_yet_is_ended_a_little_later() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    publication.append(key_frame(0, "K0 "), 1_000);
    let player = bench.join(Start::KeyFrame);
    bench.drain(player);
    publication.append(inter_frame(40, "i1 "), 1_000);
    drop(publication);
    bench.now_ms = 11_000;
    assert_eq!(bench.ended(), []);
    bench.now_ms = 16_000;
    assert_eq!(bench.ended(), [(7, Ended::Unpublished)]);
}

#[test]
fn a_player_of_a_name_that_nobody_publishes_is_turned_away_after_its_wait() {
    let mut bench = Bench::new();
    bench.join(Start::KeyFrame);
    bench.now_ms = 30_999;
    assert_eq!(bench.ended(), []);
    bench.now_ms = 31_000;
    assert_eq!(bench.ended(), [(7, Ended::NotFound)]);
}

#[test]
fn waiting_for_a_key_frame_takes_nothing_from_the_wait_for_a_publisher() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    publication.append(key_frame(0, "K0 "), 1_000);
    bench.join(Start::Live);
    publication.append(inter_frame(40_000, "i1 "), 41_000);
    drop(publication);
    bench.now_ms = 41_100;
    assert_eq!(bench.ended(), []);
    bench.now_ms = 71_000;
    assert_eq!(bench.ended(), [(7, Ended::NotFound)]);
}

#[test]
fn what_a_player_does_not_want_is_left_out() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    let player = bench.join(Start::KeyFrame);
    headers(&mut publication);
    for frame in [key_frame(0, "K0 "), audio(0, "a0 "), inter_frame(40, "i1 "), audio(40, "a1 ")] {
        publication.append(frame, 1_000);
    }
    bench.hub.receive_audio(player, false);
    assert_eq!(bench.drain(player), "M V A K0 i1 ");
    bench.hub.receive_audio(player, true);
    bench.hub.receive_video(player, false);
    for frame in [inter_frame(80, "i2 "), audio(80, "a2 "), key_frame(120, "K3 "), audio(120, "a3 ")] {
        publication.append(frame, 1_000);
    }
    assert_eq!(bench.drain(player), "a2 a3 ");
    bench.hub.receive_video(player, true);
    for frame in [inter_frame(160, "i4 "), audio(160, "a4 "), key_frame(200, "K5 "), inter_frame(240, "i6 ")]
    {
        publication.append(frame, 1_000);
    }
    assert_eq!(bench.drain(player), "a4 K5 i6 ", "video is wanted again from a key frame on");
}

#[test]
fn a_paused_player_gets_nothing_and_goes_on_at_the_newest_key_frame() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    publication.append(key_frame(0, "K0 "), 1_000);
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "K0 ");
    bench.hub.pause(player, true, 1_000);
    for frame in [inter_frame(40, "i1 "), key_frame(80, "K2 "), inter_frame(120, "i3 ")] {
        publication.append(frame, 1_000);
    }
    assert_eq!(bench.drain(player), "");
    bench.hub.pause(player, false, 1_000);
    assert_eq!(bench.drain(player), "K2 i3 ");
}

#[test]
fn more_streams_than_slots_are_all_looked_at() {
    let registry = registry(1);
    let mut bench = Bench::with(registry.clone());
    let count = crate::stream::SLOTS + 5;
    let names: Vec<String> = (0..count).map(|i| format!("live/{i}")).collect();
    for (owner, name) in names.iter().enumerate() {
        bench.hub.join(owner, name, Wire::Rtmp, Start::KeyFrame, 1_000);
    }
    let mut due = Vec::new();
    bench.hub.grown(0, 1, &mut due);
    assert_eq!(due, [0, crate::stream::SLOTS]);
}

#[test]
fn a_stream_that_nobody_uses_is_gone() {
    let mut bench = Bench::new();
    let player = bench.join(Start::KeyFrame);
    let other = bench.join(Start::Live);
    let publication = bench.publish();
    bench.hub.leave(player);
    bench.hub.leave(other);
    assert_eq!(bench.registry.len(), 1);
    drop(publication);
    assert!(bench.registry.is_empty());
    assert!(bench.hub.is_empty());
}

#[test]
fn what_comes_during_a_pass_goes_with_those_who_have_not_been_served_yet() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append(key_frame(0, "K0 "), 1_000);
    let (first, last) = (bench.join(Start::KeyFrame), bench.join(Start::KeyFrame));
    assert_eq!((bench.drain(first), bench.drain(last)), ("M V A K0 ".to_owned(), "M V A K0 ".to_owned()));
    publication.append(inter_frame(40, "i1 "), 1_040);
    bench.grow();
    assert_eq!(bench.take(first), "i1 ");
    publication.append(inter_frame(80, "i2 "), 1_080);
    assert_eq!(bench.take(first), "", "it has been served: the next frame may come with more");
    assert_eq!(bench.take(last), "i1 i2 ");
    publication.append(inter_frame(120, "i3 "), 1_120);
    bench.grow();
    assert_eq!((bench.take(first), bench.take(last)), ("i2 i3 ".to_owned(), "i3 ".to_owned()));
}

#[test]
fn who_took_a_part_goes_on_with_all_that_there_is() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append(key_frame(0, "K0 "), 1_000);
    let player = bench.join(Start::KeyFrame);
    bench.drain(player);
    publication.append(inter_frame(40, "i1 "), 1_040);
    publication.append(inter_frame(80, "i2 "), 1_080);
    bench.grow();
    let batch = bench.hub.next_batch(player, false, 1_080).expect("two frames are due");
    let whole = batch.bytes().len() / 2;
    bench.hub.sent(player, whole, false);
    assert!(bench.hub.is_at_boundary(player));
    publication.append(inter_frame(120, "i3 "), 1_120);
    assert_eq!(bench.take(player), "i2 i3 ");
}
