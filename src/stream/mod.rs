//! A live stream as all cores share it: the log of its wire bytes, the join point, the publisher, the followers. No
//! sockets, no RTMP session; nothing here blocks on the data path.

mod beat;
mod begin;
mod cells;
mod entry;
mod facts;
mod facts_writer;
mod form;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod join;
mod log;
mod memory;
mod patience;
mod pool;
mod preamble;
mod reader;
mod registry;
mod role;
mod segment;
mod shared;
mod shown;
mod signal;
mod start;
mod still;
mod stream_log;
mod sync;
mod timeline;
mod totals;
mod tracks;
mod usage;
mod walk;
mod watchers;
mod wire_log;
mod writer;

pub use begin::{Position, Wants, first_since};
pub use entry::{Class, Entry};
pub use facts::{Facts, MediaTime};
pub use form::Form;
pub use join::{Join, JoinPoint, PointKind};
pub use log::Retention;
pub use memory::{Held, Ledger, Memory, MemoryKind, Relief};
pub use patience::Patience;
pub use preamble::{Preamble, PreambleBytes};
pub use reader::{Item, ReadFrame, ReadOptions, Reader, Skipped};
pub use registry::{
    Bounds, Follow, NameNotice, NoRoom, NotifyPublisher, Publication, PublishError, Registry, Stream, Waiting,
};
pub use segment::{Committed, Next, Segment};
pub use shown::Media;
pub use signal::{SLOTS, Signal};
pub use start::{InvalidStart, Start};
pub use stream_log::StreamLog;
pub use totals::Totals;
pub use usage::ConnectionRef;
pub use writer::Formats;

#[cfg(test)]
pub(crate) mod tests {
    //! Frames and a wire format that are easy to read in tests of logs and players.

    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::flv::{Frame, FrameKind, Kinds, WireFormat};

    /// Payload bytes and nothing else.
    pub(crate) struct Plain;

    impl WireFormat for Plain {
        fn wire_len(&self, frame: &Frame) -> usize {
            frame.payload.len()
        }

        fn write(&self, frame: &Frame, out: &mut [u8]) {
            frame.payload.copy_prefix(out);
        }
    }

    /// Kind and length in digits, then the payload: can be read back.
    pub(crate) struct Readable;

    impl WireFormat for Readable {
        fn wire_len(&self, frame: &Frame) -> usize {
            READABLE_HEAD + frame.payload.len()
        }

        fn write(&self, frame: &Frame, out: &mut [u8]) {
            let (head, payload) = out.split_at_mut(READABLE_HEAD);
            head.copy_from_slice(format!("{:02}{:08}", frame.kind as u8, payload.len()).as_bytes());
            frame.payload.copy_prefix(payload);
        }

        fn read(&self, wire: &[u8]) -> Option<(Frame, usize)> {
            let number = |range| std::str::from_utf8(wire.get(range)?).ok()?.parse().ok();
            let kind = match number(0..2)? {
                8 => FrameKind::Audio,
                9 => FrameKind::Video,
                _ => FrameKind::Data,
            };
            let len = READABLE_HEAD + number(2..READABLE_HEAD)?;
            let payload = wire.get(READABLE_HEAD..len)?.to_vec().into();
            Some((Frame { kind, timestamp_ms: 0, payload }, len))
        }
    }

    const READABLE_HEAD: usize = 10;

    /// The same after a stream header that names the kinds that have come, as a file has.
    pub(crate) struct Named;

    impl WireFormat for Named {
        fn wire_len(&self, frame: &Frame) -> usize {
            Plain.wire_len(frame)
        }

        fn write(&self, frame: &Frame, out: &mut [u8]) {
            Plain.write(frame, out);
        }

        fn stream_header(&self, kinds: Kinds) -> Option<Bytes> {
            let header = match (kinds.audio, kinds.video) {
                (false, false) => "none:",
                (true, false) => "a:",
                (false, true) => "v:",
                (true, true) => "av:",
            };
            Some(Bytes::from_static(header.as_bytes()))
        }
    }

    pub(crate) fn registry(cores: usize) -> Arc<Registry> {
        registry_with(cores, Retention { buffer_bytes: 32 << 20, keep_ms: 5_000 })
    }

