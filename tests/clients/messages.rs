//! Messages other than audio and video frames, as encoders and servers send them: no player takes one for a track, and
//! none ends because of one. The players join late, and get each message at their start and while they play.

use std::process::Command;

use bytes::Bytes;
use fanfare::amf0::{self, Value};
use fanfare::flv::FrameKind::{self, Audio, Data, Video};

use crate::broadcast::{Broadcast, Tag, tags};
use crate::support::newer_ffmpeg::NEWER_FFMPEG;
use crate::support::{Clip, Process, Relay, SOON, missing};

#[test]
fn no_data_message_is_a_track_to_ffmpeg_or_ends_it() {
    let text = |properties: &[(&str, Value)]| object(properties);
    let cue = object(&[("name", "ad".into()), ("time", 3.0.into())]);
    let date = Value::Date { ms: 0.0, zone_min: 0 };
    expect_two_tracks(&[
        (
            "metadata again",
            Data,
            data("onMetaData", &[Value::EcmaArray(vec![("width".to_owned(), 160.0.into())])]),
        ),
        ("metadata as an object", Data, data("onMetaData", &[object(&[("width", 160.0.into())])])),
        ("metadata that is null", Data, data("onMetaData", &[Value::Null])),
        ("metadata without properties", Data, data("onMetaData", &[object(&[])])),
        ("a cue point", Data, data("onCuePoint", &[cue])),
        ("a cue point without properties", Data, data("onCuePoint", &[])),
        ("sample access", Data, data("|RtmpSampleAccess", &[true.into(), true.into()])),
        (
            "a time code",
            Data,
            data("onFI", &[object(&[("sd", "25-11-2026".into()), ("st", "20:00:00".into())])]),
        ),
        ("a short message", Data, data("ping", &[1.0.into()])),
        (
            "a message without a name",
            Data,
            amf0::encode_all(&[1.0.into(), object(&[("a", "bcdefghijklm".into())])]).into(),
        ),
        ("a message with a long name", Data, data(&"n".repeat(70), &[Value::Null])),
        (
            "a text message without text",
            Data,
            data("onTextData", &[text(&[("cue", "x".into()), ("when", date)])]),
        ),
        ("an empty message", Data, Bytes::new()),
    ]);
}

#[test]
fn no_flaw_of_metadata_keeps_ffmpeg_from_opening_a_stream() {
    let metadata = |properties: &[u8], end: &[u8]| -> Bytes {
        let width = b"\0\x05width\0\x40\x64\0\0\0\0\0\0";
        [b"\x02\0\x0aonMetaData\x08\0\0\0\x01".as_slice(), width, properties, end].concat().into()
    };
    let end = b"\0\0\x09";
    let long_name = [b"\0\x82".as_slice(), &[b'n'; 130], b"\x05"].concat();
    expect_two_tracks(&[
        ("an undefined property", Data, metadata(b"\0\x01x\x06", end)),
        ("an unsupported property", Data, metadata(b"\0\x01x\x0d", end)),
        ("an XML property", Data, metadata(b"\0\x01x\x0f\0\0\0\x04<a/>", end)),
        ("a typed object", Data, metadata(b"\0\x01x\x10\0\x01t\0\0\x09", end)),
        ("an AMF3 property", Data, metadata(b"\0\x01x\x11\x06\x03a", end)),
        ("a property with a long name", Data, metadata(&long_name, end)),
        ("a length that points beyond it", Data, metadata(b"\0\x01x\x02\xff\xffabc", end)),
        ("no end", Data, metadata(b"", b"")),
        ("zeros after it", Data, metadata(b"", b"\0\0\x09\0\0\0\0")),
        ("null after it", Data, metadata(b"", b"\0\0\x09\x05")),
        ("an object after it", Data, metadata(b"", b"\0\0\x09\x03\0\0\x09")),
    ]);
}

