//! An FFmpeg newer than Debian's: it writes and reads Enhanced FLV. Its view of a file.

use std::path::Path;
use std::process::Command;

use super::packets::{Kind, Packet};
use super::process::missing;

/// Where `./test` installs it.
pub const NEWER_FFMPEG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/newer-ffmpeg");

/// The packets of an FLV file with audio and video, in file order.
pub fn packets(file: &Path) -> Vec<Packet> {
    // The third stream is the key frames of the first one.
    let key_frames = ["-map", "0:v", "-c", "copy", "-bsf:2", "noise=drop=not(key)"];
    packets_of(file, &[&["-map", "0:v", "-map", "0:a"], &key_frames[..]].concat())
}

/// The packets of the first video track of an FLV file, in file order.
pub fn first_video_track(file: &Path) -> Vec<Packet> {
    let key_frames = ["-map", "0:v:0", "-c", "copy", "-bsf:2", "noise=drop=not(key)"];
    // Includes frames before the first key frame, of which there should be none.
    let streams = ["-map", "0:v:0", "-map", "0:a", "-copyinkf:0"];
    let packets = packets_of(file, &[&streams, &key_frames[..]].concat());
    packets.into_iter().filter(|packet| packet.kind == Kind::Video).collect()
}

/// The packets of the streams that the options make: video, audio, and the key frames of the video.
fn packets_of(file: &Path, streams: &[&str]) -> Vec<Packet> {
    let (key_frames, packets): (Vec<_>, Vec<_>) =
        hashes(file, streams).into_iter().partition(|hash| hash.stream == 2);
    let packet = |hash: Hash| Packet {
        kind: if hash.stream == 0 { Kind::Video } else { Kind::Audio },
        dts_ms: hash.dts,
        pts_ms: hash.pts,
        is_key_frame: hash.stream == 0 && key_frames.iter().any(|key_frame| key_frame.dts == hash.dts),
        hash: hash.of_bytes,
    };
    packets.into_iter().map(packet).collect()
}

/// Decodes audio and video of an FLV file; returns the hash of each video frame. Fails the test if the decoders print a
/// warning.
pub fn decoded_video_frames(file: &Path) -> Vec<String> {
    let decoded = hashes(file, &["-map", "0:v", "-map", "0:a", "-fps_mode", "passthrough"]);
    let video = decoded.into_iter().filter(|hash| hash.stream == 0);
    video.map(|hash| hash.of_bytes).collect()
}

/// A line of FFmpeg's framehash muxer.
struct Hash {
    stream: usize,
    /// In the stream's time base: of packets in FLV, milliseconds.
    dts: i64,
    pts: i64,
    of_bytes: String,
}

/// Reads a file with its own timestamps; returns the hashes of the streams that the options make of it.
fn hashes(file: &Path, options: &[&str]) -> Vec<Hash> {
    let output = Command::new(NEWER_FFMPEG)
        .args(["-nostdin", "-v", "warning", "-xerror", "-copyts", "-i"])
        .arg(file)
        .args(options)
        .args(["-f", "framehash", "-hash", "md5", "-"])
        .output()
        .unwrap_or_else(|_| panic!("{}", missing(NEWER_FFMPEG)));
    let warnings = String::from_utf8_lossy(&output.stderr);
    let is_valid = output.status.success() && warnings.is_empty();
    assert!(is_valid, "{}: {}\n{warnings}", file.display(), output.status);
    let lines = String::from_utf8_lossy(&output.stdout);
    lines.lines().filter(|line| !line.starts_with('#')).map(hash).collect()
}

/// Reads `stream, dts, pts, duration, size, hash`.
fn hash(line: &str) -> Hash {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let &[stream, dts, pts, _duration, _size, of_bytes] = &fields[..] else {
        panic!("not a line of framehash: {line:?}");
    };
    Hash {
        stream: stream.parse().unwrap(),
        dts: dts.parse().unwrap(),
        pts: pts.parse().unwrap(),
        of_bytes: of_bytes.to_owned(),
    }
}
