//! Players that lag, or fall out of the log, and what a core holds for them.

use super::*;

#[test]
fn a_player_that_lags_is_moved_to_the_newest_key_frame_between_two_messages() {
    let (mut bench, mut publication, player) = watched();
    publication.append_and_notify(inter_frame(40, "i1-half-sent "), 1_040);
    publication.append_and_notify(inter_frame(80, "i2 "), 1_080);
    bench.take_new_data();
    let batch = bench.hub.next_batch(player, false, 1_080).expect("two frames are due");
    assert_eq!(marks(batch.bytes()), "i1halfsent i2 ");
    bench.hub.sent(player, 8, false);
    assert!(!bench.hub.is_at_boundary(player));
    publication.append_and_notify(key_frame(6_000, "K3 "), 7_000);
    publication.append_and_notify(inter_frame(6_040, "i4 "), 7_040);
    bench.now_ms = 7_040;
    assert_eq!(bench.drain(player), "halfsent K3 i4 ", "the message is finished, i2 is skipped");
    assert_eq!(bench.hub.skips(), 1);
}

#[test]
fn on_a_core_whose_clock_is_a_little_behind_the_publishers_no_player_lags() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    publication.append_and_notify(key_frame(0, "K0 "), bench.now_ms + 3);
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "K0 ");
    for frame in [inter_frame(40, "i1 "), key_frame(80, "K2 ")] {
        publication.append_and_notify(frame, bench.now_ms + 3);
    }
    assert_eq!(bench.drain(player), "i1 K2 ");
}

#[test]
fn a_player_that_lags_within_one_group_of_pictures_stays_where_it_is() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    publication.append_and_notify(key_frame(0, "K0 "), 1_000);
    publication.append_and_notify(inter_frame(40, "i1 "), 1_040);
    let player = bench.join(Start::KeyFrame);
    bench.now_ms = 20_000;
    assert_eq!(bench.drain(player), "K0 i1 ");
    assert_eq!(bench.hub.skips(), 0);
}

#[test]
fn headers_are_sent_with_a_skip_only_if_they_changed() {
    let (mut bench, mut publication, player) = watched();
    publication.append_and_notify(inter_frame(40, "i1 "), 1_040);
    publication.append_and_notify(video_header("W "), 6_000);
    publication.append_and_notify(key_frame(6_000, "K2 "), 6_100);
    bench.now_ms = 6_100;
    assert_eq!(bench.drain(player), "M W A K2 ");
}

#[test]
fn a_player_that_has_fallen_out_of_the_log_goes_on_at_the_newest_key_frame() {
    let mut bench = Bench::with(registry_with(1, Retention { buffer_bytes: 1 << 20, keep_ms: 5_000 }));
    let mut publication = bench.publish();
    publication.append_and_notify(key_frame(0, "K0 "), 1_000);
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "K0 ");
    let large = "x".repeat(100_000);
    for i in 0..100 {
        publication.append_and_notify(inter_frame(i, &large), 1_000);
    }
    publication.append_and_notify(key_frame(200, "K1 "), 1_000);
    assert_eq!(bench.drain(player), "K1 ");
}

#[test]
fn a_player_that_waits_for_a_key_frame_after_falling_out_of_the_log_has_skipped_once() {
    let mut bench = Bench::with(registry_with(1, Retention { buffer_bytes: 1 << 20, keep_ms: 5_000 }));
    let mut publication = bench.publish();
    publication.append_and_notify(key_frame(0, "K0 "), 1_000);
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "K0 ");
    let large = "x".repeat(100_000);
    for i in 0..100 {
        publication.append_and_notify(inter_frame(i, &large), 1_000);
    }
    assert_eq!(bench.drain(player), "");
    publication.append_and_notify(key_frame(200, "K1 "), 1_000);
    assert_eq!(bench.drain(player), "K1 ");
    assert_eq!(bench.hub.skips(), 1);
}

