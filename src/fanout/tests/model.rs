//! Random sequences of events of a few players: whatever they ask, whenever they ask it, and however little each send
//! takes, each of them receives whole messages, in order, that can be decoded.

use proptest::prelude::*;

use super::*;
use crate::{
    flv::FrameKind,
    stream::tests::{Readable, registry_in, test_frame},
};

/// What happens next. Numbers pick a player, a size or a share of what there is.
#[derive(Clone, Debug)]
enum Step {
    Key(u16),
    Inter(u16),
    Sound(u16),
    Text,
    VideoHeader,
    AudioHeader,
    Metadata,
    PublisherGoes,
    PublisherComes,
    /// The core takes in what has come.
    Grow,
    /// The connection is sending nothing and asks for its next batch.
    Send(usize),
    /// Only what is left of a half-sent message, since the session has something to send.
    SendRest(usize),
    /// This many 256ths of the current send have been taken.
    Sent(usize, u8),
    Pause(usize),
    Resume(usize),
    Audio(usize, bool),
    Video(usize, bool),
    /// Leaves its stream and plays it again; the current send is sent whole.
    PlayAgain(usize, bool),
    Wait(u16),
}

const PLAYERS: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    let player = 0..PLAYERS;
    prop_oneof![
        3 => (1..30_000u16).prop_map(Step::Key),
        12 => (1..9_000u16).prop_map(Step::Inter),
        8 => (1..400u16).prop_map(Step::Sound),
        1 => Just(Step::Text),
        1 => Just(Step::VideoHeader),
        1 => Just(Step::AudioHeader),
        1 => Just(Step::Metadata),
        1 => Just(Step::PublisherGoes),
        2 => Just(Step::PublisherComes),
        10 => Just(Step::Grow),
        24 => player.clone().prop_map(Step::Send),
        3 => player.clone().prop_map(Step::SendRest),
        24 => (player.clone(), any::<u8>()).prop_map(|(player, share)| Step::Sent(player, share)),
        4 => player.clone().prop_map(Step::Pause),
        5 => player.clone().prop_map(Step::Resume),
        4 => (player.clone(), any::<bool>()).prop_map(|(player, wants)| Step::Audio(player, wants)),
        4 => (player.clone(), any::<bool>()).prop_map(|(player, wants)| Step::Video(player, wants)),
        2 => (player, any::<bool>()).prop_map(|(player, is_live)| Step::PlayAgain(player, is_live)),
        4 => (1..4_000u16).prop_map(Step::Wait),
        1 => (10_000..12_000u16).prop_map(Step::Wait),
    ]
}

/// One connection: its player, the current send, and the bytes that its peer has.
struct Peer {
    key: PlayerKey,
    sending: Option<Batch>,
    got: Vec<u8>,
    is_paused: bool,
}

struct World {
    bench: Bench,
    publication: Option<Publication>,
    peers: Vec<Peer>,
    /// Number of the next frame.
    next: u32,
    /// How many video frames are in the log: their numbers.
    video: u32,
    needs_key_frame: bool,
    video_header: u32,
    audio_header: u32,
    has_sound: bool,
}

impl World {
    fn new() -> Self {
        let retention = Retention { buffer_bytes: 256 << 10, keep_ms: 1_000 };
        let mut bench = Bench::with(registry_in(|_| Box::new(Readable), retention));
        let peers = (0..PLAYERS).map(|_| Peer::new(&mut bench, Start::KeyFrame)).collect();
        Self {
            bench,
            publication: None,
            peers,
            next: 0,
            video: 0,
            needs_key_frame: true,
            video_header: 0,
            audio_header: 0,
            has_sound: false,
        }
    }

