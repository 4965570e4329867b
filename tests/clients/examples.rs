//! The examples of `fanfare-rtmp` against the relay and against FFmpeg. Against each other:
//! `fanfare-rtmp/tests/examples.rs`.

#[path = "../../fanfare-rtmp/examples/play.rs"]
#[expect(dead_code, reason = "its main")]
mod play;
#[path = "../../fanfare-rtmp/examples/publish.rs"]
#[expect(dead_code, reason = "its main")]
mod publish;
#[path = "../../fanfare-rtmp/examples/serve.rs"]
#[expect(dead_code, reason = "its main")]
mod serve;

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use tempfile::TempDir;

use crate::support::{Clip, Process, Relay, SOON, assert_gap_free, eventually, packets};

#[test]
fn the_example_publisher_and_player_lose_nothing_over_the_relay() {
    let relay = Relay::start("publish.publisher_grace = '500ms'");
    let clip = Clip::AUDIO_VIDEO.seconds(3);
    let recording = relay.dir().join("played.flv");
    let player = start_player(&relay.url(NAME), &recording);
    relay.wait_for_players(NAME, 1);

    let flv = fs::read(clip.file()).unwrap();
    let url = relay.url(NAME);
    let publisher = in_thread(move || publish::publish(&flv, url.parse().unwrap()).unwrap());
    publisher.recv_timeout(clip.duration() + SOON).expect("the file is published to its end");
    player.recv_timeout(SOON).expect("the player is notified of the end");
    expect_same(&clip, &recording);
}

#[test]
fn the_example_server_relays_all_that_ffmpeg_publishes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rtmp://{}/{NAME}", listener.local_addr().unwrap());
    thread::spawn(move || serve::serve(&listener).unwrap());
    let clip = Clip::AUDIO_VIDEO.seconds(3);
    let dir = TempDir::new().unwrap();
    let recording = dir.path().join("played.flv");
    let player = start_player(&url, &recording);
    // Its header is written once the server plays.
    eventually("a header in the recording", SOON, || {
        (fs::metadata(&recording).ok()?.len() > 0).then_some(())
    });

    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "warning", "-re", "-i"]).arg(clip.file());
    ffmpeg.args(["-c", "copy", "-f", "flv", &url]);
    Process::start_logged(ffmpeg, &dir.path().join("ffmpeg.log")).expect_success(clip.duration() + SOON);
    player.recv_timeout(SOON).expect("the player is notified of the end");
    expect_same(&clip, &recording);
}

fn start_player(url: &str, recording: &Path) -> Receiver<()> {
    let (url, file) = (url.parse().unwrap(), File::create(recording).unwrap());
    in_thread(move || play::play(url, file).unwrap())
}

fn expect_same(clip: &Clip, recording: &Path) {
    let (published, recorded) = (packets(&clip.file()), packets(recording));
    assert_gap_free("play", &published, &recorded);
    assert_eq!(recorded.len(), published.len(), "packets are missing at the start or the end");
}

/// Sends the result over a channel, so that waiting for it can have a deadline. If `work` panics, nothing is sent.
fn in_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(work()));
    receiver
}

const NAME: &str = "live/stream";
