//! The contents of a recording: each packet's time and the hash of its bytes, and checks that none is missing.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::process::missing;

/// Whether a packet is audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Audio.
    Audio,
    /// Video.
    Video,
}

/// One packet of a file, as FFmpeg's demuxer returns it.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Audio or video.
    pub kind: Kind,
    /// When it is decoded.
    pub dts_ms: i64,
    /// When it is shown.
    pub pts_ms: i64,
    /// Whether decoding can start here.
    pub is_key_frame: bool,
    /// Of its bytes.
    pub hash: String,
}

/// The packets of an FLV file, in file order.
pub fn packets(file: &Path) -> Vec<Packet> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_packets", "-show_data_hash", "md5", "-of", "json"])
        .arg(file)
        .output()
        .unwrap_or_else(|_| panic!("{}", missing("ffprobe")));
    let list: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("ffprobe prints no JSON for {}: {error}", file.display()));
    let list = list["packets"].as_array().cloned().unwrap_or_default();
    list.iter().filter_map(packet).collect()
}

fn packet(value: &Value) -> Option<Packet> {
    let kind = match value["codec_type"].as_str()? {
        "audio" => Kind::Audio,
        "video" => Kind::Video,
        _ => return None,
    };
    Some(Packet {
        kind,
        dts_ms: value["dts"].as_i64()?,
        pts_ms: value["pts"].as_i64()?,
        is_key_frame: kind == Kind::Video && value["flags"].as_str()?.starts_with('K'),
        hash: value["data_hash"].as_str()?.to_owned(),
    })
}

/// The part of a published file that a recording contains.
#[derive(Debug)]
pub struct Received {
    /// Which of the published audio packets, by number.
    pub audio: Range<usize>,
    /// Which of the published video packets, by number.
    pub video: Range<usize>,
    /// What the recorder subtracted from the timestamps.
    pub offset_ms: i64,
}

/// Fails the test unless the recording is, for audio and for video, an unbroken run of what was published, with the
/// same timestamps up to a constant. Returns that run.
pub fn assert_gap_free(player: &str, published: &[Packet], recorded: &[Packet]) -> Received {
    assert!(!recorded.is_empty(), "{player} recorded nothing");
    let audio = run_of(player, Kind::Audio, published, recorded);
    let video = run_of(player, Kind::Video, published, recorded);
    let mut offset_ms = None;
    for (kind, run) in [(Kind::Audio, &audio), (Kind::Video, &video)] {
        let sent = &of_kind(published, kind)[run.clone()];
        for (number, (sent, got)) in sent.iter().zip(of_kind(recorded, kind)).enumerate() {
            let offset = sent.pts_ms - got.pts_ms;
            let first = *offset_ms.get_or_insert(offset);
            assert_eq!(
                offset, first,
                "{player}: {kind:?} packet {number} is shown at {} ms, was {} ms, and before it the difference was {first} ms",
                got.pts_ms, sent.pts_ms
            );
        }
    }
    Received { audio, video, offset_ms: offset_ms.expect("something was recorded") }
}

/// Which of the published packets of this kind were recorded; fails the test if it is not one unbroken run.
fn run_of(player: &str, kind: Kind, published: &[Packet], recorded: &[Packet]) -> Range<usize> {
    let published = of_kind(published, kind);
    let recorded = of_kind(recorded, kind);
    let matching = |start: usize| {
        let pairs = published[start..].iter().zip(&recorded);
        pairs.take_while(|(sent, got)| sent.hash == got.hash).count()
    };
    // The longest match: two packets may be equal, long runs hardly.
    let (start, length) = (0..published.len())
        .map(|start| (start, matching(start)))
        .max_by_key(|&(start, length)| (length, std::cmp::Reverse(start)))
        .unwrap_or((0, 0));
    assert_eq!(
        length,
        recorded.len(),
        "{player}: {kind:?} packet {length} of {} recorded is not the one published after number {} of {}",
        recorded.len(),
        start + length,
        published.len()
    );
    start..start + length
}

/// Splits a recording where it changes from one published file to another. Returns for each run the file (its index in
/// `published`) and the recorded packets. A packet of none of the files fails the test.
pub fn runs(published: &[&[Packet]], recorded: &[Packet], kind: Kind) -> Vec<(usize, Vec<Packet>)> {
    let mut origin: HashMap<&str, usize> = HashMap::new();
    for (file, packets) in published.iter().enumerate() {
        origin.extend(of_kind(packets, kind).iter().map(|packet| (packet.hash.as_str(), file)));
    }
    let mut runs: Vec<(usize, Vec<Packet>)> = Vec::new();
    for packet in of_kind(recorded, kind) {
        let Some(&file) = origin.get(packet.hash.as_str()) else {
            panic!("{packet:?} was not published");
        };
        match runs.last_mut() {
            Some((last, run)) if *last == file => run.push(packet.clone()),
            _ => runs.push((file, vec![packet.clone()])),
        }
    }
    runs
}

/// Fails the test if timestamps of a kind go back, or jump by more than `max_step_ms`.
pub fn assert_time_moves_forward(player: &str, recorded: &[Packet], max_step_ms: i64) {
    for kind in [Kind::Audio, Kind::Video] {
        for pair in of_kind(recorded, kind).windows(2) {
            let step_ms = pair[1].dts_ms - pair[0].dts_ms;
            assert!(
                (0..=max_step_ms).contains(&step_ms),
                "{player}: {kind:?} goes from {} ms to {} ms",
                pair[0].dts_ms,
                pair[1].dts_ms
            );
        }
    }
}

/// How many packets are of this kind.
pub fn count(packets: &[Packet], kind: Kind) -> usize {
    of_kind(packets, kind).len()
}

fn of_kind(packets: &[Packet], kind: Kind) -> Vec<&Packet> {
    packets.iter().filter(|packet| packet.kind == kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Audio and video packets in turn, 20 ms apart.
    fn stream() -> Vec<Packet> {
        let packet = |number: i64| Packet {
            kind: if number % 2 == 0 { Kind::Video } else { Kind::Audio },
            dts_ms: number * 20,
            pts_ms: number * 20,
            is_key_frame: number % 10 == 0,
            hash: format!("hash {number}"),
        };
        (0..40).map(packet).collect()
    }

    #[test]
    fn a_run_from_the_middle_with_other_times_is_gap_free() {
        let recorded: Vec<Packet> = stream()[10..30]
            .iter()
            .map(|packet| Packet { pts_ms: packet.pts_ms - 200, ..packet.clone() })
            .collect();
        let received = assert_gap_free("a player", &stream(), &recorded);
        assert_eq!((received.audio, received.video, received.offset_ms), (5..15, 5..15, 200));
    }

    #[test]
    #[should_panic(expected = "Video packet 3 of 19 recorded is not the one published after number 3 of 20")]
    fn a_missing_packet_is_a_gap() {
        let mut recorded = stream();
        recorded.remove(6);
        assert_gap_free("a player", &stream(), &recorded);
    }

    #[test]
    #[should_panic(expected = "Audio packet 4 is shown at 181 ms, was 180 ms")]
    fn a_shifted_packet_is_noticed() {
        let mut recorded = stream();
        recorded[9].pts_ms += 1;
        assert_gap_free("a player", &stream(), &recorded);
    }

    #[test]
    #[should_panic(expected = "Video goes from 240 ms to 200 ms")]
    fn time_that_goes_back_is_noticed() {
        let mut recorded = stream();
        recorded.swap(10, 12);
        assert_time_moves_forward("a player", &recorded, 1000);
    }
}
