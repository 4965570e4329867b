//! Unusual encoders: several tracks, one message per slice, an initial burst, late audio, still video, a clock that
//! begins anywhere. Players get everything.

use std::process::Command;

use fanfare::flv::FrameKind::{self, Audio, Data, Video};

use crate::broadcast::{Broadcast, Tag, tags};
use crate::support::newer_ffmpeg::{NEWER_FFMPEG, first_video_track};
use crate::support::{
    Clip, Kind, Player, Process, Relay, SOON, assert_gap_free, count, packets, play_without_output,
    tags as payloads,
};

/// FFmpeg 9 sends the first track in legacy FLV and the second one as a track of Enhanced RTMP, as OBS does.
#[test]
fn of_two_video_tracks_a_late_player_gets_the_first_from_a_key_frame_on() {
    let relay = Relay::start(SHORT_GRACE);
    // With these the first track's key frames are sent first.
    let clips = [Clip::VIDEO_ONLY.seconds(8), Clip::OTHER.seconds(8)];
    let sent = relay.dir().join("sent.flv");
    let mut ffmpeg = Command::new(NEWER_FFMPEG);
    ffmpeg.args(["-nostdin", "-v", "warning"]);
    for clip in clips {
        ffmpeg.args(["-re", "-i"]).arg(clip.file());
    }
    ffmpeg.args(["-map", "0:v", "-map", "1:v", "-map", "1:a", "-c", "copy", "-f", "tee"]).arg(format!(
        "[f=flv]{}|[f=flv]{}",
        relay.url(NAME),
        sent.display()
    ));
    let early = Player::Rtmpdump.record(&relay, NAME);
    relay.wait_for_players(NAME, 1);
    let mut encoder = Process::start_logged(ffmpeg, &relay.dir().join("encoder.log"));
    early.wait_for_bytes(clips[0].size() / 2, SOON);
    let late: Vec<_> = [Player::Rtmpdump, Player::Rtmp2src, Player::NewerFfmpeg]
        .map(|player| player.record(&relay, NAME))
        .into_iter()
        .chain([Player::NewerFfmpeg.record_over_http(&relay, NAME)])
        .collect();
    encoder.expect_success(clips[0].duration() + SOON);

    let first_track = first_video_track(&sent);
    assert_eq!(first_track.len(), 240, "FFmpeg has sent all");
    for mut recording in late {
        let player = recording.player;
        recording.process.expect_success(SOON);
        let recorded = first_video_track(&recording.file);
        let received = assert_gap_free(&format!("{player:?}"), &first_track, &recorded);
        assert!(recorded[0].is_key_frame, "{player:?} starts with {:?}", recorded[0]);
        assert!(received.video.start > 0, "{player:?} was not late");
        assert_eq!(received.video.end, first_track.len(), "{player:?} misses the end");
    }
}

#[test]
fn a_key_frame_in_a_message_for_each_slice_is_whole_for_late_players() {
    let relay = Relay::start(SHORT_GRACE);
    let sent: Vec<Tag> = tags(&Clip::SLICES.seconds(8).file()).iter().flat_map(split_by_nal_unit).collect();
    let broadcast = Broadcast::start(&relay, NAME, sent.clone());
    broadcast.wait_until_ms(3_500);
    let late = [Player::Rtmpdump, Player::Rtmp2src].map(|player| player.record(&relay, NAME));
    relay.wait_for_players(NAME, late.len());

    let sent: Vec<&Tag> = sent.iter().filter(|tag| tag.is_video_frame()).collect();
    for mut recording in late {
        let player = recording.player;
        recording.process.expect_success(SOON);
        let recorded = payloads(&recording.file);
        let recorded: Vec<_> =
            recorded.iter().filter(|tag| tag.kind == Kind::Video && tag.payload[1] == 1).collect();
        let first = sent.len() - recorded.len();
        assert!(first > 0, "{player:?} was not late");
        for (sent, recorded) in sent[first..].iter().zip(&recorded) {
            assert!(sent.payload == recorded.payload[..], "{player:?} got other bytes");
        }
        let (before, begin) = (sent[first - 1], sent[first]);
        assert_eq!(begin.payload[0], 0x17, "{player:?} starts at a key frame");
        assert!(before.timestamp_ms < begin.timestamp_ms, "{player:?} starts in the middle of one");
        let parts = sent[first..].iter().take_while(|tag| tag.timestamp_ms == begin.timestamp_ms).count();
        assert!(parts >= 4, "the key frame was {parts} messages");
    }
}

