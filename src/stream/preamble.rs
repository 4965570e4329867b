//! What a joiner needs before its first frame: the current metadata and sequence headers.

#![forbid(unsafe_code)]

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::{
    memory::{Memory, MemoryKind},
    role::Part,
};
use crate::flv::{Frame, FrameKind, Kinds, Payload, WireFormat, script};

/// Headers of one stream: metadata, and two for each of five video and ten audio tracks, rounded up. Real streams have
/// three.
const MAX_HEADERS: usize = 32;
/// All headers of one stream together; what does not fit is passed on and not kept. Real ones are below 1 KiB each. A
/// player that does not read may pin this much per form, and no more.
const MAX_HEADER_BYTES: usize = 64 << 10;
/// The time of `onMetaData`, wherever it stands. FFmpeg's FLV reader, which VLC and mpv use, skips metadata at 0; any
/// other makes it a subtitle track, for whose first line VLC waits 10 s.
pub(super) const METADATA_MS: u32 = 0;
/// The time of headers in a preamble. No reader uses it, and with one value all join points share the same bytes.
const HEADER_MS: u32 = 0;

/// The newest metadata and sequence headers of a stream, not parsed, as its writer keeps them.
#[derive(Debug)]
pub(super) struct Headers {
    memory: Memory,
    /// By part, as the current publisher has sent them.
    current: Vec<Header>,
    /// What the publisher before had sent: players have it.
    before: Vec<Header>,
    /// Moves on with every change that players must be sent.
    generation: u32,
    /// Moves on where a sequence header takes the place of another one: what came before cannot be decoded with it.
    configuration: u32,
    /// The current publisher has sent media.
    has_media: bool,
    /// Moves on with every change of `current`.
    version: u64,
    /// `current`, as preambles share it.
    shared: Option<Arc<[Header]>>,
    /// The kind of media that the current publisher does not send.
    absent: Option<FrameKind>,
}

#[derive(Clone, Debug)]
struct Header {
    part: Part,
    payload: Bytes,
}

impl Headers {
    pub(super) fn new(memory: Memory) -> Self {
        Self {
            memory,
            current: Vec::new(),
            before: Vec::new(),
            generation: 0,
            configuration: 0,
            has_media: false,
            version: 0,
            shared: None,
            absent: None,
        }
    }

    /// Takes note of the kind of media that the publisher does not send, where that is known: metadata for joiners says
    /// so.
    pub(super) fn set_absent(&mut self, absent: Option<FrameKind>) {
        if self.absent != absent {
            self.absent = absent;
            self.has_changed();
        }
    }

    /// Bytes that are kept, of the publisher before as well.
    pub(super) fn kept_bytes(&self) -> usize {
        self.current.iter().chain(&self.before).map(|header| header.payload.len()).sum()
    }

    /// Takes note of metadata or a sequence header. False where players that have watched so far have these bytes
    /// already: a camera that repeats its headers on each key frame changes nothing, nor does an encoder that comes
    /// back as it went.
    pub(super) fn update(&mut self, part: Part, payload: &Payload) -> bool {
        if self.has(part, payload) {
            return false;
        }
        let known = self.current.binary_search_by_key(&part, |header| header.part);
        let before = self.before.iter().find(|header| header.part == part);
        let is_new = before.is_none_or(|header| !equal(&header.payload, payload));
        let is_other = known.is_ok() || (before.is_some() && is_new);
        if is_other && part != Part::Metadata {
            self.configuration = self.configuration.wrapping_add(1);
        }
        if let Ok(at) = known {
            self.current.remove(at);
        }
        let has_room = self.current.len() < MAX_HEADERS && self.bytes() + payload.len() <= MAX_HEADER_BYTES;
        if has_room {
            let at = self.current.partition_point(|header| header.part < part);
            // A copy: a view would hold a whole receive buffer for as long as the stream lives.
            let payload = self.memory.counted(MemoryKind::Headers, payload.to_bytes().to_vec());
            self.current.insert(at, Header { part, payload });
        }
        if has_room || known.is_ok() {
            self.has_changed();
        }
        // From now on this part is the current one's, whatever there was before.
        self.before.retain(|header| header.part != part);
        if is_new {
            self.generation = self.generation.wrapping_add(1);
        }
        is_new
    }

