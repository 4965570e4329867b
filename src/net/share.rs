//! How a core's time is shared among those who send to it: what came on one connection is worked off for a slice of a
//! turn, and what is left then waits in the backlog, where connections take turns. Meanwhile it is not read any further:
//! its peer's sends wait, and nobody else's.

use super::{core::Core, deadlines::RATE_WINDOW_MS};

/// How long one connection's input is worked off before others get their turn, microseconds. A read of 64 KiB of video
/// takes a tenth of it.
pub(super) const SLICE_US: u64 = 250;

/// What a connection may send that is behind all the time, messages a second: as many as encoders do. Of more, each so
/// small that a read of them takes many slices, what piles up in the kernel would be worked off for long after it left.
const BEHIND_PER_SECOND: u64 = 2_000;

/// What a connection sends, and how far it has been worked off.
#[derive(Default)]
pub(super) struct Input {
    /// What came is not worked off: the connection is in the backlog.
    pub is_behind: bool,
    /// Slices that the newest read has taken and used up.
    slices: u32,
    /// The read before took more than a slice: the next one goes to the backlog at once, behind all that is there.
    is_heavy: bool,
    /// Since when each read has taken more than a slice, by the relay's clock.
    behind_since_ms: Option<u64>,
    /// When the window began in which messages are counted, and how many had come by then.
    counted_since_ms: u64,
    counted_before: u64,
}

impl Core {
    /// What came on this connection is to be worked off: now, or in its turn.
    pub(super) fn work_off(&mut self, key: usize) {
        if self.connections[key].input.is_heavy {
            self.fall_behind(key);
        } else {
            self.poll_session(key);
        }
    }

    /// A slice is over before the work was.
    pub(super) fn use_up_slice(&mut self, key: usize) {
        let input = &mut self.connections[key].input;
        input.slices = input.slices.saturating_add(1);
        input.behind_since_ms.get_or_insert(self.now_ms);
        self.fall_behind(key);
    }

    /// All that came has been worked off.
    pub(super) fn catch_up(&mut self, key: usize) {
        let input = &mut self.connections[key].input;
        input.is_heavy = input.slices > 0;
        input.slices = 0;
        if !input.is_heavy {
            input.behind_since_ms = None;
        }
    }

    fn fall_behind(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        if !std::mem::replace(&mut connection.input.is_behind, true) {
            self.backlog.push_back((key, connection.id));
        }
    }

    /// Gives connections of the backlog a slice each, those that have waited longest first: at least one, and others
    /// until the turn is over or something else is to be done. False where there was none.
    pub(super) fn work_off_backlog(&mut self, end_us: u64) -> bool {
        let mut was_busy = false;
        for _ in 0..self.backlog.len() {
            let Some((key, id)) = self.backlog.pop_front() else { break };
            // It may have ended since, and another one have its place.
            let Some(connection) = self.connections.get_mut(key).filter(|it| it.id == id) else { continue };
            was_busy = true;
            connection.input.is_behind = false;
            // It is we who are late.
            connection.heard_ms = self.patient_ms;
            if connection.closing.is_none() {
                connection.publications().for_each(|publication| publication.heard(self.now_ms));
                self.poll_session(key);
            }
            self.receive(key);
            self.reap(key);
            self.ring.look();
            if self.ring.waiting() > 0 || self.signal().has_grown() || self.clock_us() >= end_us {
                break;
            }
        }
        was_busy
    }

