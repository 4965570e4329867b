//! The newest key frame of a stream as a file.

use crate::{
    flv::{FrameKind, Kinds, WireFormat},
    http::FlvFormat,
    rtmp::chunk::MediaFormat,
    stream::{Form, KeyFrame, Registry},
};

/// Sequence headers and the newest key frame of a stream, as a whole FLV file; none where the stream has none of it.
pub fn key_frame(registry: &Registry, name: &str) -> Option<Vec<u8>> {
    let KeyFrame { headers, messages } = registry.get(name)?.log(Form::Rtmp).key_frame()?;
    let rtmp = MediaFormat::default();
    let mut file = FlvFormat.opening(Kinds { audio: false, video: true })?.to_vec();
    for mut rest in std::iter::once(&headers).chain(&messages).map(|wire| &wire[..]) {
        while let Some((frame, len)) = rtmp.read(rest) {
            if frame.kind == FrameKind::Video {
                let begin = file.len();
                file.resize(begin + FlvFormat.wire_len(&frame), 0);
                FlvFormat.write(&frame, &mut file[begin..]);
            }
            rest = &rest[len..];
        }
    }
    file.shrink_to_fit();
    Some(file)
}
