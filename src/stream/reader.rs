//! Reads a stream's frames on a thread that is no core: for recording, repackaging, pushing. The writer does not wait
//! for a reader: a slow one loses frames, and gets an error that says so.

#![forbid(unsafe_code)]

use std::{collections::VecDeque, sync::Arc};

use super::{
    begin::{Position, Wants, first_since},
    entry::Class,
    form::Form,
    join::{Join, JoinPoint},
    preamble::Format,
    registry::{Registry, Stream, Usage},
    role::FrameRole,
    segment::{Next, Segment},
    start::Start,
    stream_log::StreamLog,
    walk::{Step, Walk},
    watchers::Watcher,
};
use crate::flv::Frame;

/// What a reader wants.
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions {
    /// The log that is read. RTMP's is always there; another one is made where there is none.
    pub form: Form,
    /// Where to begin. A reader that comes before the first publisher reads the log from its first message on.
    pub start: Start,
    /// Bytes of segments that the reader may hold beside the one in which it stands. It takes hold of them when
    /// [`Reader::next`] is called; those that it holds are not lost, however far it is behind.
    pub retention_bytes: usize,
}

/// What a reader gets.
#[derive(Clone, Debug)]
pub enum Item {
    /// Metadata or a sequence header: before the first frame, and where one changes.
    Header(Frame),
    /// A frame of any other kind. Its time is the stream's, which goes on when a publisher comes back.
    Frame(ReadFrame),
    /// A publish is over and all of it has been read. What comes after this is of the next one, and begins with all its
    /// headers.
    Unpublished,
}

/// A frame with its entry in the log.
#[derive(Clone, Debug)]
pub struct ReadFrame {
    /// The frame.
    pub frame: Frame,
    /// What it is.
    pub class: Class,
    /// When it was appended to the log, on the relay's clock, milliseconds modulo 2^32.
    pub arrival_ms: u32,
}

/// The reader was too far behind: messages that it had not read are lost. It goes on at the newest key frame, with all
/// headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reader has fallen out of the stream's log")]
pub struct Skipped;

/// A reader of one stream, published or not.
pub struct Reader {
    usage: Usage,
    form: Form,
    format: Arc<Format>,
    retention_bytes: usize,
    watcher: Arc<Watcher>,
    place: ReaderPlace,
    /// Headers, and video that stands still, that come before the next message.
    preamble: VecDeque<Item>,
    /// The epoch of the message that was read last.
    epoch: u32,
}

enum ReaderPlace {
    Waiting { wants: Wants, after: Position },
    At(Walk),
}

impl Registry {
    /// Reads a stream, published or not, from any thread. `wake` is called when there may be something to read, by the
    /// thread of the publisher's core: it must not block. It is called once after each [`Reader::next`] that has given
    /// nothing.
    pub fn read(
        self: &Arc<Self>,
        name: &str,
        options: ReadOptions,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Reader {
        let ReadOptions { form, start, retention_bytes } = options;
        let usage = self.enter(name);
        let watcher = Arc::new(Watcher::new(Box::new(wake)));
        let log = usage.stream().log(form);
        log.add_watcher(&watcher);
        let (wants, after) = Wants::on_arrival(start, form, log);
        let place = ReaderPlace::Waiting { wants, after };
        let format = self.format(form);
        Reader { usage, form, format, retention_bytes, watcher, place, preamble: VecDeque::new(), epoch: 0 }
    }

    /// Headers and the newest key frame of a stream, all its messages that have come; where video stands still, the
    /// messages since that key frame as well. None where the stream has none of it.
    pub fn key_frame(&self, name: &str) -> Option<Vec<Frame>> {
        let stream = self.get(name)?;
        let (log, format) = (stream.log(Form::Rtmp), self.format(Form::Rtmp));
        let join = log.join();
        let Join::At(point) = &**join else { return None };
        let mut frames: Vec<_> = preamble_of(&stream, point, &*format).collect();
        if point.kind == super::PointKind::Still {
            return Some(frames);
        }
        if point.kind != super::PointKind::KeyFrame {
            return None;
        }
        let mut walk = Walk::at(point.segment.clone(), point.offset);
        let mut key_frame_ms = None;
        while let Step::Message(entry, bytes) = walk.peek() {
            let is_video = matches!(entry.class, Class::KeyFrame | Class::KeyFrameRest | Class::Video);
            if is_video && *key_frame_ms.get_or_insert(entry.timestamp_ms) != entry.timestamp_ms {
                break;
            }
            if matches!(entry.class, Class::KeyFrame | Class::KeyFrameRest) {
                frames.extend(format.read(bytes).map(|(frame, _)| frame));
            }
            walk.advance();
        }
        Some(frames)
    }
}

impl Reader {
    /// The stream.
    pub fn stream(&self) -> &Stream {
        self.usage.stream()
    }