    fn take(&mut self, step: Step) {
        let now_ms = self.bench.now_ms;
        match step {
            Step::Key(len) => {
                self.needs_key_frame = false;
                self.video += 1;
                self.append('K', self.video, len);
            }
            Step::Inter(len) => {
                if !self.needs_key_frame {
                    self.video += 1;
                    self.append('P', self.video, len);
                }
            }
            Step::Sound(len) => self.append('S', 0, len),
            Step::Text => self.append('D', 0, 3),
            Step::VideoHeader => {
                self.video_header += 1;
                self.append('V', 0, 30);
            }
            Step::AudioHeader => {
                self.audio_header += 1;
                self.append('A', 0, 5);
            }
            Step::Metadata => self.append('M', 0, 50),
            Step::PublisherGoes => {
                self.publication = None;
                self.needs_key_frame = true;
            }
            Step::PublisherComes => {
                if self.publication.is_none() {
                    self.publication = Some(self.bench.publish());
                    self.append('M', 0, 50);
                    self.append('V', 0, 30);
                    self.append('A', 0, 5);
                }
            }
            Step::Grow => self.bench.take_new_data(),
            Step::Send(peer) => self.peers[peer].send(&mut self.bench, false),
            Step::SendRest(peer) => self.peers[peer].send(&mut self.bench, true),
            Step::Sent(peer, share) => self.peers[peer].sent(&mut self.bench, share),
            Step::Pause(peer) => self.peers[peer].pause(&mut self.bench, true),
            Step::Resume(peer) => self.peers[peer].pause(&mut self.bench, false),
            Step::Audio(peer, wants) => self.bench.hub.receive_audio(self.peers[peer].key, wants),
            Step::Video(peer, wants) => self.bench.hub.receive_video(self.peers[peer].key, wants),
            Step::PlayAgain(peer, is_live) => {
                let start = if is_live { Start::Live } else { Start::KeyFrame };
                self.peers[peer].play_again(&mut self.bench, start);
            }
            Step::Wait(ms) => self.bench.now_ms = now_ms + u64::from(ms),
        }
    }

    /// A frame with a text that has all that the check needs.
    fn append(&mut self, letter: char, video: u32, len: u16) {
        let Some(publication) = &mut self.publication else {
            if matches!(letter, 'K' | 'P') {
                self.video -= 1;
            }
            if letter == 'K' {
                self.needs_key_frame = true;
            }
            return;
        };
        self.has_sound |= letter == 'S';
        let (kind, head): (_, &[u8]) = match letter {
            'K' => (FrameKind::Video, b"\x17\x01\0\0\0"),
            'P' => (FrameKind::Video, b"\x27\x01\0\0\0"),
            'V' => (FrameKind::Video, b"\x17\x00\0\0\0"),
            'S' => (FrameKind::Audio, b"\xAF\x01"),
            'A' => (FrameKind::Audio, b"\xAF\x00"),
            'M' => (FrameKind::Data, b"\x02\x00\x0AonMetaData"),
            _ => (FrameKind::Data, b"\x02\x00\x0AonTextData"),
        };
        let number = if matches!(letter, 'V' | 'A' | 'M') { 0 } else { self.next };
        self.next += 1;
        let header = match letter {
            'V' | 'K' | 'P' => self.video_header,
            'A' | 'S' => self.audio_header,
            _ => 0,
        };
        let mark = format!("{letter}{number:07}i{video:07}h{header:05}p{len:05}{}", "x".repeat(len.into()));
        let now_ms = self.bench.now_ms;
        publication.append_and_notify(test_frame(kind, now_ms as u32, head, &mark), now_ms);
    }

    /// All players want everything again, and get it to the end.
    fn settle(&mut self) {
        self.take(Step::PublisherComes);
        for peer in 0..PLAYERS {
            self.take(Step::Audio(peer, true));
            self.take(Step::Video(peer, true));
            self.take(Step::Resume(peer));
        }
        self.bench.now_ms += 1;
        self.take(Step::Key(100));
        self.take(Step::Inter(100));
        let last = self.next - 1;
        self.bench.take_new_data();
        for index in 0..PLAYERS {
            for _ in 0..100_000 {
                self.take(Step::Sent(index, u8::MAX));
                self.take(Step::Send(index));
                if self.peers[index].sending.is_none() {
                    break;
                }
            }
            let peer = &self.peers[index];
            assert!(peer.sending.is_none() && self.bench.hub.is_at_boundary(peer.key));
            assert_eq!(peer.check(), Some(last), "player {index} has all there is");
        }
    }
}

