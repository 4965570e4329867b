//! All streams by name: the publisher of each, and the cores that follow it. Readers never lock. Names are taken and
//! given back by guards, so whatever ends a publisher frees its name.

#![forbid(unsafe_code)]

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    facts::Facts,
    form::Form,
    log::Retention,
    memory::{Held, Memory, MemoryKind},
    patience::Patience,
    preamble::Format,
    shared::SharedState,
    shown::Media,
    signal::Signal,
    stream_log::StreamLog,
    totals::Totals,
    usage::{ConnectionRef, Hold, Users},
    writer::{Appended, Formats, Writer},
};
use crate::flv::Frame;

/// All streams by name.
pub struct Registry {
    streams: papaya::HashMap<Arc<str>, Arc<Stream>>,
    signals: Arc<[Signal]>,
    retention: Retention,
    max_streams: AtomicUsize,
    memory: Memory,
    formats: Formats,
    notify: NotifyPublisher,
}

/// Takes a notice to the connection that it is for. It may be called from any thread, and must not block.
pub type NotifyPublisher = Box<dyn Fn(ConnectionRef, NameNotice) + Send + Sync>;

/// What a publisher is notified of about its name, or the name that it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameNotice {
    /// Another publisher wants the name that this one has: [`Publication::is_wanted`].
    Wanted,
    /// The name that this one waits for is free.
    Free,
}

/// Limits for all streams together.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Streams that are published.
    pub streams: usize,
    /// Bytes of all that peers make the relay hold: [`Memory::budget`].
    pub memory_bytes: usize,
}

/// One live stream, or one that players wait for.
pub struct Stream {
    shared: SharedState,
    /// The name's publisher; the writer while there is none.
    hold: Hold<Box<Writer>>,
    users: Users,
    /// Its own memory, beside its logs.
    held: Mutex<Option<Held>>,
}

/// Why a name cannot be published now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// Another publisher has it.
    Busy {
        /// Milliseconds since bytes came from that publisher.
        silent_ms: u64,
    },
    /// [`Bounds::streams`].
    Streams,
    /// [`Bounds::memory_bytes`].
    Memory,
}

/// There is no memory for a frame: the budget is used up, and the frame is larger than its stream's share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// Bytes of the frame.
    pub bytes: usize,
}

/// How soon a video frame is near, in passes, as a fraction: one pass, and half of another for a frame that is a little
/// late.
const NEAR: (u64, u64) = (3, 2);

impl Registry {
    /// An empty registry. `signals` has one entry per core; `formats` makes the wire format of each log.
    pub fn new(
        signals: Arc<[Signal]>,
        retention: Retention,
        bounds: Bounds,
        formats: Formats,
        notify: NotifyPublisher,
    ) -> Self {
        let memory = Memory::new(bounds.memory_bytes);
        let max_streams = AtomicUsize::new(bounds.streams);
        Self { streams: papaya::HashMap::new(), signals, retention, max_streams, memory, formats, notify }
    }

    /// Puts other limits in force. What exceeds them is not ended for it, but memory is given back.
    pub fn set_bounds(&self, bounds: Bounds) {
        self.max_streams.store(bounds.streams, Ordering::Relaxed);
        self.memory.set_budget(bounds.memory_bytes);
    }

    /// Takes the name for a publisher.
    ///
    /// # Errors
    /// Another publisher has it, or there is no room for one more. A stream whose publisher may come back has its
    /// memory already.
    pub fn publish(
        self: &Arc<Self>,
        name: &str,
        id: ConnectionRef,
        now_ms: u64,
    ) -> Result<Publication, PublishError> {
        let usage = self.enter(name);
        let stream = &usage.stream;
        let is_new = stream.log(Form::Rtmp).newest().is_none();
        let patient_ms = stream.patient_ms(id.core);
        let taken = stream.hold.take(id, patient_ms, || self.count_publisher(is_new, now_ms));
        let Some(mut writer) = taken.transpose()? else {
            return Err(PublishError::Busy { silent_ms: stream.silent_ms() });
        };
        writer.begin(&stream.shared, now_ms);
        Ok(Publication {
            usage,
            core: id.core,
            writer: Some(writer),
            now_ms,
            owes_notice: false,
            video_waits: false,
        })
    }