/// One message per NAL unit of a video frame, with the same header.
fn split_by_nal_unit(tag: &Tag) -> Vec<Tag> {
    if !tag.is_video_frame() {
        return vec![tag.clone()];
    }
    let (header, mut rest) = tag.payload.split_at(5);
    let mut units = Vec::new();
    while let Some((&len, after)) = rest.split_first_chunk() {
        let (unit, next) = after.split_at(u32::from_be_bytes(len) as usize);
        units.push(Tag { payload: [header, &len, unit].concat().into(), ..tag.clone() });
        rest = next;
    }
    units
}

#[test]
fn players_that_wait_get_all_of_an_encoder_that_begins_with_a_burst() {
    let relay = Relay::start(SHORT_GRACE);
    let clip = Clip::AUDIO_VIDEO.seconds(6);
    for (number, pace) in [&["-readrate", "1", "-readrate_initial_burst", "4"][..], &[]].iter().enumerate() {
        let name = format!("{NAME}{number}");
        let players = [Player::Rtmpdump, Player::Ffmpeg, Player::Rtmp2src, Player::Rtmpsrc]
            .map(|player| player.record(&relay, &name));
        relay.wait_for_players(&name, players.len());
        let mut ffmpeg = Command::new(NEWER_FFMPEG);
        ffmpeg.args(["-nostdin", "-v", "warning"]).args(*pace).arg("-i").arg(clip.file());
        ffmpeg.args(["-c", "copy", "-f", "flv", &relay.url(&name)]);
        Process::start_logged(ffmpeg, &relay.dir().join("encoder.log"))
            .expect_success(clip.duration() + SOON);
        let published = packets(&clip.file());
        for recording in players {
            let player = format!("{:?} with {pace:?}", recording.player);
            let recorded = recording.finish(SOON);
            assert_gap_free(&player, &published, &recorded);
            assert_eq!(recorded.len(), published.len(), "{player} misses packets at the start or the end");
        }
    }
}

#[test]
fn audio_that_begins_after_the_key_frame_reaches_players_that_join_then() {
    let relay = Relay::start(SHORT_GRACE);
    let clip = tags(&Clip::LONG_GROUPS.seconds(12).file());
    let is_late = |tag: &Tag| tag.kind == Audio && tag.at_ms < 6_000;
    let broadcast = Broadcast::start(&relay, NAME, clip.into_iter().filter(|tag| !is_late(tag)).collect());
    // The encoder has sent the audio header at its start.
    broadcast.wait_until_ms(6_500);
    let players = [Player::Ffmpeg, Player::Mpv].map(|player| player.record_over_http(&relay, NAME));
    let over_rtmp = Player::Ffmpeg.record(&relay, NAME);
    for recording in players.into_iter().chain([over_rtmp]) {
        let player = format!("{:?}", recording.player);
        let recorded = recording.finish(SOON);
        let [audio, video] = [Kind::Audio, Kind::Video].map(|kind| count(&recorded, kind));
        assert!(audio > 150 && video > 120, "{player}: {audio} audio and {video} video packets");
    }
}

#[test]
fn a_player_that_joins_a_still_video_with_audio_sees_it() {
    let relay = Relay::start(SHORT_GRACE);
    let clip = tags(&Clip::AUDIO_VIDEO.seconds(20).file());
    let is_still = |tag: &Tag| tag.kind == Video && tag.at_ms > 2_000;
    let broadcast = Broadcast::start(&relay, NAME, clip.into_iter().filter(|tag| !is_still(tag)).collect());
    broadcast.wait_until_ms(15_000);
    let players = [
        Player::Rtmpdump.record(&relay, NAME),
        Player::Ffmpeg.record(&relay, NAME),
        Player::Ffmpeg.record_over_http(&relay, NAME),
    ];
    for recording in players {
        let player = format!("{:?}", recording.player);
        let recorded = recording.finish(SOON);
        let first = recorded.iter().find(|packet| packet.kind == Kind::Video);
        assert!(first.is_some_and(|packet| packet.is_key_frame), "{player} starts with {first:?}");
        assert!(count(&recorded, Kind::Audio) > 100, "{player} got little audio");
    }
}

