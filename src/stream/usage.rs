//! The users of a stream: their number, the cores that follow it, and the publisher that has its name. Lock-free except
//! when the name goes to another publisher; knows nothing of names, of the map that they are in, or of the log.

#![forbid(unsafe_code)]

use std::sync::PoisonError;

use super::sync::{AtomicU32, AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering, fence};

/// The number of publishers and followers of a stream. The last one to leave closes it for good: the next user needs a
/// new stream.
pub(super) struct Users(AtomicUsize);

const CLOSED: usize = usize::MAX;

impl Users {
    pub(super) fn none() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Enters the stream that `find` finds or makes. If its last user has just left and is about to remove it, removes
    /// it first and finds again.
    pub(super) fn enter<S>(find: impl Fn() -> S, users: impl Fn(&S) -> &Self, remove: impl Fn(&S)) -> S {
        loop {
            let stream = find();
            if users(&stream).try_enter() {
                return stream;
            }
            remove(&stream);
        }
    }

    /// True for the last user: the caller is to remove the stream.
    #[must_use]
    pub(super) fn leave(&self) -> bool {
        let left = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |users| {
            Some(if users == 1 { CLOSED } else { users - 1 })
        });
        left == Ok(1)
    }

    /// Whether the last one has left.
    pub(super) fn are_gone(&self) -> bool {
        self.0.load(Ordering::Acquire) == CLOSED
    }

    /// Called by the publisher: whether there may be readers that have not seen what was made visible before this call. A
    /// reader enters before it looks at the log, and a fence is between the two (see [`Followers::add`]): so either it is
    /// counted here, or it sees all that.
    pub(super) fn may_have_readers(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) > 1
    }

    fn try_enter(&self) -> bool {
        let entered = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |users| (users != CLOSED).then(|| users + 1));
        entered.is_ok()
    }
}

/// By core: 1 + the slot of its follower, 0 for none.
pub(super) struct Followers(Box<[AtomicU32]>);

impl Followers {
    pub(super) fn none(cores: usize) -> Self {
        Self((0..cores).map(|_| AtomicU32::new(0)).collect())
    }

    /// From now on `core` is notified. Each frame is seen when the core first looks after this call, or the core is
    /// notified of it: see [`Followers::to_notify`].
    pub(super) fn add(&self, core: usize, slot: usize) {
        let slot = u32::try_from(slot + 1).expect("a core has fewer than 2^32 followers");
        self.0[core].store(slot, Ordering::Relaxed);
        // Pairs with the fence in `to_notify`: one of the two is first, and what comes before it is seen after the
        // other. So either the publisher sees this follower, or the follower's first look sees the frame.
        fence(Ordering::SeqCst);
    }

    pub(super) fn remove(&self, core: usize) {
        self.0[core].store(0, Ordering::Relaxed);
    }

    /// The core and the slot of each follower that may not have seen what was made visible before this call.
    pub(super) fn to_notify(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        fence(Ordering::SeqCst);
        self.iter()
    }

    /// The core and the slot of each follower.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let slots = self.0.iter().enumerate();
        slots.filter_map(|(core, slot)| Some((core, slot.load(Ordering::Relaxed).checked_sub(1)? as usize)))
    }
}

/// A name's publisher, and what it needs to publish: there is one `W`, and the publisher has it.
pub(super) struct Hold<W> {
    /// The publisher's core and connection number, packed; 0 for none.
    publisher: AtomicU64,
    /// [`LIVE`], [`NEVER`], or when the last publisher went, milliseconds.
    vacant: AtomicU64,
    /// When bytes last came from the publisher, milliseconds of its core's patient clock.
    heard_ms: AtomicU64,
    /// Locked when the name goes from one publisher to another; never on the data path.
    hand_over: Mutex<HandOver<W>>,
}

struct HandOver<W> {
    /// Present while there is no publisher.
    writer: Option<W>,
    /// The publisher that has the name.
    holder: Option<ConnectionRef>,
    /// The one that waits for the name.
    next: Option<ConnectionRef>,
}

/// A connection that publishes, or wants to, and where it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionRef {
    /// The core's number.
    pub core: usize,
    /// The connection's key in its core. Keys are used again: what has it now may be another connection.
    pub key: usize,
    /// The connection's number in the process; never 0.
    pub connection_id: u64,
}

const LIVE: u64 = u64::MAX;
const NEVER: u64 = u64::MAX - 1;
/// `publisher`: the core is in the bits above, the connection's number below.
const CORE_SHIFT: u32 = 48;

impl<W> Hold<W> {
    pub(super) fn free(writer: W) -> Self {
        Self {
            publisher: AtomicU64::new(0),
            vacant: AtomicU64::new(NEVER),
            heard_ms: AtomicU64::new(0),
            hand_over: Mutex::new(HandOver { writer: Some(writer), holder: None, next: None }),
        }
    }

