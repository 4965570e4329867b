//! The fuzz target of the stream log: its seeds, and a replay of its corpus by plain `cargo test`. The protocol's targets
//! are in `fanfare-rtmp`; the check itself is in [`crate::stream::fuzz`].

#![forbid(unsafe_code)]

use bytes::Bytes;

use crate::flv::FrameKind;
use crate::rtmp::chunk::{ChunkLimits, Decoder, Message};
use crate::rtmp::handshake::PACKET_LEN;
use crate::rtmp::message::type_id;
use crate::stream;

/// The first frames of all bytes that one client sent, as one input.
pub fn stream_seeds(capture: &[u8]) -> Vec<Vec<u8>> {
    let mut decoder = Decoder::new(ChunkLimits::default());
    decoder.feed(Bytes::copy_from_slice(&capture[HANDSHAKE_BYTES..]));
    let messages = std::iter::from_fn(|| decoder.next().expect("a real client's chunks"));
    vec![messages.filter_map(frame).take(FRAMES_PER_SEED).collect::<Vec<_>>().concat()]
}

fn frame(message: Message) -> Option<Vec<u8>> {
    let kind = match message.message_type_id {
        type_id::AUDIO => FrameKind::Audio,
        type_id::VIDEO => FrameKind::Video,
        type_id::DATA_AMF0 => FrameKind::Data,
        _ => return None,
    };
    let body = message.payload.to_bytes();
    Some(stream::fuzz::input(kind, message.timestamp_ms, &body[..body.len().min(PAYLOAD_BYTES)]))
}

const FRAMES_PER_SEED: usize = 20;
const PAYLOAD_BYTES: usize = 40;
/// C0, C1 and C2.
const HANDSHAKE_BYTES: usize = 1 + 2 * PACKET_LEN;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn files(folder: &str) -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// The file's name is printed first, so that the last one printed is the one that fails.
    #[expect(clippy::print_stdout, reason = "shown where the test fails")]
    fn replay(path: &Path, input: &[u8]) {
        println!("{}", path.display());
        stream::fuzz::check_any_bytes(input);
    }

    #[test]
    fn every_input_of_the_corpus_passes() {
        let kept = files("fuzz/corpus/stream");
        assert!(kept.len() > 10, "{} inputs are kept", kept.len());
        kept.iter().for_each(|path| replay(path, &fs::read(path).unwrap()));
    }

    #[test]
    fn captures_of_real_clients_pass() {
        let is_capture = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "bin");
        let captures: Vec<_> = files("tests/captures").into_iter().filter(is_capture).collect();
        assert!(captures.len() >= 15);
        for path in &captures {
            stream_seeds(&fs::read(path).unwrap()).iter().for_each(|seed| replay(path, seed));
        }
    }
}
