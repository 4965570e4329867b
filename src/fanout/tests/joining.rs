//! Where a player begins: at a key frame, at the very start, with audio alone.

use super::*;

#[test]
fn a_player_that_waited_gets_the_stream_from_its_first_message() {
    let mut bench = Bench::new();
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "");
    let mut publication = bench.publish();
    headers(&mut publication);
    assert_eq!(bench.drain(player), "M V A ");
    publication.append_and_notify(audio(0, "a0 "), 1_000);
    publication.append_and_notify(key_frame(0, "K0 "), 1_000);
    assert_eq!(bench.drain(player), "a0 K0 ");
}

#[test]
fn a_player_that_waited_gets_the_audio_before_the_first_key_frame_however_late_its_core_looks() {
    let mut bench = Bench::new();
    let waited = bench.join(Start::KeyFrame);
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append_and_notify(audio(0, "a0 "), 1_000);
    // A key frame that opens a segment of its own.
    let large = format!("K0 {}", "x".repeat(100 << 10));
    publication.append_and_notify(key_frame(7, &large), 1_000);
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
        publication.append_and_notify(frame, 1_000);
    }
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "M V A K2 i3 ");
    publication.append_and_notify(audio(130, "a4 "), 1_000);
    assert_eq!(bench.drain(player), "a4 ");
}

#[test]
fn a_live_player_starts_at_the_next_key_frame() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append_and_notify(key_frame(0, "K0 "), 1_000);
    let player = bench.join(Start::Live);
    publication.append_and_notify(inter_frame(40, "i1 "), 1_000);
    assert_eq!(bench.drain(player), "");
    publication.append_and_notify(key_frame(80, "K2 "), 1_000);
    assert_eq!(bench.drain(player), "M V A K2 ");
}

#[test]
fn an_audio_only_stream_starts_at_once_with_its_last_second() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    publication.append_and_notify(audio_header("A "), 1_000);
    for i in 0..2_000 {
        publication.append_and_notify(audio(i * 20, "s "), 1_000 + u64::from(i) * 20);
    }
    bench.now_ms = 41_000;
    for start in [Start::KeyFrame, Start::Live] {
        let player = bench.join(start);
        let first = bench.drain(player);
        let count = first.strip_prefix("A ").expect("the header comes first").matches("s ").count();
        assert!((1..=51).contains(&count), "{count} messages");
        publication.append_and_notify(audio(40_000, "s "), 41_000);
        assert_eq!(bench.drain(player), "s ");
        bench.hub.leave(player);
    }
}

#[test]
fn players_that_wait_get_the_first_audio_of_a_stream_without_video() {
    let mut bench = Bench::new();
    let player = bench.join(Start::KeyFrame);
    let mut publication = bench.publish();
    publication.append_and_notify(audio_header("A "), 1_000);
    for i in 0..3 {
        publication.append_and_notify(audio(i * 20, &format!("a{i} ")), 1_000);
    }
    assert_eq!(bench.drain(player), "A a0 a1 a2 ");
}

#[test]
fn video_that_comes_after_audio_begins_with_a_key_frame() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    publication.append_and_notify(audio_header("A "), 1_000);
    publication.append_and_notify(audio(0, "a0 "), 1_000);
    publication.append_and_notify(inter_frame(0, "lost "), 1_000);
    publication.append_and_notify(video_header("V "), 1_000);
    let early = bench.join(Start::KeyFrame);
    publication.append_and_notify(audio(20, "a1 "), 1_000);
    publication.append_and_notify(key_frame(20, "K1 "), 1_000);
    let late = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(late), "V A K1 ");
    assert_eq!(bench.drain(early), "A a0 V a1 K1 ", "looked at only now");
}

