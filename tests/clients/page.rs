//! The page in a real Chromium, served by the built relay, with a stream that FFmpeg publishes. What a user does is in
//! tests/web/page.test.mjs.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fanfare::certificates::DevelopmentCertificate;

use crate::broadcast::{Broadcast, tags};
use crate::proxies::{ONE_LINE, start_nginx};
use crate::support::newer_ffmpeg::NEWER_FFMPEG;
use crate::support::{Clip, Process, Relay, is_installed, missing, peer};

#[test]
fn the_page_plays_a_stream_and_shows_the_operator_all_connections() {
    let (relay, _encoder) = with_a_stream("");
    run_page_tests(&relay, &[]);
    relay.wait_for_log(&["playing", "websocket_flv"]);
}

#[test]
fn the_page_over_https_comes_over_http_2_and_its_streams_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let files = DevelopmentCertificate::make(folder.path(), vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (files.certificate.display(), files.key.display());
    let (relay, _encoder) = with_a_stream(&format!(
        "listen.https = ['127.0.0.1:0']\n\
         tls.certificates = [{{ certificate = '{certificate}', key = '{key}' }}]\nhttp.hsts = '1h'\n"
    ));
    let summary = peer::get(&relay, "/api/v1/summary");
    assert_eq!(summary.header("strict-transport-security"), "", "it is for HTTPS alone");
    let address = summary.json()["listen"]["https"][0].as_str().unwrap().to_owned();
    let port = address.rsplit_once(':').unwrap().1;
    let url = format!("https://localhost:{port}/");
    run_web_tests(&relay, "https.test.mjs", &[], &[("FANFARE_URL", &url), ("FANFARE_STREAM", NAME)]);
    relay.wait_for_log(&["playing", "websocket_flv"]);
    relay.wait_for_log(&["playing", "http_flv"]);
}

#[test]
fn viewers_can_use_the_page_if_the_api_is_locked_and_on_another_address() {
    let (relay, _encoder) = with_a_stream("api.listen = ['127.0.0.1:0']\napi.read_token = 'read-token'");
    run_page_tests(
        &relay,
        &["--test-name-pattern", "a click on a card plays|a card shows a still|addresses are copied"],
    );
    relay.wait_for_log(&["playing", "websocket_flv"]);
}

#[test]
fn browsers_show_a_stream_whose_audio_is_announced_and_never_sent() {
    let relay = Relay::start("");
    let _encoder = Broadcast::start(
        &relay,
        NAME,
        tags(&CLIP.file()).into_iter().filter(|tag| !tag.is_audio_frame()).collect(),
    );
    run_page_tests(&relay, &["--test-name-pattern", "a click on a card plays"]);
    run_web_tests(&relay, "plain.test.mjs", &[], &[]);
}

/// At 2^31 ms FLV's timestamps turn negative, where mpegts.js stops; at 2^32 ms RTMP's wrap.
#[test]
fn browsers_show_a_stream_whose_clock_begins_anywhere() {
    let relay = Relay::start("");
    for (number, first_ms) in [100_000, (1 << 31) - 9_000, u32::MAX - 9_000].into_iter().enumerate() {
        let name = format!("{NAME}{number}");
        let mut tags = tags(&CLIP.file());
        tags.iter_mut().for_each(|tag| tag.timestamp_ms = tag.timestamp_ms.wrapping_add(first_ms));
        let encoder = Broadcast::start(&relay, &name, tags);
        encoder.wait_until_ms(2_500);
        let environment = [("FANFARE_STREAM", &*name), ("FANFARE_SECONDS", "12")];
        run_web_tests(&relay, "plain.test.mjs", &[], &environment);
    }
}

#[test]
fn through_a_proxy_without_websocket_eight_tabs_leave_connections_for_the_api() {
    let (relay, _encoder) = with_a_stream("");
    let (_nginx, proxy) = start_nginx(&relay, ONE_LINE);
    let url = format!("http://localhost:{}/", proxy.port());
    let environment = [("FANFARE_URL", &*url), ("FANFARE_PROXY", "1")];
    run_web_tests(&relay, "page.test.mjs", &["--test-name-pattern", "without WebSocket"], &environment);
    relay.wait_for_log(&["playing", "http_flv"]);
}

/// docs/codecs.md says the same of each codec.
#[test]
fn the_page_plays_a_codec_or_says_who_can() {
    let relay = Relay::start("");
    let encoders = ["h264+opus", "h264+flac", "vp9+opus", "av1+aac", "hevc+aac"].map(|name| {
        let (video, audio) = name.split_once('+').unwrap();
        let video = match video {
            "h264" => "libx264 -preset ultrafast",
            "vp9" => "libvpx-vp9 -deadline realtime -cpu-used 8",
            "av1" => "libsvtav1 -preset 12",
            _ => "libx265 -preset ultrafast",
        };
        let audio = if audio == "opus" { "libopus" } else { audio };
        let name = format!("codec/{name}");
        let mut ffmpeg = Command::new(NEWER_FFMPEG);
        ffmpeg
            .args(["-nostdin", "-v", "warning", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=15"])
            .args(["-f", "lavfi", "-i", "sine", "-pix_fmt", "yuv420p", "-g", "15", "-c:v"])
            .args(video.split(' '))
            .args(["-c:a", audio, "-f", "flv", &relay.url(&name)]);
        let encoder = Process::start_logged(ffmpeg, &relay.dir().join(name.replace('/', "-")));
        relay.wait_for_publisher(&name);
        encoder
    });
    run_web_tests(&relay, "codecs.test.mjs", &[], &[]);
    run_web_tests(&relay, "tags.test.mjs", &[], &[]);
    drop(encoders);
}

/// Runs the tests of the page that the arguments select, against this relay.
fn run_page_tests(relay: &Relay, arguments: &[&str]) {
    run_web_tests(relay, "page.test.mjs", arguments, &[]);
}

fn run_web_tests(relay: &Relay, file: &str, arguments: &[&str], environment: &[(&str, &str)]) {
    for program in ["node", "chromium"] {
        assert!(is_installed(program), "{}", missing(program));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = root.join("target/tools/web/node_modules");
    assert!(tools.exists(), "{} is needed for this test: ./test gets it from npm", tools.display());
    let mut node = Command::new("node");
    node.arg("--test")
        .args(arguments)
        .arg(format!("tests/web/{file}"))
        .current_dir(root)
        .env("FANFARE_URL", relay.http_url("/"))
        .env("FANFARE_TOKEN", relay.token())
        .env("FANFARE_STREAM", NAME)
        .envs(environment.iter().copied());
    Process::start_logged(node, &relay.dir().join("page.log")).expect_success(TIMEOUT);
}

/// A relay, and an FFmpeg that publishes to it.
fn with_a_stream(config: &str) -> (Relay, Process) {
    let relay = Relay::start(config);
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg
        .args(["-nostdin", "-v", "warning", "-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30"])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100", "-c:v", "libx264"])
        .args(["-preset", "ultrafast", "-tune", "zerolatency", "-g", "60", "-b:v", "1M"])
        .args(["-pix_fmt", "yuv420p", "-c:a", "aac", "-f", "flv", &relay.url(NAME)]);
    let encoder = Process::start_logged(ffmpeg, &relay.dir().join("ffmpeg.log"));
    relay.wait_for_publisher(NAME);
    (relay, encoder)
}

const NAME: &str = "live/live_stream";
/// Longer than the browser's tests take.
const CLIP: Clip = Clip::AUDIO_VIDEO.seconds(90);
/// On a busy machine of two cores they take two minutes.
const TIMEOUT: Duration = Duration::from_secs(400);
