//! `one-machine/`: certificates from files and by ACME, keys, links.

use std::fs;
use std::process::{Command, Stdio};

use fanfare::certificates::DevelopmentCertificate;
use tempfile::TempDir;

use super::{changed, command_line, replace_once, secret_file, shell, text, verify_unit};
use crate::support::peer::{ask_at, ask_with, bearer, get};
use crate::support::{Clip, FANFARE, Process, Relay, SOON, Signal, missing};

#[path = "../../acme/pebble.rs"]
mod pebble;

const README: &str = "one-machine/README.md";
const KEY: &str = "5f0e1c3ab7d94826";
/// What programs trust, in the README.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

#[test]
fn encoders_publish_with_a_key_and_viewers_watch_with_a_link_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["relay.example", "127.0.0.1"].map(str::to_owned).to_vec();
    let files = DevelopmentCertificate::make(folder.path(), names).unwrap();
    let authority = files.authority.to_str().unwrap();
    // The pair of files that a comment shows, instead of a certificate by ACME.
    let config = configuration(&folder);
    let config = replace_once(&config, "acme_names = [\"relay.example\"]\n", "");
    let config = replace_once(&config, "acme_email = \"you@relay.example\"\n", "");
    let config = replace_once(&config, "acme_terms_agreed = true\n", "");
    let config = replace_once(&config, "#certificates =", "certificates =");
    let config = replace_once(&config, "/etc/fanfare/fullchain.pem", files.certificate.to_str().unwrap());
    let config = replace_once(&config, "/etc/fanfare/privkey.pem", files.key.to_str().unwrap());
    let relay = Relay::start(&config);

    let _publisher = expect_to_publish_with_a_key_alone(&relay, authority);
    expect_to_play_with_a_link_alone(&relay, authority);
    expect_the_api_at_its_own_address_alone(&relay, authority);
    let response = ask_with(&relay, "GET", "/?stream=live/show", "Host: relay.example\r\n");
    let https = format!("https://relay.example:{}/?stream=live/show", relay.https_address().port());
    assert_eq!((response.status, response.header("location")), (308, &*https));
}

#[test]
fn the_certificate_comes_by_acme() {
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(&folder);
    let agreed = "acme_terms_agreed = true\n";
    // The authority is to know the relay's port for HTTP.
    let nowhere = format!("{agreed}acme_directory = 'https://127.0.0.1:1/dir'\n");
    let relay = Relay::start(&replace_once(&config, agreed, &nowhere));
    let pebble = pebble::Pebble::start(relay.http_address().port());
    let (directory, ca_file) = (pebble.directory(), pebble.ca_file());
    let here = format!("{agreed}acme_directory = '{directory}'\nacme_ca_file = '{}'\n", ca_file.display());
    fs::write(relay.dir().join("fanfare.toml"), replace_once(&config, agreed, &here)).unwrap();
    relay.signal(Signal::HUP);
    relay.wait_for_logs(1, &["certificates read again", "relay.example"], 3 * SOON);
    let root = folder.path().join("root.pem");
    fs::write(&root, pebble.root()).unwrap();
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--fail", "--cacert"]).arg(root).arg("https://relay.example/healthz");
    curl.args(["--connect-to", &format!("relay.example:443:{}", relay.https_address())]);
    Process::start_logged(curl, &folder.path().join("curl.log")).expect_success(SOON);
}

#[test]
fn systemd_finds_no_fault_in_the_unit_with_what_is_added_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("fanfare.service");
    let installed = fs::read_to_string(super::folder().join("../fanfare.service")).unwrap();
    let installed = installed
        .replace("=fanfare ", &format!("={FANFARE} "))
        .replace("=-fanfare ", &format!("=-{FANFARE} "));
    fs::write(&unit, installed).unwrap();
    fs::create_dir(folder.path().join("fanfare.service.d")).unwrap();
    let added = text("one-machine/fanfare.service.conf");
    assert!(text(README).contains("| `/etc/systemd/system/fanfare.service.d/one-machine.conf` |"));
    fs::write(folder.path().join("fanfare.service.d/one-machine.conf"), added).unwrap();
    verify_unit(&unit);
}

