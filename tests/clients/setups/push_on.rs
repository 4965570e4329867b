//! `push-on/`: the command of the unit, as it is in its file, between two relays.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use fanfare::certificates::DevelopmentCertificate;

use super::{changed, folder, replace_once, text, verify_unit};
use crate::support::{
    Clip, Player, Process, Publisher, Relay, SOON, Signal, assert_gap_free, missing, packets,
};

const UNIT: &str = "push-on/fanfare-push@.service";
const NAME: &str = "live/show";
const KEY: &str = "show?key=a-secret-key";

/// A relay that takes streams as other services do: over TLS, from those who have the key.
struct Service {
    relay: Relay,
    authority: String,
    _certificate: tempfile::TempDir,
}

impl Service {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = DevelopmentCertificate::make(folder.path(), vec!["127.0.0.1".to_owned()]).unwrap();
        let (certificate, key) = (files.certificate.display(), files.key.display());
        let relay = Relay::start(&format!(
            "listen.rtmps = ['127.0.0.1:0']\ntls.certificates = [{{ certificate = '{certificate}', key = '{key}' }}]\n\
             publish.publisher_grace = '500ms'\n[[access]]\naction = 'publish'\nkeys = 'a-secret-key'\n"
        ));
        let authority = files.authority.to_str().unwrap().to_owned();
        Self { relay, authority, _certificate: folder }
    }

    /// Runs what the unit runs, from this relay to this service, with this stream key.
    fn push(&self, from: &Relay, key: &str) -> Process {
        let unit = changed(
            UNIT,
            &[
                ("127.0.0.1:1935", &from.address().to_string()),
                ("/etc/ssl/certs/ca-certificates.crt", &self.authority),
            ],
        );
        let target = format!("rtmps://{}/live", self.relay.rtmps_address());
        let of_environment = HashMap::from([("${TARGET}", &*target), ("${KEY}", key)]);
        // As systemd does it: words, and then what they stand for, each of which stays one word.
        let words = exec_start(&unit);
        let words = words.iter().map(|word| match of_environment.get(&**word) {
            Some(value) => (*value).to_owned(),
            None => word.replace("%I", NAME),
        });
        let words: Vec<String> = words.collect();
        assert!(!words.iter().any(|word| word.contains(['%', '$', '"', '\''])), "{words:?}");
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        Process::start_logged(command, &from.dir().join("push.log"))
    }
}

fn exec_start(unit: &str) -> Vec<String> {
    let one_line = unit.replace("\\\n", " ");
    let command =
        one_line.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("it starts a program");
    command.split_whitespace().map(str::to_owned).collect()
}

fn option<'a>(unit: &'a str, key: &str) -> &'a str {
    let start = format!("{key}=");
    unit.lines()
        .find_map(|line| line.strip_prefix(&*start))
        .unwrap_or_else(|| panic!("the unit has no {key}"))
}

#[test]
fn a_stream_arrives_whole_and_its_end_is_the_end_of_the_push() {
    let source = Relay::start("publish.publisher_grace = '500ms'");
    let service = Service::start();
    let clip = Clip::AUDIO_VIDEO.seconds(3);
    let recording = Player::Ffmpeg.record(&service.relay, NAME);
    service.relay.wait_for_players(NAME, 1);
    let mut push = service.push(&source, KEY);
    source.wait_for_players(NAME, 1);
    let _encoder = Publisher::Ffmpeg.publish(&source, &clip.file(), NAME);
    push.expect_success(clip.duration() + SOON);
    service.relay.wait_for_log(&["publish ended", NAME, "stopped_by_peer"]);
    let (published, arrived) = (packets(&clip.file()), recording.finish(SOON));
    assert_gap_free("the push", &published, &arrived);
    assert_eq!(arrived.len(), published.len());
    assert_eq!(push.output(), "", "the log stays empty");
}

/// And the unit takes how FFmpeg exits for a success.
#[test]
fn a_stop_ends_the_push_properly_and_a_refusal_does_not_put_the_key_into_the_log() {
    let source = Relay::start("");
    let service = Service::start();
    let unit = text(UNIT);
    let is_success =
        |code: i32| option(&unit, "SuccessExitStatus").split(' ').any(|success| success.parse() == Ok(code));
    let mut waits = service.push(&source, KEY);
    source.wait_for_players(NAME, 1);
    waits.signal(Signal::TERM);
    assert!(is_success(waits.expect_end(SOON).code().unwrap()), "{}", waits.output());

    let _encoder = Publisher::Ffmpeg.publish(&source, &Clip::AUDIO_VIDEO.seconds(20).file(), NAME);
    let mut refused = service.push(&source, "show?key=another-secret-key");
    assert!(!refused.expect_end(SOON).success());
    service.relay.wait_for_log(&["publisher refused", "wrong_credentials"]);
    let said = refused.output();
    assert!(said.contains("rtmps://") && !said.contains("secret"), "{said}");

    let arrives = Player::Ffmpeg.record(&service.relay, NAME);
    let mut push = service.push(&source, KEY);
    arrives.wait_for_bytes(10_000, SOON);
    push.signal(Signal::TERM);
    assert!(is_success(push.expect_end(SOON).code().unwrap()), "{}", push.output());
    service.relay.wait_for_log(&["publish ended", NAME, "stopped_by_peer"]);
}

#[test]
fn systemd_finds_no_fault_in_the_unit_and_grants_it_little() {
    verify_unit(&folder().join(UNIT));
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--threshold=20"]).arg(folder().join(UNIT));
    let log = tempfile::NamedTempFile::new().unwrap();
    Process::start_logged(security, log.path()).expect_success(SOON);
}

#[test]
fn the_file_with_the_key_is_where_the_unit_looks_for_it_and_has_what_it_needs() {
    let escaped = Command::new("systemd-escape").arg(NAME).output();
    let escaped = escaped.unwrap_or_else(|_| panic!("{}", missing("systemd-escape"))).stdout;
    let instance = String::from_utf8(escaped).unwrap().trim().to_owned();
    let unit = text(UNIT);
    let installed = replace_once(option(&unit, "EnvironmentFile"), "%i", &instance);
    let file = Path::new(&installed).file_name().unwrap().to_str().unwrap();
    let readme = text("push-on/README.md");
    assert!(readme.contains(&format!("install -m 600 {file} {installed}\n")), "{installed}");
    assert!(readme.contains(&format!("systemctl enable --now fanfare-push@{instance}\n")));
    let environment = fs::read_to_string(folder().join("push-on").join(file)).unwrap();
    let is_set = |name: &str| environment.lines().any(|line| line.starts_with(&format!("{name}=")));
    for word in exec_start(&unit) {
        if let Some(name) = word.strip_prefix("${").and_then(|word| word.strip_suffix('}')) {
            assert!(is_set(name), "{file} does not set {name}");
        }
    }
}