    /// Whether the current publisher has sent this header before. Then each of its players has it: from the log, from a
    /// preamble, or from the publisher before.
    pub(super) fn has(&self, part: Part, payload: &Payload) -> bool {
        let known = self.current.binary_search_by_key(&part, |header| header.part);
        known.is_ok_and(|at| equal(&self.current[at].payload, payload))
    }

    /// The publisher has gone. The next one may not have what this one had: a joiner must not get a header of audio
    /// that is not there any more. `has_joiners` if players may have begun with what this one has sent.
    pub(super) fn interrupt(&mut self, has_joiners: bool) {
        self.set_absent(None);
        let had_media = std::mem::take(&mut self.has_media);
        // After a publisher that has sent nothing, players have what they had before.
        if has_joiners || !self.current.is_empty() {
            if !had_media {
                self.leave_configuration();
            }
            self.before = std::mem::take(&mut self.current);
            self.has_changed();
        }
    }

    /// Media of the current publisher has come. Where it has not sent all headers of the publisher before by then, its own do
    /// not go with what that one has sent.
    pub(super) fn media_came(&mut self) {
        if !std::mem::replace(&mut self.has_media, true) {
            self.leave_configuration();
        }
    }

    /// What the current publisher has sent does not go with the sequence headers of the one before, if it has not sent
    /// all of them.
    fn leave_configuration(&mut self) {
        if self.before.iter().any(|header| header.part != Part::Metadata) {
            self.configuration = self.configuration.wrapping_add(1);
        }
    }

    /// The header of this part, as the current publisher has sent it.
    pub(super) fn header(&self, part: Part) -> Option<Bytes> {
        let known = self.current.binary_search_by_key(&part, |header| header.part).ok()?;
        Some(self.current[known].payload.clone())
    }

    /// Those of one kind of media, as frames at this time.
    pub(super) fn of_kind(&self, kind: FrameKind, timestamp_ms: u32) -> impl Iterator<Item = Frame> {
        let of_kind = self.current.iter().filter(move |header| header.part.kind() == kind);
        of_kind.map(move |header| Frame { kind, timestamp_ms, payload: header.payload.clone().into() })
    }

    /// Moves on where a sequence header takes the place of another one.
    pub(super) fn configuration(&self) -> u32 {
        self.configuration
    }

    /// The same with the video since a key frame, the last frame of it shown at `at_ms`.
    pub(super) fn preamble_with(
        &mut self,
        format: &Arc<Format>,
        messages: Arc<[Frame]>,
        at_ms: u32,
    ) -> Preamble {
        self.make(format, Some(StillVideo { messages, at_ms }))
    }

    /// What a joiner needs now, in this format: the same object for as long as nothing changes. `last` is the one that
    /// was made before.
    pub(super) fn preamble(&mut self, format: &Arc<Format>, last: Option<&Preamble>) -> Preamble {
        let now = (self.generation, self.version);
        match last.filter(|last| (last.0.generation, last.0.version) == now) {
            Some(last) => last.clone(),
            None => self.make(format, None),
        }
    }

    fn make(&mut self, format: &Arc<Format>, still: Option<StillVideo>) -> Preamble {
        Preamble(Arc::new(PreambleData {
            headers: self.shared.get_or_insert_with(|| self.current.clone().into()).clone(),
            still,
            absent: self.absent,
            generation: self.generation,
            configuration: self.configuration,
            version: self.version,
            format: format.clone(),
            memory: self.memory.clone(),
            wire: Default::default(),
        }))
    }

    fn bytes(&self) -> usize {
        self.current.iter().map(|header| header.payload.len()).sum()
    }

    fn has_changed(&mut self) {
        self.version += 1;
        self.shared = None;
    }
}

/// The wire format of a log, as its writer and the preambles of its players share it.
pub(super) type Format = dyn WireFormat + Send + Sync;