    /// The next item; none where there is none yet: the reader is woken when there may be one.
    ///
    /// # Errors
    /// The reader has fallen out of the log. It can go on.
    #[allow(clippy::should_implement_trait)] // An iterator that gives none is over.
    pub fn next(&mut self) -> Result<Option<Item>, Skipped> {
        let item = self.look()?;
        if item.is_some() {
            return Ok(item);
        }
        self.watcher.expect_notice();
        self.look()
    }

    /// Bytes of segments that it holds beside the one in which it stands.
    pub fn held_bytes(&self) -> usize {
        match &self.place {
            ReaderPlace::At(walk) => walk.held_bytes(),
            ReaderPlace::Waiting { .. } => 0,
        }
    }

    fn look(&mut self) -> Result<Option<Item>, Skipped> {
        if matches!(self.place, ReaderPlace::Waiting { .. }) && !self.begin() {
            return Ok(None);
        }
        if let Some(item) = self.preamble.pop_front() {
            return Ok(Some(item));
        }
        let ReaderPlace::At(walk) = &mut self.place else { return Ok(None) };
        walk.hold(self.retention_bytes);
        let log = self.usage.stream().log(self.form);
        // Before the look: what is not there after a publisher has gone, or after the log has gone on, does not come
        // any more.
        let (is_live, oldest) = (self.usage.stream().is_live(), log.oldest());
        // Into the next segment, where this one is over.
        let _ = walk.peek();
        let position = walk.position();
        let message = match walk.peek() {
            Step::Message(entry, bytes) => Some((entry, bytes)),
            // The log was let go of, and another one begins after it.
            Step::NotYet if oldest > position.0 => return Err(self.skip(position)),
            Step::NotYet => None,
            Step::Gone => return Err(self.skip(position)),
        };
        // After the look: a message of another epoch was seen with the start of that epoch.
        if let Some(next) = log.next_epoch(self.epoch, position) {
            return Ok(Some(self.end_publish(next.position)));
        }
        let Some((entry, bytes)) = message else {
            return Ok((!is_live).then(|| self.end_publish(position)));
        };
        let (frame, _) = self.format.read(bytes).expect("a log is read back as it was written");
        walk.advance();
        Ok(Some(Item::of(frame, entry.class, entry.arrival_ms)))
    }

    /// What comes from `after` on is of the next publish.
    fn end_publish(&mut self, after: Position) -> Item {
        self.place = ReaderPlace::Waiting { wants: Wants::First, after };
        Item::Unpublished
    }

    fn skip(&mut self, after: Position) -> Skipped {
        self.place = ReaderPlace::Waiting { wants: Wants::Newest, after };
        Skipped
    }

    /// Begins, if there is a place where it can: as a player does, but that it needs no media to begin with the log.
    fn begin(&mut self) -> bool {
        let ReaderPlace::Waiting { wants, after } = self.place else { return true };
        let stream = self.usage.stream();
        let log = stream.log(self.form);
        let oldest = log.oldest_segment();
        let first = oldest.as_ref().filter(|oldest| wants == Wants::Start && oldest.sequence == 0);
        if let Some(first) = first {
            // No header has been sent by then: they come with the log.
            return self.begin_at(Walk::at(first.clone(), 0), VecDeque::new());
        }
        let join = log.join();
        let Join::At(point) = &**join else { return false };
        let accepts_audio = wants.accepts_audio_before(point);
        let before = accepts_audio.and_then(|accepts_audio| {
            let segments = segments(oldest?, point);
            let (segment, offset, _) =
                first_since(segments.iter().map(|it| (it, &**it)), after, point, accepts_audio)?;
            Some(Walk::at(segment.clone(), offset))
        });
        if before.is_none() && !wants.accepts(after, point) {
            return false;
        }
        let walk = before.unwrap_or_else(|| Walk::at(point.segment.clone(), point.offset));
        let arrival_ms = point.segment.committed().entries.last().map_or(0, |entry| entry.arrival_ms);
        let mut has_key_frame = false;
        let preamble = preamble_of(stream, point, &*self.format).map(|frame| {
            let class = match FrameRole::of(&frame) {
                FrameRole::KeyFrame(_) if !std::mem::replace(&mut has_key_frame, true) => Class::KeyFrame,
                FrameRole::KeyFrame(_) | FrameRole::InterFrame(_) => Class::Video,
                _ => Class::Data,
            };
            Item::of(frame, class, arrival_ms)
        });
        let preamble = preamble.collect();
        self.begin_at(walk, preamble)
    }