#[test]
fn a_stream_whose_video_never_begins_is_played_with_audio_alone() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    headers(&mut publication);
    for i in 0..1_000 {
        publication.append_and_notify(audio(i * 20, "a "), 1_000 + u64::from(i) * 20);
        publication.append_and_notify(inter_frame(i * 20, "lost "), 1_000 + u64::from(i) * 20);
    }
    bench.now_ms = 21_000;
    let player = bench.join(Start::KeyFrame);
    let first = bench.drain(player);
    assert!(first.starts_with("M V A a a ") && first.len() < 200, "{first}");
}

#[test]
fn an_encoder_that_comes_back_without_video_can_be_joined_at_audio() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append_and_notify(key_frame(0, "K0 "), 1_000);
    drop(publication);
    let player = bench.join(Start::KeyFrame);
    let mut publication = bench.publish();
    publication.append_and_notify(audio_header("A "), 2_000);
    for i in 0..100 {
        publication.append_and_notify(audio(i * 20, "a "), 2_000 + u64::from(i) * 20);
    }
    assert!(bench.drain(player).starts_with("A a a "));
    publication.append_and_notify(video_header("V "), 4_000);
    assert_eq!(bench.drain(player), "V ", "known to players of the publisher before, but not to this one");
}

#[test]
fn a_stream_of_data_alone_can_be_joined_at_any_time() {
    let mut bench = Bench::with(registry_with(1, Retention { buffer_bytes: 1 << 20, keep_ms: 5_000 }));
    let mut publication = bench.publish();
    publication.append_and_notify(metadata("M "), 1_000);
    for i in 0..2_000 {
        publication.append_and_notify(data(i * 1_000, &"d".repeat(1_000)), 1_000 + u64::from(i) * 1_000);
    }
    let player = bench.join(Start::KeyFrame);
    assert!(bench.drain(player).starts_with("M dddd"));
}

#[test]
fn a_player_that_joins_at_audio_in_a_group_larger_than_the_buffer_has_video_from_the_next_key_frame_on() {
    let mut bench = Bench::with(registry_with(1, Retention { buffer_bytes: 1 << 20, keep_ms: 5_000 }));
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append_and_notify(key_frame(0, "K0 "), 1_000);
    let large = format!("i{} ", "x".repeat(10_000));
    for i in 1..=200_u32 {
        publication.append_and_notify(inter_frame(i * 20, &large), 1_000 + u64::from(i) * 20);
        publication.append_and_notify(audio(i * 20, "s "), 1_000 + u64::from(i) * 20);
    }
    bench.now_ms = 5_000;
    let player = bench.join(Start::KeyFrame);
    let first = bench.drain(player);
    let media = first.strip_prefix("M V A ").expect("headers come first");
    assert!(media.starts_with("s s s ") && !media.contains('i') && media.len() <= 2 * 51, "{first}");
    publication.append_and_notify(inter_frame(4_020, "i "), 5_020);
    publication.append_and_notify(audio(4_020, "s1 "), 5_020);
    publication.append_and_notify(key_frame(4_040, "K1 "), 5_040);
    publication.append_and_notify(inter_frame(4_060, "i1 "), 5_060);
    assert_eq!(bench.drain(player), "s1 K1 i1 ");
}

#[test]
fn a_key_frame_in_several_messages_is_joined_at_its_first() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    headers(&mut publication);
    let slices = |publication: &mut Publication, ms: u32, mark: &str| {
        for slice in 0..4 {
            let mark = format!("{mark}{slice} ");
            let frame = if mark.starts_with('K') { key_frame(ms, &mark) } else { inter_frame(ms, &mark) };
            publication.append_and_notify(frame, 1_000 + u64::from(ms));
        }
    };
    slices(&mut publication, 0, "K0");
    slices(&mut publication, 40, "i1");
    slices(&mut publication, 80, "K2");
    slices(&mut publication, 120, "i3");
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "M V A K20 K21 K22 K23 i30 i31 i32 i33 ");
    // A player that wants video again in the middle of a key frame begins with the next.
    publication.append_and_notify(key_frame(160, "K40 "), 1_160);
    bench.hub.receive_video(player, false);
    assert_eq!(bench.drain(player), "");
    bench.hub.receive_video(player, true);
    publication.append_and_notify(key_frame(160, "K41 "), 1_160);
    assert_eq!(bench.drain(player), "");
    slices(&mut publication, 200, "K5");
    assert_eq!(bench.drain(player), "K50 K51 K52 K53 ");
}