    /// Notifies the publisher of this name that `next` wants it, and `next` when it is free. Only the newest one that
    /// asks is notified.
    pub fn evict(self: &Arc<Self>, name: &str, next: ConnectionRef) {
        let usage = self.enter(name);
        match usage.stream.hold.want(next) {
            Some(holder) => (self.notify)(holder, NameNotice::Wanted),
            None => (self.notify)(next, NameNotice::Free),
        }
    }

    /// Follows a stream in one form from a core: that core's signal is notified for `slot` whenever there is new data.
    /// The stream need not be published. A core follows it once per form, however many of its players watch.
    pub fn follow(self: &Arc<Self>, name: &str, form: Form, core: usize, slot: usize) -> Follow {
        let usage = self.enter(name);
        usage.stream.log(form).follow(core, slot);
        Follow { usage, form, core }
    }

    /// Streams that are published or waited for.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, in no order.
    pub fn list(&self) -> Vec<Arc<Stream>> {
        self.streams.pin().values().filter(|stream| !stream.is_closed()).cloned().collect()
    }

    /// The stream of this name, if there is one.
    pub fn get(&self, name: &str) -> Option<Arc<Stream>> {
        self.streams.pin().get(name).filter(|stream| !stream.is_closed()).cloned()
    }

    /// A core's patience.
    pub fn patience(&self, core: usize) -> &Patience {
        self.signals[core].patience()
    }

    /// Memory of all streams.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Streams without a publisher give up what is beyond their shares, where memory is short. For a stream with a
    /// publisher that is done by the publisher's core.
    pub fn relieve(&self, now_ms: u64) {
        let mut streams = self.list();
        // In the same order each time, so that a run in virtual time can be repeated.
        streams.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        for stream in streams {
            let mut has_given_up = false;
            stream.hold.lend(|writer| has_given_up = writer.relieve(&stream.shared, now_ms));
            if has_given_up {
                stream.shared.notify_followers();
            }
        }
    }

    fn count_publisher(&self, needs_memory: bool, now_ms: u64) -> Result<(), PublishError> {
        if needs_memory && !self.memory.has_room_for_publisher(now_ms) {
            return Err(PublishError::Memory);
        }
        self.memory
            .enter_publisher(self.max_streams.load(Ordering::Relaxed))
            .then_some(())
            .ok_or(PublishError::Streams)
    }

    /// The wire format of logs of this form.
    pub(super) fn format(&self, form: Form) -> Arc<Format> {
        (self.formats)(form).into()
    }

    /// Becomes a user of the stream, which need not be published.
    pub(super) fn enter(self: &Arc<Self>, name: &str) -> Usage {
        let streams = self.streams.pin();
        let find = || {
            streams.get(name).unwrap_or_else(|| {
                let name: Arc<str> = name.into();
                streams.get_or_insert_with(name.clone(), || Arc::new(self.new_stream(name)))
            })
        };
        let stream = Users::enter(find, |stream| &stream.users, |stream| self.remove(stream));
        Usage { registry: self.clone(), stream: stream.clone() }
    }

    fn remove(&self, closed: &Arc<Stream>) {
        let _ = self.streams.pin().remove_if(closed.shared.name(), |_, stream| Arc::ptr_eq(stream, closed));
    }

    fn new_stream(&self, name: Arc<str>) -> Stream {
        let bytes = STREAM_BYTES + name.len() + self.signals.len() * size_of::<u32>() * Form::COUNT;
        let held = self.memory.hold(MemoryKind::Connections, bytes);
        Stream {
            shared: SharedState::new(name, self.signals.clone()),
            hold: Hold::free(Box::new(Writer::new(self.formats, self.retention, self.memory.clone()))),
            users: Users::none(),
            held: Mutex::new(Some(held)),
        }
    }
}

/// Bytes of a stream with its writer and its followers, without its logs: measured, rounded up.
const STREAM_BYTES: usize = 4 << 10;

impl Stream {
    /// `app/name`.
    pub fn name(&self) -> &str {
        self.shared.name()
    }

    /// The same, to be kept.
    pub fn shared_name(&self) -> Arc<str> {
        self.shared.name().clone()
    }

    /// Its log in one form.
    pub fn log(&self, form: Form) -> &StreamLog {
        self.shared.log(form)
    }

    /// Whether it has a publisher.
    pub fn is_live(&self) -> bool {
        self.hold.is_live()
    }

