//! Real publishers and players: the commands that publish a file, and that record what is received.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::SOON;
use super::media::Clip;
use super::newer_ffmpeg::NEWER_FFMPEG;
use super::packets::{Kind, Packet, assert_gap_free, assert_time_moves_forward, packets, runs};
use super::process::{Process, eventually, is_installed, missing};
use super::relay::Relay;

/// A program that plays a stream and keeps what it got as an FLV file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Player {
    /// `ffmpeg -i URL -c copy`: demuxed and muxed again, with timestamps from zero.
    Ffmpeg,
    /// The same by an FFmpeg that reads Enhanced FLV.
    NewerFfmpeg,
    /// VLC, which writes the bytes it received.
    Vlc,
    /// mpv, which decodes without output and records.
    Mpv,
    /// rtmpdump (librtmp), which writes the bytes it received.
    Rtmpdump,
    /// GStreamer's rtmpsrc (librtmp), unchanged.
    Rtmpsrc,
    /// GStreamer's rtmp2src, unchanged.
    Rtmp2src,
}

impl Player {
    /// All except the newer FFmpeg, which has tests of its own.
    pub const ALL: [Player; 6] =
        [Player::Ffmpeg, Player::Vlc, Player::Mpv, Player::Rtmpdump, Player::Rtmpsrc, Player::Rtmp2src];

    /// All that play FLV over HTTP.
    pub const OVER_HTTP: [Player; 4] = [Player::Ffmpeg, Player::NewerFfmpeg, Player::Vlc, Player::Mpv];

    /// Starts to play `app/name`; the recording is in the relay's directory.
    pub fn record(self, relay: &Relay, name: &str) -> Recording {
        self.record_from(relay, &relay.url(name))
    }

    /// The same over HTTP.
    pub fn record_over_http(self, relay: &Relay, name: &str) -> Recording {
        self.record_from(relay, &relay.http_url(&format!("/{name}.flv")))
    }

    fn record_from(self, relay: &Relay, url: &str) -> Recording {
        let file = new_file(relay.dir(), &format!("{self:?}"), "flv");
        let mut command = match self {
            Player::Ffmpeg | Player::NewerFfmpeg => {
                let is_newer = self == Player::NewerFfmpeg;
                let mut ffmpeg = Command::new(if is_newer { NEWER_FFMPEG } else { "ffmpeg" });
                ffmpeg
                    .args(["-nostdin", "-v", "warning", "-y", "-i", url, "-c", "copy"])
                    .args(["-flush_packets", "1"])
                    .arg(&file);
                ffmpeg
            }
            Player::Vlc => {
                let mut vlc = vlc(relay.dir());
                vlc.args(["--play-and-exit", "--demux", "dump", "--demuxdump-file"])
                    .arg(&file)
                    .args([url, "vlc://quit"]);
                vlc
            }
            Player::Mpv => {
                let mut mpv = Command::new("mpv");
                mpv.args(["--no-config", "--no-terminal", "--vo=null", "--ao=null"])
                    .arg(format!("--stream-record={}", file.display()))
                    .arg(url);
                mpv
            }
            Player::Rtmpdump => {
                let mut rtmpdump = Command::new("rtmpdump");
                rtmpdump.args(["--live", "-r", url, "-o"]).arg(&file);
                rtmpdump
            }
            // At the end of a stream rtmpsrc reconnects if a block is partly filled: blocks of one byte never are.
            Player::Rtmpsrc => gstreamer(&format!(
                "rtmpsrc blocksize=1 location=\"{url} live=1\" ! filesink location={}",
                file.display()
            )),
            Player::Rtmp2src => gstreamer(&format!("rtmp2src location={url} ! {}", sink(&file))),
        };
        command.current_dir(relay.dir());
        Recording { player: self, process: Process::start_logged(command, &file.with_extension("log")), file }
    }
}

/// A running player.
pub struct Recording {
    /// Which one.
    pub player: Player,
    /// Its process.
    pub process: Process,
    /// What it writes.
    pub file: PathBuf,
}

impl Recording {
    /// Waits until it has written this much.
    pub fn wait_for_bytes(&self, bytes: u64, within: Duration) {
        let what = format!("{bytes} bytes in the recording of {:?}", self.player);
        eventually(&what, within, || (self.size() >= bytes).then_some(()));
    }

    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        std::fs::metadata(&self.file).map_or(0, |file| file.len())
    }

    /// Waits for the player to exit by itself and with success; returns what it recorded.
    pub fn finish(mut self, within: Duration) -> Vec<Packet> {
        self.process.expect_success(within);
        packets(&self.file)
    }
}

impl Recording {
    /// Waits for the player to exit by itself; fails the test unless it got the beginning of one clip, then, from a key
    /// frame on, the whole of another one, with continuous timestamps.
    pub fn expect_change_of_publisher(self, one: &Clip, two: &Clip) {
        let player = format!("{:?}", self.player);
        let recorded = self.finish(SOON);
        assert_time_moves_forward(&player, &recorded, MAX_STEP_MS);
        let (one, two) = (packets(&one.file()), packets(&two.file()));
        let split = [Kind::Audio, Kind::Video].map(|kind| {
            let runs = runs(&[&one, &two], &recorded, kind);
            let order: Vec<usize> = runs.iter().map(|(clip, _)| *clip).collect();
            assert_eq!(order, [0, 1], "{player}: {kind:?} is of these clips, in turn");
            runs
        });
        let part = |clip: usize| -> Vec<Packet> {
            let parts = split.iter().flat_map(|runs| &runs[clip].1);
            parts.cloned().collect()
        };
        assert_gap_free(&format!("{player}, first publisher"), &one, &part(0));
        assert_gap_free(&format!("{player}, second publisher"), &two, &part(1));
        assert_eq!(part(1).len(), two.len(), "{player} misses packets of the second publisher");
        let [_, video] = &split;
        assert!(video[1].1[0].is_key_frame, "{player}: video continues with {:?}", video[1].1[0]);
    }
}

