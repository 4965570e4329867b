//! FFmpeg with an operator's web service that was written for another server, unmodified, and with the one that
//! docs/hooks.md shows.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};

use crate::support::{Clip, Player, Process, Publisher, Relay, SOON, assert_gap_free, packets};

/// A running service.
struct Service {
    #[expect(dead_code, reason = "ends with the test")]
    process: Process,
    lines: BufReader<ChildStdout>,
    port: u16,
}

impl Service {
    fn start(script: &Path) -> Self {
        let mut command = Command::new("python3");
        command.arg(script).arg("0").stdout(Stdio::piped());
        let mut process = Process::start(command);
        let lines = BufReader::new(process.child().stdout.take().expect("a pipe"));
        let mut service = Self { process, lines, port: 0 };
        let ready = service.line();
        service.port = ready.strip_prefix("ready ").and_then(|port| port.parse().ok()).expect(&ready);
        service
    }

    fn of_another_server(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/hook_services");
        Self::start(&folder.join(name))
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What it prints next.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

fn refused(relay: &Relay, clip: &Clip, name: &str) {
    let mut publisher = Publisher::Ffmpeg.publish(relay, &clip.file(), name);
    assert!(!publisher.expect_end(SOON).success(), "{name}: {}", publisher.output());
}

#[test]
fn a_service_written_for_srs_decides_unmodified() {
    let mut service = Service::of_another_server("srs.py");
    let (streams, sessions) = (service.url("/api/v1/streams"), service.url("/api/v1/sessions"));
    let relay = Relay::start(&format!(
        "[hooks]\ndialect = 'srs'\non_publish = ['{streams}']\non_unpublish = ['{streams}']\non_play = ['{sessions}']\non_stop = ['{sessions}']\n[publish]\npublisher_grace = '500ms'\n"
    ));
    let clip = Clip::AUDIO_VIDEO.seconds(3);
    refused(&relay, &clip, "live/show?token=yyy");
    assert!(service.line().ends_with(" __defaultVhost__/live/show ?token=yyy"));
    let player = Player::Ffmpeg.record(&relay, "live/show");
    assert!(service.line().starts_with("on_play client="));
    relay.wait_for_players("live/show", 1);
    let mut banned = Player::Ffmpeg.record(&relay, "live/show?banned");
    assert!(!banned.process.expect_end(SOON).success());
    assert!(service.line().ends_with("/live/show ?banned"));
    let mut publisher = Publisher::Ffmpeg.publish(&relay, &clip.file(), "live/show?token=xxx");
    publisher.expect_success(clip.duration() + SOON);
    assert_gap_free("FFmpeg", &packets(&clip.file()), &player.finish(SOON));
    let mut told = [service.line(), service.line(), service.line()]
        .map(|line| line.split(' ').next().unwrap().to_owned());
    told.sort_unstable();
    assert_eq!(told, ["on_publish", "on_stop", "on_unpublish"]);
}

#[test]
fn a_service_written_for_nginx_rtmp_decides_unmodified() {
    let mut service = Service::of_another_server("nginx_rtmp.py");
    let url = service.url("/auth");
    let relay = Relay::start(&format!(
        "[hooks]\ndialect = 'nginx-rtmp'\non_publish = ['{url}']\non_play = ['{url}']\non_unpublish = ['{url}']\n[publish]\npublisher_grace = '500ms'\n"
    ));
    let clip = Clip::AUDIO_VIDEO.seconds(3);
    refused(&relay, &clip, "live/show");
    assert_eq!(service.line(), "publish show 127.0.0.1");
    // An argument does not replace the address that the service sees.
    let player = Player::Ffmpeg.record(&relay, "live/show?addr=198.51.100.1");
    assert_eq!(service.line(), "play show 127.0.0.1");
    relay.wait_for_players("live/show", 1);
    let mut publisher = Publisher::Ffmpeg.publish(&relay, &clip.file(), "live/s3cr3t-key");
    publisher.expect_success(clip.duration() + SOON);
    assert_gap_free("FFmpeg", &packets(&clip.file()), &player.finish(SOON));
    assert_eq!(service.line(), "publish s3cr3t-key 127.0.0.1");
    assert_eq!(service.line(), "publish_done show 127.0.0.1");
}

#[test]
fn a_service_written_for_mediamtx_decides_unmodified() {
    let mut service = Service::of_another_server("mediamtx.py");
    let url = service.url("/auth");
    let relay = Relay::start(&format!(
        "[hooks]\ndialect = 'mediamtx'\non_publish = ['{url}']\non_play = ['{url}']\n[publish]\npublisher_grace = '500ms'\n"
    ));
    let clip = Clip::AUDIO_VIDEO.seconds(3);
    refused(&relay, &clip, "live/show?user=ann&pass=wrong");
    assert_eq!(service.line(), "publish live/show rtmp ann");
    let player = Player::Ffmpeg.record(&relay, "live/show");
    assert_eq!(service.line(), "read live/show rtmp");
    relay.wait_for_players("live/show", 1);
    let mut publisher = Publisher::Ffmpeg.publish(&relay, &clip.file(), "live/show?user=ann&pass=hunter22");
    publisher.expect_success(clip.duration() + SOON);
    assert_gap_free("FFmpeg", &packets(&clip.file()), &player.finish(SOON));
    let log = relay.log().join("\n");
    assert!(!log.contains("hunter22") && !log.contains("pass=wrong"), "{log}");
}

/// The Python program in docs/hooks.md, which checks signatures.
#[test]
fn the_service_in_the_document_works() {
    let document = include_str!("../../docs/hooks.md");
    let program =
        document.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a program");
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("service.py");
    std::fs::write(&script, program).unwrap();
    let mut service = Service::start(&script);
    let url = service.url("/");
    let config =
        |secret: &str| format!("[hooks]\non_publish = ['{url}']\non_play = ['{url}']\nsecret = '{secret}'\n");
    let relay = Relay::start(&config("a long random text"));
    let clip = Clip::AUDIO_VIDEO.seconds(3);
    refused(&relay, &clip, "live/guess");
    relay.wait_for_log(&["publisher refused: access denied", "no such key"]);
    let mut publisher = Publisher::Ffmpeg.publish(&relay, &clip.file(), "live/s3cr3t-key");
    relay.wait_for_log(&["publishing", "live/show"]);
    publisher.expect_success(clip.duration() + SOON);
    assert_eq!([service.line(), service.line()], ["on_publish live/guess", "on_publish live/s3cr3t-key"]);
    let other = Relay::start(&config("another text"));
    refused(&other, &clip, "live/s3cr3t-key");
    other.wait_for_log(&["publisher refused: access denied", "status 403"]);
}
