//! The fuzz targets of the protocol: a name, a check that has to pass for any bytes, and seeds cut from captures of real
//! clients. The programs in `fuzz/` run them for minutes or hours; plain `cargo test` replays every input in
//! `fuzz/corpus`.

use bytes::Bytes;

use crate::amf0;
use crate::flv::{self, FlvFormat, Frame, FrameKind, Kinds, WireFormat, audio, codec, data, video};
#[cfg(feature = "websocket")]
use crate::http;
use crate::rtmp::chunk::{self, ChunkLimits, Decoder, Message};
use crate::rtmp::message::type_id;
use crate::rtmp::{handshake, session};

/// One fuzz target.
pub struct Target {
    /// The name of the target, and of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Panics if these bytes break a rule.
    pub check: fn(&[u8]),
    /// Makes inputs of this target from all bytes that one client sent.
    pub seeds: fn(&[u8]) -> Vec<Vec<u8>>,
}

/// The targets of this crate.
pub const TARGETS: &[Target] = &[
    Target { name: "amf0", check: amf0::check_any_bytes, seeds: amf0_seeds },
    Target { name: "chunk", check: chunk::fuzz::decode_at_any_cut, seeds: chunk_seeds },
    Target { name: "codec", check: codec::check_any_bytes, seeds: codec_seeds },
    Target { name: "command", check: session::fuzz::check_any_command, seeds: command_seeds },
    Target { name: "flv_headers", check: check_flv_headers, seeds: flv_headers_seeds },
    Target { name: "flv_tag", check: flv::read_at_any_cut, seeds: flv_tag_seeds },
    Target { name: "handshake", check: handshake::check_any_bytes, seeds: handshake_seeds },
    Target { name: "session", check: session::fuzz::check_any_bytes, seeds: session_seeds },
    #[cfg(feature = "websocket")]
    Target { name: "websocket", check: http::fuzz::read_at_any_cut, seeds: websocket_seeds },
];

impl Target {
    /// Seeds from all bytes that one client sent, its handshake first; none is longer than [`MAX_INPUT_BYTES`].
    pub fn seeds(&self, capture: &[u8]) -> Vec<Vec<u8>> {
        let mut seeds = (self.seeds)(capture);
        seeds.iter_mut().for_each(|seed| seed.truncate(MAX_INPUT_BYTES));
        seeds
    }
}

/// Longer inputs find little more, and take longer.
pub const MAX_INPUT_BYTES: usize = 4096;

/// Headers of frames, legacy and Enhanced.
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
    vec![[&CUTS, after_handshake(capture)].concat()]
}

fn session_seeds(capture: &[u8]) -> Vec<Vec<u8>> {
    // All is allowed at once, all later, all that follows connect is denied, and two mixtures.
    [0, 1, 2, 7, 90].map(|plan| [&CUTS[..], &[plan], after_handshake(capture)].concat()).into()
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
    let media = messages.iter().filter(|message| kind(message).is_some()).take(FRAMES_PER_SEED);
    media.map(|message| message.payload.to_bytes().iter().take(32).copied().collect()).collect()
}

/// The first frames as a file.
fn flv_tag_seeds(capture: &[u8]) -> Vec<Vec<u8>> {
    let messages = messages(capture);
    let media = messages.iter().filter_map(|message| {
        let payload = message.payload.to_bytes();
        let payload = payload.slice(..payload.len().min(PAYLOAD_BYTES)).into();
        Some(Frame { kind: kind(message)?, timestamp_ms: message.timestamp_ms, payload })
    });
    let mut file = vec![CUTS[2]];
    file.extend(FlvFormat.stream_header(Kinds { audio: true, video: true }).unwrap_or_default());
    for frame in media.take(FRAMES_PER_SEED) {
        let begin = file.len();
        file.resize(begin + FlvFormat.wire_len(&frame), 0);
        FlvFormat.write(&frame, &mut file[begin..]);
    }
    vec![file]
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

/// RTMP clients do not speak WebSocket: their bytes become the payload of masked frames of each kind.
#[cfg(feature = "websocket")]
fn websocket_seeds(capture: &[u8]) -> Vec<Vec<u8>> {
    let frame = |op_code: u8, len: u8| {
        let payload = after_handshake(capture).iter().take(len.into());
        [&[CUTS[1], 0x80 | op_code, 0x80 | len, 0, 0, 0, 0][..], &payload.copied().collect::<Vec<u8>>()]
            .concat()
    };
    vec![frame(9, 40), frame(10, 0), frame(2, 125), frame(8, 2)]
}

const FRAMES_PER_SEED: usize = 20;
const PAYLOAD_BYTES: usize = 40;

/// C0, C1 and C2.
const HANDSHAKE_BYTES: usize = 1 + 2 * 1536;

fn after_handshake(capture: &[u8]) -> &[u8] {
    &capture[HANDSHAKE_BYTES..]
}

fn messages(capture: &[u8]) -> Vec<Message> {
    let mut decoder = Decoder::new(ChunkLimits::default());
    decoder.feed(Bytes::copy_from_slice(after_handshake(capture)));
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
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
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
    fn every_input_of_the_corpus_passes() {
        for target in TARGETS {
            let kept = files(&format!("fuzz/corpus/{}", target.name));
            assert!(kept.len() > 10, "{}: {} inputs are kept", target.name, kept.len());
            kept.iter().for_each(|path| replay(target, path, &fs::read(path).unwrap()));
        }
    }

    #[test]
    fn captures_of_real_clients_pass() {
        let captures: Vec<_> = files("tests/captures")
            .into_iter()
            .filter(|path| path.extension().is_some_and(|ending| ending == "bin"))
            .collect();
        assert!(captures.len() >= 15);
        for target in TARGETS {
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
        for Target { name, .. } in TARGETS {
            let program =
                files("fuzz/fuzz_targets").into_iter().find(|path| path.file_stem().unwrap() == *name);
            let source = fs::read_to_string(program.unwrap_or_else(|| panic!("{name} has no program")));
            assert!(source.unwrap().contains(&format!("(\"{name}\"")), "{name}");
        }
    }
}
