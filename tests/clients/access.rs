//! Keys, users and links with real clients: how each of them gets in, and what it says when it does not. The links of
//! `docs/access.md`'s recipes, run as they are.

use std::{
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fanfare::{
    access::{Access, Action, Decision, KeyRing, Question, Rules, Verdict},
    config::Config,
};

use crate::support::{Clip, FANFARE, Player, Process, Relay, SOON, newer_ffmpeg::NEWER_FFMPEG};

const KEYS: &str = "[[access]]\nstreams = 'live/*'\nkeys = ['one-key', 'another-key']\n";
const USERS: &str =
    "[[access]]\nstreams = 'live/*'\nusers = ['ann']\n[users]\nann = ['old', 'anns-secret']\nbob = 'bobs'\n";
const FFMPEGS: [&str; 2] = ["ffmpeg", NEWER_FFMPEG];

/// FFmpeg that publishes a clip in real time.
fn publishing(ffmpeg: &str, relay: &Relay, url: &str) -> Process {
    let mut command = Command::new(ffmpeg);
    command.args(["-nostdin", "-v", "verbose", "-re", "-i"]).arg(Clip::AUDIO_VIDEO.seconds(20).file());
    command.args(["-c", "copy", "-f", "flv", url]);
    Process::start_logged(command, &relay.dir().join("publishing.log"))
}

/// FFmpeg that plays a second of a stream.
fn playing(ffmpeg: &str, relay: &Relay, url: &str) -> Process {
    let mut command = Command::new(ffmpeg);
    command.args(["-nostdin", "-v", "verbose", "-i", url, "-t", "1", "-c", "copy", "-f", "null", "-"]);
    Process::start_logged(command, &relay.dir().join("playing.log"))
}

/// The address with a user and its password.
fn with_user(relay: &Relay, user: &str, name: &str) -> String {
    relay.url(name).replacen("://", &format!("://{user}@"), 1)
}

#[test]
fn ffmpeg_publishes_and_plays_with_a_key_and_reports_a_wrong_one() {
    let relay = Relay::start(KEYS);
    for ffmpeg in FFMPEGS {
        let mut wrong = publishing(ffmpeg, &relay, &relay.url("live/a?key=wrong-key"));
        assert!(!wrong.expect_end(SOON).success());
        let output = wrong.output();
        assert!(output.contains("Server error: wrong key, link, token, user or password"), "{output}");
        let mut without = publishing(ffmpeg, &relay, &relay.url("live/a"));
        assert!(!without.expect_end(SOON).success());
        assert!(without.output().contains("Server error: a key, link, token or user is needed"));

        let _publisher = publishing(ffmpeg, &relay, &relay.url("live/a?key=one-key"));
        relay.wait_for_publisher("live/a");
        for url in [relay.url("live/a?key=another-key"), relay.http_url("/live/a.flv?key=one-key")] {
            playing(ffmpeg, &relay, &url).expect_success(SOON);
        }
        for url in [relay.url("live/a?key=wrong-key"), relay.http_url("/live/a.flv?key=wrong-key")] {
            let mut player = playing(ffmpeg, &relay, &url);
            assert!(!player.expect_end(SOON).success(), "{url}: {}", player.output());
        }
    }
    relay.wait_for_log(&["publisher refused: access denied", "wrong_credentials"]);
}

#[test]
fn ffmpeg_publishes_and_plays_as_a_user_and_reports_a_wrong_password() {
    let relay = Relay::start(USERS);
    for ffmpeg in FFMPEGS {
        let mut publisher = publishing(ffmpeg, &relay, &with_user(&relay, "ann:anns-secret", "live/a"));
        relay.wait_for_publisher("live/a");
        for user in ["ann:old", "ann:anns-secret"] {
            playing(ffmpeg, &relay, &with_user(&relay, user, "live/a")).expect_success(SOON);
        }
        let basic = relay.http_url("/live/a.flv").replacen("://", "://ann:anns-secret@", 1);
        playing(ffmpeg, &relay, &basic).expect_success(SOON);
        publisher.expect_running();

        for user in ["ann:wrong", "eve:anns-secret"] {
            for mut process in [
                publishing(ffmpeg, &relay, &with_user(&relay, user, "live/b")),
                playing(ffmpeg, &relay, &with_user(&relay, user, "live/a")),
            ] {
                assert!(!process.expect_end(SOON).success());
                let output = process.output();
                assert!(output.contains("Incorrect username/password"), "{user}: {output}");
            }
        }
        let mut without = publishing(ffmpeg, &relay, &relay.url("live/b"));
        assert!(!without.expect_end(SOON).success());
        assert!(without.output().contains("No credentials set"), "{}", without.output());
        // A user that exists, and may not.
        let mut other = publishing(ffmpeg, &relay, &with_user(&relay, "bob:bobs", "live/b"));
        assert!(!other.expect_end(SOON).success());
        assert!(other.output().contains("Server error: not valid for this"), "{}", other.output());
        drop(publisher);
        relay.wait_for_publisher_gone("live/a");
    }
}

/// Debian's librtmp cannot be tested: built with nettle, it overwrites its own memory when it answers.
#[test]
fn rtmp2sink_publishes_as_a_user() {
    let relay = Relay::start(USERS);
    let start = |password: &str| {
        let file = Clip::AUDIO_VIDEO.seconds(20).file();
        let file = file.display();
        let url = relay.url("live/a");
        let pipeline = format!(
            "filesrc location={file} ! flvdemux name=in flvmux name=out streamable=true \
             in.video ! queue ! out.video in.audio ! queue ! out.audio \
             out. ! rtmp2sink location={url} username=ann password={password}"
        );
        let mut command = Command::new("gst-launch-1.0");
        command.arg("-q").args(pipeline.split_whitespace());
        Process::start_logged(command, &relay.dir().join("sink.log"))
    };
    let publisher = start("anns-secret");
    relay.wait_for_publisher("live/a");
    drop(publisher);
    let mut publisher = start("wrong");
    assert!(!publisher.expect_end(SOON).success(), "{}", publisher.output());
    relay.wait_for_log(&["access denied", "reason=authfailed"]);
}

/// The link for a client, printed by the command.
fn signed(relay: &Relay, client: &str, more: &[&str]) -> String {
    let config = relay.dir().join("fanfare.toml");
    let rtmp = relay.address().to_string();
    let http = relay.http_address().to_string();
    let flags = ["sign", "--stream", "live/a", "--rtmp", &rtmp, "--http", &http];
    let output = Command::new(FANFARE).args(flags).arg("--config").arg(config).args(more).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    let line = shown.lines().find_map(|line| line.strip_prefix(client)).unwrap_or_else(|| panic!("{shown}"));
    line.trim().to_owned()
}

#[test]
fn signed_links_let_each_client_in_and_end_its_session() {
    let relay = Relay::start("[[access]]\nstreams = 'live/*'\nlinks = 'a-secret-for-links'\n");
    let publish = signed(&relay, "RTMP:", &["--action", "publish", "--expires", "1h"]);
    let _publisher = publishing("ffmpeg", &relay, &publish);
    relay.wait_for_publisher("live/a");

    let rtmp = signed(&relay, "RTMP:", &["--expires", "1h", "--network", "127.0.0.0/8"]);
    let http = signed(&relay, "HTTP-FLV:", &["--expires", "1h", "--session", "1h"]);
    for url in [&rtmp, &http] {
        playing("ffmpeg", &relay, url).expect_success(SOON);
    }
    let query = rtmp.split_once('?').unwrap().1;
    for player in Player::ALL {
        let recording = player.record(&relay, &format!("live/a?{query}"));
        recording.wait_for_bytes(20_000, SOON);
    }
    // The shell command that is printed for VLC.
    let vlc = signed(&relay, "VLC:", &["--expires", "1h"]);
    assert!(vlc.starts_with("vlc 'rtmp://") && vlc.ends_with('\''), "{vlc}");
    let query = vlc.trim_end_matches('\'').split_once('?').unwrap().1;
    let recording = Player::Vlc.record(&relay, &format!("live/a?{query}"));
    recording.wait_for_bytes(20_000, SOON);

    for refused in [
        &publish,
        &signed(&relay, "RTMP:", &["--expires", "1h", "--network", "203.0.113.0/24"]),
        &signed(&relay, "HTTP-FLV:", &["--expires", "0s"]),
        &rtmp.replace("live/a", "live/b"),
    ] {
        let mut player = playing("ffmpeg", &relay, refused);
        assert!(!player.expect_end(SOON).success(), "{refused}: {}", player.output());
    }
    // Longer than the clip's second: the relay ends it.
    let short = signed(&relay, "RTMP:", &["--expires", "1h", "--session", "3s"]);
    let recording = Player::Rtmpdump.record(&relay, &format!("live/a?{}", short.split_once('?').unwrap().1));
    let mut process = recording.process;
    process.expect_end(SOON);
    relay.wait_for_log(&["expired"]);
}

/// The code in the document between fences of this language.
fn recipe(language: &str) -> &'static str {
    let document = include_str!("../../docs/access.md");
    let (_, rest) = document.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn each_recipe_of_the_document_makes_a_link_that_the_rules_accept() {
    let toml = "[[access]]\nlinks = 'a-secret-of-16-bytes'\n";
    let rules = Rules::new(&Config::from_toml("f", toml).unwrap(), KeyRing::new(), unix_seconds).unwrap();
    for (language, program, flag) in [("python", "python3", "-c"), ("php", "php", "-r"), ("js", "node", "-e")]
    {
        let code = recipe(language);
        assert_eq!(code.lines().count(), 5, "{code}");
        let output = Command::new(program).arg(flag).arg(code).output();
        let output = output.unwrap_or_else(|_| panic!("{}", crate::support::missing(program)));
        let link = String::from_utf8(output.stdout).unwrap();
        let query = link.trim_end().strip_prefix("rtmp://relay.example/live/show?");
        let query = query.unwrap_or_else(|| panic!("{link} {:?}", String::from_utf8_lossy(&output.stderr)));
        let question = Question::new(Action::Play, "live/show", ([203, 0, 113, 7], 9).into(), "rtmp");
        match rules.decide(&Question { query: query.to_owned(), ..question }) {
            Decision::Verdict(Verdict::Allow(grant)) => {
                let lasts = Duration::from_millis(grant.lasts_ms.unwrap()).as_secs();
                assert!((7190..=7200).contains(&lasts), "{program}: {lasts} s");
            }
            other => panic!("{program}: {link} {other:?}"),
        }
    }
}
