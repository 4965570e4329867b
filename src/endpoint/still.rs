//! The newest key frame of a stream as a file.

use crate::{
    flv::{FlvFormat, FrameKind, Kinds, WireFormat},
    stream::Registry,
};

/// Sequence headers and the newest key frame of a stream, as a whole FLV file; none where the stream has none of it.
pub fn key_frame(registry: &Registry, name: &str) -> Option<Vec<u8>> {
    let frames = registry.key_frame(name)?;
    let mut file = FlvFormat.stream_header(Kinds { audio: false, video: true })?.to_vec();
    for frame in frames.iter().filter(|frame| frame.kind == FrameKind::Video) {
        let begin = file.len();
        file.resize(begin + FlvFormat.wire_len(frame), 0);
        FlvFormat.write(frame, &mut file[begin..]);
    }
    file.shrink_to_fit();
    Some(file)
}