/// What a joiner is sent before its first frame: the stream header, metadata and sequence headers. A clone is the same
/// bytes, which are made for the first player that needs them: an encoder that changes its headers all the time costs
/// no more than the headers.
#[derive(Clone)]
pub struct Preamble(Arc<PreambleData>);

struct PreambleData {
    headers: Arc<[Header]>,
    still: Option<StillVideo>,
    absent: Option<FrameKind>,
    generation: u32,
    configuration: u32,
    version: u64,
    format: Arc<Format>,
    memory: Memory,
    /// By the kinds of media that have come when it is sent.
    wire: [OnceLock<PreambleBytes>; 4],
}

/// The video since a key frame, for players that begin long after it: messages a millisecond apart.
struct StillVideo {
    messages: Arc<[Frame]>,
    at_ms: u32,
}

/// The bytes of a preamble.
#[derive(Debug)]
pub struct PreambleBytes {
    /// The stream header, then metadata and sequence headers.
    pub bytes: Bytes,
    /// How much of it is the stream header: for a player that begins, not for one that goes on.
    pub stream_header_len: usize,
}

impl Preamble {
    /// Which state of the headers this is.
    pub fn generation(&self) -> u32 {
        self.0.generation
    }

    /// Which sequence headers these are, as [`Entry::configuration`](super::Entry::configuration) has it.
    pub fn configuration(&self) -> u16 {
        self.0.configuration as u16
    }

    /// The same headers in another format.
    pub(super) fn in_format(&self, format: &Arc<Format>) -> Self {
        let shared = &*self.0;
        Self(Arc::new(PreambleData {
            headers: shared.headers.clone(),
            still: None,
            absent: shared.absent,
            generation: shared.generation,
            configuration: shared.configuration,
            version: shared.version,
            format: format.clone(),
            memory: shared.memory.clone(),
            wire: Default::default(),
        }))
    }

    /// Whether its stream header names the kinds of media that follow.
    pub fn names_kinds(&self) -> bool {
        self.0.format.stream_header(Kinds::default()).is_some()
    }

    /// Its bytes for a stream of which these kinds have come so far. A format whose stream header names the kinds
    /// leaves out the headers of the others: browsers wait forever for media that was announced.
    pub fn wire(&self, kinds: Kinds) -> &PreambleBytes {
        let shared = &*self.0;
        let stream_header = shared.format.stream_header(kinds);
        let by_kinds = match &stream_header {
            Some(_) => usize::from(kinds.audio) + 2 * usize::from(kinds.video),
            None => 0,
        };
        shared.wire[by_kinds].get_or_init(|| {
            let names_kinds = stream_header.is_some();
            let mut wire = stream_header.unwrap_or_default().to_vec();
            let stream_header_len = wire.len();
            let mut append = |frame: &Frame| {
                let start = wire.len();
                wire.resize(start + shared.format.wire_len(frame), 0);
                shared.format.write(frame, &mut wire[start..]);
            };
            let is_expected = |header: &&Header| !names_kinds || has(kinds, header.part.kind());
            for header in shared.headers.iter().filter(is_expected) {
                let payload = match header.part {
                    Part::Metadata if names_kinds => script::with_kinds(&header.payload, kinds),
                    _ => header.payload.clone(),
                };
                append(&Frame { kind: header.part.kind(), timestamp_ms: HEADER_MS, payload: payload.into() });
            }
            // After the header of the other kind: there FFmpeg takes it into account, and does not look 5 s for a
            // second track.
            let absent = shared.absent.filter(|kind| !names_kinds || !has(kinds, *kind));
            let metadata = shared.headers.iter().find(|header| header.part == Part::Metadata);
            let says_absent = absent.zip(metadata).and_then(|(kind, metadata)| {
                let metadata = script::without_kind(&metadata.payload, kind)?;
                Some(if names_kinds { script::with_kinds(&metadata, kinds) } else { metadata })
            });
            if let Some(payload) = says_absent {
                append(&Frame { kind: FrameKind::Data, timestamp_ms: METADATA_MS, payload: payload.into() });
            }
            if let Some(StillVideo { messages, at_ms }) = &shared.still {
                for (message, before_ms) in messages.iter().zip((0..messages.len() as u32).rev()) {
                    append(&Frame { timestamp_ms: at_ms.wrapping_sub(before_ms), ..message.clone() });
                }
            }
            PreambleBytes { bytes: shared.memory.counted(MemoryKind::Headers, wire), stream_header_len }
        })
    }
}

