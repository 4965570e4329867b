//! What a batch has, what is left out for a player, and which players are looked at.

use super::*;

#[test]
fn a_player_that_has_begun_at_a_key_frame_stands_between_two_messages() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append_and_notify(key_frame(0, "K0 "), 1_000);
    let player = bench.join(Start::KeyFrame);
    let preamble = bench.hub.next_batch(player, false, 1_000).expect("the headers are due");
    assert_eq!(marks(preamble.bytes()), "M V A ");
    bench.hub.sent(player, preamble.bytes().len(), true);
    assert!(bench.hub.is_at_boundary(player));
}

#[test]
fn a_player_on_another_core_misses_nothing_while_frames_are_appended() {
    // Fewer than the log keeps: a player that fell out of it would miss some.
    const FRAMES: u32 = 100_000;
    // All of it fits: on a busy machine the reader must not fall out of the log, where no key frame would follow.
    let mut bench = Bench::with(registry_with(1, Retention { buffer_bytes: 1 << 30, keep_ms: 5_000 }));
    let mut publication = bench.publish();
    publication.append_and_notify(key_frame(0, "0 "), 1_000);
    let player = bench.join(Start::KeyFrame);
    let writer = std::thread::spawn(move || {
        for i in 1..FRAMES {
            publication.append_and_notify(inter_frame(0, &format!("{i} ")), 1_000);
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
        publication.append_and_notify(frame, 1_000);
        if i % 7 == 0 {
            bench.take_new_data();
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
    publication.append_and_notify(key_frame(0, &"x".repeat(300_000)), 1_000);
    for i in 1..40 {
        publication.append_and_notify(inter_frame(i, &"y".repeat(30_000 - 5)), 1_000);
    }
    bench.take_new_data();
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
fn what_a_player_does_not_want_is_left_out() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    let player = bench.join(Start::KeyFrame);
    headers(&mut publication);
    for frame in [key_frame(0, "K0 "), audio(0, "a0 "), inter_frame(40, "i1 "), audio(40, "a1 ")] {
        publication.append_and_notify(frame, 1_000);
    }
    bench.hub.receive_audio(player, false);
    assert_eq!(bench.drain(player), "M V A K0 i1 ");
    bench.hub.receive_audio(player, true);
    bench.hub.receive_video(player, false);
    for frame in [inter_frame(80, "i2 "), audio(80, "a2 "), key_frame(120, "K3 "), audio(120, "a3 ")] {
        publication.append_and_notify(frame, 1_000);
    }
    assert_eq!(bench.drain(player), "a2 a3 ");
    bench.hub.receive_video(player, true);
    for frame in [inter_frame(160, "i4 "), audio(160, "a4 "), key_frame(200, "K5 "), inter_frame(240, "i6 ")]
    {
        publication.append_and_notify(frame, 1_000);
    }
    assert_eq!(bench.drain(player), "a4 K5 i6 ", "video is wanted again from a key frame on");
}

/// Audio between small video frames, as from a hostile encoder: a send for each costs twenty times its bytes.
#[test]
fn what_a_player_wants_is_gathered_from_between_what_it_does_not_want() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append_and_notify(key_frame(0, "K "), 1_000);
    let player = bench.join(Start::KeyFrame);
    bench.hub.receive_video(player, false);
    let _ = bench.drain(player);
    for i in 0..200 {
        publication.append_and_notify(inter_frame(i, "i "), 1_000);
        publication.append_and_notify(audio(i, "a "), 1_000);
    }
    publication.append_and_notify(inter_frame(200, "i "), 1_000);
    bench.take_new_data();
    assert_eq!(bench.take(player), "a ".repeat(200), "one send");
    publication.append_and_notify(audio(201, "late "), 1_000);
    assert_eq!(
        bench.take(player),
        "",
        "it was given all that there was: what comes is sent with the next pass"
    );
    assert_eq!(bench.drain(player), "late ");
}

#[test]
fn a_gathered_send_is_bounded_and_large_messages_are_not_copied() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append_and_notify(key_frame(0, "K "), 1_000);
    let player = bench.join(Start::KeyFrame);
    let _ = bench.drain(player);
    bench.hub.receive_audio(player, false);
    let large = "x".repeat(3_000) + " ";
    for i in 0..8 {
        publication.append_and_notify(inter_frame(i, &large), 1_000);
        publication.append_and_notify(audio(i, "a "), 1_000);
    }
    publication.append_and_notify(inter_frame(9, &"y".repeat(9_000)), 1_000);
    bench.take_new_data();
    let mut sends = Vec::new();
    loop {
        let sent = bench.take(player);
        if sent.is_empty() {
            break;
        }
        sends.push(sent);
    }
    assert_eq!(sends.concat(), large.repeat(8) + &"y".repeat(9_000));
    assert_eq!(sends.iter().map(String::len).collect::<Vec<_>>(), [6_002, 6_002, 6_002, 6_002, 9_000]);
}

#[test]
fn wherever_a_gathered_send_is_cut_the_player_goes_on_there() {
    let frames = ["a0 ", "audio1 ", "a2 "];
    let whole = frames.concat().len() + 2 * frames.len();
    for cut in 1..whole {
        let mut bench = Bench::new();
        let mut publication = bench.publish();
        headers(&mut publication);
        publication.append_and_notify(key_frame(0, "K "), 1_000);
        let player = bench.join(Start::KeyFrame);
        let _ = bench.drain(player);
        bench.hub.receive_video(player, false);
        for mark in frames {
            publication.append_and_notify(audio(0, mark), 1_000);
            publication.append_and_notify(inter_frame(0, "i "), 1_000);
        }
        bench.take_new_data();
        let batch = bench.hub.next_batch(player, false, 1_000).expect("there is audio");
        assert_eq!(batch.bytes().len(), whole);
        let first = batch.bytes()[..cut].to_vec();
        bench.hub.sent(player, cut, false);
        // What it asks meanwhile takes effect after the message that is half sent.
        bench.hub.receive_audio(player, cut % 2 == 0);
        let rest = bench.drain_bytes(player);
        let got = marks(&[first, rest].concat());
        let expected: String = match cut % 2 {
            0 => frames.concat(),
            _ => {
                let begun = frames.iter().scan(0, |at, mark| {
                    let begin = *at;
                    *at += mark.len() + 2;
                    Some((begin, mark))
                });
                begun.filter(|(begin, _)| *begin < cut).map(|(_, mark)| *mark).collect()
            }
        };
        assert_eq!(got, expected, "cut at {cut}");
    }
}

#[test]
fn a_paused_player_gets_nothing_and_goes_on_at_the_newest_key_frame() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    publication.append_and_notify(key_frame(0, "K0 "), 1_000);
    let player = bench.join(Start::KeyFrame);
    assert_eq!(bench.drain(player), "K0 ");
    bench.hub.pause(player, true);
    for frame in [inter_frame(40, "i1 "), key_frame(80, "K2 "), inter_frame(120, "i3 ")] {
        publication.append_and_notify(frame, 1_000);
    }
    assert_eq!(bench.drain(player), "");
    bench.hub.pause(player, false);
    assert_eq!(bench.drain(player), "K2 i3 ");
}

#[test]
fn more_streams_than_slots_are_all_looked_at() {
    let registry = registry(1);
    let mut bench = Bench::with(registry.clone());
    let count = crate::stream::SLOTS + 5;
    let names: Vec<String> = (0..count).map(|i| format!("live/{i}")).collect();
    for (owner, name) in names.iter().enumerate() {
        bench.hub.join(owner, name, Form::Rtmp, Start::KeyFrame, 1_000);
    }
    bench.hub.new_data(0, 1);
    assert_eq!(bench.due(), [0, crate::stream::SLOTS]);
}

#[test]
fn players_of_a_stream_with_few_are_due_at_once_and_those_of_another_with_a_pass() {
    let registry = registry(1);
    let mut bench = Bench::with(registry.clone());
    for (players, name) in [(32, "few"), (33, "many")] {
        for owner in 0..players {
            bench.hub.join(100 * players + owner, name, Form::Rtmp, Start::KeyFrame, 1_000);
        }
    }
    let slots = |bench: &mut Bench| bench.hub.new_data(0, 0b11);
    slots(&mut bench);
    // Both again, before either had its turn.
    slots(&mut bench);
    let mut due = Vec::new();
    bench.hub.due_at_once(1, &mut due);
    assert_eq!(due, (3_200..3_232).collect::<Vec<_>>(), "whole streams");
    bench.hub.due_at_once(1, &mut due);
    assert_eq!(due.len(), 32);
    assert!(bench.hub.awaits_pass());
    bench.hub.begin_pass(&mut due);
    assert_eq!(due.split_off(32), (3_300..3_333).collect::<Vec<_>>());
    assert!(!bench.hub.awaits_pass());
    slots(&mut bench);
    assert_eq!(bench.due().len(), 65, "once each");
}

#[test]
fn what_comes_during_a_pass_is_sent_to_players_whose_turn_has_not_come_yet() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    headers(&mut publication);
    publication.append_and_notify(key_frame(0, "K0 "), 1_000);
    let (first, last) = (bench.join(Start::KeyFrame), bench.join(Start::KeyFrame));
    assert_eq!((bench.drain(first), bench.drain(last)), ("M V A K0 ".to_owned(), "M V A K0 ".to_owned()));
    publication.append_and_notify(inter_frame(40, "i1 "), 1_040);
    bench.take_new_data();
    assert_eq!(bench.take(first), "i1 ");
    publication.append_and_notify(inter_frame(80, "i2 "), 1_080);
    assert_eq!(bench.take(first), "", "it has been served: the next frame may come with more");
    assert_eq!(bench.take(last), "i1 i2 ");
    publication.append_and_notify(inter_frame(120, "i3 "), 1_120);
    bench.take_new_data();
    assert_eq!((bench.take(first), bench.take(last)), ("i2 i3 ".to_owned(), "i3 ".to_owned()));
}

#[test]
fn a_player_that_took_a_part_is_given_all_that_there_is() {
    let (mut bench, mut publication, player) = watched();
    publication.append_and_notify(inter_frame(40, "i1 "), 1_040);
    publication.append_and_notify(inter_frame(80, "i2 "), 1_080);
    bench.take_new_data();
    let batch = bench.hub.next_batch(player, false, 1_080).expect("two frames are due");
    let whole = batch.bytes().len() / 2;
    bench.hub.sent(player, whole, false);
    assert!(bench.hub.is_at_boundary(player));
    publication.append_and_notify(inter_frame(120, "i3 "), 1_120);
    assert_eq!(bench.take(player), "i2 i3 ");
}