    pub(crate) fn registry_with(cores: usize, retention: Retention) -> Arc<Registry> {
        registry_of(cores, retention, Bounds { streams: usize::MAX, memory_bytes: usize::MAX })
    }

    pub(crate) fn registry_bounded(bounds: Bounds) -> Arc<Registry> {
        registry_of(1, Retention { buffer_bytes: 32 << 20, keep_ms: 5_000 }, bounds)
    }

    /// With logs of these formats.
    pub(crate) fn registry_in(formats: Formats, retention: Retention) -> Arc<Registry> {
        let bounds = Bounds { streams: usize::MAX, memory_bytes: usize::MAX };
        Arc::new(Registry::new([Signal::new(|| ())].into(), retention, bounds, formats, Box::new(|_, _| ())))
    }

    fn registry_of(cores: usize, retention: Retention, bounds: Bounds) -> Arc<Registry> {
        let signals = (0..cores).map(|_| Signal::new(|| ())).collect();
        Arc::new(Registry::new(signals, retention, bounds, |_| Box::new(Plain), Box::new(|_, _| ())))
    }

    pub(crate) fn publisher(connection_id: u64) -> ConnectionRef {
        ConnectionRef { core: 0, key: connection_id as usize, connection_id }
    }

    /// An H.264 key frame that ends with `mark`.
    pub(crate) fn key_frame(timestamp_ms: u32, mark: &str) -> Frame {
        frame(FrameKind::Video, timestamp_ms, b"\x17\x01\0\0\0", mark)
    }

    pub(crate) fn inter_frame(timestamp_ms: u32, mark: &str) -> Frame {
        frame(FrameKind::Video, timestamp_ms, b"\x27\x01\0\0\0", mark)
    }

    /// H.264 of a track of its own (Enhanced RTMP, one track in the message).
    pub(crate) fn track_frame(track: u8, is_key_frame: bool, timestamp_ms: u32, mark: &str) -> Frame {
        let first = if is_key_frame { 0x96 } else { 0xA6 };
        let head = [&[first, 0x01][..], b"avc1", &[track, 0, 0, 0]].concat();
        frame(FrameKind::Video, timestamp_ms, &head, mark)
    }

    pub(crate) fn track_header(track: u8, mark: &str) -> Frame {
        frame(FrameKind::Video, 0, &[&[0x96, 0x00][..], b"avc1", &[track]].concat(), mark)
    }

    pub(crate) fn video_header(mark: &str) -> Frame {
        frame(FrameKind::Video, 0, b"\x17\x00\0\0\0", mark)
    }

    pub(crate) fn audio_header(mark: &str) -> Frame {
        frame(FrameKind::Audio, 0, b"\xAF\x00", mark)
    }

    pub(crate) fn audio(timestamp_ms: u32, mark: &str) -> Frame {
        frame(FrameKind::Audio, timestamp_ms, b"\xAF\x01", mark)
    }

    pub(crate) fn metadata(mark: &str) -> Frame {
        frame(FrameKind::Data, 0, b"\x02\x00\x0AonMetaData", mark)
    }

    pub(crate) fn data(timestamp_ms: u32, mark: &str) -> Frame {
        frame(FrameKind::Data, timestamp_ms, b"\x02\x00\x0AonTextData", mark)
    }

    fn frame(kind: FrameKind, timestamp_ms: u32, head: &[u8], mark: &str) -> Frame {
        let payload = Bytes::from([head, mark.as_bytes()].concat()).into();
        Frame { kind, timestamp_ms, payload }
    }

    /// A frame whose payload is this head and this mark, closed by a semicolon.
    pub(crate) fn test_frame(kind: FrameKind, timestamp_ms: u32, head: &[u8], mark: &str) -> Frame {
        frame(kind, timestamp_ms, head, &format!("{mark};"))
    }

    /// The marks in wire bytes of [`Plain`]: `K1 i2 a3 …`, headers in capitals `V A M`.
    pub(crate) fn marks(wire: &[u8]) -> String {
        wire.iter()
            .filter(|byte| byte.is_ascii_alphanumeric() || **byte == b' ')
            .map(|&b| b as char)
            .collect::<String>()
            .replace("onMetaData", "")
            .replace("onTextData", "")
            .replace("avc1", "")
    }
}
