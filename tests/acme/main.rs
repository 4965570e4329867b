//! Certificates that renew themselves: the built relay against Pebble, Let's Encrypt's own ACME server for tests, which
//! asks the relay over HTTP as an authority does; and files that change. Pebble is needed, so `./test --quick` leaves this
//! binary out.

mod files;
mod pebble;
#[path = "../support/mod.rs"]
mod support;
mod tls;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use fanfare::certificates::{DevelopmentCertificate, Facts};
use support::{Relay, SOON, Signal, eventually, peer};
use tls::{Served, addresses, trusting};

/// Until the relay has renewed a certificate that is valid for [`pebble::VALID_S`], on a busy machine.
const RENEWED_WITHIN: Duration = Duration::from_secs(90);

/// The configuration of a relay with TLS and a certificate from files for `files.example`.
fn from_files(folder: &Path) -> String {
    let files = DevelopmentCertificate::make(folder, vec!["files.example".to_owned()]).unwrap();
    let (certificate, key) = (files.certificate.display(), files.key.display());
    format!(
        "listen.rtmps = ['127.0.0.1:0']\nlisten.https = ['127.0.0.1:0']\n\
         tls.certificates = [{{ certificate = '{certificate}', key = '{key}' }}]\n"
    )
}

/// Puts this configuration in place of the relay's own.
fn reload(relay: &Relay, config: &str) {
    fs::write(relay.dir().join("fanfare.toml"), config).unwrap();
    let count = relay.log().iter().filter(|line| line.contains("configuration reloaded")).count();
    relay.signal(Signal::HUP);
    relay.wait_for_logs(count + 1, &["configuration reloaded"], SOON);
}

#[test]
fn certificates_are_obtained_over_http_renewed_in_time_and_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let files = from_files(folder.path());
    let relay = Relay::start(&files);
    let pebble = pebble::Pebble::start(relay.http_address().port());
    let state = folder.path().join("acme");
    let acme = format!(
        "{files}tls.acme_names = ['one.example', 'two.example']\ntls.acme_terms_agreed = true\n\
         tls.acme_email = 'operator@one.example'\ntls.acme_directory = '{}'\ntls.acme_ca_file = '{}'\n\
         tls.acme_folder = '{}'\n",
        pebble.directory(),
        pebble.ca_file().display(),
        state.display()
    );
    reload(&relay, &acme);
    relay.wait_for_logs(2, &["certificates read again", "one.example"], RENEWED_WITHIN);

    // Each name has its certificate at both ports, and the file's is for the others.
    let roots = trusting(&[pebble.root(), fs::read(folder.path().join("ca.pem")).unwrap()]);
    let [rtmps, https] = addresses(&relay);
    let mut first = None;
    for (address, name) in
        [(rtmps, "one.example"), (https, "one.example"), (rtmps, "two.example"), (https, "files.example")]
    {
        let Served { facts, .. } = tls::connect(address, name, &roots).unwrap();
        assert_eq!(facts.name.as_deref(), Some(name));
        first = first.or(Some(facts));
    }
    assert!(tls::connect(https, "other.example", &roots).is_err(), "there is no certificate for it");
    let metrics = peer::get_with_token(&relay, "/metrics").text();
    let expiry = |name: &str| {
        let start = format!("fanfare_certificate_expires_timestamp_seconds{{name=\"{name}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&*start));
        line.unwrap_or_else(|| panic!("{name} in {metrics}")).parse::<f64>().unwrap() as i64
    };
    assert!(expiry("one.example") < expiry("files.example"));

    // Renewed before it expires.
    let before: Facts = first.unwrap();
    let after = eventually("another certificate", RENEWED_WITHIN, || {
        let Served { facts, .. } = tls::connect(https, "one.example", &roots).unwrap();
        (facts != before).then_some(facts)
    });
    assert!(after.not_before < before.not_after, "{after:?} in place of {before:?}");
    assert!(after.not_after > before.not_after);
    assert!(metrics.contains("fanfare_certificate_renewal_failures_total 0"), "{metrics}");

    // Only the relay's own user can read them.
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let of_authority = fs::read_dir(&state).unwrap().next().unwrap().unwrap().path();
    assert_eq!((mode(&state), mode(&of_authority)), (0o700, 0o700));
    let names = ["account.json", "one.example.pem", "two.example.pem"];
    assert_eq!(names.map(|name| mode(&of_authority.join(name))), [0o600; 3]);

    // Another start has them at once, and the same account, whether the authority is there or not.
    drop(relay);
    drop(pebble);
    let relay = Relay::start(&acme);
    let [_, https] = addresses(&relay);
    assert_eq!(tls::served(https, "one.example").name.as_deref(), Some("one.example"));
}

#[test]
fn a_name_that_is_not_proved_gets_no_certificate_and_the_log_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let files = from_files(folder.path());
    let relay = Relay::start(&files);
    // The authority asks at another port, where nothing listens: tcpmux has been dead for decades.
    let pebble = pebble::Pebble::start(1);
    let [_, https] = addresses(&relay);
    reload(
        &relay,
        &format!(
            "{files}tls.acme_names = ['one.example']\ntls.acme_terms_agreed = true\n\
             tls.acme_directory = '{}'\ntls.acme_ca_file = '{}'\n",
            pebble.directory(),
            pebble.ca_file().display(),
        ),
    );
    let line = relay.wait_for_logs(1, &["certificate not issued", "one.example"], RENEWED_WITHIN).remove(0);
    assert!(line.contains("connection refused"), "{line}");
    let retry_in = line.split_once("retry_in=").expect("when it is tried again").1;
    let retry_in = humantime::parse_duration(retry_in.trim()).unwrap();
    let with_jitter = Duration::from_secs(5 * 60)..=Duration::from_secs(5 * 60 + 75);
    assert!(with_jitter.contains(&retry_in), "{line}");
    let metrics = peer::get_with_token(&relay, "/metrics").text();
    assert!(metrics.contains("fanfare_certificate_renewal_failures_total 1"), "{metrics}");
    assert_eq!(tls::served(https, "files.example").name.as_deref(), Some("files.example"));
    // What was to be answered is not answered any longer, and is no stream.
    let response = peer::get(&relay, "/.well-known/acme-challenge/token");
    assert_eq!(response.status, 404);
}
