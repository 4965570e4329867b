//! An FFmpeg that publishes a file to several relays at once in real time, and when it sent each frame. Each frame
//! shows its number.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use crate::support::{Process, SOON};

/// Of the file that is published.
pub const FRAMES_PER_SECOND: usize = 60;
/// Size of a frame, pixels.
pub const SIZE: (usize, usize) = (640, 352);
/// Along the top of each frame: the number in binary, the lowest bit first, white for 1.
pub const BITS: usize = 16;

/// Between key frames.
const GROUP: usize = 2 * FRAMES_PER_SECOND;
/// Longer than the test takes.
const SECONDS: usize = 90;

/// A running encoder.
pub struct Encoder {
    _process: Process,
    sent: Arc<Sent>,
}

#[derive(Default)]
struct Sent {
    /// When each frame was sent, by its number.
    frames: Mutex<Vec<Instant>>,
    more: Condvar,
}

impl Encoder {
    /// Publishes to all of these URLs, with options that select tracks.
    pub fn start(dir: &Path, tracks: &[&str], urls: &[&str]) -> Encoder {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-v", "error", "-re", "-i"]).arg(numbered_frames());
        for url in urls {
            ffmpeg.args(tracks).args(["-c", "copy", "-f", "flv", url]);
        }
        // The last output: a frame that is written here has been sent to the relays.
        ffmpeg.args(["-c", "copy", "-f", "flv", "-flush_packets", "1", "pipe:1"]);
        ffmpeg.stdout(Stdio::piped()).stderr(std::fs::File::create(dir.join("encoder.log")).unwrap());
        let mut process = Process::start(ffmpeg);
        let pipe = process.child().stdout.take().expect("stdout is a pipe");
        let sent = Arc::new(Sent::default());
        thread::spawn({
            let sent = sent.clone();
            move || sent.follow(BufReader::new(pipe))
        });
        Encoder { _process: process, sent }
    }

    /// When each frame was sent so far, by its number.
    pub fn sent(&self) -> Vec<Instant> {
        self.sent.frames.lock().unwrap().clone()
    }

    /// Waits until this frame has been sent.
    pub fn wait_for_frame(&self, number: usize) {
        self.sent.wait_until(|count| count > number);
    }

    /// Waits until a quarter of a group of pictures has been sent: its key frame is past, and the next one far away.
    pub fn wait_for_the_middle_of_a_group(&self) {
        self.sent.wait_until(|count| count % GROUP == GROUP / 4);
    }
}

impl Sent {
    /// Reads FLV and records the time of each frame.
    fn follow(&self, mut flv: impl Read) {
        let mut header = [0; 9 + 4];
        let mut tag = [0; 11];
        let mut is_open = flv.read_exact(&mut header).is_ok();
        while is_open && flv.read_exact(&mut tag).is_ok() {
            let mut body = vec![0; u32::from_be_bytes([0, tag[1], tag[2], tag[3]]) as usize + 4];
            is_open = flv.read_exact(&mut body).is_ok();
            // NAL units of AVC.
            if tag[0] == 9 && body[1] == 1 {
                self.frames.lock().unwrap().push(Instant::now());
                self.more.notify_all();
            }
        }
    }

    fn wait_until(&self, is_right: impl Fn(usize) -> bool) {
        let frames = self.frames.lock().unwrap();
        let (_frames, timeout) =
            self.more.wait_timeout_while(frames, SOON, |frames| !is_right(frames.len())).unwrap();
        assert!(!timeout.timed_out(), "the encoder has sent no such frame after {SOON:?}");
    }
}

/// A file with enough noise for a usual bitrate, and numbers that a program can read.
fn numbered_frames() -> PathBuf {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("numbered-{FRAMES_PER_SECOND}.flv"));
    if file.exists() {
        return file;
    }
    let (width, height) = SIZE;
    let rate = FRAMES_PER_SECOND;
    let bit = "if(mod(floor(N/pow(2,X)),2),235,16)";
    let graph = format!(
        "testsrc2=size={width}x{height}:rate={rate},noise=alls=12:allf=t[picture];\
         color=black:size={BITS}x2:rate={rate},geq=lum='{bit}':cb=128:cr=128,scale={width}:32:flags=neighbor[number];\
         [picture][number]overlay=0:0[v]"
    );
    let unfinished = file.with_extension(format!("{}.flv", std::process::id()));
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg
        .args(["-nostdin", "-v", "error", "-y", "-filter_complex", &graph])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100", "-map", "[v]", "-map", "0:a"])
        .args(["-t", &SECONDS.to_string(), "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"])
        .args(["-g", &GROUP.to_string(), "-b:v", "1200k", "-maxrate", "1200k", "-bufsize", "600k"])
        .args(["-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "64k"])
        .arg(&unfinished);
    Process::start_logged(ffmpeg, &unfinished.with_extension("log")).expect_success(6 * SOON);
    std::fs::rename(&unfinished, &file).unwrap();
    file
}