    /// The number of the connection that publishes it.
    pub fn publisher(&self) -> Option<u64> {
        self.hold.connection_id()
    }

    /// How long nothing has come from its publisher, milliseconds. Time in which the publisher's core was stalled does
    /// not count.
    pub fn silent_ms(&self) -> u64 {
        self.hold.silent_ms(|core| self.patient_ms(core)).unwrap_or(0)
    }

    /// What its publisher has sent, up to half a second ago.
    pub fn facts(&self) -> Arc<Facts> {
        self.shared.facts()
    }

    /// Which kinds of media its publisher has sent so far.
    pub fn media(&self) -> Media {
        self.shared.media()
    }

    /// What its players have been sent, on all cores, as far as these have reported it.
    pub fn totals(&self) -> Totals {
        self.shared.totals().get()
    }

    /// Players in this form have been sent so many bytes more, and were moved to a key frame so often.
    pub fn add_to_totals(&self, form: Form, sent_bytes: u64, skips: u64) {
        self.shared.totals().add(form, sent_bytes, skips);
    }

    /// Whether it has had a publisher since it began to exist, or has one.
    pub fn was_published(&self) -> bool {
        self.is_live() || self.vacant_since_ms().is_some()
    }

    /// When its last publisher went, milliseconds; none while it has one, or where it never had one.
    pub fn vacant_since_ms(&self) -> Option<u64> {
        self.hold.vacant_since_ms()
    }

    fn patient_ms(&self, core: usize) -> u64 {
        self.shared.signals()[core].patience().patient_ms()
    }

    /// Its last user has left: a lookup that finds it in the map is too late.
    fn is_closed(&self) -> bool {
        self.users.are_gone()
    }

    /// Its last user has left. The map may keep it for a while, for lookups that have just found it, but not its logs
    /// or its headers.
    fn let_go(&self) {
        self.hold.close();
        self.shared.let_go();
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A publisher's hold on its name, and its right to write. Dropping it, for whatever reason, frees the name.
pub struct Publication {
    usage: Usage,
    /// The publisher's.
    core: usize,
    /// Present until the drop.
    writer: Option<Box<Writer>>,
    now_ms: u64,
    /// There are frames in the log of which the readers have not been notified.
    owes_notice: bool,
    /// Video is among the frames of which readers have not been notified.
    video_waits: bool,
}

/// Whether a frame that was appended waits for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Readers have been notified, or the frame was dropped.
    No,
    /// It is the first one that waits.
    First,
    /// Others wait already.
    WithEarlier,
}

impl Publication {
    /// The stream.
    pub fn stream(&self) -> &Stream {
        &self.usage.stream
    }

    /// Whether another publisher waits for the name.
    pub fn is_wanted(&self) -> bool {
        self.usage.stream.hold.is_wanted()
    }

    /// As [`Publication::append`], and notifies the readers at once. Drops a frame for which there is no memory.
    pub fn append_and_notify(&mut self, frame: Frame, now_ms: u64) {
        let _ = self.append(frame, now_ms);
        self.notify();
    }

    /// Bytes that the stream holds beside logs that keep to their shares.
    pub fn own_bytes(&self) -> usize {
        self.writer.as_ref().map_or(0, |writer| writer.own_bytes())
    }

    /// Gives up what is beyond the logs' shares, where memory is short.
    pub fn relieve(&mut self, now_ms: u64) {
        let writer = self.writer.as_mut().expect("present until the drop");
        if writer.relieve(&self.usage.stream.shared, now_ms) {
            self.usage.stream.shared.notify_followers();
        }
    }

    /// Appends a frame to the log. `now_ms` is the relay's clock. Where it may wait for the next frame, to be sent with
    /// it, the caller decides by [`Publication::wait_us`] when to call [`Publication::notify`]; of all others readers
    /// are notified at once.
    ///
    /// # Errors
    /// There is no memory for it. The frame is missing from the log, so the publish is to end.
    pub fn append(&mut self, frame: Frame, now_ms: u64) -> Result<Waiting, NoRoom> {
        self.now_ms = now_ms;
        let bytes = frame.payload.len();
        let has_readers = self.has_readers();
        let writer = self.writer.as_mut().expect("present until the drop");
        match writer.append(&self.usage.stream.shared, frame, has_readers, now_ms) {
            Appended::Dropped => Ok(Waiting::No),
            Appended::NoRoom => Err(NoRoom { bytes }),
            Appended::MayWait { is_video } => {
                self.video_waits |= is_video;
                let is_first = !std::mem::replace(&mut self.owes_notice, true);
                Ok(if is_first { Waiting::First } else { Waiting::WithEarlier })
            }
            Appended::Due => {
                self.owes_notice = true;
                self.notify();
                Ok(Waiting::No)
            }
        }
    }

