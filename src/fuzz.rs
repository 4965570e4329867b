//! What the fuzz targets are: a name, what must hold for any bytes, and inputs to begin with, cut from what real
//! clients sent. `fuzz/` drives them for minutes or hours; plain `cargo test` replays every input that is kept.

use bytes::Bytes;

use crate::flv::{FrameKind, audio, codec, data, video};
use crate::rtmp::chunk::{self, Decoder, Limits, Message};
use crate::rtmp::message::type_id;
use crate::rtmp::{handshake, session};
use crate::{amf0, http, stream};

/// One fuzz target.
pub struct Target {
    /// Of the target, and of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Panics where something does not hold for these bytes.
    pub check: fn(&[u8]),
    /// Inputs of this target, made of all that a client sent.
    seeds: fn(&[u8]) -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 9] = [
    Target { name: "amf0", check: amf0::check_any_bytes, seeds: amf0_seeds },
    Target { name: "chunk", check: chunk::fuzz::decode_at_any_cut, seeds: chunk_seeds },
    Target { name: "codec", check: codec::check_any_bytes, seeds: codec_seeds },
    Target { name: "command", check: session::fuzz::check_any_command, seeds: command_seeds },
    Target { name: "flv_headers", check: check_flv_headers, seeds: flv_headers_seeds },
    Target { name: "handshake", check: handshake::check_any_bytes, seeds: handshake_seeds },
    Target { name: "session", check: session::fuzz::check_any_bytes, seeds: session_seeds },
    Target { name: "stream", check: stream::fuzz::check_any_bytes, seeds: stream_seeds },
    Target { name: "websocket", check: http::fuzz::read_at_any_cut, seeds: websocket_seeds },
];

impl Target {
    /// The target of that name.
    ///
    /// # Panics
    /// Where there is none.
    pub fn named(name: &str) -> &'static Self {
        TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("no fuzz target {name}"))
    }

    /// Inputs to begin with, from all that one client sent, its handshake first; each within [`MAX_INPUT_BYTES`].
    pub fn seeds(&self, capture: &[u8]) -> Vec<Vec<u8>> {
        let mut seeds = (self.seeds)(capture);
        seeds.iter_mut().for_each(|seed| seed.truncate(MAX_INPUT_BYTES));
        seeds
    }
}

/// Longer inputs find little more, and slowly.
pub const MAX_INPUT_BYTES: usize = 4096;

/// Headers of frames, Enhanced ones among them.
fn check_flv_headers(bytes: &[u8]) {
    video::check_any_bytes(bytes);
    audio::check_any_bytes(bytes);
    data::check_any_bytes(bytes);
}

/// How the seeds of cut inputs are cut.
const CUTS: [u8; 4] = [255, 40, 99, 0];

fn handshake_seeds(capture: &[u8]) -> Vec<Vec<u8>> {
    let end = capture.len().min(HANDSHAKE_BYTES + 16);
    vec![[&[200], &capture[..end]].concat()]
}

fn chunk_seeds(capture: &[u8]) -> Vec<Vec<u8>> {
    vec![[&CUTS, behind_handshake(capture)].concat()]
}

fn session_seeds(capture: &[u8]) -> Vec<Vec<u8>> {
    // Granted at once, and after the next read.
    [0, 1].map(|answer| [&CUTS[..], &[answer], behind_handshake(capture)].concat()).into()
}

fn amf0_seeds(capture: &[u8]) -> Vec<Vec<u8>> {
    let are_values =
        |message: &&Message| is_command(message) || message.message_type_id == type_id::DATA_AMF0;
    messages(capture).iter().filter(are_values).map(|message| message.payload.to_bytes().into()).collect()
}

fn command_seeds(capture: &[u8]) -> Vec<Vec<u8>> {
    let messages = messages(capture);
    let commands = messages.iter().filter(|message| is_command(message));
    commands.map(|message| [&[message.message_type_id], &message.payload.to_bytes()[..]].concat()).collect()
}

fn flv_headers_seeds(capture: &[u8]) -> Vec<Vec<u8>> {
    let messages = messages(capture);
    let media = messages.iter().filter(|message| kind(message).is_some()).take(FRAMES_A_SEED);
    media.map(|message| message.payload.to_bytes().iter().take(32).copied().collect()).collect()
}