#[test]
fn with_several_tracks_players_begin_at_the_first_ones_key_frame() {
    let mut bench = Bench::new();
    let waited = bench.join(Start::KeyFrame);
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append_and_notify(track_header(1, "W "), 1_000);
    for (ms, marks) in [(0, ["K0 ", "L0 "]), (2_000, ["K1 ", "L1 "])] {
        publication.append_and_notify(key_frame(ms, marks[0]), 1_000 + u64::from(ms));
        publication.append_and_notify(track_frame(1, true, ms, marks[1]), 1_000 + u64::from(ms));
        publication.append_and_notify(inter_frame(ms + 40, "i "), 1_040 + u64::from(ms));
        publication.append_and_notify(track_frame(1, false, ms + 40, "j "), 1_040 + u64::from(ms));
    }
    bench.now_ms = 3_040;
    let late = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(late), "M V W A K1 L1 i j ");
    assert_eq!(bench.drain(waited), "M V A W K0 L0 i j K1 L1 i j ");
    publication.append_and_notify(track_frame(1, true, 3_000, "L2 "), 4_000);
    let later = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(later), "M V W A K1 L1 i j L2 ", "another track's key frame is no place to begin");
}

/// Encoders and relays send a backlog first: several groups before a core looks.
#[test]
fn a_player_that_waited_gets_the_first_of_several_groups_that_came_at_once() {
    for (start, before) in [(Start::KeyFrame, true), (Start::KeyFrame, false), (Start::Live, false)] {
        let mut bench = Bench::new();
        let mut publication = bench.publish();
        let mut player = None;
        if before {
            drop(publication);
            player = Some(bench.join(start));
            publication = bench.publish();
        }
        headers(&mut publication);
        if !before {
            // There is something in the log, and no key frame.
            let keeper = bench.join(Start::KeyFrame);
            bench.drain(keeper);
            player = Some(bench.join(start));
        }
        let player = player.expect("it has joined");
        let mut all = String::new();
        for i in 0..100_u32 {
            let mark = format!("{}{i} {}", if i % 10 == 0 { 'K' } else { 'i' }, "x".repeat(3_000));
            let frame = if i % 10 == 0 { key_frame(i * 40, &mark) } else { inter_frame(i * 40, &mark) };
            publication.append_and_notify(frame, 1_000);
            all += &mark;
        }
        assert_eq!(bench.drain(player), format!("M V A {all}"), "{start:?}, before {before}");
    }
}

#[test]
fn players_that_wait_for_an_encoder_to_come_back_get_the_first_of_several_groups_too() {
    for start in [Start::KeyFrame, Start::Live] {
        let (mut bench, publication, keeper) = watched();
        drop(publication);
        let player = bench.join(start);
        let mut publication = bench.publish();
        headers(&mut publication);
        for i in 1..40_u32 {
            let mark = format!("{}{i} ", if i % 10 == 1 { 'K' } else { 'i' });
            let frame = if i % 10 == 1 { key_frame(i * 40, &mark) } else { inter_frame(i * 40, &mark) };
            publication.append_and_notify(frame, 1_000);
        }
        let kept = bench.drain(keeper);
        assert!(kept.starts_with("K1 i2 i3 "), "{kept}");
        assert_eq!(bench.drain(player), format!("M V A {kept}"), "{start:?}");
    }
}