#[test]
fn no_message_without_a_frame_is_a_track_to_ffmpeg_or_ends_it() {
    let clip = tags(&CLIP.file());
    let header = |kind| clip.iter().find(|tag| tag.kind == kind).expect("the clip has both").payload.clone();
    expect_two_tracks(&[
        ("an AVC header again", Video, header(Video)),
        ("an AAC header again", Audio, header(Audio)),
        ("the end of a sequence", Video, Bytes::from_static(b"\x17\x02\0\0\0")),
        ("a command frame", Video, Bytes::from_static(b"\x57\0")),
        ("a command frame of another codec", Video, Bytes::from_static(b"\x52\0")),
        ("no video", Video, Bytes::new()),
        ("a byte of video", Video, Bytes::from_static(b"\x17")),
        ("most of an AVC header", Video, Bytes::from_static(b"\x27\x01\0\0")),
        ("no audio", Audio, Bytes::new()),
        ("a byte of audio", Audio, Bytes::from_static(b"\xaf")),
        ("an AAC header without audio", Audio, Bytes::from_static(b"\xaf\x01")),
    ]);
}

/// Publishes one clip per message, with the message at the start and after every tenth video frame, and timestamps from
/// 100 s. FFmpeg joins late and writes all tracks that it finds.
fn expect_two_tracks(messages: &[(&str, FrameKind, Bytes)]) {
    let relay = Relay::start("");
    let clip = tags(&CLIP.file());
    let broadcasts: Vec<_> = messages
        .iter()
        .enumerate()
        .map(|(number, (_, kind, message))| {
            Broadcast::start(&relay, &name(number), with_message(&clip, *kind, message, 100_000))
        })
        .collect();
    // Encoders go on while players join.
    let first = crate::support::Player::Rtmpdump.record(&relay, &name(0));
    first.wait_for_bytes(CLIP.size() / 6, SOON);

    let mut players = Vec::new();
    for (number, (what, ..)) in messages.iter().enumerate() {
        let name = name(number);
        for (ffmpeg, url) in [
            ("ffmpeg", relay.url(&name)),
            ("ffmpeg", relay.http_url(&format!("/{name}.flv"))),
            (NEWER_FFMPEG, relay.url(&name)),
        ] {
            let file = relay.dir().join(format!("{}.mkv", players.len()));
            let mut command = Command::new(ffmpeg);
            command
                .args(["-nostdin", "-v", "error", "-y", "-i", &url, "-t", "2", "-map", "0:v", "-map", "0:a"])
                .args(["-map", "0:s?", "-c", "copy"])
                .arg(&file);
            players.push((what, Process::start_logged(command, &file.with_extension("log")), file, url));
        }
    }
    for (what, mut player, file, url) in players {
        player.expect_success(2 * SOON);
        let log = player.output();
        let output = Command::new("ffprobe")
            .args(["-v", "error", "-count_packets", "-show_entries", "stream=codec_type,nb_read_packets"])
            .args(["-of", "csv=p=0"])
            .arg(&file)
            .output()
            .unwrap_or_else(|_| panic!("{}", missing("ffprobe")));
        let tracks = String::from_utf8_lossy(&output.stdout).into_owned();
        let tracks: Vec<(&str, u32)> = tracks
            .lines()
            .filter_map(|line| line.split_once(','))
            .map(|(kind, count)| (kind, count.parse().unwrap_or(0)))
            .collect();
        let has_both =
            matches!(tracks[..], [("video", video), ("audio", audio)] if video >= 50 && audio >= 60);
        assert!(has_both, "{what}, {url}: {tracks:?}\n{log}");
    }
    drop(broadcasts);
}

/// The clip with a message at the start and after every tenth video frame, and timestamps from `first_ms`.
fn with_message(clip: &[Tag], kind: FrameKind, message: &Bytes, first_ms: u32) -> Vec<Tag> {
    let mut tags = vec![];
    let mut frames = 0;
    for tag in clip {
        tags.push(tag.clone());
        frames += usize::from(tag.is_video_frame());
        let is_header = frames == 0 && tag.kind == Data;
        if is_header || tag.is_video_frame() && frames % 10 == 0 {
            tags.push(Tag::new(kind, tag.at_ms, message.clone()));
        }
    }
    tags.iter_mut().for_each(|tag| tag.timestamp_ms = tag.timestamp_ms.wrapping_add(first_ms));
    tags
}

fn data(name: &str, values: &[Value]) -> Bytes {
    amf0::encode_all(&[&[name.into()], values].concat()).into()
}

fn object(properties: &[(&str, Value)]) -> Value {
    Value::Object(properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

fn name(number: usize) -> String {
    format!("live/stream{number}")
}

const CLIP: Clip = Clip::AUDIO_VIDEO.seconds(30);