#[test]
fn an_encoder_whose_clock_begins_anywhere_is_played_by_each_player() {
    let relay = Relay::start(SHORT_GRACE);
    let clip = Clip::AUDIO_VIDEO.seconds(9);
    let published = packets(&clip.file());
    let firsts_ms = [100_000, (1 << 31) - 4_500, (1 << 31) + 100_000, u32::MAX - 4_500];
    let mut recordings = Vec::new();
    for first_ms in firsts_ms {
        let name = format!("{NAME}{first_ms}");
        let later = tags(&clip.file()).into_iter().map(|tag| {
            let timestamp_ms = tag.timestamp_ms.wrapping_add(first_ms);
            Tag { timestamp_ms, ..tag }
        });
        let broadcast = Broadcast::start(&relay, &name, later.collect());
        let early = Player::Ffmpeg.record_over_http(&relay, &name);
        recordings.push((first_ms, name, broadcast, vec![early]));
    }
    for (_, name, broadcast, recordings) in &mut recordings {
        broadcast.wait_until_ms(2_500);
        recordings.extend([Player::Ffmpeg, Player::Mpv].map(|player| player.record_over_http(&relay, name)));
        recordings.extend([Player::Ffmpeg, Player::Mpv].map(|player| player.record(&relay, name)));
    }
    for (first_ms, _, _broadcast, recordings) in recordings {
        for recording in recordings {
            let player = format!("{:?}, from {first_ms} ms", recording.player);
            let received = assert_gap_free(&player, &published, &recording.finish(SOON));
            let ends = [received.audio.end, received.video.end];
            let all = [Kind::Audio, Kind::Video].map(|kind| count(&published, kind));
            assert_eq!(ends, all, "{player} misses the end");
        }
    }
}

/// mpv, VLC and ffplay cannot add or remove a track: they have to end and play again.
#[test]
fn players_of_an_encoder_that_comes_back_with_other_tracks_end() {
    let of = |kinds: &'static [FrameKind]| {
        let clip = tags(&Clip::AUDIO_VIDEO.seconds(30).file());
        clip.into_iter().filter(|tag| kinds.contains(&tag.kind) && tag.kind != Data).collect::<Vec<_>>()
    };
    let relay = Relay::start("");
    let changes: [(&str, &[_], &[_]); 3] = [
        ("audio ends", &[Audio, Video], &[Video]),
        ("video ends", &[Audio, Video], &[Audio]),
        ("audio begins", &[Video], &[Audio, Video]),
    ];
    let mut players = Vec::new();
    let mut encoders = Vec::new();
    for (number, (what, before, after)) in changes.into_iter().enumerate() {
        let name = format!("{NAME}{number}");
        let first = Broadcast::start(&relay, &name, of(before));
        first.wait_until_ms(500);
        let mut of_this =
            Vec::from(["vlc", "ffplay"].map(|program| play_without_output(program, &relay, &name)));
        for player in [Player::Mpv, Player::Ffmpeg] {
            of_this.push(player.record(&relay, &name).process);
            of_this.push(player.record_over_http(&relay, &name).process);
        }
        encoders.push((name, first, after, of_this.len()));
        players.extend(of_this.into_iter().map(|process| (what, process)));
    }
    let mut again = Vec::new();
    for (name, first, after, count) in encoders {
        relay.wait_for_players(&name, count);
        first.wait_until_ms(4_000);
        drop(first);
        relay.wait_for_publisher_gone(&name);
        again.push(Broadcast::start(&relay, &name, of(after)));
    }
    for (what, mut process) in players {
        assert!(process.wait(SOON).is_some(), "{what}, but the player goes on: {}", process.output());
    }
    for encoder in &again {
        assert!(encoder.is_sending(), "the players ended because the encoder did");
    }
}

const NAME: &str = "live/stream";

/// Players are notified soon after the publisher has gone.
const SHORT_GRACE: &str = "publish.publisher_grace = '500ms'";
