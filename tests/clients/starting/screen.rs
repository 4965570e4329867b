//! What VLC shows, frame by frame and when: its video output is a pipe, so no display is needed.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use super::encoder::{BITS, SIZE};
use crate::support::{Process, SOON, vlc};

/// A running VLC.
pub struct Screen {
    /// When VLC was started.
    pub started: Instant,
    process: Process,
    shown: Arc<Shown>,
}

#[derive(Default)]
struct Shown {
    /// The numbers that the frames show, and when they were shown.
    frames: Mutex<Vec<(usize, Instant)>>,
    more: Condvar,
}

impl Screen {
    /// Starts VLC as a user does, except for the outputs of video and audio.
    pub fn show(dir: &Path, url: &str) -> Screen {
        let pipe = dir.join("screen");
        let _ = std::fs::remove_file(&pipe);
        Process::start(mkfifo(&pipe)).expect_success(SOON);
        // Also for writing: otherwise the pipe would end when VLC closes it and opens it again.
        let screen = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        let shown = Arc::new(Shown::default());
        thread::spawn({
            let shown = shown.clone();
            move || shown.follow(screen)
        });
        let mut command = vlc(dir);
        command.args(["--vout", "yuv", "--yuv-chroma", "I420", "--yuv-file"]).arg(&pipe).args([
            "--avcodec-hw=none",
            "--aout",
            "adummy",
            url,
        ]);
        let started = Instant::now();
        Screen { started, process: Process::start_logged(command, &dir.join("screen.log")), shown }
    }

    /// Waits until this many frames were shown.
    pub fn wait_for_frames(&self, count: usize) -> Vec<(usize, Instant)> {
        let frames = self.shown.frames.lock().unwrap();
        let (frames, timeout) =
            self.shown.more.wait_timeout_while(frames, SOON, |frames| frames.len() < count).unwrap();
        let seen = frames.len();
        assert!(!timeout.timed_out(), "VLC shows {seen} frames after {SOON:?}:\n{}", self.process.output());
        frames.clone()
    }
}

impl Shown {
    /// Reads lines with the format, and lines `FRAME`, each followed by the planes of a frame.
    fn follow(&self, screen: File) {
        let (width, height) = SIZE;
        let mut screen = BufReader::with_capacity(1 << 20, screen);
        let mut line = Vec::new();
        let mut planes = vec![0; width * height * 3 / 2];
        loop {
            line.clear();
            screen.read_until(b'\n', &mut line).expect("a pipe can be read");
            if line == b"FRAME\n" {
                screen.read_exact(&mut planes).expect("a pipe can be read");
                self.frames.lock().unwrap().push((number(&planes), Instant::now()));
                self.more.notify_all();
            }
        }
    }
}

/// The number that a frame shows, read in the middle of each bit.
fn number(planes: &[u8]) -> usize {
    let (width, _) = SIZE;
    let row = &planes[16 * width..][..width];
    let bit_width = width / BITS;
    (0..BITS).map(|bit| usize::from(row[bit * bit_width + bit_width / 2] > 125) << bit).sum()
}

fn mkfifo(path: &Path) -> Command {
    let mut command = Command::new("mkfifo");
    command.args(["--mode", "666"]).arg(path);
    command
}