    /// Takes the name, if it is free and `may_have` allows it. None where another publisher has it.
    pub(super) fn take<E>(
        &self,
        id: ConnectionRef,
        patient_ms: u64,
        may_have: impl FnOnce() -> Result<(), E>,
    ) -> Option<Result<W, E>> {
        let mut hand_over = self.hand_over();
        let writer = hand_over.writer.take()?;
        if let Err(reason) = may_have() {
            hand_over.writer = Some(writer);
            return Some(Err(reason));
        }
        hand_over.next.take_if(|next| *next == id);
        hand_over.holder = Some(id);
        self.heard(patient_ms);
        self.publisher.store(id.pack(), Ordering::Release);
        self.vacant.store(LIVE, Ordering::Release);
        Some(Ok(writer))
    }

    /// Gives the name back. Returns the publisher that waits for it, if there is one: the caller is to notify it.
    #[must_use]
    pub(super) fn give_back(&self, writer: W, now_ms: u64) -> Option<ConnectionRef> {
        let mut hand_over = self.hand_over();
        self.publisher.store(0, Ordering::Release);
        self.vacant.store(now_ms, Ordering::Release);
        hand_over.writer = Some(writer);
        hand_over.holder = None;
        hand_over.next.take()
    }

    /// `next` waits for the name, in place of any other. Returns the publisher that has it and will give it back; none
    /// where it is free, and the caller is to notify `next` now.
    pub(super) fn want(&self, next: ConnectionRef) -> Option<ConnectionRef> {
        let mut hand_over = self.hand_over();
        hand_over.next = hand_over.holder.map(|_| next);
        hand_over.holder
    }

    /// Lends the writer, while there is no publisher.
    pub(super) fn lend(&self, to: impl FnOnce(&mut W)) {
        if let Some(writer) = &mut self.hand_over().writer {
            to(writer);
        }
    }

    /// The connection that has the name.
    pub(super) fn connection_id(&self) -> Option<u64> {
        self.packed().map(|packed| packed & ((1 << CORE_SHIFT) - 1))
    }

    fn packed(&self) -> Option<u64> {
        let packed = self.publisher.load(Ordering::Acquire);
        (packed != 0).then_some(packed)
    }

    /// Whether another publisher waits for the name.
    pub(super) fn is_wanted(&self) -> bool {
        self.hand_over().next.is_some()
    }

    /// It will not be published any more.
    pub(super) fn close(&self) {
        self.hand_over().writer = None;
    }

    /// Bytes have come from the publisher, at this time of its core's patient clock.
    pub(super) fn heard(&self, patient_ms: u64) {
        self.heard_ms.store(patient_ms, Ordering::Release);
    }

    /// How long nothing has come from the publisher, milliseconds, by the patient clock of its core, which `patient_ms`
    /// reads. None where there is no publisher, or where the name goes to another one meanwhile.
    pub(super) fn silent_ms(&self, patient_ms: impl Fn(usize) -> u64) -> Option<u64> {
        let publisher = self.packed()?;
        let heard_ms = self.heard_ms.load(Ordering::Acquire);
        // The time is set for the next publisher after this one has given the name back.
        let is_the_same = self.packed() == Some(publisher);
        is_the_same.then(|| patient_ms((publisher >> CORE_SHIFT) as usize).saturating_sub(heard_ms))
    }

    /// Whether there is a publisher.
    pub(super) fn is_live(&self) -> bool {
        self.vacant.load(Ordering::Acquire) == LIVE
    }

    /// When the last publisher went, milliseconds; none while there is one, or where there never was one.
    pub(super) fn vacant_since_ms(&self) -> Option<u64> {
        let since = self.vacant.load(Ordering::Acquire);
        (since < NEVER).then_some(since)
    }

    /// A poisoned lock is ignored: a panic elsewhere must not keep the name.
    fn hand_over(&self) -> MutexGuard<'_, HandOver<W>> {
        self.hand_over.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionRef {
    /// What readers without the lock need: the key is not among it.
    fn pack(self) -> u64 {
        debug_assert!(self.connection_id < 1 << CORE_SHIFT);
        (self.core as u64) << CORE_SHIFT | self.connection_id
    }
}

#[cfg(all(test, fanfare_loom))]
mod model {
    use loom::{
        sync::{Arc, atomic::AtomicBool},
        thread::{self, JoinHandle},
    };

    use super::*;

    /// A stream in a registry of one name. The map's own operations are atomic, as the real one's are.
    struct Stream {
        users: Users,
        is_let_go: AtomicBool,
    }

    #[derive(Clone)]
    struct Registry(Arc<Mutex<Option<Arc<Stream>>>>);

    impl Registry {
        fn empty() -> Self {
            Self(Arc::new(Mutex::new(None)))
        }

        fn enter(&self) -> Arc<Stream> {
            let stream = || Arc::new(Stream { users: Users::none(), is_let_go: AtomicBool::new(false) });
            Users::enter(
                || self.0.lock().unwrap().get_or_insert_with(stream).clone(),
                |stream: &Arc<Stream>| &stream.users,
                |stream| self.remove(stream),
            )
        }

        fn leave(&self, stream: &Arc<Stream>) {
            if stream.users.leave() {
                self.remove(stream);
                stream.is_let_go.store(true, Ordering::Relaxed);
            }
        }

        fn remove(&self, closed: &Arc<Stream>) {
            let _ = self.0.lock().unwrap().take_if(|stream| Arc::ptr_eq(stream, closed));
        }

