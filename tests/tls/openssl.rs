//! `openssl s_client` against the relay: versions, resumption, names, certificates of clients, what is refused.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tempfile::TempDir;

use crate::certificates::{Certificate, config, start};
use crate::support::{Relay, SOON, Signal, missing};

/// Its output, once it or the relay has closed the connection. It sends this.
fn s_client(address: SocketAddr, arguments: &[&str], input: &str) -> String {
    let mut openssl = Command::new("timeout")
        .args(["20", "openssl", "s_client", "-connect", &address.to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|_| panic!("{}", missing("openssl")));
    // It may have ended by then.
    let _ = openssl.stdin.take().unwrap().write_all(input.as_bytes());
    let output = openssl.wait_with_output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}

const REQUEST: &str = "GET /api/v1/summary HTTP/1.0\r\n\r\n";

#[test]
fn both_versions_are_spoken_on_both_ports_and_no_older_one() {
    let certificate = Certificate::local();
    let relay = start(&certificate, "");
    let trust = ["-CAfile", text(certificate.authority()), "-verify_return_error"];
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let over_https =
            s_client(relay.https_address(), &[&trust[..], &[version, "-ign_eof"]].concat(), REQUEST);
        assert!(over_https.contains(&format!("New, {name}, Cipher is")), "{over_https}");
        assert!(over_https.contains("HTTP/1.0 200 OK") && over_https.contains("\"uptime"), "{over_https}");
        let over_rtmps = s_client(relay.rtmps_address(), &[&trust[..], &[version]].concat(), "");
        assert!(over_rtmps.contains(&format!("New, {name}, Cipher is")), "{over_rtmps}");
        assert!(over_rtmps.contains("Verification: OK"), "{over_rtmps}");
    }
    for address in [relay.rtmps_address(), relay.https_address()] {
        // Security level 0, or openssl itself refuses.
        let output = s_client(address, &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], "");
        assert!(
            output.contains("alert handshake failure") && output.contains("Cipher is (NONE)"),
            "{output}"
        );
    }
    relay.wait_for_logs(2, &["closed: protocol violation", "TLS: peer is incompatible"], SOON);
}

#[test]
fn sessions_are_resumed_with_both_versions() {
    let certificate = Certificate::local();
    let relay = start(&certificate, "");
    let session = relay.dir().join("session");
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let first = [version, "-ign_eof", "-sess_out", text(&session)];
        let output = s_client(relay.https_address(), &first, REQUEST);
        assert!(output.contains(&format!("New, {name}")), "{output}");
        let output =
            s_client(relay.https_address(), &[version, "-ign_eof", "-sess_in", text(&session)], REQUEST);
        assert!(output.contains(&format!("Reused, {name}")), "{output}");
    }
}

#[test]
fn the_host_that_a_client_names_chooses_the_certificate() {
    let certificates = ["a.example", "b.example"].map(|name| Certificate::of(&[name]));
    let relay = Relay::start(&config(&certificates.each_ref(), ""));
    let cases = [
        (&["-servername", "a.example"][..], "a.example"),
        (&["-servername", "b.example"], "b.example"),
        (&["-servername", "c.example"], "a.example"),
        (&["-noservername"], "a.example"),
    ];
    for address in [relay.rtmps_address(), relay.https_address()] {
        for (arguments, name) in cases {
            let output = s_client(address, arguments, "");
            assert!(output.contains(&format!("subject=CN = {name}")), "{arguments:?}: {output}");
        }
    }
}

#[test]
fn renegotiation_is_refused() {
    let certificate = Certificate::local();
    let relay = start(&certificate, "");
    for address in [relay.rtmps_address(), relay.https_address()] {
        let output = s_client(address, &["-tls1_2"], "R\n");
        assert!(output.contains("RENEGOTIATING") && output.contains("no renegotiation"), "{output}");
    }
}

/// An authority of clients, and a certificate that it has signed.
fn client_certificate() -> (TempDir, [PathBuf; 3]) {
    let folder = tempfile::tempdir().unwrap();
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    authority.distinguished_name.push(DnType::CommonName, "clients");
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut client = CertificateParams::default();
    client.distinguished_name.push(DnType::CommonName, "an encoder");
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = client.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
    let files = ["clients.pem", "client.pem", "client.key"].map(|name| folder.path().join(name));
    let texts = [authority_certificate.pem(), certificate.pem(), key.serialize_pem()];
    files.iter().zip(texts).for_each(|(file, text)| fs::write(file, text).unwrap());
    (folder, files)
}

#[test]
fn with_require_client_ca_only_those_get_in_that_have_a_certificate_of_it() {
    let certificate = Certificate::local();
    let (_folder, [authority, client, key]) = client_certificate();
    let (_other_folder, [_, other, other_key]) = client_certificate();
    let option = format!("tls.require_client_ca = '{}'", authority.display());
    let relay = start(&certificate, &option);
    for version in ["-tls1_2", "-tls1_3"] {
        for (arguments, is_in) in [
            (vec!["-cert", text(&client), "-key", text(&key)], true),
            (vec!["-cert", text(&other), "-key", text(&other_key)], false),
            (vec![], false),
        ] {
            let arguments = [&arguments[..], &[version, "-ign_eof"]].concat();
            let output = s_client(relay.https_address(), &arguments, REQUEST);
            assert_eq!(output.contains("200 OK"), is_in, "{arguments:?} {output}");
        }
        let output = s_client(relay.rtmps_address(), &[version, "-ign_eof"], "");
        assert!(output.contains("alert"), "{output}");
    }
    relay.wait_for_log(&["closed: protocol violation", "TLS: peer sent no certificates"]);
}

/// A client that resumes a session is not asked for its certificate.
#[test]
fn no_ticket_outlives_the_authority_that_its_client_had_a_certificate_of() {
    let certificate = Certificate::local();
    let (_folder, [authority, client, key]) = client_certificate();
    let (_other_folder, [other_authority, ..]) = client_certificate();
    let requires = |authority: &Path| format!("tls.require_client_ca = '{}'", authority.display());
    let with_certificate = ["-cert", text(&client), "-key", text(&key)];
    for (before, first, after) in [
        (String::new(), &[][..], requires(&authority)),
        (requires(&authority), &with_certificate[..], requires(&other_authority)),
    ] {
        let relay = start(&certificate, &before);
        let session = |version: &str| relay.dir().join(format!("session{version}"));
        let get = |version, more: &[&str]| {
            s_client(relay.https_address(), &[&[version, "-ign_eof"], more].concat(), REQUEST)
        };
        let resume = |version| get(version, &["-sess_in", text(&session(version))]);
        for version in VERSIONS {
            let output = get(version, &[first, &["-sess_out", text(&session(version))]].concat());
            assert!(output.contains("200 OK"), "{output}");
            let output = resume(version);
            assert!(output.contains("Reused") && output.contains("200 OK"), "{output}");
        }
        fs::write(relay.dir().join("fanfare.toml"), config(&[&certificate], &after)).unwrap();
        relay.signal(Signal::HUP);
        relay.wait_for_log(&["configuration reloaded", "tls.require_client_ca"]);
        for version in VERSIONS {
            let output = resume(version);
            assert!(!output.contains("200 OK"), "{after}, {version}: {output}");
        }
    }
}

const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];
