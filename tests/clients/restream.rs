//! FFmpeg joins a stream late and writes it without transcoding, to files and to HLS: how to record with a relay that
//! stores nothing.

use std::path::Path;
use std::process::Command;

use crate::support::{Clip, Player, Process, Publisher, Relay, SOON, missing};

/// Options of the output, its name, and the file with the first packets.
const OUTPUTS: [(&[&str], &str, &str); 5] = [
    (&[], "out.mkv", "out.mkv"),
    // A text track that is not in the stream would make FFmpeg fail: MP4 cannot hold FLV's text.
    (&["-map", "0"], "out.mp4", "out.mp4"),
    (&["-f", "hls", "-hls_time", "1"], "out.m3u8", "out0.ts"),
    (&["-map", "0", "-f", "segment", "-segment_time", "1"], "segment%d.ts", "segment0.ts"),
    (&["-map", "0"], "out.flv", "out.flv"),
];

#[test]
fn ffmpeg_writes_a_stream_that_it_joins_late_to_each_container() {
    let relay = Relay::start("");
    let clip = Clip::AUDIO_VIDEO.seconds(20);
    let _encoder = Publisher::Ffmpeg.publish(&relay, &clip.file(), NAME);
    let early = Player::Rtmpdump.record(&relay, NAME);
    early.wait_for_bytes(clip.size() / 6, SOON);

    let mut restreams = Vec::new();
    for (scheme, url) in [("rtmp", relay.url(NAME)), ("http", relay.http_url(&format!("/{NAME}.flv")))] {
        for (options, output, file) in OUTPUTS {
            let dir = relay.dir().join(format!("{scheme}-{}", output.replace(['%', '.'], "-")));
            std::fs::create_dir(&dir).unwrap();
            restreams.push((restream(&url, options, output, &dir), dir.join(file)));
        }
    }
    for (mut process, file) in restreams {
        process.expect_success(SOON);
        expect_audio_and_video_from_a_key_frame(&file);
    }
}

/// Writes two seconds of it.
fn restream(url: &str, options: &[&str], output: &str, dir: &Path) -> Process {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg
        .args(["-nostdin", "-v", "warning", "-y", "-i", url, "-t", "2", "-c", "copy"])
        .args(options)
        .arg(output)
        .current_dir(dir);
    Process::start_logged(ffmpeg, &dir.join("ffmpeg.log"))
}

fn expect_audio_and_video_from_a_key_frame(file: &Path) {
    let tracks = probe(file, "stream=codec_type");
    // A transport stream is one program, and FFprobe lists its tracks twice.
    assert!(tracks == ["video", "audio"] || tracks == ["video", "audio", "video", "audio"], "{tracks:?}");
    // Matroska has no decoding time for the first frames, so this is not `packets`.
    let packets = probe(file, "packet=codec_type,flags");
    let of = |kind| -> Vec<&String> { packets.iter().filter(|packet| packet.starts_with(kind)).collect() };
    let (audio, video) = (of("audio"), of("video"));
    assert!(video[0].starts_with("video,K"), "{} starts with {}", file.display(), video[0]);
    // The first segment ends at the second key frame.
    assert!(audio.len() >= 25 && video.len() >= 30, "{}: {packets:?}", file.display());
}

/// One line per entry.
fn probe(file: &Path, entries: &str) -> Vec<String> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", entries, "-of", "csv=p=0"])
        .arg(file)
        .output()
        .unwrap_or_else(|_| panic!("{}", missing("ffprobe")));
    let lines = String::from_utf8_lossy(&output.stdout);
    lines.lines().map(|line| line.trim_end_matches(',').to_owned()).filter(|line| !line.is_empty()).collect()
}

const NAME: &str = "live/stream";