    /// Counts the messages of a connection. Where they are more than a peer may send, returns how many a second: a
    /// publisher by the limit, and any connection that we cannot keep up with, if it sends more than encoders do.
    pub(super) fn excessive_messages(&mut self, key: usize) -> Option<u64> {
        let limit = self.common.config().limits.messages_per_second as u64;
        let connection = &mut self.connections[key];
        let (is_publishing, messages) = (connection.is_publishing(), connection.dialogue.messages());
        let input = &mut connection.input;
        let window_ms = self.now_ms.saturating_sub(input.counted_since_ms);
        let came = messages.saturating_sub(input.counted_before);
        let per_second = came * 1_000 / window_ms.max(1_000);
        if window_ms >= RATE_WINDOW_MS {
            let is_always_behind = input.behind_since_ms.is_some_and(|since| since <= input.counted_since_ms);
            (input.counted_since_ms, input.counted_before) = (self.now_ms, messages);
            return Some(per_second).filter(|&per_second| is_always_behind && per_second > BEHIND_PER_SECOND);
        }
        if limit == 0 || !is_publishing || came <= limit * RATE_WINDOW_MS / 1_000 {
            return None;
        }
        // What piled up while we stood still comes at once.
        let since_ms = input.counted_since_ms.saturating_sub(RATE_WINDOW_MS);
        let standstill_ms = self.signal().patience().standstill_ms_since(since_ms);
        let is_excess = came > limit * (RATE_WINDOW_MS + standstill_ms) / 1_000;
        is_excess.then_some(per_second)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use bytes::Bytes;

    use super::*;
    use crate::{
        amf0::Value,
        config::Config,
        net::{
            connection::{Reason, Sending},
            handle::Task,
            memlock::RingSize,
            process,
        },
        rtmp::{
            chunk::{Encoder, Message},
            command::Command,
            message::type_id,
        },
    };

    /// A core, and the peers of its connections.
    struct Bench {
        core: Core,
        peers: Vec<TcpStream>,
    }

    impl Bench {
        /// With so many publishers, each of a stream of its own. Call it inside the runtime.
        fn with_publishers(count: usize, config: Config) -> Self {
            let (common, mut wakes) =
                process::common(config, RingSize::LARGEST).expect("pipes are to be had");
            let core = Core::new(0, common, wakes.remove(0)).expect("io_uring is to be had");
            let mut bench = Self { core, peers: Vec::new() };
            bench.core.slice_us = u64::MAX;
            (0..count).for_each(|_| bench.publish());
            bench
        }

        fn publish(&mut self) {
            let name = format!("{}", self.peers.len());
            let key = self.connect(&[Command::call("publish", 2.0, [name.into()])]);
            assert!(self.core.connections[key].is_publishing());
        }

        /// A connection that has said this.
        fn connect(&mut self, commands: &[Command]) -> usize {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let peer = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
            let (socket, address) = listener.accept().expect("one waits");
            let key = self.peers.len();
            self.core.admit(tokio_uring::net::TcpStream::from_std(socket), address);
            self.peers.push(peer);
            let mut said = vec![0; 1 + 2 * 1536];
            said[0] = 3;
            let mut connect = Command::call("connect", 1.0, []);
            connect.object = Value::object([("app", "live".into())]);
            for command in [&[connect], commands].concat() {
                said.extend(message(type_id::COMMAND_AMF0, command.to_bytes()));
            }
            self.core.feed(key, said.into());
            self.until_worked_off();
            key
        }

        fn until_worked_off(&mut self) {
            while self.core.work_off_backlog(u64::MAX) {}
        }

        fn frames(&self, key: usize) -> u64 {
            self.core.connections[key].publishing.iter().map(|publishing| publishing.frames).sum()
        }

        fn is_behind(&self, key: usize) -> bool {
            self.core.connections[key].input.is_behind
        }
    }

    fn message(message_type_id: u8, payload: Vec<u8>) -> Bytes {
        let mut bytes = Vec::new();
        let message = Message {
            chunk_stream_id: 3,
            timestamp_ms: 0,
            message_type_id,
            message_stream_id: 1,
            payload: Bytes::from(payload).into(),
        };
        Encoder::new().encode(&message, &mut bytes);
        bytes.into()
    }

    /// Audio messages of two bytes, each but the first three bytes on the wire.
    fn tiny(count: usize) -> Bytes {
        let head = [6, 0, 0, 0, 0, 0, 2, type_id::AUDIO, 1, 0, 0, 0, 0x2F, 1];
        [&head[..], &[0xC6, 0x2F, 1].repeat(count - 1)].concat().into()
    }

    const MANY: usize = 1_000;

    #[test]
    fn who_sends_more_than_a_slice_of_work_waits_and_is_read_no_further_and_the_next_does_not_wait_for_it() {
        tokio_uring::start(async {
            let mut bench = Bench::with_publishers(3, Config::default());
            let [first, second, honest] = [0, 1, 2];
            // A slice is over after each message.
            bench.core.slice_us = 0;
            for key in [first, second] {
                bench.core.connections[key].is_receiving = false;
                bench.core.feed(key, tiny(MANY));
                assert!(bench.frames(key) <= 1 && bench.is_behind(key));
                bench.core.receive(key);
                assert!(!bench.core.connections[key].is_receiving, "it is read no further");
            }
            bench.core.slice_us = u64::MAX;
            bench.core.feed(honest, tiny(3));
            assert_eq!(bench.frames(honest), 3);
            // In turns, a slice each, with something else to do after each.
            bench.core.slice_us = 0;
            let before = [first, second].map(|key| bench.frames(key));
            for slices in 1..10 {
                assert!(bench.core.work_off_backlog(0) && bench.core.work_off_backlog(0));
                let now = [first, second].map(|key| bench.frames(key));
                assert_eq!(now, before.map(|frames| frames + slices));
            }
            bench.until_worked_off();
            for key in [first, second] {
                assert_eq!((bench.frames(key), bench.is_behind(key)), (MANY as u64, false));
                assert!(bench.core.connections[key].is_receiving, "it is read again");
            }
            // What comes next of one like that waits behind all others; once it is little, it does no longer.
            bench.core.slice_us = u64::MAX;
            bench.core.feed(first, tiny(3));
            assert_eq!((bench.frames(first), bench.is_behind(first)), (MANY as u64, true));
            bench.until_worked_off();
            bench.core.feed(first, tiny(3));
            assert_eq!((bench.frames(first), bench.is_behind(first)), (MANY as u64 + 6, false));
        });
    }

    #[test]
    fn a_player_whose_slice_is_over_is_told_that_it_plays_before_it_gets_a_frame() {
        tokio_uring::start(async {
            let mut bench = Bench::with_publishers(1, Config::default());
            bench.core.feed(0, message(type_id::VIDEO, b"\x17\x01\0\0\0key frame".to_vec()));
            let player = bench.connect(&[Command::call("createStream", 2.0, [])]);
            let connection = &mut bench.core.connections[player];
            connection.outbox.clear();
            connection.sending = Sending::No;
            bench.core.slice_us = 0;
            let play = Command::call("play", 3.0, ["0".into()]);
            bench.core.feed(player, message(type_id::COMMAND_AMF0, play.to_bytes()));
            let connection = &bench.core.connections[player];
            assert!(connection.playing.is_some() && bench.is_behind(player));
            assert!(connection.sending == Sending::Own, "media before NetStream.Play.Start");
        });
    }

    #[test]
    fn one_that_ends_in_the_backlog_is_let_go_of() {
        tokio_uring::start(async {
            let mut bench = Bench::with_publishers(2, Config::default());
            bench.core.slice_us = 0;
            for key in 0..2 {
                bench.core.feed(key, tiny(MANY));
                assert!(bench.is_behind(key));
                bench.core.connections[key].is_receiving = false;
            }
            bench.core.end(0, Reason::PeerClosed);
            // Its place is taken by another one.
            bench.core.connections[0].sending = Sending::No;
            bench.core.reap(0);
            assert!(!bench.core.connections.contains(0));
            bench.core.dismiss(1, "NetConnection.Connect.Closed", "", Reason::PeerClosed);
            bench.until_worked_off();
            assert!(bench.core.connections[1].is_receiving, "its end is to be seen");
        });
    }

    #[test]
    fn at_the_limit_of_messages_all_pass_and_one_past_it_ends_the_connection_with_a_word() {
        tokio_uring::start(async {
            let mut config = Config::default();
            config.limits.messages_per_second = 100;
            let mut bench = Bench::with_publishers(1, config);
            // Two messages have come: connect and publish.
            bench.core.feed(0, tiny(498));
            bench.until_worked_off();
            assert!(bench.core.connections[0].closing.is_none());
            bench.core.feed(0, tiny(1));
            bench.until_worked_off();
            let connection = &bench.core.connections[0];
            let closing = connection.closing.as_ref().expect("it is one too many");
            assert!(matches!(closing.reason, Reason::TooManyMessages { .. }), "{:?}", closing.reason);
            assert!(String::from_utf8_lossy(&connection.outbox).contains("NetStream.Publish.Denied"));
        });
    }

    #[test]
    fn who_sends_more_than_encoders_do_and_we_cannot_keep_up_with_is_ended_before_the_limit() {
        tokio_uring::start(async {
            for (per_read, slice_us, is_ended) in
                [(10_500, 0, true), (10_500, u64::MAX, false), (2_500, 0, false)]
            {
                let mut bench = Bench::with_publishers(1, Config::default());
                bench.core.slice_us = slice_us;
                for _ in 0..4 {
                    bench.core.feed(0, tiny(per_read));
                    bench.until_worked_off();
                    bench.core.now_ms += RATE_WINDOW_MS;
                }
                let reason = bench.core.connections[0].closing.as_ref().map(|closing| &closing.reason);
                assert_eq!(reason.is_some(), is_ended, "{per_read} a window, {reason:?}");
            }
        });
    }

    #[test]
    fn messages_that_piled_up_in_a_standstill_of_ours_are_no_excess() {
        tokio_uring::start(async {
            let mut config = Config::default();
            config.limits.messages_per_second = 100;
            let mut bench = Bench::with_publishers(1, config);
            bench.core.now_ms = 100_000;
            bench.core.connections[0].input.counted_since_ms = 100_000;
            bench.core.signal().patience().stood_still(100_000, 17_000);
            // 5 s of the window, and as much again of those that the standstill lasted.
            bench.core.feed(0, tiny(998));
            bench.until_worked_off();
            assert!(bench.core.connections[0].closing.is_none());
            bench.core.feed(0, tiny(1));
            bench.until_worked_off();
            assert!(bench.core.connections[0].closing.is_some());
        });
    }

    #[test]
    fn what_the_control_plane_asks_for_is_done_a_slice_at_a_time() {
        tokio_uring::start(async {
            let mut bench = Bench::with_publishers(1, Config::default());
            bench.core.slice_us = 0;
            let mut answered: Vec<_> = (0..3)
                .map(|_| {
                    let (answer, answered) = tokio::sync::oneshot::channel();
                    bench.core.tasks.push_back(Task::Report(answer));
                    answered
                })
                .collect();
            for done in 1..=3 {
                assert!(bench.core.work_off_tasks());
                assert_eq!(answered.iter_mut().filter_map(|answered| answered.try_recv().ok()).count(), 1);
                assert_eq!(bench.core.tasks.len(), 3 - done);
            }
            assert!(!bench.core.work_off_tasks());
        });
    }
}