#[test]
fn players_do_not_begin_with_a_group_that_needs_other_headers() {
    let mut bench = Bench::new();
    let keeper = bench.join(Start::KeyFrame);
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append_and_notify(audio(0, "a "), 1_000);
    bench.drain(keeper);
    let player = bench.join(Start::Live);
    let groups = [(0, "V1 ", "K1 ", "i1 "), (1_000, "V2 ", "K2 ", "i2 "), (2_000, "V2 ", "K3 ", "i3 ")];
    for (ms, header, key, inter) in groups {
        publication.append_and_notify(video_header(header), 1_000);
        publication.append_and_notify(key_frame(ms, key), 1_000);
        publication.append_and_notify(inter_frame(ms + 40, inter), 1_000);
    }
    let got = bench.drain(player);
    assert!(got.starts_with("M V2 A K2 i2 K3"), "{got}");
}

#[test]
fn a_header_that_an_encoder_repeats_is_sent_once() {
    let mut bench = Bench::new();
    let early = bench.join(Start::KeyFrame);
    let mut publication = bench.publish();
    for i in 0..3_u32 {
        headers(&mut publication);
        publication.append_and_notify(key_frame(i * 1_000, &format!("K{i} ")), 1_000);
    }
    publication.append_and_notify(video_header("W "), 1_000);
    publication.append_and_notify(key_frame(3_000, "K3 "), 1_000);
    headers(&mut publication);
    assert_eq!(bench.drain(early), "M V A K0 K1 K2 W K3 V ");
    let late = bench.join(Start::KeyFrame);
    assert!(
        bench.drain(late).ends_with("K3 V "),
        "what came after the key frame is not in the preamble alone"
    );
}

#[test]
fn a_player_that_joins_between_two_headers_of_an_encoder_that_came_back_gets_both() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append_and_notify(key_frame(0, "K0 "), 1_000);
    let keeper = bench.join(Start::KeyFrame);
    drop(publication);
    let mut publication = bench.publish();
    publication.append_and_notify(video_header("V "), 1_000);
    publication.append_and_notify(key_frame(0, "K1 "), 1_000);
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "V K1 ");
    publication.append_and_notify(audio_header("A "), 1_000);
    publication.append_and_notify(audio(20, "a2 "), 1_000);
    assert_eq!(bench.drain(player), "A a2 ");
    bench.hub.leave(keeper);
}

#[test]
fn a_player_that_joins_an_encoder_without_headers_gets_those_that_only_earlier_players_have() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    publication.append_and_notify(audio_header("A "), 1_000);
    publication.append_and_notify(audio(0, "a0 "), 1_000);
    let keeper = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(keeper), "A a0 ");
    drop(publication);
    let mut publication = bench.publish();
    publication.append_and_notify(key_frame(0, "K1 "), 1_000);
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "K1 ");
    drop(publication);
    let mut publication = bench.publish();
    publication.append_and_notify(audio_header("A "), 1_000);
    publication.append_and_notify(audio(0, "a2 "), 1_000);
    assert_eq!(bench.drain(player), "A a2 ");
}

#[test]
fn a_player_that_joins_at_audio_right_after_a_changed_header_has_it() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    publication.append_and_notify(audio_header("A "), 1_000);
    publication.append_and_notify(audio(0, "a0 "), 1_000);
    publication.append_and_notify(audio_header("B "), 1_000);
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "A a0 B ");
    publication.append_and_notify(audio(20, "a1 "), 1_000);
    assert_eq!(bench.drain(player), "a1 ");
}

#[test]
fn a_group_of_pictures_larger_than_the_buffer_makes_joiners_wait_for_the_next_key_frame() {
    let mut bench = Bench::with(registry_with(1, Retention { buffer_bytes: 1 << 20, keep_ms: 5_000 }));
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append_and_notify(key_frame(0, "K0 "), 1_000);
    let large = "x".repeat(100_000);
    for i in 0..100 {
        publication.append_and_notify(inter_frame(i, &large), 1_000);
    }
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "");
    publication.append_and_notify(key_frame(200, "K1 "), 1_000);
    assert_eq!(bench.drain(player), "M V A K1 ");
}
