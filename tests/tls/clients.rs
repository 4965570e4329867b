//! What programs that people use publish and play over TLS is what they publish and play without.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::certificates::{Certificate, start};
use crate::support::{
    Clip, Kind, Player, Process, Publisher, Recording, Relay, SOON, assert_gap_free, count, packets, vlc,
};

/// An FFmpeg that publishes a file in real time and trusts this authority alone.
fn publish(relay: &Relay, file: &Path, authority: &Path) -> Process {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "warning", "-re", "-i"]).arg(file).args(["-c", "copy", "-f", "flv"]);
    ffmpeg.arg("-ca_file").arg(authority).args(["-tls_verify", "1", &rtmps_url(relay)]);
    Process::start_logged(ffmpeg, &relay.dir().join("publisher.log"))
}

fn rtmps_url(relay: &Relay) -> String {
    format!("rtmps://{}/{NAME}", relay.rtmps_address())
}

fn https_url(relay: &Relay) -> String {
    format!("https://{}/{NAME}.flv", relay.https_address())
}

/// Runs a player whose recording is this file.
fn record(player: Player, relay: &Relay, stem: &str, command: impl FnOnce(&Path) -> Command) -> Recording {
    let file = relay.dir().join(format!("{stem}.flv"));
    let command = command(&file);
    Recording { player, process: Process::start_logged(command, &file.with_extension("log")), file }
}

/// An FFmpeg that trusts this authority alone.
fn ffmpeg(relay: &Relay, url: &str, stem: &str, authority: &Path) -> Recording {
    record(Player::Ffmpeg, relay, stem, |file| {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-v", "warning", "-y", "-ca_file"]).arg(authority);
        ffmpeg.args(["-tls_verify", "1", "-i", url, "-c", "copy", "-flush_packets", "1"]).arg(file);
        ffmpeg
    })
}

fn mpv(relay: &Relay, authority: &Path) -> Recording {
    record(Player::Mpv, relay, "mpv", |file| {
        let mut mpv = Command::new("mpv");
        mpv.args(["--no-config", "--no-terminal", "--vo=null", "--ao=null", "--tls-verify=yes"]);
        mpv.arg(format!("--tls-ca-file={}", authority.display()));
        mpv.arg(format!("--stream-record={}", file.display())).arg(https_url(relay));
        mpv
    })
}

fn vlc_dump(relay: &Relay, certificate: &Certificate) -> Recording {
    record(Player::Vlc, relay, "vlc", |file| {
        fs::write(file, []).unwrap();
        fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        let mut vlc = vlc(relay.dir());
        vlc.arg(format!("--gnutls-dir-trust={}", certificate.trust_folder().display()));
        vlc.args(["--play-and-exit", "--demux", "dump", "--demuxdump-file"]).arg(file);
        vlc.args([&https_url(relay), "vlc://quit"]);
        vlc
    })
}

/// curl is no player: FFmpeg reads its file.
fn curl(relay: &Relay, authority: &Path) -> Recording {
    record(Player::Ffmpeg, relay, "curl", |file| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--cacert"]).arg(authority).arg("--output").arg(file);
        curl.arg(https_url(relay));
        curl
    })
}

fn gstreamer(pipeline: &[&str]) -> Command {
    let mut command = Command::new("gst-launch-1.0");
    command.arg("--quiet").args(pipeline);
    command
}

/// Players over RTMPS wait for the publisher and get all; those over HTTPS come once it is there, and lose nothing then.
#[test]
fn every_player_gets_what_ffmpeg_publishes_over_rtmps() {
    let certificate = Certificate::local();
    let authority = certificate.authority();
    let relay = start(&certificate, SHORT_GRACE);
    let clip = Clip::AUDIO_VIDEO.seconds(10);
    let waiting =
        [ffmpeg(&relay, &rtmps_url(&relay), "rtmps", authority), Player::Rtmpdump.record(&relay, NAME)];
    relay.wait_for_players(NAME, waiting.len());
    let mut publisher = publish(&relay, &clip.file(), authority);
    relay.wait_for_publisher(NAME);
    let late = [
        ffmpeg(&relay, &https_url(&relay), "https", authority),
        mpv(&relay, authority),
        vlc_dump(&relay, &certificate),
        curl(&relay, authority),
    ];
    publisher.expect_success(clip.duration() + SOON);
    let published = packets(&clip.file());
    for recording in waiting {
        let player = recording.file.display().to_string();
        let recorded = recording.finish(SOON);
        assert_gap_free(&player, &published, &recorded);
        assert_eq!(recorded.len(), published.len(), "{player}");
    }
    for recording in late {
        let player = recording.file.display().to_string();
        let recorded = recording.finish(SOON);
        let received = assert_gap_free(&player, &published, &recorded);
        assert_eq!(received.video.end, count(&published, Kind::Video), "{player} misses the last frames");
        assert!(received.video.len() > count(&published, Kind::Video) / 4, "{player}: {received:?}");
        let first = recorded.iter().find(|packet| packet.kind == Kind::Video).unwrap();
        assert!(first.is_key_frame, "{player}");
    }
}

