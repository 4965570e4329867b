//! What happens to players when their encoder goes, comes back, or never comes.

use super::*;

#[test]
fn an_encoder_that_comes_back_goes_on_at_its_key_frame_and_repeats_no_header() {
    let (mut bench, publication, player) = watched();
    drop(publication);
    bench.now_ms = 9_000;
    assert_eq!(bench.ended(), []);
    let newcomer = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(newcomer), "", "old video is not shown to newcomers");
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append_and_notify(inter_frame(0, "lost "), 9_000);
    publication.append_and_notify(audio(0, "a1 "), 9_000);
    publication.append_and_notify(key_frame(40, "K1 "), 9_000);
    assert_eq!(bench.drain(player), "a1 K1 ");
    assert_eq!(bench.drain(newcomer), "M V A a1 K1 ", "it was there before the encoder");
    drop(publication);
    let mut publication = bench.publish();
    publication.append_and_notify(metadata("N "), 9_000);
    publication.append_and_notify(key_frame(0, "K2 "), 9_000);
    assert_eq!(bench.drain(player), "N K2 ", "changed metadata is sent again");
}

#[test]
fn players_are_ended_after_the_grace_and_not_before() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    publication.append_and_notify(key_frame(0, "K0 "), 1_000);
    let player = bench.join(Start::KeyFrame);
    bench.drain(player);
    drop(publication);
    bench.now_ms = 10_999;
    assert_eq!(bench.ended(), []);
    bench.now_ms = 11_000;
    assert_eq!(bench.ended(), [(7, Ended::Unpublished)]);
}

#[test]
fn a_player_that_has_not_been_sent_all_is_ended_a_little_later() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    publication.append_and_notify(key_frame(0, "K0 "), 1_000);
    let player = bench.join(Start::KeyFrame);
    bench.drain(player);
    publication.append_and_notify(inter_frame(40, "i1 "), 1_000);
    drop(publication);
    bench.now_ms = 11_000;
    assert_eq!(bench.ended(), []);
    bench.now_ms = 16_000;
    assert_eq!(bench.ended(), [(7, Ended::Unpublished)]);
}

#[test]
fn a_player_of_a_name_without_a_publisher_is_refused_after_its_wait() {
    let mut bench = Bench::new();
    bench.join(Start::KeyFrame);
    bench.now_ms = 30_999;
    assert_eq!(bench.ended(), []);
    bench.now_ms = 31_000;
    assert_eq!(bench.ended(), [(7, Ended::NotFound)]);
}

#[test]
fn waiting_for_a_key_frame_does_not_shorten_the_wait_for_a_publisher() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    publication.append_and_notify(key_frame(0, "K0 "), 1_000);
    bench.join(Start::Live);
    publication.append_and_notify(inter_frame(40_000, "i1 "), 41_000);
    drop(publication);
    bench.now_ms = 41_100;
    assert_eq!(bench.ended(), []);
    bench.now_ms = 71_000;
    assert_eq!(bench.ended(), [(7, Ended::NotFound)]);
}

#[test]
fn a_stream_without_users_is_removed() {
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
fn time_in_which_the_core_was_stalled_does_not_count_as_waiting() {
    let mut bench = Bench::new();
    let _waiting = bench.join(Start::KeyFrame);
    bench.now_ms += 17_000;
    bench.registry.patience(0).was_stalled(bench.now_ms, 16_800);
    bench.now_ms += 29_700;
    assert_eq!(bench.ended(), [], "29.9 s of 30 s");
    bench.now_ms += 100;
    assert_eq!(bench.ended(), [(7, Ended::NotFound)]);

    let (mut bench, publication, _player) = watched();
    drop(publication);
    let left_ms = bench.now_ms;
    bench.now_ms = left_ms + 17_000;
    bench.registry.patience(0).was_stalled(bench.now_ms, 16_800);
    bench.now_ms += 9_700;
    assert_eq!(bench.ended(), [], "9.9 s of 10 s of grace");
    bench.now_ms += 100;
    assert_eq!(bench.ended(), [(7, Ended::Unpublished)]);
}