    fn begin_at(&mut self, walk: Walk, preamble: VecDeque<Item>) -> bool {
        self.epoch = self.log().epoch_at(walk.position());
        self.preamble = preamble;
        self.place = ReaderPlace::At(walk);
        true
    }

    fn log(&self) -> &StreamLog {
        self.usage.stream().log(self.form)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.log().remove_watcher(&self.watcher);
    }
}

impl Item {
    fn of(frame: Frame, class: Class, arrival_ms: u32) -> Self {
        match FrameRole::of(&frame) {
            FrameRole::Header(_) => Self::Header(frame),
            _ => Self::Frame(ReadFrame { frame, class, arrival_ms }),
        }
    }
}

/// The segments from the oldest to that of `point`.
fn segments(oldest: Arc<Segment>, point: &JoinPoint) -> Vec<Arc<Segment>> {
    let mut segments = vec![oldest];
    while let Some(last) = segments.last().filter(|last| last.sequence < point.segment.sequence) {
        let Next::Segment(next) = last.next() else { break };
        segments.push(next);
    }
    segments
}

/// The frames of the preamble that goes before `point`.
fn preamble_of<'a>(
    stream: &Stream,
    point: &'a JoinPoint,
    format: &'a Format,
) -> impl Iterator<Item = Frame> + 'a {
    let wire = point.preamble.as_ref().map(|preamble| preamble.wire(stream.media().kinds()));
    let mut rest = wire.map_or(&[][..], |wire| &wire.bytes[wire.stream_header_len..]);
    std::iter::from_fn(move || {
        let (frame, len) = format.read(rest)?;
        rest = &rest[len..];
        Some(frame)
    })
}