#[test]
fn a_player_whose_segment_was_the_last_to_go_misses_nothing() {
    let mut bench = Bench::with(registry_with(1, Retention { buffer_bytes: 1 << 30, keep_ms: 0 }));
    let mut publication = bench.publish();
    publication.append_and_notify(key_frame(0, "K0 "), 1_000);
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "K0 ");
    let first = bench.hub.stream(player).log(Form::Rtmp).newest().expect("there is a message").sequence;
    let mut expected = String::new();
    for i in 1..u32::MAX {
        let mark = format!("K{i} ");
        publication.append_and_notify(key_frame(i, &mark), 1_000 + u64::from(i));
        expected += &mark;
        if bench.hub.stream(player).log(Form::Rtmp).oldest() > first {
            break;
        }
    }
    assert_eq!(bench.hub.stream(player).log(Form::Rtmp).oldest(), first + 1);
    assert_eq!(bench.drain(player), expected);
    assert_eq!(bench.hub.skips(), 0);
}

#[test]
fn a_core_holds_what_its_players_stand_in_and_nothing_else_that_is_retired() {
    let mut bench = Bench::with(registry_with(1, Retention { buffer_bytes: 1 << 20, keep_ms: 0 }));
    let mut publication = bench.publish();
    publication.append_and_notify(key_frame(0, "K0 "), 1_000);
    let [stalled, quick] = [(); 2].map(|()| bench.join(Start::KeyFrame));
    assert_eq!([bench.drain(quick), bench.drain(stalled)], ["K0 ", "K0 "]);
    let large = "x".repeat(60_000);
    let mut segments = Vec::new();
    for i in 1..200 {
        publication.append_and_notify(key_frame(i * 1_000, &large), 1_000 + u64::from(i) * 1_000);
        bench.now_ms = 1_000 + u64::from(i) * 1_000;
        bench.drain(quick);
        segments.push(Arc::downgrade(
            &bench.hub.stream(quick).log(Form::Rtmp).newest().expect("there is a message"),
        ));
    }
    segments.dedup_by(|a, b| a.ptr_eq(b));
    assert!(segments.len() > 20);
    let held = segments.iter().filter(|segment| segment.strong_count() > 0).count();
    assert!(held <= 4, "{held} segments: the stalled player's, the newest, and what is still young");
    bench.hub.leave(stalled);
}

#[test]
fn what_came_before_a_stall_is_not_skipped_after_it() {
    let (mut bench, mut publication, player) = watched();
    publication.append_and_notify(inter_frame(40, "i1 "), 1_040);
    // Then the machine is stalled, and all that was sent meanwhile comes at once.
    bench.now_ms = 18_040;
    bench.registry.patience(0).was_stalled(18_040, 16_800);
    publication.was_stalled(16_800);
    for group in 0..5_u32 {
        publication.append_and_notify(key_frame(80 + group * 3_000, "K "), 18_040);
        publication.append_and_notify(inter_frame(120 + group * 3_000, "i "), 18_040);
    }
    assert_eq!(bench.drain(player), format!("i1 {}", "K i ".repeat(5)));
    assert_eq!(bench.hub.skips(), 0);
    // A lag of the player itself counts as always.
    publication.append_and_notify(inter_frame(15_200, "late "), 18_100);
    publication.append_and_notify(key_frame(20_000, "new "), 23_200);
    bench.now_ms = 23_200;
    assert_eq!(bench.drain(player), "new ");
    assert_eq!(bench.hub.skips(), 1);
}

#[test]
fn what_is_kept_for_players_is_kept_over_a_stall() {
    let (mut bench, mut publication, player) = watched();
    // A segment for each.
    let large = "x".repeat(600_000) + " ";
    for i in 1..5_u32 {
        publication.append_and_notify(inter_frame(i * 40, &large), 1_000 + u64::from(i) * 40);
    }
    bench.now_ms = 18_200;
    bench.registry.patience(0).was_stalled(18_200, 16_800);
    publication.was_stalled(16_800);
    for group in 0..3_u32 {
        publication.append_and_notify(key_frame(200 + group * 3_000, &large), 18_200);
    }
    assert_eq!(bench.drain(player), large.repeat(7));
    assert_eq!(bench.hub.skips(), 0);
}
