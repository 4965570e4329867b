//! Generated media: short FLV files, made once by FFmpeg and kept under `target/tmp`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use super::SOON;
use super::newer_ffmpeg::NEWER_FFMPEG;
use super::process::Process;

/// What a generated file contains: a test video at 30 fps with a key frame each second, a tone, or both.
#[derive(Clone, Copy, Hash)]
pub struct Clip {
    codecs: Codecs,
    /// Source of the video, and the encoder's options.
    video: Option<(&'static str, &'static [&'static str])>,
    /// The tone, in Hz.
    audio: Option<u32>,
    seconds: u32,
}

/// Its codecs; H.264 and HEVC have two consecutive B-frames.
#[derive(Clone, Copy, Hash)]
enum Codecs {
    /// H.264 and AAC, in legacy FLV.
    H264Aac,
    /// HEVC, in Enhanced FLV, and AAC.
    HevcAac,
    /// AV1 and Opus, both in Enhanced FLV.
    Av1Opus,
}

impl Clip {
    /// Small video and a tone.
    pub const AUDIO_VIDEO: Clip = Clip {
        codecs: Codecs::H264Aac,
        video: Some(("testsrc2=size=160x90:rate=30", &["-b:v", "200k"])),
        audio: Some(440),
        seconds: 5,
    };
    /// Another video of another size, thus with other sequence headers, and another tone.
    pub const OTHER: Clip = Clip {
        video: Some(("testsrc=size=128x72:rate=30", &["-b:v", "200k"])),
        audio: Some(660),
        ..Clip::AUDIO_VIDEO
    };
    /// Small video in HEVC, audio in AAC.
    pub const HEVC_AAC: Clip = Clip { codecs: Codecs::HevcAac, ..Clip::AUDIO_VIDEO };
    /// Small video in AV1, audio in Opus.
    pub const AV1_OPUS: Clip = Clip { codecs: Codecs::Av1Opus, ..Clip::AUDIO_VIDEO };
    /// Frames of well over 64 KiB: each is several chunks.
    pub const LARGE: Clip = Clip {
        video: Some(("testsrc2=size=1280x720:rate=30,noise=alls=20", &["-crf", "18"])),
        audio: Some(880),
        seconds: 3,
        ..Clip::AUDIO_VIDEO
    };
    /// Each picture in four slices.
    pub const SLICES: Clip = Clip {
        video: Some(("testsrc2=size=160x128:rate=30", &["-b:v", "200k", "-slices", "4"])),
        ..Clip::AUDIO_VIDEO
    };
    /// A key frame each 5 s, without B-frames.
    pub const LONG_GROUPS: Clip = Clip {
        video: Some((
            "testsrc2=size=160x90:rate=30",
            &["-b:v", "200k", "-g", "150", "-keyint_min", "150", "-bf", "0"],
        )),
        ..Clip::AUDIO_VIDEO
    };
    /// Audio only.
    pub const AUDIO_ONLY: Clip = Clip { video: None, ..Clip::AUDIO_VIDEO };
    /// Video only.
    pub const VIDEO_ONLY: Clip = Clip { audio: None, ..Clip::AUDIO_VIDEO };

    /// The same with this duration.
    pub const fn seconds(self, seconds: u32) -> Clip {
        Clip { seconds, ..self }
    }

    /// Its duration.
    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    /// The file, generated if it does not exist yet.
    pub fn file(&self) -> PathBuf {
        // One at a time in this process; another process that generates the same file replaces it by an equal one.
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

    /// Bytes of the file: compared with the size of a recording, the progress of a stream.
    pub fn size(&self) -> u64 {
        std::fs::metadata(self.file()).unwrap().len()
    }

    fn make(&self, file: &Path) {
        let mut ffmpeg = Command::new(self.codecs.ffmpeg());
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
            ffmpeg.args(self.codecs.video_encoder()).args(options);
        }
        if self.audio.is_some() {
            ffmpeg.args(["-c:a", self.codecs.audio_encoder(), "-b:a", "64k"]);
        }
        ffmpeg.arg(file);
        Process::start_logged(ffmpeg, &file.with_extension("log")).expect_success(6 * SOON);
    }

    /// Changes with everything that decides the bytes of the file.
    fn identity(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self, self.codecs.video_encoder(), self.codecs.audio_encoder()).hash(&mut hasher);
        hasher.finish()
    }
}

impl Codecs {
    /// The one that supports them.
    fn ffmpeg(self) -> &'static str {
        match self {
            Codecs::H264Aac => "ffmpeg",
            Codecs::HevcAac | Codecs::Av1Opus => NEWER_FFMPEG,
        }
    }

    /// A key frame each second and nowhere else, closed groups of pictures, one thread.
    fn video_encoder(self) -> &'static [&'static str] {
        match self {
            Codecs::H264Aac => X264,
            Codecs::HevcAac => X265,
            Codecs::Av1Opus => SVT_AV1,
        }
    }

    fn audio_encoder(self) -> &'static str {
        match self {
            Codecs::H264Aac | Codecs::HevcAac => "aac",
            Codecs::Av1Opus => "libopus",
        }
    }
}

const X264: &[&str] = &[
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

const X265: &[&str] = &[
    "-c:v",
    "libx265",
    "-preset",
    "ultrafast",
    "-x265-params",
    "log-level=error:bframes=2:keyint=30:min-keyint=30:scenecut=0:open-gop=0:pools=none:frame-threads=1",
    "-pix_fmt",
    "yuv420p",
];

const SVT_AV1: &[&str] =
    &["-c:v", "libsvtav1", "-preset", "11", "-g", "30", "-svtav1-params", "lp=1", "-pix_fmt", "yuv420p"];