/// Plays a name until it ends, without a recording: `ffplay` without a window, VLC without outputs.
pub fn play_without_output(program: &str, relay: &Relay, name: &str) -> Process {
    let url = relay.url(name);
    let command = match program {
        "ffplay" => {
            let mut ffplay = Command::new("ffplay");
            ffplay.env("SDL_VIDEODRIVER", "dummy").env("SDL_AUDIODRIVER", "dummy").args([
                "-v",
                "error",
                "-autoexit",
                &url,
            ]);
            ffplay
        }
        "vlc" => {
            let mut vlc = vlc(relay.dir());
            vlc.args(["--vout", "dummy", "--aout", "dummy", &url, "vlc://quit"]);
            vlc
        }
        other => panic!("{other} is no program that can play without output"),
    };
    Process::start_logged(command, &new_file(relay.dir(), program, "log"))
}

/// A program that publishes a file as if it were live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publisher {
    /// FFmpeg, in real time.
    Ffmpeg,
    /// The same by an FFmpeg that writes Enhanced FLV.
    NewerFfmpeg,
    /// GStreamer's rtmpsink (librtmp), in real time.
    Rtmpsink,
    /// GStreamer's rtmp2sink, in real time.
    Rtmp2sink,
}

impl Publisher {
    /// Starts to publish an FLV file with audio and video as `app/name`.
    pub fn publish(self, relay: &Relay, file: &Path, name: &str) -> Process {
        let url = relay.url(name);
        let sent = self.sent_file(relay);
        let flv = format!(
            "filesrc location={} ! flvdemux name=in flvmux name=out streamable=true \
             in.video ! queue ! out.video in.audio ! queue ! out.audio \
             out. ! tee name=both both. ! queue ! {} both. ! queue",
            file.display(),
            sink(&sent)
        );
        let command = match self {
            Publisher::Ffmpeg => ffmpeg("ffmpeg", file, &["-f", "flv", &url]),
            Publisher::NewerFfmpeg => {
                let both = format!("[f=flv]{url}|[f=flv]{}", sent.display());
                ffmpeg(NEWER_FFMPEG, file, &["-map", "0", "-f", "tee", &both])
            }
            Publisher::Rtmpsink => {
                gstreamer(&format!("{flv} ! rtmpsink sync=true location=\"{url} live=1\""))
            }
            Publisher::Rtmp2sink => gstreamer(&format!("{flv} ! rtmp2sink sync=true location={url}")),
        };
        Process::start_logged(command, &new_file(relay.dir(), &format!("{self:?}"), "log"))
    }

    /// A copy of what it sends: GStreamer's muxer changes the timestamps, and the newer FFmpeg's changes the headers.
    /// The older FFmpeg makes no copy: it sends what is in the file.
    pub fn sent_file(self, relay: &Relay) -> PathBuf {
        relay.dir().join(format!("sent-by-{self:?}.flv"))
    }
}

/// FFmpeg, sending a file in real time.
fn ffmpeg(program: &str, file: &Path, output: &[&str]) -> Command {
    let mut ffmpeg = Command::new(program);
    ffmpeg.args(["-nostdin", "-v", "warning", "-re", "-i"]).arg(file).args(["-c", "copy"]).args(output);
    ffmpeg
}

/// VLC without an interface. It refuses to run as root: then it runs as an ordinary user.
pub fn vlc(home: &Path) -> Command {
    if !is_installed("vlc") {
        panic!("{}", missing("vlc"));
    }
    let mut command = if rustix::process::geteuid().is_root() {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups", "vlc"]);
        setpriv
    } else {
        Command::new("vlc")
    };
    command.env("HOME", home).env_remove("XDG_RUNTIME_DIR").args(["--intf", "dummy", "--no-one-instance"]);
    command
}

fn gstreamer(pipeline: &str) -> Command {
    let mut command = Command::new("gst-launch-1.0");
    // One argument per word, as a shell splits them; ours have spaces only in quotes.
    command.arg("--quiet").args(words(pipeline));
    command
}

/// Splits at spaces outside double quotes, and drops the quotes around a whole value.
fn words(pipeline: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for c in pipeline.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            _ => words.last_mut().expect("there is always one").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// GStreamer's element that writes each buffer at once.
fn sink(file: &Path) -> String {
    format!("filesink buffer-mode=unbuffered location={}", file.display())
}

/// Creates a file with a name not in use, writable for any user.
fn new_file(dir: &Path, stem: &str, extension: &str) -> PathBuf {
    let file = (0..)
        .map(|number| dir.join(format!("{stem}-{number}.{extension}")))
        .find(|file| !file.exists())
        .expect("numbers do not end");
    std::fs::write(&file, []).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    file
}

/// While no publisher is connected, timestamps may advance by that time, not by hours.
const MAX_STEP_MS: i64 = 10_000;