/// Whether frames of this kind are among those that have come; data needs no announcement.
pub(super) fn has(kinds: Kinds, kind: FrameKind) -> bool {
    match kind {
        FrameKind::Audio => kinds.audio,
        FrameKind::Video => kinds.video,
        FrameKind::Data => true,
    }
}

fn equal(known: &Bytes, payload: &Payload) -> bool {
    let mut rest = &known[..];
    known.len() == payload.len()
        && payload.pieces().all(|piece| {
            let (head, tail) = rest.split_at(piece.len());
            rest = tail;
            head == piece
        })
}

#[cfg(all(test, not(fanfare_loom)))]
mod tests {
    use super::*;
    use crate::{flv::Run, stream::tests::Plain};

    const VIDEO: Part = Part::VideoSequence(0);
    const AUDIO: Part = Part::AudioSequence(0);

    fn payload(text: &'static str) -> Payload {
        Bytes::from_static(text.as_bytes()).into()
    }

    fn wire(headers: &mut Headers) -> Bytes {
        let format: Arc<Format> = Arc::new(Plain);
        headers.preamble(&format, None).wire(Kinds::default()).bytes.clone()
    }

    #[test]
    fn the_same_header_again_is_not_a_change_however_it_was_cut() {
        let mut preamble = Headers::new(Memory::new(1 << 30));
        assert!(preamble.update(VIDEO, &payload("header")));
        let mut cut = Payload::new();
        cut.push(Run::strided(Bytes::from_static(b"hea.der"), 3, 3, 1));
        assert!(!preamble.update(VIDEO, &cut));
        assert_eq!(preamble.generation, 1);
        assert!(preamble.update(VIDEO, &payload("Header")));
        assert_eq!(preamble.generation, 2);
    }

    #[test]
    fn metadata_goes_first_then_video_then_audio_and_each_track_has_its_own() {
        let mut preamble = Headers::new(Memory::new(1 << 30));
        preamble.update(AUDIO, &payload("A"));
        preamble.update(Part::VideoSequence(1), &payload("w"));
        preamble.update(VIDEO, &payload("V"));
        assert_eq!(wire(&mut preamble), "VwA");
        preamble.update(Part::Metadata, &payload("M"));
        assert_eq!(wire(&mut preamble), "MVwA");
    }

    #[test]
    fn headers_of_the_publisher_before_are_no_change_and_are_not_sent_to_joiners() {
        let mut preamble = Headers::new(Memory::new(1 << 30));
        preamble.update(VIDEO, &payload("V"));
        preamble.update(AUDIO, &payload("A"));
        preamble.interrupt(false);
        assert!(!preamble.update(VIDEO, &payload("V")));
        assert_eq!((preamble.generation, wire(&mut preamble)), (2, "V".into()));
        preamble.update(VIDEO, &payload("W"));
        assert!(preamble.update(VIDEO, &payload("V")), "a change back is a change");
        preamble.interrupt(false);
        preamble.interrupt(false);
        assert!(!preamble.update(VIDEO, &payload("V")), "a publisher that sent nothing changed nothing");
    }

    #[test]
    fn frames_before_a_publisher_that_sent_a_header_and_no_media_do_not_go_with_what_comes_after_it() {
        let mut headers = Headers::new(Memory::new(1 << 30));
        headers.update(AUDIO, &payload("A"));
        headers.media_came();
        let before = headers.configuration();
        headers.interrupt(true);
        headers.update(VIDEO, &payload("V"));
        headers.interrupt(false);
        headers.update(VIDEO, &payload("V"));
        headers.update(AUDIO, &payload("B"));
        headers.media_came();
        assert_ne!(headers.configuration(), before);
    }

