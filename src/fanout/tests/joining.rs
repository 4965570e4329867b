//! Where a player begins: at a key frame, at the very start, with the sound alone.

use super::*;

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