    /// Whether the stream may have readers. A publisher that waits for the name counts too; a new reader may be missed for a
    /// moment.
    pub fn has_readers(&self) -> bool {
        self.usage.stream.users.may_have_readers()
    }

    /// Notifies the readers of frames that have waited.
    pub fn notify(&mut self) {
        self.video_waits = false;
        if std::mem::take(&mut self.owes_notice) && self.has_readers() {
            self.usage.stream.shared.notify_followers();
        }
    }

    /// How long frames may wait for more, to be sent with them, microseconds from the first one on, which has waited for
    /// `waited_us`: for `window_us`, or, while no video waits, longer if a pass that began now would keep video waiting,
    /// but no longer than `budget_us`. None where no frame is expected within that time, so waiting would only delay
    /// them, or there are no readers.
    pub fn wait_us(&self, window_us: u64, budget_us: u64, waited_us: u64, now_ms: u64) -> Option<u64> {
        if !self.has_readers() {
            return None;
        }
        let (share, of) = NEAR;
        let near_us = self.usage.stream.shared.pass_us() * share / of;
        let for_video_us = if self.video_waits { window_us } else { window_us.max(near_us.min(budget_us)) };
        let writer = self.writer.as_ref()?;
        let is_within =
            |in_ms: Option<u64>, wait_us| in_ms.is_some_and(|ms| waited_us + ms * 1_000 < wait_us);
        if is_within(writer.next_video_in_ms(now_ms), for_video_us) {
            return Some(for_video_us);
        }
        is_within(writer.next_audio_in_ms(now_ms), window_us).then_some(window_us)
    }

    /// Bytes have come from the publisher, a whole frame or not.
    pub fn heard(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        let stream = &self.usage.stream;
        stream.hold.heard(stream.patient_ms(self.core));
    }

    /// The publisher's core was stalled for `lasted_ms`, until now: what is kept for players that lag counts as younger
    /// by that.
    pub fn was_stalled(&mut self, lasted_ms: u64) {
        if let Some(writer) = &mut self.writer {
            writer.was_stalled(lasted_ms);
        }
    }

    /// Sets the publisher's clock, for the grace that begins when it goes.
    pub fn tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        let stream = &*self.usage.stream;
        let mut writer = self.writer.take().expect("present until the drop");
        writer.interrupt(&stream.shared);
        self.usage.registry.memory.leave_publisher();
        if let Some(next) = stream.hold.give_back(writer, self.now_ms) {
            (self.usage.registry.notify)(next, NameNotice::Free);
        }
        stream.shared.notify_followers();
    }
}

/// A core's hold on a stream that its players watch or wait for.
pub struct Follow {
    usage: Usage,
    form: Form,
    core: usize,
}

impl Follow {
    /// The stream.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.usage.stream
    }

    /// The form that is followed.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The log that is followed.
    pub fn log(&self) -> &StreamLog {
        self.usage.stream.log(self.form)
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.log().leave(self.core);
    }
}

/// Counts as a user of the stream; the last one to leave removes it from the registry.
pub(super) struct Usage {
    registry: Arc<Registry>,
    stream: Arc<Stream>,
}

impl Usage {
    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }
}

impl Drop for Usage {
    fn drop(&mut self) {
        if self.stream.users.leave() {
            self.registry.remove(&self.stream);
            self.stream.let_go();
        }
    }
}

#[cfg(all(test, not(fanfare_loom)))]
mod tests {
    use super::*;
    use crate::stream::tests::{inter_frame, key_frame, publisher, registry, registry_bounded};