    #[test]
    fn headers_are_bounded_in_number_and_size() {
        let mut preamble = Headers::new(Memory::new(1 << 30));
        for track in 0..=u8::MAX {
            preamble.update(Part::VideoSequence(track), &payload("v"));
        }
        assert_eq!(wire(&mut preamble).len(), MAX_HEADERS);
        let mut preamble = Headers::new(Memory::new(1 << 30));
        let at_the_limit = Payload::from(Bytes::from(vec![1; MAX_HEADER_BYTES]));
        assert!(preamble.update(Part::Metadata, &at_the_limit));
        assert_eq!(wire(&mut preamble).len(), MAX_HEADER_BYTES);
        let one_more = Payload::from(Bytes::from(vec![1; MAX_HEADER_BYTES + 1]));
        assert!(preamble.update(Part::Metadata, &one_more), "it is passed on");
        assert_eq!(wire(&mut preamble), "", "and neither it nor what it took the place of is kept");
        preamble.update(VIDEO, &payload("v"));
        assert!(preamble.update(Part::Metadata, &at_the_limit), "one byte too many in all");
        assert_eq!(wire(&mut preamble), "v");
    }

    #[test]
    fn points_share_a_preamble_until_a_header_changes() {
        let format: Arc<Format> = Arc::new(Plain);
        let mut headers = Headers::new(Memory::new(1 << 30));
        headers.update(VIDEO, &payload("V"));
        let first = headers.preamble(&format, None);
        headers.update(VIDEO, &payload("V"));
        let second = headers.preamble(&format, Some(&first));
        let bytes = |preamble: &Preamble| preamble.wire(Kinds::default()).bytes.clone();
        assert_eq!(bytes(&first).as_ptr(), bytes(&second).as_ptr());
        headers.update(VIDEO, &payload("W"));
        let third = headers.preamble(&format, Some(&second));
        assert_eq!((bytes(&second), bytes(&third)), ("V".into(), "W".into()));
        headers.interrupt(false);
        assert_eq!(bytes(&headers.preamble(&format, Some(&third))), "", "of the publisher of now");
    }

    #[test]
    fn a_format_that_names_the_kinds_has_the_headers_of_those_that_have_come() {
        let format: Arc<Format> = Arc::new(crate::stream::tests::Named);
        let mut headers = Headers::new(Memory::new(1 << 30));
        headers.update(AUDIO, &payload("A"));
        headers.update(VIDEO, &payload("V"));
        headers.update(Part::Metadata, &payload("M"));
        let preamble = headers.preamble(&format, None);
        for (audio, video, expected) in
            [(false, false, "none:M"), (true, false, "a:MA"), (false, true, "v:MV"), (true, true, "av:MVA")]
        {
            let wire = preamble.wire(Kinds { audio, video });
            assert_eq!(wire.bytes, expected);
            assert_eq!(wire.stream_header_len, expected.find(':').expect("it has a stream header") + 1);
        }
    }

    #[test]
    fn metadata_after_the_headers_names_an_absent_kind_until_it_comes() {
        let metadata = "\u{2}\0\u{a}onMetaData\u{8}\0\0\0\0\0\0\u{9}";
        let mut headers = Headers::new(Memory::new(1 << 30));
        headers.update(Part::Metadata, &payload(metadata));
        headers.update(VIDEO, &payload("V"));
        let without = |headers: &mut Headers, absent| {
            headers.set_absent(absent);
            wire(headers)
        };
        let plain = without(&mut headers, None);
        let with_absent = without(&mut headers, Some(FrameKind::Audio));
        assert!(with_absent.starts_with(&plain) && plain.ends_with(b"V"));
        assert_eq!(
            with_absent[plain.len()..],
            script::without_kind(&payload(metadata).to_bytes(), FrameKind::Audio).expect("it is small")
        );
        assert_eq!(without(&mut headers, None), plain);
        headers.set_absent(Some(FrameKind::Audio));
        headers.interrupt(false);
        headers.update(Part::Metadata, &payload(metadata));
        headers.update(VIDEO, &payload("V"));
        assert_eq!(wire(&mut headers), plain, "another publisher may have it");
    }
}
