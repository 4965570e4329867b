//! Generated media: short FLV files, made once by FFmpeg and kept under `target/tmp`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use super::SOON;
use super::process::Process;

/// What a generated file holds: a test picture at 30 fps with a key frame each second and two B-frames in a row,
/// a tone in AAC, or one of them.
#[derive(Clone, Copy, Hash)]
pub struct Clip {
    /// Source of the picture and the encoder's options.
    video: Option<(&'static str, &'static [&'static str])>,
    /// The tone, in Hz.
    audio: Option<u32>,
    seconds: u32,
}

impl Clip {
    /// Picture and tone, small.
    pub const AUDIO_VIDEO: Clip = Clip {
        video: Some(("testsrc2=size=160x90:rate=30", &["-b:v", "200k"])),
        audio: Some(440),
        seconds: 5,
    };
    /// Another picture of another size, so other sequence headers, and another tone.
    pub const OTHER: Clip = Clip {
        video: Some(("testsrc=size=128x72:rate=30", &["-b:v", "200k"])),
        audio: Some(660),
        ..Clip::AUDIO_VIDEO
    };
    /// Frames of well over 64 KiB: each is several chunks.
    pub const LARGE: Clip = Clip {
        video: Some(("testsrc2=size=1280x720:rate=30,noise=alls=20", &["-crf", "18"])),
        audio: Some(880),
        seconds: 3,
    };
    /// A tone and no picture.
    pub const AUDIO_ONLY: Clip = Clip { video: None, ..Clip::AUDIO_VIDEO };
    /// A picture and no tone.
    pub const VIDEO_ONLY: Clip = Clip { audio: None, ..Clip::AUDIO_VIDEO };

    /// The same, so long.
    pub const fn seconds(self, seconds: u32) -> Clip {
        Clip { seconds, ..self }
    }

    /// How long it is.
    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    /// The file, made if it is not there yet.
    pub fn file(&self) -> PathBuf {
        // One at a time in this process; another process that makes the same file replaces it by an equal one.
        static MAKING: Mutex<()> = Mutex::new(());
        let _making = MAKING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let file = dir.join(format!("clip-{:016x}.flv", self.identity()));
        if !file.exists() {
            let unfinished = dir.join(format!("clip-{}.flv", std::process::id()));
            self.make(&unfinished);
            std::fs::rename(&unfinished, &file).unwrap();
        }
        file
    }

    /// Bytes of the file: with a recorder's progress it tells how far a stream is.
    pub fn size(&self) -> u64 {
        std::fs::metadata(self.file()).unwrap().len()
    }

    fn make(&self, file: &Path) {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-v", "error", "-y"]);
        if let Some((source, _)) = self.video {
            ffmpeg.args(["-f", "lavfi", "-i", source]);
        }
        if let Some(tone_hz) = self.audio {
            let source = format!("sine=frequency={tone_hz}:sample_rate=44100");
            ffmpeg.args(["-f", "lavfi", "-i", &source]);
        }
        ffmpeg.args(["-t", &self.seconds.to_string()]);
        if let Some((_, options)) = self.video {
            ffmpeg.args(VIDEO_ENCODER).args(options);
        }
        if self.audio.is_some() {
            ffmpeg.args(["-c:a", "aac", "-b:a", "64k"]);
        }
        ffmpeg.arg(file);
        Process::start_logged(ffmpeg, &file.with_extension("log")).expect_success(6 * SOON);
    }

    /// Changes with whatever decides the bytes of the file.
    fn identity(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self, VIDEO_ENCODER).hash(&mut hasher);
        hasher.finish()
    }
}

/// A key frame each second and nowhere else, B-frames, bit-exact from run to run.
const VIDEO_ENCODER: &[&str] = &[
    "-c:v",
    "libx264",
    "-preset",
    "veryfast",
    "-bf",
    "2",
    "-g",
    "30",
    "-keyint_min",
    "30",
    "-sc_threshold",
    "0",
    "-pix_fmt",
    "yuv420p",
    "-threads",
    "1",
];