/// As it is, with secrets and ports of the test.
fn configuration(folder: &TempDir) -> String {
    changed(
        "one-machine/fanfare.toml",
        &[
            ("rtmps = [1936]", "rtmps = ['127.0.0.1:0']"),
            ("https = [443]", "https = ['127.0.0.1:0']"),
            ("listen = [\"127.0.0.1:8080\"]", "listen = ['127.0.0.1:0']"),
            ("/etc/fanfare/publish-keys", &secret_file(folder, "keys", KEY)),
            ("/etc/fanfare/link-secret", &secret_file(folder, "links", "0123456789abcdef0123456789abcdef")),
        ],
    )
}

/// The publisher goes on.
fn expect_to_publish_with_a_key_alone(relay: &Relay, authority: &str) -> Process {
    let line = command_line(README, "ffmpeg ");
    let line = replace_once(&line, " FILE ", &format!(" {} ", Clip::AUDIO_VIDEO.file().display()));
    let line = replace_once(&line, AUTHORITIES, authority);
    let line = replace_once(&line, "relay.example:1936", &relay.rtmps_address().to_string());
    let with_key = replace_once(&line, "=KEY'", &format!("={KEY}'"));
    for (wrong, cause) in [
        (replace_once(&line, "?key=KEY'", "'"), "no_credentials"),
        (line, "wrong_credentials"),
        (replace_once(&with_key, "/live/", "/other/"), "cause=\"rule\""),
    ] {
        let mut ffmpeg = Process::start_logged(shell(&wrong), &relay.dir().join("refused.log"));
        assert!(!ffmpeg.expect_end(SOON).success());
        relay.wait_for_log(&["publisher refused", cause]);
    }
    let publisher = Process::start_logged(shell(&with_key), &relay.dir().join("publisher.log"));
    relay.wait_for_publisher("live/show");
    publisher
}

fn expect_to_play_with_a_link_alone(relay: &Relay, authority: &str) {
    assert_eq!(get(relay, "/live/show.flv").status, 401);
    let sign = command_line(README, "fanfare sign ");
    let sign = replace_once(&sign, "fanfare sign", &format!("{FANFARE} sign"));
    let file = relay.dir().join("fanfare.toml");
    let sign = replace_once(&sign, "/etc/fanfare/fanfare.toml", file.to_str().unwrap());
    let links = shell(&sign).stderr(Stdio::inherit()).output().unwrap().stdout;
    let links = String::from_utf8(links).unwrap();
    let link = |kind: &str| -> &str {
        let address = links.lines().find_map(|line| line.strip_prefix(kind)).expect("a link for it");
        address.split_once('?').expect("it is signed").1
    };
    let readme = text(README);
    let row = readme.split("| ffplay | `ffplay ").nth(1).expect("the README has a line for ffplay");
    let ffplay = row.split('`').next().unwrap();
    let over_rtmps = replace_once(ffplay, "relay.example:1936", &relay.rtmps_address().to_string());
    let over_rtmps = replace_once(&over_rtmps, "exp=…&sig=…", link("RTMPS:"));
    let https = format!("https://{}/live/show.flv?", relay.https_address());
    let over_https = replace_once(&over_rtmps, over_rtmps.split('\'').nth(1).unwrap(), &https);
    let over_https = replace_once(&over_https, &https, &format!("{https}{}", link("HTTPS-FLV:")));
    for options in [over_rtmps, over_https] {
        let options = replace_once(&replace_once(&options, AUTHORITIES, authority), " '", " -i '");
        let line = format!("ffmpeg -nostdin -v error {options} -t 1 -c copy -f null -");
        Process::start_logged(shell(&line), &relay.dir().join("player.log")).expect_success(SOON);
    }
}

/// Viewers have no API, whatever token they show.
fn expect_the_api_at_its_own_address_alone(relay: &Relay, authority: &str) {
    let token = relay.token();
    let mut curl = Command::new("curl");
    curl.args([
        "-sS",
        "--cacert",
        authority,
        "--oauth2-bearer",
        &token,
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
    ]);
    curl.arg(format!("https://{}/api/v1/publishers", relay.https_address()));
    let curl = curl.stderr(Stdio::inherit()).output().unwrap_or_else(|_| panic!("{}", missing("curl")));
    assert_eq!(String::from_utf8_lossy(&curl.stdout), "404");
    let publishers = ask_at(relay.own_api_address(), "GET", "/api/v1/publishers", &bearer(&token)).json();
    assert_eq!(publishers["publishers"][0]["stream"], "live/show");
}