#[cfg(all(test, not(fanfare_loom)))]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
        time::Duration,
    };

    use super::*;
    use crate::stream::{
        Publication, Retention,
        tests::{
            Readable, audio, audio_header, inter_frame, key_frame, metadata, publisher, registry_in,
            video_header,
        },
    };

    fn registry() -> Arc<Registry> {
        registry_in(|_| Box::new(Readable), Retention { buffer_bytes: 32 << 20, keep_ms: 5_000 })
    }

    fn options() -> ReadOptions {
        ReadOptions { form: Form::Rtmp, start: Start::KeyFrame, retention_bytes: 0 }
    }

    fn read(registry: &Arc<Registry>, options: ReadOptions) -> Reader {
        registry.read("live/s", options, || ())
    }

    fn publish(registry: &Arc<Registry>, connection_id: u64) -> Publication {
        registry.publish("live/s", publisher(connection_id), 0).expect("the name is free")
    }

    /// What there is to read, by the marks of the frames; headers in brackets.
    fn items(reader: &mut Reader) -> String {
        let mut items = Vec::new();
        loop {
            items.push(match reader.next() {
                Ok(Some(Item::Header(frame))) => format!("[{}]", mark(&frame)),
                Ok(Some(Item::Frame(read))) => mark(&read.frame),
                Ok(Some(Item::Unpublished)) => "unpublished".to_owned(),
                Err(Skipped) => "skipped".to_owned(),
                Ok(None) => return items.join(" "),
            });
        }
    }

    fn mark(frame: &Frame) -> String {
        let payload = String::from_utf8_lossy(&frame.payload.to_bytes()).into_owned();
        payload
            .chars()
            .rev()
            .take_while(char::is_ascii_alphanumeric)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect()
    }

    fn begin(publication: &mut Publication) {
        for header in [metadata("!M"), video_header("V"), audio_header("!A")] {
            publication.append_and_notify(header, 0);
        }
    }

    #[test]
    fn a_reader_that_is_there_first_gets_all_from_the_first_message_on() {
        let registry = registry();
        let mut reader = read(&registry, options());
        assert_eq!(items(&mut reader), "");
        let mut publication = publish(&registry, 1);
        begin(&mut publication);
        publication.append_and_notify(key_frame(0, "K0"), 10);
        assert_eq!(items(&mut reader), "[M] [V] [A] K0");
        publication.append_and_notify(audio(10, "!a0"), 20);
        publication.append_and_notify(inter_frame(40, "i0"), 40);
        let (first, second) = (reader.next(), reader.next());
        assert!(matches!(
            first,
            Ok(Some(Item::Frame(ReadFrame { class: Class::Audio, arrival_ms: 20, .. })))
        ));
        assert!(matches!(
            second,
            Ok(Some(Item::Frame(ReadFrame { class: Class::Video, arrival_ms: 40, .. })))
        ));
    }

    #[test]
    fn a_late_reader_gets_the_headers_and_begins_at_the_newest_key_frame_or_at_the_next() {
        let registry = registry();
        let mut publication = publish(&registry, 1);
        begin(&mut publication);
        for (at, mark) in [(0, "K0"), (80, "K1")] {
            publication.append_and_notify(key_frame(at, mark), u64::from(at));
            publication.append_and_notify(inter_frame(at + 40, &mark.replace('K', "i")), u64::from(at) + 40);
        }
        let mut late = read(&registry, options());
        let mut live = read(&registry, ReadOptions { start: Start::Live, ..options() });
        assert_eq!(items(&mut late), "[M] [V] [A] K1 i1");
        assert_eq!(items(&mut live), "");
        publication.append_and_notify(key_frame(160, "K2"), 160);
        assert_eq!((items(&mut late), items(&mut live)), ("K2".to_owned(), "[M] [V] [A] K2".to_owned()));
    }

    #[test]
    fn a_header_that_changes_comes_in_its_place() {
        let registry = registry();
        let mut reader = read(&registry, options());
        let mut publication = publish(&registry, 1);
        begin(&mut publication);
        publication.append_and_notify(key_frame(0, "K0"), 0);
        publication.append_and_notify(video_header("V"), 0);
        publication.append_and_notify(video_header("W"), 0);
        publication.append_and_notify(key_frame(40, "K1"), 40);
        assert_eq!(items(&mut reader), "[M] [V] [A] K0 [W] K1");
    }

    #[test]
    fn a_reader_that_falls_behind_is_told_and_goes_on_at_the_newest_key_frame() {
        let retention = Retention { buffer_bytes: 1 << 20, keep_ms: 0 };
        let registry = registry_in(|_| Box::new(Readable), retention);
        let [mut slow, mut patient] = [0, 64 << 20].map(|retention_bytes| {
            let options = ReadOptions { retention_bytes, ..options() };
            read(&registry, options)
        });
        let mut publication = publish(&registry, 1);
        begin(&mut publication);
        let filler = "-".repeat(50_000);
        for number in 0..100u32 {
            publication.append_and_notify(
                key_frame(number * 1_000, &format!("{filler}K{number}")),
                u64::from(number) * 1_000,
            );
            if number == 0 {
                assert!(matches!(slow.next(), Ok(Some(Item::Header(_)))));
            }
            // It reads half of what comes, and holds the rest: far more than the log keeps.
            if number % 2 == 0 {
                assert!(patient.next().expect("it holds what it has not read").is_some());
            }
        }
        let last = "[M] [V] [A] K99";
        assert_eq!(items(&mut slow), format!("[V] [A] K0 skipped {last}"));
        assert_eq!(slow.held_bytes(), 0);
        let rest: Vec<_> = (47..100).map(|number| format!("K{number}")).collect();
        assert_eq!(items(&mut patient), rest.join(" "));
        drop((slow, patient, publication));
        assert_eq!(registry.memory().bytes(), 0, "nothing is left");
    }

    #[test]
    fn a_reader_holds_no_more_than_its_retention() {
        let retention = Retention { buffer_bytes: 1 << 20, keep_ms: 0 };
        let registry = registry_in(|_| Box::new(Readable), retention);
        let mut reader = read(&registry, ReadOptions { retention_bytes: 300_000, ..options() });
        let mut publication = publish(&registry, 1);
        let filler = "-".repeat(50_000);
        for number in 0..100u32 {
            publication.append_and_notify(key_frame(number * 1_000, &filler), u64::from(number) * 1_000);
            if number < 10 {
                assert!(reader.next().expect("it is not late").is_some());
            }
            assert!(reader.held_bytes() <= 300_000);
        }
        // What it held is still there, and then it has fallen out.
        let mut held = 0;
        while let Ok(Some(_)) = reader.next() {
            held += 1;
        }
        assert!((1..=6).contains(&held), "{held} frames");
        assert!(reader.next().is_ok_and(|item| item.is_some()), "it goes on");
    }

    #[test]
    fn a_publisher_that_comes_back_with_other_media_is_another_publish_with_headers_of_its_own() {
        let registry = registry();
        let mut reader = read(&registry, options());
        let mut publication = publish(&registry, 1);
        begin(&mut publication);
        publication.append_and_notify(key_frame(0, "K0"), 0);
        drop(publication);
        assert_eq!(items(&mut reader), "[M] [V] [A] K0 unpublished");
        assert_eq!(items(&mut reader), "", "once");
        let mut publication = publish(&registry, 2);
        publication.append_and_notify(metadata("!M"), 0);
        publication.append_and_notify(audio_header("!B"), 0);
        publication.append_and_notify(audio(0, "!b0"), 0);
        publication.append_and_notify(audio(2_000, "!b1"), 2_000);
        assert_eq!(items(&mut reader), "[M] [B] b0 b1");
    }

    #[test]
    fn a_publish_that_ends_between_two_looks_is_seen_to_end_where_it_did() {
        let registry = registry();
        let mut reader = read(&registry, options());
        for connection_id in 1..4 {
            let mut publication = publish(&registry, connection_id);
            begin(&mut publication);
            publication.append_and_notify(key_frame(0, &format!("K{connection_id}")), 0);
        }
        // The third is all that can be joined by now.
        let mut fourth = publish(&registry, 4);
        begin(&mut fourth);
        fourth.append_and_notify(key_frame(0, "K4"), 0);
        assert_eq!(
            items(&mut reader),
            "[M] [V] [A] K1 unpublished [M] [V] [A] K2 unpublished [M] [V] [A] K3 unpublished [M] [V] [A] K4"
        );
    }

    #[test]
    fn a_reader_is_woken_once_after_it_has_found_nothing() {
        let registry = registry();
        let wakes = Arc::new(AtomicUsize::new(0));
        let count = wakes.clone();
        let mut reader = registry.read("live/s", options(), move || _ = count.fetch_add(1, Relaxed));
        assert!(matches!(reader.next(), Ok(None)));
        let mut publication = publish(&registry, 1);
        (0..5).for_each(|number| publication.append_and_notify(key_frame(number * 40, "K"), 0));
        assert_eq!(wakes.load(Relaxed), 1);
        while let Ok(Some(_)) = reader.next() {}
        drop(publication);
        assert_eq!(wakes.load(Relaxed), 2, "the end is news as well");
    }

    #[test]
    fn a_reader_on_a_thread_of_its_own_misses_nothing_and_is_always_woken() {
        const FRAMES: u32 = 5_000;
        let registry = registry();
        let (sender, woken) = std::sync::mpsc::channel();
        let options = ReadOptions { retention_bytes: 64 << 20, ..options() };
        let mut reader = registry.read("live/s", options, move || _ = sender.send(()));
        let writing = registry.clone();
        let writer = std::thread::spawn(move || {
            let mut publication = publish(&writing, 1);
            for number in 0..FRAMES {
                publication.append_and_notify(key_frame(number, &format!("K{number}")), u64::from(number));
            }
        });
        let mut seen = 0;
        loop {
            match reader.next().expect("the log keeps all of it") {
                Some(Item::Frame(read)) => {
                    assert_eq!(mark(&read.frame), format!("K{seen}"));
                    seen += 1;
                }
                Some(Item::Unpublished) => break,
                Some(Item::Header(_)) => {}
                None => woken.recv_timeout(Duration::from_secs(10)).expect("it is woken"),
            }
        }
        assert_eq!(seen, FRAMES);
        writer.join().expect("the writer does not panic");
    }
}
