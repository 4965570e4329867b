//! Certificates that are replaced while the relay runs.

use std::fs;
use std::thread;

use crate::certificates::{Certificate, start};
use crate::support::{
    Clip, Kind, Publisher, Relay, SOON, Signal, Tag, assert_gap_free, count, packets, tags,
};
use crate::tls_client::{self, body, connect, get, trusting};

/// Whether a client that trusts this authority alone gets in, by both ports.
fn is_trusted(relay: &Relay, certificate: &Certificate) -> bool {
    let config = trusting(certificate.authority());
    let outcomes = [relay.rtmps_address(), relay.https_address()].map(|address| connect(address, &config));
    let is_in = outcomes.each_ref().map(Result::is_ok);
    assert_eq!(is_in[0], is_in[1], "RTMPS and HTTPS have the same certificates");
    is_in[0]
}

fn reload(relay: &Relay, words: &[&str]) {
    relay.signal(Signal::HUP);
    relay.wait_for_log(words);
}

#[test]
fn a_certificate_is_replaced_under_500_players_and_none_loses_a_frame() {
    let (certificate, renewed) = (Certificate::local(), Certificate::local());
    let first = Certificate::local();
    first.replace_by(&certificate);
    let relay = start(&certificate, "publish.publisher_grace = '500ms'");
    let clip = Clip::AUDIO_VIDEO.seconds(20);
    let mut publisher = Publisher::Ffmpeg.publish(&relay, &clip.file(), NAME);
    relay.wait_for_publisher(NAME);
    let config = trusting(certificate.authority());
    let players: Vec<_> = (0..PLAYERS)
        .map(|_| {
            let mut stream = connect(relay.https_address(), &config).unwrap();
            get(&mut stream, &format!("/{NAME}.flv"));
            thread::spawn(move || body(&mut stream))
        })
        .collect();
    relay.wait_for_players(NAME, PLAYERS);
    assert!(is_trusted(&relay, &first) && !is_trusted(&relay, &renewed));

    certificate.replace_by(&renewed);
    reload(&relay, &["configuration reloaded"]);
    assert!(!is_trusted(&relay, &first) && is_trusted(&relay, &renewed));

    // A faulty pair changes nothing and is named.
    fs::copy(first.key(), certificate.key()).unwrap();
    let key = certificate.key().display().to_string();
    reload(&relay, &["reload failed: nothing has changed", "tls.certificates", &key, "is not the key of"]);
    fs::write(certificate.key(), "").unwrap();
    reload(&relay, &["reload failed: nothing has changed", &key, "no private key in it"]);
    assert!(!is_trusted(&relay, &first) && is_trusted(&relay, &renewed));
    publisher.expect_running();

    publisher.expect_success(clip.duration() + SOON);
    let bodies: Vec<Vec<u8>> = players.into_iter().map(|player| player.join().unwrap()).collect();
    let longest = bodies.iter().max_by_key(|body| body.len()).unwrap();
    let all = frames(&relay, longest);
    for body in &bodies {
        let got = frames(&relay, body);
        assert!(got.len() > all.len() / 4 && got == all[all.len() - got.len()..], "{} frames", got.len());
    }
    let file = relay.dir().join("player.flv");
    fs::write(&file, longest).unwrap();
    let published = packets(&clip.file());
    let received = assert_gap_free("a player", &published, &packets(&file));
    assert_eq!(received.video.end, count(&published, Kind::Video));
}

/// All but sequence headers and metadata.
fn frames(relay: &Relay, body: &[u8]) -> Vec<Tag> {
    let file = relay.dir().join("body.flv");
    fs::write(&file, body).unwrap();
    tags(&file).into_iter().filter(|tag| tag.payload[1] != 0).collect()
}

/// The keys of tickets are shared by all cores, and stay in force when certificates are replaced.
#[test]
fn sessions_are_resumed_on_every_core_and_after_a_renewal() {
    let certificate = Certificate::local();
    let relay = start(&certificate, "log.level = 'debug'");
    for address in [relay.rtmps_address(), relay.https_address()] {
        let config = trusting(certificate.authority());
        let mut kinds = Vec::new();
        for round in 0..24 {
            if round == 12 {
                reload(&relay, &["configuration reloaded"]);
            }
            let mut stream = connect(address, &config).unwrap();
            kinds.push(stream.conn.handshake_kind().unwrap());
            // The ticket comes after the handshake.
            tls_client::take_ticket(&mut stream);
        }
        let resumed = kinds.iter().filter(|kind| **kind == rustls::HandshakeKind::Resumed).count();
        assert_eq!(resumed, 23, "{kinds:?}");
    }
    for core in 0..2 {
        relay.wait_for_log(&["connected", &format!("core={core}")]);
    }
}

const NAME: &str = "live/stream";
const PLAYERS: usize = 500;
