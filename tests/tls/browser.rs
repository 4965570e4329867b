//! The page in a real Chromium over HTTPS and secure WebSocket. It trusts the relay's authority as a user tells it to.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::certificates::{Certificate, start};
use crate::support::{Clip, Process, Publisher, Relay, SOON, is_installed, missing};

#[test]
fn the_page_plays_over_https_and_secure_websocket_in_a_browser_that_trusts_the_development_ca() {
    for program in ["node", "chromium", "certutil"] {
        assert!(is_installed(program), "{}", missing(program));
    }
    let certificate = Certificate::local();
    let relay = start(&certificate, "");
    let _encoder = Publisher::Ffmpeg.publish(&relay, &Clip::AUDIO_VIDEO.seconds(90).file(), NAME);
    relay.wait_for_publisher(NAME);
    let home = relay.dir().join("home");
    trust(&home, &certificate);
    run_web_tests(
        &relay,
        &home,
        &certificate,
        "page.test.mjs",
        &["--test-name-pattern", "a click on a card plays"],
    );
    relay.wait_for_log(&["playing", "websocket_flv"]);
    // By an address alone, in a page of others: HTTP-FLV.
    run_web_tests(&relay, &home, &certificate, "plain.test.mjs", &[]);
    relay.wait_for_log(&["playing", "http_flv"]);
}

/// What `fanfare dev-cert` prints for Chromium.
fn trust(home: &Path, certificate: &Certificate) {
    let database = home.join(".pki/nssdb");
    fs::create_dir_all(&database).unwrap();
    let database = format!("sql:{}", database.display());
    let authority = certificate.authority().display().to_string();
    for arguments in
        [&["-N", "--empty-password"][..], &["-A", "-t", "C,,", "-n", "fanfare-dev", "-i", &authority]]
    {
        let mut certutil = Command::new("certutil");
        certutil.args(["-d", &database]).args(arguments);
        Process::start_logged(certutil, &home.join("certutil.log")).expect_success(SOON);
    }
}

fn run_web_tests(relay: &Relay, home: &Path, certificate: &Certificate, file: &str, arguments: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = root.join("target/tools/web/node_modules");
    assert!(tools.exists(), "{} is needed for this test: ./test gets it from npm", tools.display());
    let mut node = Command::new("node");
    node.arg("--test")
        .args(arguments)
        .arg(format!("tests/web/{file}"))
        .current_dir(root)
        .env("HOME", home)
        .env("NODE_EXTRA_CA_CERTS", certificate.authority())
        .env("FANFARE_URL", format!("https://localhost:{}/", relay.https_address().port()))
        .env("FANFARE_TOKEN", relay.token())
        .env("FANFARE_STREAM", NAME);
    Process::start_logged(node, &relay.dir().join("page.log")).expect_success(TIMEOUT);
}

const NAME: &str = "live/live_stream";
/// On a busy machine of two cores.
const TIMEOUT: Duration = Duration::from_secs(300);