/// Sequence headers, whole.
fn codec_seeds(capture: &[u8]) -> Vec<Vec<u8>> {
    let messages = messages(capture);
    let bodies = messages.iter().filter_map(|message| Some((kind(message)?, message.payload.to_bytes())));
    let headers = bodies.filter(|(kind, body)| match kind {
        FrameKind::Video => video::configuration(body).is_some(),
        FrameKind::Audio => audio::configuration(body).is_some(),
        FrameKind::Data => false,
    });
    headers.map(|(_, body)| body.into()).collect()
}

fn stream_seeds(capture: &[u8]) -> Vec<Vec<u8>> {
    let messages = messages(capture);
    let frames = messages.iter().filter_map(|message| {
        let body = message.payload.to_bytes();
        Some(stream::fuzz::input(kind(message)?, message.timestamp_ms, &body[..body.len().min(40)]))
    });
    vec![frames.take(FRAMES_A_SEED).collect::<Vec<_>>().concat()]
}

/// RTMP clients speak no WebSocket: what they said, as the payload of masked frames of each kind.
fn websocket_seeds(capture: &[u8]) -> Vec<Vec<u8>> {
    let frame = |op_code: u8, len: u8| {
        let payload = behind_handshake(capture).iter().take(len.into());
        [&[CUTS[1], 0x80 | op_code, 0x80 | len, 0, 0, 0, 0][..], &payload.copied().collect::<Vec<u8>>()]
            .concat()
    };
    vec![frame(9, 40), frame(10, 0), frame(2, 125), frame(8, 2)]
}

const FRAMES_A_SEED: usize = 20;

/// C0, C1 and C2.
const HANDSHAKE_BYTES: usize = 1 + 2 * 1536;

fn behind_handshake(capture: &[u8]) -> &[u8] {
    &capture[HANDSHAKE_BYTES..]
}

fn messages(capture: &[u8]) -> Vec<Message> {
    let mut decoder = Decoder::new(Limits::default());
    decoder.feed(Bytes::copy_from_slice(behind_handshake(capture)));
    std::iter::from_fn(|| decoder.next().expect("a real client's chunks")).collect()
}

fn is_command(message: &Message) -> bool {
    [type_id::COMMAND_AMF0, type_id::COMMAND_AMF3].contains(&message.message_type_id)
}

fn kind(message: &Message) -> Option<FrameKind> {
    match message.message_type_id {
        type_id::AUDIO => Some(FrameKind::Audio),
        type_id::VIDEO => Some(FrameKind::Video),
        type_id::DATA_AMF0 => Some(FrameKind::Data),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    fn files(folder: &str) -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// The file's name is printed before its check, so that the last one printed is the one that fails.
    #[expect(clippy::print_stdout, reason = "shown where the test fails")]
    fn replay(target: &Target, path: &Path, input: &[u8]) {
        println!("{} of {}", target.name, path.display());
        (target.check)(input);
    }

    #[test]
    fn every_kept_input_holds() {
        for target in &TARGETS {
            let kept = files(&format!("fuzz/corpus/{}", target.name));
            assert!(kept.len() > 10, "{}: {} inputs are kept", target.name, kept.len());
            kept.iter().for_each(|path| replay(target, path, &fs::read(path).unwrap()));
        }
    }

    #[test]
    fn what_real_clients_sent_holds() {
        let captures: Vec<_> = files("tests/captures")
            .into_iter()
            .filter(|path| path.extension().is_some_and(|ending| ending == "bin"))
            .collect();
        assert!(captures.len() >= 15);
        for target in &TARGETS {
            let mut seeds = 0;
            for path in &captures {
                for seed in target.seeds(&fs::read(path).unwrap()) {
                    replay(target, path, &seed);
                    seeds += 1;
                }
            }
            assert!(seeds >= 6, "{}: {seeds} seeds", target.name);
        }
    }

    #[test]
    fn each_target_has_its_program() {
        let programs = files("fuzz/fuzz_targets");
        let names: Vec<_> = programs.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, TARGETS.map(|target| target.name));
        for (path, name) in programs.iter().zip(names) {
            assert!(fs::read_to_string(path).unwrap().contains(&format!("(\"{name}\")")), "{name}");
        }
    }
}