impl Peer {
    fn new(bench: &mut Bench, start: Start) -> Self {
        Self { key: bench.join(start), sending: None, got: Vec::new(), is_paused: false }
    }

    fn send(&mut self, bench: &mut Bench, only_rest: bool) {
        if self.sending.is_some() {
            return;
        }
        let is_at_boundary = bench.hub.is_at_boundary(self.key);
        self.sending = bench.hub.next_batch(self.key, only_rest, bench.now_ms);
        let begins = is_at_boundary && self.sending.is_some();
        assert!(!begins || !(self.is_paused || only_rest), "it was not to begin a message");
    }

    fn sent(&mut self, bench: &mut Bench, share: u8) {
        let Some(batch) = self.sending.take() else { return };
        let len = batch.bytes().len();
        let n = (len * (usize::from(share) + 1)).div_ceil(256).max(1);
        self.got.extend_from_slice(&batch.bytes()[..n]);
        bench.hub.sent(self.key, n, n == len);
    }

    fn pause(&mut self, bench: &mut Bench, is_paused: bool) {
        self.is_paused = is_paused;
        bench.hub.pause(self.key, is_paused);
    }

    fn play_again(&mut self, bench: &mut Bench, start: Start) {
        match self.sending.take() {
            Some(batch) => self.got.extend_from_slice(batch.bytes()),
            None if bench.hub.is_at_boundary(self.key) => {}
            // After a send that was taken in part, a connection sends on at once.
            None => return,
        }
        self.check();
        bench.hub.leave(self.key);
        *self = Self::new(bench, start);
    }

    /// Checks that it got whole messages, each with what it needs before it. Returns the number of the last one that
    /// has a number.
    fn check(&self) -> Option<u32> {
        let mut last = None;
        let (mut video, mut video_header, mut audio_header) = (None, None, None);
        for message in self.got.split_inclusive(|&byte| byte == b';') {
            let text = String::from_utf8_lossy(message);
            let Some(mark) = text.find(['K', 'P', 'V', 'S', 'A', 'M', 'D'].as_slice()) else {
                panic!("no message: {text:.60}")
            };
            // The names of script data hold letters too.
            let mark = text.find("onMetaData").or(text.find("onTextData")).map_or(mark, |at| at + 10);
            let mark = &text[mark..];
            let field = |from: usize, to: usize| -> u32 {
                mark.get(from..to)
                    .and_then(|digits| digits.parse().ok())
                    .unwrap_or_else(|| panic!("{mark:.60}"))
            };
            let (number, video_number, header, pad) =
                (field(1, 8), field(9, 16), field(17, 22), field(23, 28));
            assert_eq!(mark.len(), 28 + pad as usize + 1, "a message is whole: {mark:.60}");
            let letter = mark.as_bytes()[0];
            match letter {
                b'V' => video_header = Some(header),
                b'A' => audio_header = Some(header),
                b'M' => continue,
                b'K' | b'P' => {
                    assert_eq!(Some(header), video_header, "video goes with its header: {mark:.60}");
                    let before = video.replace(video_number);
                    assert!(
                        letter == b'K' || before == Some(video_number - 1),
                        "video comes after the frame that it needs: {mark:.60} after {before:?}"
                    );
                }
                b'S' => assert_eq!(Some(header), audio_header, "audio goes with its header: {mark:.60}"),
                _ => {}
            }
            if matches!(letter, b'V' | b'A') {
                continue;
            }
            // Video that stands still is sent again to a player that is moved ahead.
            let is_shown_again = matches!(letter, b'K' | b'P') && Some(number) <= last;
            if !is_shown_again {
                assert!(last < Some(number), "messages come in order: {mark:.60} after {last:?}");
                last = Some(number);
            }
        }
        last
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_players_ask_while_a_send_is_under_way_they_get_whole_messages_that_can_be_decoded(
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.settle();
    }
}