#[test]
fn large_frames_are_whole_over_tls() {
    let certificate = Certificate::local();
    let relay = start(&certificate, SHORT_GRACE);
    let clip = Clip::LARGE;
    let waits = ffmpeg(&relay, &rtmps_url(&relay), "rtmps", certificate.authority());
    relay.wait_for_players(NAME, 1);
    publish(&relay, &clip.file(), certificate.authority()).expect_success(clip.duration() + SOON);
    let published = packets(&clip.file());
    let recorded = waits.finish(SOON);
    assert_gap_free("FFmpeg", &published, &recorded);
    assert_eq!(recorded.len(), published.len());
}

#[test]
fn ffmpeg_refuses_a_relay_that_it_does_not_trust() {
    let (certificate, other) = (Certificate::local(), Certificate::local());
    let relay = start(&certificate, "");
    let status = publish(&relay, &Clip::AUDIO_VIDEO.file(), other.authority()).expect_end(SOON);
    assert!(!status.success());
    // It says so with no alert.
    relay.wait_for_log(&["closed", "closed_by_peer"]);
}

#[test]
fn gstreamer_publishes_and_plays_over_rtmps() {
    let certificate = Certificate::local();
    let relay = start(&certificate, SHORT_GRACE);
    let clip = Clip::AUDIO_VIDEO.seconds(3);
    let url = rtmps_url(&relay);
    let location = format!("location={url}");
    // It trusts what the system trusts, and there is no other file to name.
    let trusts_all = "tls-validation-flags=0";
    let recording = record(Player::Rtmp2src, &relay, "rtmp2src", |file| {
        let sink = format!("location={}", file.display());
        gstreamer(&["rtmp2src", &location, trusts_all, "!", "filesink", "buffer-mode=unbuffered", &sink])
    });
    let other = ffmpeg(&relay, &url, "rtmps", certificate.authority());
    relay.wait_for_players(NAME, 2);
    let sent = Publisher::Rtmp2sink.sent_file(&relay);
    let source = format!("location={}", clip.file().display());
    let copy = format!("location={}", sent.display());
    let mut publisher = vec!["filesrc", &source, "!", "flvdemux", "name=in"];
    publisher.extend(["flvmux", "name=out", "streamable=true"]);
    publisher.extend([
        "in.video",
        "!",
        "queue",
        "!",
        "out.video",
        "in.audio",
        "!",
        "queue",
        "!",
        "out.audio",
    ]);
    publisher.extend(["out.", "!", "tee", "name=both", "both.", "!", "queue", "!"]);
    publisher.extend(["filesink", "buffer-mode=unbuffered", &copy, "both.", "!", "queue", "!"]);
    publisher.extend(["rtmp2sink", "sync=true", &location, trusts_all]);
    let log = relay.dir().join("publisher.log");
    Process::start_logged(gstreamer(&publisher), &log).expect_success(clip.duration() + SOON);
    let published = packets(&sent);
    assert_eq!(published.len(), packets(&clip.file()).len(), "GStreamer has sent all");
    for recording in [recording, other] {
        let player = recording.file.display().to_string();
        let recorded = recording.finish(SOON);
        assert_gap_free(&player, &published, &recorded);
        assert_eq!(recorded.len(), published.len(), "{player}");
    }
}

#[test]
fn vlc_shows_an_encrypted_stream_and_exits_when_it_ends() {
    let certificate = Certificate::local();
    let relay = start(&certificate, SHORT_GRACE);
    let clip = Clip::AUDIO_VIDEO.seconds(8);
    let mut publisher = publish(&relay, &clip.file(), certificate.authority());
    relay.wait_for_publisher(NAME);
    let mut vlc = vlc(relay.dir());
    vlc.arg(format!("--gnutls-dir-trust={}", certificate.trust_folder().display()));
    // Each frame that it shows becomes a file.
    let frames = relay.dir().join("frames");
    fs::create_dir(&frames).unwrap();
    fs::set_permissions(&frames, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    vlc.args(["--video-filter", "scene", "--scene-format", "png", "--scene-ratio", "1", "--scene-path"]);
    vlc.arg(&frames).args(["--vout", "dummy", "--aout", "dummy", &https_url(&relay), "vlc://quit"]);
    let mut player = Process::start_logged(vlc, &relay.dir().join("vlc.log"));
    publisher.expect_success(clip.duration() + SOON);
    player.expect_success(SOON);
    let shown = fs::read_dir(&frames).unwrap().count();
    assert!(shown > 30, "{shown} frames of 240 were shown: {}", player.output());
}

const NAME: &str = "live/stream";
/// Players are notified soon after the publisher has gone.
const SHORT_GRACE: &str = "publish.publisher_grace = '500ms'";
