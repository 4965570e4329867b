//! The wall clock of a machine may be set by hours while players watch; the relay uses only the monotonic clock.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::crowd::Crowd;
use crate::frames::Source;
use crate::support::{Relay, SOON};

#[test]
fn setting_the_wall_clock_by_hours_costs_no_frame() {
    let dir = tempfile::tempdir().unwrap();
    let offset = dir.path().join("offset");
    set(&offset, "+0");
    let library = libfaketime();
    let environment: [(&str, &OsStr); 4] = [
        ("LD_PRELOAD", library.as_os_str()),
        ("FAKETIME_TIMESTAMP_FILE", offset.as_os_str()),
        ("FAKETIME_NO_CACHE", "1".as_ref()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".as_ref()),
    ];
    // Each is far less than an hour, and longer than the test has to wait on a busy machine.
    let config = "limits = { publisher_timeout = '1m', request_timeout = '1m', handshake_timeout = '1m' }
                  play = { send_timeout = '1m', max_lag = '1m', wait_for_publisher = '1m', ping_interval = '1m' }
                  publish = { takeover_after = '1m' }";
    let mut relay = Relay::start_in(&environment, config);
    let mut crowd = Crowd::new();
    let source = Source::small(1);
    let players = crowd.play_all(&relay, "live/a", 5);
    let waiting = crowd.play_all(&relay, "live/unpublished", 2);
    let publisher = crowd.publish(&relay, "live/a");
    crowd.begin(publisher, &source, &players);
    let mut hour = hour_of(relay.log().last().unwrap());

    let mut sent = 1;
    let mut late = Vec::new();
    for (number, by) in ["+3h", "-5h", "+300h", "-30h", "+0"].into_iter().enumerate() {
        set(&offset, by);
        late.push((crowd.play_all(&relay, "live/a", 1)[0], sent));
        let lines = relay.wait_for_logs(1 + number + players.len(), &["playing", "live/a"], SOON);
        let now = hour_of(lines.last().unwrap());
        assert_ne!(now, hour, "the relay's clock was not set by {by}");
        hour = now;
        // Deadlines are checked once a second.
        for _ in 0..12 {
            crowd.send_frames(publisher, &source, sent..sent + 5);
            sent += 5;
            crowd.until_seen(&players, sent - 1);
            crowd.serve_for(Duration::from_millis(100));
        }
        let second = crowd.request_publish(&relay, "live/a", 4096);
        crowd.until("a second publisher is refused", |crowd| crowd[second].is_closed);
        assert!(crowd[second].got_status("NetStream.Publish.BadName"), "{:?}", crowd[second].statuses);
    }
    for player in players {
        source.assert_from_the_start("a player", &crowd[player].seen, 0..sent);
    }
    for (player, came) in late {
        crowd.until_seen(&[player], sent - 1);
        let newest_key_frame = (came - 1) / source.key_every * source.key_every;
        source.assert_from_the_start("a late player", &crowd[player].seen, newest_key_frame..sent);
    }
    assert!(waiting.iter().all(|&id| !crowd[id].is_closed), "wait_for_publisher followed the wall clock");
    assert!(!crowd[publisher].is_closed);
    relay.expect_running();
}

/// Sets the relay's wall clock off by this much. The file is replaced, since the library may read it at any time.
fn set(offset: &Path, by: &str) {
    let unfinished = offset.with_extension("new");
    std::fs::write(&unfinished, format!("{by}\n")).unwrap();
    std::fs::rename(unfinished, offset).unwrap();
}

/// The date and the hour with which a log line begins.
fn hour_of(line: &str) -> String {
    line[.."2026-01-01T00".len()].to_owned()
}

/// The library that intercepts a program's calls for the time.
fn libfaketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let mut found = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    let found = found.find(|library| library.exists());
    found.expect("libfaketime is needed for this test: apt-get install libfaketime")
}