        /// What must be true while `stream` has a user.
        fn assert_used(&self, stream: &Arc<Stream>) {
            let found = self.0.lock().unwrap().clone();
            assert!(
                found.is_some_and(|found| Arc::ptr_eq(&found, stream)),
                "the next user finds another one"
            );
            assert!(!stream.is_let_go.load(Ordering::Relaxed), "its log is gone");
        }
    }

    fn user(registry: &Registry) -> JoinHandle<()> {
        let registry = registry.clone();
        thread::spawn(move || {
            let stream = registry.enter();
            registry.assert_used(&stream);
            registry.leave(&stream);
        })
    }

    fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
        threads.into_iter().for_each(|thread| thread.join().expect("no assertion fails"));
    }

    #[test]
    fn loom_a_user_that_enters_while_the_last_one_leaves_never_has_a_removed_stream() {
        // All interleavings take hours. Three preemptions are enough for every known way to fail.
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let registry = Registry::empty();
            let last = registry.enter();
            let others = [user(&registry), user(&registry)];
            registry.leave(&last);
            join(others);
            assert!(registry.0.lock().unwrap().is_none(), "no user is left, and no stream");
        });
    }

    /// A core that has just begun to follow either sees a frame that has just been appended, or is notified of it, in
    /// every interleaving.
    #[test]
    fn loom_a_new_follower_sees_the_frame_or_is_notified_of_it() {
        loom::model(|| {
            let followers = Arc::new(Followers::none(1));
            let committed = Arc::new(AtomicU32::new(0));
            let notified = Arc::new(AtomicBool::new(false));
            let publisher = {
                let (followers, committed, notified) =
                    (followers.clone(), committed.clone(), notified.clone());
                thread::spawn(move || {
                    committed.store(1, Ordering::Release);
                    for follower in followers.to_notify() {
                        assert_eq!(follower, (0, 5));
                        notified.store(true, Ordering::Relaxed);
                    }
                })
            };
            followers.add(0, 5);
            let seen = committed.load(Ordering::Acquire) == 1;
            join([publisher]);
            assert!(seen || notified.load(Ordering::Relaxed), "the frame is lost until the next one");
        });
    }

    /// The same where the publisher looks at the number of users first, and was alone until now.
    #[test]
    fn loom_a_follower_that_enters_sees_the_frame_or_is_notified_of_it() {
        loom::model(|| {
            let users = Arc::new(Users::none());
            assert!(users.try_enter(), "the publisher");
            let followers = Arc::new(Followers::none(1));
            let committed = Arc::new(AtomicU32::new(0));
            let notified = Arc::new(AtomicBool::new(false));
            let publisher = {
                let (users, followers) = (users.clone(), followers.clone());
                let (committed, notified) = (committed.clone(), notified.clone());
                thread::spawn(move || {
                    committed.store(1, Ordering::Release);
                    if users.may_have_readers() {
                        followers.to_notify().for_each(|_| notified.store(true, Ordering::Relaxed));
                    }
                })
            };
            assert!(users.try_enter(), "a follower");
            followers.add(0, 5);
            let seen = committed.load(Ordering::Acquire) == 1;
            join([publisher]);
            assert!(seen || notified.load(Ordering::Relaxed), "the frame is lost until the next one");
        });
    }

    /// One publisher has the name; another wants it and is notified, or finds it free, exactly once; at no time do both
    /// have it.
    #[test]
    fn loom_a_name_has_one_publisher_and_the_one_that_waits_is_notified_once() {
        loom::model(|| {
            let [first, second] =
                [1, 2].map(|connection_id| ConnectionRef { core: 0, key: 70, connection_id });
            let hold = Arc::new(Hold::free(()));
            let held = Arc::new(AtomicBool::new(false));
            let publish = |hold: &Hold<()>, held: &AtomicBool, id| {
                let taken = hold.take(id, 0, || Ok::<(), ()>(()));
                taken.inspect(|_| assert!(!held.swap(true, Ordering::Relaxed), "two of them publish"))
            };
            let unpublish = |hold: &Hold<()>, held: &AtomicBool| {
                held.store(false, Ordering::Relaxed);
                hold.give_back((), 7)
            };
            let (its_hold, its_held) = (hold.clone(), held.clone());
            let other = thread::spawn(move || {
                publish(&its_hold, &its_held, first)?.expect("nothing is against it");
                unpublish(&its_hold, &its_held)
            });
            let mut notified = 0;
            if publish(&hold, &held, second).is_some() {
                assert!(hold.is_live());
                assert_eq!(unpublish(&hold, &held), None, "no other waits");
            } else {
                match hold.want(second) {
                    Some(holder) => assert_eq!(holder, first),
                    None => notified += 1,
                }
            }
            let waits = hold.is_wanted();
            let answer = other.join().expect("no assertion fails");
            notified += usize::from(answer == Some(second));
            assert!(notified <= 1 && (!waits || notified == 1), "notified {notified} times");
            assert!(!hold.is_wanted() && !hold.is_live());
            assert_eq!(hold.vacant_since_ms(), Some(7));
        });
    }
}