    #[test]
    fn no_publisher_counts_as_silent_while_its_own_core_is_stalled() {
        let registry = registry(2);
        (0..2).for_each(|core| registry.patience(core).set(1_000));
        let mut first = registry.publish("live/s", publisher(1), 1_000).expect("free");
        let second = ConnectionRef { core: 1, key: 5, connection_id: 2 };
        let silent_ms = |now_ms| match registry.publish("live/s", second, now_ms).err() {
            Some(PublishError::Busy { silent_ms }) => silent_ms,
            other => panic!("{other:?}"),
        };
        // The other core's clock goes on: the publisher's silence is counted by its own core's.
        registry.patience(1).set(21_000);
        assert_eq!(silent_ms(21_000), 0);
        registry.patience(0).set(1_200);
        assert_eq!(silent_ms(21_100), 200);
        first.heard(21_100);
        assert_eq!((silent_ms(21_100), first.stream().silent_ms()), (0, 0));
    }

    #[test]
    fn a_name_belongs_to_one_publisher_until_it_goes() {
        let registry = registry(1);
        registry.patience(0).set(1_000);
        let first = registry.publish("live/s", publisher(1), 1_000).expect("free");
        registry.patience(0).set(1_500);
        assert_eq!(
            registry.publish("live/s", publisher(2), 1_500).err(),
            Some(PublishError::Busy { silent_ms: 500 })
        );
        assert!(registry.publish("live/t", publisher(2), 1_500).is_ok(), "another name is another stream");
        drop(first);
        assert!(registry.publish("live/s", publisher(2), 2_000).is_ok());
        assert!(registry.is_empty());
    }

    #[test]
    fn at_the_limit_of_streams_no_new_one_begins_until_one_ends() {
        let registry = registry_bounded(Bounds { streams: 2, memory_bytes: usize::MAX });
        let publish = |name| registry.publish(name, publisher(1), 0);
        let first = publish("live/1").expect("below the limit");
        let _second = publish("live/2").expect("at the limit");
        assert_eq!(publish("live/3").err(), Some(PublishError::Streams));
        assert_eq!(registry.len(), 2, "nothing is left of a publisher that was refused");
        drop(first);
        assert!(publish("live/3").is_ok());
    }

    #[test]
    fn at_the_limit_of_memory_running_streams_go_on_and_their_publishers_can_come_back() {
        let registry = registry_bounded(Bounds { streams: 10, memory_bytes: 1 });
        let publish = |name, now_ms| registry.publish(name, publisher(1), now_ms);
        let _follow = registry.follow("live/1", Form::Rtmp, 0, 0);
        let mut first = publish("live/1", 0).expect("nothing is held");
        first.append_and_notify(key_frame(0, "K0"), 0);
        assert!(registry.memory().bytes() > 1);
        assert_eq!(publish("live/2", 0).err(), Some(PublishError::Memory));
        first.append_and_notify(key_frame(40, "K1"), 40);
        drop(first);
        assert!(publish("live/1", 50).is_ok(), "its players hold its memory already");
        drop(_follow);
        assert_eq!(registry.memory().bytes(), 0, "the last user has gone");
        assert!(publish("live/2", 60).is_ok());
    }

    #[test]
    fn a_publisher_that_panics_frees_its_name() {
        let registry = registry(1);
        let shared = registry.clone();
        let thread = std::thread::spawn(move || {
            let _publication = shared.publish("live/s", publisher(1), 0).expect("free");
            panic!("as a bug would");
        });
        assert!(thread.join().is_err());
        assert!(registry.publish("live/s", publisher(2), 0).is_ok());
    }

    #[test]
    fn audio_waits_for_video_that_comes_within_the_window_or_would_wait_for_a_pass() {
        let registry = registry(2);
        let follow = registry.follow("live/s", Form::Rtmp, 1, 0);
        follow.log().set_crowd(1, true);
        let mut publication = registry.publish("live/s", publisher(1), 0).expect("free");
        registry.signals[0].set_pass_us(90_000);
        registry.signals[1].set_pass_us(8_000);
        let wait_us = |publication: &Publication, now_ms| publication.wait_us(5_000, 20_000, 0, now_ms);
        assert_eq!(wait_us(&publication, 0), None, "there has been none");
        publication.append_and_notify(key_frame(0, "K0"), 1_000);
        assert_eq!(wait_us(&publication, 1_000), None, "no frame rate");
        publication.append_and_notify(inter_frame(40, "i1"), 1_040);
        assert_eq!(wait_us(&publication, 1_068), None, "12 ms are a pass and a half");
        assert_eq!(wait_us(&publication, 1_069), Some(12_000), "of the core that follows");
        assert_eq!(wait_us(&publication, 1_085), Some(12_000), "it is late");
        assert_eq!(wait_us(&publication, 1_120), Some(12_000), "by a frame");
        assert_eq!(wait_us(&publication, 1_121), None, "too late to be relied on");
        registry.signals[1].set_pass_us(80_000);
        assert_eq!(wait_us(&publication, 1_061), Some(20_000), "never longer than the budget");
        follow.log().set_crowd(1, false);
        assert_eq!(wait_us(&publication, 1_069), None, "few players do not wait for the pass of others");
        follow.log().set_crowd(1, true);
        registry.signals[1].set_pass_us(100);
        assert_eq!(wait_us(&publication, 1_075), None, "a short pass delays no video");
        assert_eq!(wait_us(&publication, 1_076), Some(5_000), "within the window");
        publication.append_and_notify(inter_frame(2_000, "i2"), 3_000);
        assert_eq!(wait_us(&publication, 3_000), None, "no frame rate");
    }

    #[derive(Clone, Default)]
    struct Notices(Arc<Mutex<Vec<(ConnectionRef, NameNotice)>>>);

    impl Notices {
        fn take(&self) -> Vec<(ConnectionRef, NameNotice)> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    /// A registry of two cores whose notices can be looked at.
    fn registry_with_notices() -> (Arc<Registry>, Notices) {
        let mut registry = Arc::into_inner(registry(2)).unwrap();
        let notices = Notices::default();
        let inbox = notices.clone();
        registry.notify = Box::new(move |id, notice| inbox.0.lock().unwrap().push((id, notice)));
        (Arc::new(registry), notices)
    }

    #[test]
    fn a_publisher_that_waits_for_a_name_is_notified_when_it_is_free() {
        let (registry, notices) = registry_with_notices();
        let mut first = registry.publish("live/s", publisher(1), 0).expect("free");
        first.append_and_notify(key_frame(0, "K0"), 10);
        let next = ConnectionRef { core: 1, key: 5, connection_id: 2 };
        assert!(!first.is_wanted());
        registry.evict("live/s", next);
        assert!(first.is_wanted());
        assert_eq!(notices.take(), [(publisher(1), NameNotice::Wanted)]);
        drop(first);
        assert_eq!(notices.take(), [(next, NameNotice::Free)]);
        assert!(registry.publish("live/s", next, 20).is_ok());
    }

    #[test]
    fn a_publisher_that_has_gone_by_itself_needs_no_eviction() {
        let (registry, notices) = registry_with_notices();
        let follow = registry.follow("live/s", Form::Rtmp, 1, 0);
        let next = ConnectionRef { core: 1, key: 5, connection_id: 2 };
        registry.evict("live/s", next);
        assert_eq!(notices.take(), [(next, NameNotice::Free)]);
        drop(follow);
    }

    #[test]
    fn only_the_cores_that_follow_are_notified_of_new_data() {
        let registry = registry(3);
        let follow = registry.follow("live/s", Form::Rtmp, 2, 65);
        let mut publication = registry.publish("live/s", publisher(1), 0).expect("free");
        publication.append_and_notify(key_frame(0, "K0"), 0);
        let new_data: Vec<Vec<_>> =
            registry.signals.iter().map(|signal| signal.take_new_data().collect()).collect();
        assert_eq!(new_data, [vec![], vec![], vec![(64, 2)]]);
        drop(follow);
        publication.append_and_notify(key_frame(40, "K1"), 0);
        assert_eq!(registry.signals[2].take_new_data().count(), 0);
    }

    #[test]
    fn names_come_and_go_on_all_threads_and_nothing_is_left() {
        let registry = registry(4);
        std::thread::scope(|scope| {
            for core in 0..4 {
                let registry = &registry;
                scope.spawn(move || {
                    for i in 0..500u64 {
                        let name = ["live/a", "live/b"][i as usize % 2];
                        let id = ConnectionRef { core, key: 0, connection_id: i + 1 };
                        let follow = registry.follow(name, Form::Rtmp, core, 0);
                        let mut publication = loop {
                            match registry.publish(name, id, i) {
                                Ok(publication) => break publication,
                                Err(_) => std::thread::yield_now(),
                            }
                        };
                        publication.append_and_notify(key_frame(i as u32, "K"), i);
                        assert!(follow.stream().is_live());
                    }
                });
            }
        });
        assert!(registry.is_empty());
    }
}
