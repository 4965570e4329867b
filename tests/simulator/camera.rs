//! An encoder: connects, publishes one stream or several, changes its mind, goes and comes back.

use std::{collections::VecDeque, net::SocketAddr};

use fanfare::{
    config::SecondPublisher,
    endpoint::ReasonKind,
    flv::{Frame, FrameKind},
    rtmp::{
        chunk::{ChunkSize, Message},
        client::{Client, ClientConfig, Event, Role, Status},
        command::Command,
        message::type_id,
    },
};

use super::{
    ledger::{Place, Sent, audio_header, video_header},
    pipe::{End, NEVER, Pipe},
    stage::{SLACK_US, SWEEP_US, Stage},
};

/// How long an encoder waits for the answer to a `publish` that no service has to decide: while the name is handed over.
const HAND_OVER_US: u64 = 3_000_000;
/// Where no picture has come for 10 s, they stand still to the relay: so long after the last one was sent, they may.
const STANDS_US: u64 = 8_000_000;
const METADATA: &[u8] = b"\x02\x00\x0d@setDataFrame\x02\x00\x0aonMetaData\x08\0\0\0\0\0\0\x09";

pub struct Camera {
    name: &'static str,
    line: Option<Line>,
    /// Connections that it has left.
    left: Vec<Pipe>,
    comes_us: u64,
    comings: u64,
    style: Style,
}

/// How it encodes.
#[derive(Clone, Copy)]
struct Style {
    has_video: bool,
    has_audio: bool,
    picture_us: u64,
    sound_us: u64,
    /// Pictures between two key frames.
    group: u64,
    slices: u64,
    /// Bytes of a frame at most.
    len: u64,
    video_configuration: u8,
    audio_configuration: u8,
    /// The encoder's clock when it begins.
    clock_ms: u32,
}

/// One connection of it.
pub struct Line {
    pub pipe: Pipe,
    pub core: usize,
    client: Client,
    publishes: Vec<Publish>,
    deed_us: u64,
    /// It is to have an answer by then, fair time of its core.
    pub answered_by_us: u64,
    /// It answers nothing and sends nothing, since this fair time.
    dead_since_us: Option<u64>,
    has_gone_quiet: bool,
    /// Attempts whose right has ended, and that were not notified of it.
    expired: VecDeque<usize>,
}

struct Publish {
    attempt: usize,
    on: u32,
    state: State,
    asked_us: u64,
    style: Style,
    begun_us: u64,
    picture_us: u64,
    sound_us: u64,
    pictures: u64,
    /// When it sent its last picture.
    shown_us: u64,
    wants_key_frame: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The first `publish` of a connection is sent by the client, when it has come so far.
    ToCome,
    Asked,
    Live,
    Over,
}

impl Style {
    fn new(stage: &mut Stage) -> Self {
        let random = &mut stage.random;
        let kinds = random.below(100);
        let is_large = stage.setup.has_large_frames;
        Self {
            has_video: kinds < 85,
            has_audio: !(70..85).contains(&kinds),
            picture_us: if is_large { 200_000 } else { random.pick(&[40_000, 100_000, 200_000]) },
            sound_us: random.pick(&[30_000, 60_000, 150_000]),
            group: random.pick(&[1, 5, 10, 30]),
            slices: random.pick(&[1, 1, 3]),
            len: if is_large {
                random.pick(&[3_000, 20_000, 100_000])
            } else {
                random.pick(&[30, 300, 3_000])
            },
            video_configuration: random.within(0..=3) as u8,
            audio_configuration: random.within(0..=3) as u8,
            clock_ms: random.pick(&[
                0,
                0,
                0,
                5_000,
                (1 << 24) - 2_000,
                (1 << 31) - 3_000,
                0_u32.wrapping_sub(3_000),
            ]),
        }
    }
}

impl Camera {
    pub fn new(stage: &mut Stage) -> Self {
        let names = stage.setup.names;
        let name = stage.random.pick(names);
        let style = Style::new(stage);
        let comes_us = stage.now_us() + stage.random.within(0..=2_000) * 1_000;
        let comings = stage.random.within(1..=4);
        Self { name, line: None, left: Vec::new(), comes_us, comings, style }
    }

    pub fn line_of(&mut self, peer: SocketAddr) -> Option<&mut Line> {
        self.line.as_mut().filter(|line| line.pipe.peer == peer)
    }

    /// Its connection, if that is with this core.
    pub fn line_on(&self, core: usize) -> Option<&Line> {
        self.line.as_ref().filter(|line| line.core == core)
    }

    pub fn pipes(&mut self) -> impl Iterator<Item = &mut Pipe> {
        self.line.iter_mut().map(|line| &mut line.pipe).chain(&mut self.left)
    }

    /// The core on which it publishes, and under which name.
    pub fn live_on(&self, stage: &Stage) -> Option<(usize, &'static str)> {
        let line = self.line.as_ref()?;
        let attempt = stage.ledger.live(&format!("live/{}", self.name))?;
        (stage.ledger.attempts[attempt].peer == line.pipe.peer).then_some((line.core, self.name))
    }

    /// If it is away, it comes soon to publish this name.
    pub fn want(&mut self, stage: &mut Stage, name: &'static str) {
        if self.line.is_none() {
            self.name = name;
            self.comings = self.comings.max(1);
            self.comes_us = stage.now_us() + stage.random.within(0..=1_000) * 1_000;
        }
    }

    pub fn due_us(&self, stage: &Stage) -> u64 {
        match &self.line {
            Some(line) => line.due_us(stage),
            None if self.comings > 0 && !stage.is_draining => self.comes_us,
            None => NEVER,
        }
    }

    /// Does what it has to do now. True if that was something.
    pub fn act(&mut self, stage: &mut Stage) -> bool {
        self.left.retain(|pipe| !pipe.is_closed(stage));
        let now_us = stage.now_us();
        let Some(line) = &mut self.line else {
            if self.comings == 0 || now_us < self.comes_us || stage.is_draining {
                return false;
            }
            self.comings -= 1;
            if stage.random.percent(30) {
                let clock_ms = self.style.clock_ms;
                self.style = Style { clock_ms, ..Style::new(stage) };
            }
            if stage.random.percent(30) {
                self.style.clock_ms = stage.random.pick(&[0, 7_000, 90_000_000]);
            }
            self.line = Some(Line::new(stage, self.name, self.style));
            return true;
        };
        let is_busy = line.act(stage);
        if line.pipe.is_gone() || line.pipe.is_closed(stage) {
            let Some(line) = self.line.take() else { return true };
            for publish in &line.publishes {
                self.style.clock_ms = publish.style.clock_ms;
            }
            self.left.push(line.pipe);
            self.comes_us = now_us + stage.random.pick(&[0, 100_000, 700_000, 3_000_000]);
            return true;
        }
        is_busy
    }

    pub fn watch(&mut self, stage: &mut Stage) {
        if let Some(line) = &mut self.line {
            line.watch(stage);
        }
        self.left.iter_mut().for_each(|pipe| pipe.watch(stage));
    }
}

impl Line {
    fn new(stage: &mut Stage, name: &'static str, style: Style) -> Self {
        let core = stage.any_core();
        let peer = stage.world.address();
        let attempt = stage.ledger.ask(peer, format!("live/{name}"));
        stage.note(|| format!("{peer} comes to publish {name}, attempt {attempt}, core {core}"));
        let url = format!("rtmp://relay/live/{name}?a={attempt}").parse().expect("an address");
        let chunk_size = ChunkSize::new(stage.random.pick(&[128, 128, 1_000, 60_000])).expect("a size");
        let config = ClientConfig { url, role: Role::Publish, chunk_size, fmle: stage.random.percent(50) };
        let client = Client::new(config, stage.world.now_ms(), [2; 32]);
        let socket = stage.sockets.connect(&mut stage.world, core, peer);
        let pipe = Pipe::new(socket, peer, stage);
        let deed_us = stage.now_us() + stage.random.within(300..=3_000) * 1_000;
        let answered_by_us = stage.fair_us_of(core) + ANSWER_US;
        let publish = Publish::new(stage, attempt, 1, State::ToCome, style);
        Self {
            pipe,
            core,
            client,
            publishes: vec![publish],
            deed_us,
            answered_by_us,
            dead_since_us: None,
            has_gone_quiet: false,
            expired: VecDeque::new(),
        }
    }

    fn due_us(&self, stage: &Stage) -> u64 {
        let media = self.publishes.iter().map(Publish::due_us).min().unwrap_or(NEVER);
        self.pipe.due_us(stage).min(media).min(self.deed_us)
    }

    fn act(&mut self, stage: &mut Stage) -> bool {
        let now_us = stage.now_us();
        let is_live = self.publishes.iter().any(|it| stage.ledger.attempts[it.attempt].is_live);
        if is_live && stage.world.at(self.pipe.socket, |socket| socket.shut_send) {
            stage.fail(&format!("{} has been sent its last, and has its name", self.pipe.peer));
        }
        let mut is_busy = false;
        if now_us >= self.deed_us {
            let pause_ms = stage.random.within(200..=4_000);
            self.deed_us = now_us + pause_ms * 1_000;
            self.do_something(stage);
            is_busy = true;
        }
        for publish in &mut self.publishes {
            is_busy |= publish.encode(stage, &mut self.client);
        }
        self.poll(stage);
        let mut read = Vec::new();
        is_busy |= self.pipe.exchange(stage, &mut read);
        if !read.is_empty() {
            let received = self.client.receive(read.into(), stage.world.now_ms());
            if let Err(error) = received {
                stage.fail(&format!("what {} is sent cannot be read: {error}", self.pipe.peer));
            }
            self.poll(stage);
        }
        if self.pipe.is_at_end(stage) && self.pipe.end.is_none() && stage.random.percent(40) {
            self.pipe.go(stage, End::Finished);
            is_busy = true;
        }
        is_busy
    }

    fn poll(&mut self, stage: &mut Stage) {
        while let Some(event) = self.client.poll() {
            match event {
                Event::Send(bytes) => self.pipe.send(&bytes),
                Event::Status(status) => self.status(stage, &status),
                Event::Started | Event::Frame(_) | Event::Ended => {}
            }
        }
    }

    fn status(&mut self, stage: &mut Stage, status: &Status) {
        let peer = self.pipe.peer;
        stage.note(|| format!("{peer} hears {} ({})", status.code, status.description));
        let asked = |it: &&mut Publish| matches!(it.state, State::Asked | State::ToCome);
        let pending = self.publishes.iter_mut().find(asked);
        if status.code == "NetStream.Publish.Start" {
            let Some(publish) = pending else {
                stage.fail(&format!("{peer} is notified of a publish that it did not ask for"))
            };
            let was_to_come = publish.state == State::ToCome;
            publish.state = State::Live;
            if stage.ledger.attempts[publish.attempt].order.is_none() {
                stage.fail(&format!("{peer} has a name without a notice"));
            }
            if was_to_come {
                publish.begin(stage, &mut self.client);
            }
        } else if status.description == EXPIRED {
            let expired = self.expired.pop_front();
            let live = self.publishes.iter().position(|it| Some(it.attempt) == expired);
            // One that waited for its name.
            let waiting =
                || self.publishes.iter().position(|it| matches!(it.state, State::Asked | State::ToCome));
            if let Some(at) = live.or_else(waiting) {
                self.publishes[at].state = State::Over;
            }
        } else if REFUSALS.iter().any(|text| status.description.contains(text)) {
            let Some(publish) = pending else { return };
            publish.state = State::Over;
            let (attempt, asked_us) = (publish.attempt, publish.asked_us);
            if status.description.contains(TAKEN) {
                check_refusal(stage, attempt, asked_us);
            }
        }
    }

    fn do_something(&mut self, stage: &mut Stage) {
        if self.dead_since_us.is_some() || self.has_gone_quiet {
            return;
        }
        let live: Vec<usize> =
            (0..self.publishes.len()).filter(|&at| self.publishes[at].state == State::Live).collect();
        if live.is_empty() {
            if stage.random.percent(20) {
                self.go(stage);
            }
            return;
        }
        let at = stage.random.pick(&live);
        match stage.random.below(100) {
            0..15 => self.publish_another(stage),
            15..30 => self.unpublish(stage, at),
            30..45 => self.publishes[at].change_headers(stage, &mut self.client),
            45..55 if stage.setup.has_jumps => self.publishes[at].jump(stage),
            55..62 => {
                let until_us = stage.now_us() + stage.random.within(300..=6_000) * 1_000;
                let publish = &mut self.publishes[at];
                stage.note(|| format!("attempt {} sends nothing for a while", publish.attempt));
                (publish.picture_us, publish.sound_us) =
                    (publish.picture_us.max(until_us), publish.sound_us.max(until_us));
            }
            62..66 => {
                // Long enough that its video stands still.
                let publish = &mut self.publishes[at];
                if publish.style.has_video && publish.style.has_audio && publish.picture_us != NEVER {
                    publish.picture_us += stage.random.pick(&[2_000_000, 12_000_000]);
                }
            }
            66..72 => {
                let until_us = stage.now_us() + stage.random.within(100..=1_500) * 1_000;
                (self.pipe.reads_at_us, self.pipe.sends_at_us) = (until_us, until_us);
            }
            72..76 => {
                stage.note(|| format!("{} is dead", self.pipe.peer));
                (self.pipe.reads_at_us, self.pipe.sends_at_us) = (NEVER, NEVER);
                self.dead_since_us = Some(stage.fair_us());
                self.publishes.iter_mut().for_each(|it| it.state = State::Over);
            }
            76..90 => self.go(stage),
            _ => {}
        }
    }

    fn go(&mut self, stage: &mut Stage) {
        self.publishes.iter_mut().for_each(|it| it.state = State::Over);
        self.has_gone_quiet = true;
        match stage.random.below(4) {
            0 => self.pipe.go(stage, End::Reset),
            1 => self.pipe.go(stage, End::Finished),
            _ => {
                self.client.stop();
                self.poll(stage);
                // What it has sent is on its way before its end.
                let mut read = Vec::new();
                while self.pipe.sends_at_us <= stage.now_us() && self.pipe.exchange(stage, &mut read) {}
                self.pipe.go(stage, End::Finished);
            }
        }
    }

    fn publish_another(&mut self, stage: &mut Stage) {
        let used: Vec<u32> = self.publishes.iter().map(|it| it.on).collect();
        if self.publishes.iter().any(|it| it.state == State::Asked) || used.len() > 8 {
            return;
        }
        let names = stage.setup.names;
        let name = stage.random.pick(names);
        let on = used.into_iter().max().unwrap_or(0) + 1;
        self.command(0, &Command::call("createStream", 7.0, []));
        self.ask(stage, name, on);
    }

    fn ask(&mut self, stage: &mut Stage, name: &str, on: u32) {
        let attempt = stage.ledger.ask(self.pipe.peer, format!("live/{name}"));
        stage.note(|| format!("{} asks to publish {name} on {on}, attempt {attempt}", self.pipe.peer));
        let key = format!("{name}?a={attempt}");
        self.command(on, &Command::call("publish", 8.0, [key.as_str().into(), "live".into()]));
        let style = Style::new(stage);
        let mut publish = Publish::new(stage, attempt, on, State::Asked, style);
        // It does not wait for the answer.
        publish.begin(stage, &mut self.client);
        self.publishes.push(publish);
        self.answered_by_us = self.answered_by_us.max(stage.fair_us_of(self.core) + ANSWER_US);
    }

    fn unpublish(&mut self, stage: &mut Stage, at: usize) {
        let publish = &mut self.publishes[at];
        publish.state = State::Over;
        let (on, attempt) = (publish.on, publish.attempt);
        let name = stage.ledger.attempts[attempt].requested.trim_start_matches("live/").to_owned();
        stage.note(|| format!("{} stops to publish attempt {attempt}", self.pipe.peer));
        match stage.random.below(3) {
            0 => self.command(on, &Command::call("closeStream", 0.0, [])),
            1 => self.command(0, &Command::call("deleteStream", 0.0, [f64::from(on).into()])),
            _ => {
                // Several of its streams may have the name by which it is known.
                let same = self.publishes.iter().filter(|it| {
                    it.state != State::Over && stage.ledger.attempts[it.attempt].requested.ends_with(&name)
                });
                match same.count() {
                    0 => self.command(0, &Command::call("FCUnpublish", 9.0, [name.as_str().into()])),
                    _ => self.command(on, &Command::call("closeStream", 0.0, [])),
                }
            }
        }
        let is_asking = self.publishes.iter().any(|it| it.state == State::Asked);
        if !is_asking && stage.random.percent(40) {
            self.ask(stage, &name, on);
        }
    }

    fn command(&mut self, on: u32, command: &Command) {
        self.client.send_message(&Message {
            chunk_stream_id: 3,
            timestamp_ms: 0,
            message_type_id: type_id::COMMAND_AMF0,
            message_stream_id: on,
            payload: command.to_bytes().into(),
        });
    }

    /// The relay may read nothing of it for long: to players its pictures may stand still.
    pub fn stands(&self, stage: &mut Stage) {
        for publish in &self.publishes {
            let attempt = &mut stage.ledger.attempts[publish.attempt];
            attempt.has_stood |= attempt.is_live;
        }
    }

    fn watch(&mut self, stage: &mut Stage) {
        self.pipe.watch(stage);
        let fair_us = stage.fair_us();
        // What comes after a question waits in the session for its answer.
        let is_held = fair_us < self.pipe.holds_until_us;
        if self.pipe.end.is_none() && !is_held && self.pipe.is_received(stage) {
            for publish in &self.publishes {
                let attempt = &mut stage.ledger.attempts[publish.attempt];
                if attempt.is_live {
                    attempt.received.push((attempt.frames.len(), fair_us));
                }
            }
        }
        let peer = self.pipe.peer;
        let is_over =
            self.pipe.end.is_some() || stage.world.at(self.pipe.socket, |it| it.shut_send || it.is_closed);
        if let Some(since_us) = self.dead_since_us {
            let is_live = self.publishes.iter().any(|it| stage.ledger.attempts[it.attempt].is_live);
            // While a question of its connection is open, the relay reads nothing of it.
            let since_us = since_us.max(self.pipe.holds_until_us);
            if is_live && fair_us > since_us + stage.longest.publisher_us + SWEEP_US + SLACK_US {
                stage.fail(&format!(
                    "{peer} has been dead for longer than limits.publisher_timeout, and has its name"
                ));
            }
            return;
        }
        let is_asking = self.publishes.iter().any(|it| matches!(it.state, State::Asked | State::ToCome));
        // What it has asked for may be on its way for as long as a peer is slow.
        let on_its_way_us = if stage.setup.stops_cores { 2_000_000 } else { 0 };
        if is_asking && !is_over && stage.fair_us_of(self.core) > self.answered_by_us + on_its_way_us {
            let is_slow = stage.setup.has_trouble
                || stage.setup.stands_still
                || self.pipe.longest_wait_us(fair_us) > 100_000
                || self.pipe.sends_at_us > stage.now_us();
            if !is_slow {
                stage.fail(&format!("{peer} has waited too long for the answer to its publish"));
            }
        }
    }

    /// Whether this reason for the end of its stream is one.
    pub fn ended(&mut self, stage: &mut Stage, attempt: usize, reason: ReasonKind) {
        if reason == ReasonKind::Expired {
            self.expired.push_back(attempt);
        }
        let fair_us = stage.fair_us();
        let has_gone = self.pipe.end.is_some();
        let is_right = match reason {
            ReasonKind::PeerClosed => has_gone,
            ReasonKind::PublisherTimeout => {
                let dead_us = self.dead_since_us.map_or(0, |since_us| fair_us - since_us);
                stage.setup.stops_cores
                    || dead_us.max(self.pipe.longest_wait_us(fair_us)) + 2_000_000
                        > stage.shortest.publisher_us
            }
            _ => true,
        };
        if !is_right {
            stage.fail(&format!("{} is ended for no reason: {}", self.pipe.peer, reason.label()));
        }
    }
}

/// A publisher is answered within this, where no service has to decide.
pub const ANSWER_US: u64 = HAND_OVER_US + SWEEP_US + SLACK_US;
const EXPIRED: &str = "session expired";
const TAKEN: &str = "is being published by another client";
const REFUSALS: [&str; 7] = [
    TAKEN,
    "as many streams",
    "no memory left for another stream",
    "no decision in time",
    "no, says the rule",
    "another name was given",
    "rtmp://elsewhere/",
];

/// A name that is taken over is given up at once: where each publisher takes over, none is refused but by one that came
/// after it, or with it.
fn check_refusal(stage: &mut Stage, attempt: usize, asked_us: u64) {
    if stage.setup.config.publish.on_second_publisher != SecondPublisher::Takeover || stage.has_stood_still()
    {
        return;
    }
    let stream = stage.ledger.attempts[attempt].stream().to_owned();
    let newest = stage.ledger.lives.get(&stream).and_then(|lives| lives.last()).copied();
    let came_us = newest.map_or(0, |newest| stage.ledger.attempts[newest].live_us);
    let mut others = stage.ledger.attempts.iter().enumerate();
    let is_wanted = others.any(|(at, it)| at != attempt && it.order.is_none() && it.stream() == stream);
    if came_us < asked_us && !is_wanted && !stage.is_draining {
        stage.fail(&format!("attempt {attempt} is refused, though the name was to be given up"));
    }
}

impl Publish {
    fn new(stage: &Stage, attempt: usize, on: u32, state: State, style: Style) -> Self {
        Self {
            attempt,
            on,
            state,
            asked_us: stage.fair_us(),
            style,
            begun_us: 0,
            picture_us: NEVER,
            sound_us: NEVER,
            pictures: 0,
            shown_us: NEVER,
            wants_key_frame: true,
        }
    }

    fn due_us(&self) -> u64 {
        if matches!(self.state, State::Over) { NEVER } else { self.picture_us.min(self.sound_us) }
    }

    /// Sends what comes before the first frame.
    fn begin(&mut self, stage: &mut Stage, client: &mut Client) {
        let now_us = stage.now_us();
        self.begun_us = now_us;
        let late_us = stage.random.pick(&[0, 0, 30_000, 1_500_000]);
        if self.style.has_video {
            self.picture_us = now_us + if self.style.has_audio { late_us } else { 0 };
        }
        if self.style.has_audio {
            self.sound_us = now_us + stage.random.pick(&[0, 0, 30_000, 1_500_000]);
        }
        // Some encoders are in the middle of a group when they come.
        self.wants_key_frame = stage.random.percent(85);
        if stage.random.percent(70) {
            self.say(client, FrameKind::Data, 0, METADATA.to_vec());
        }
        self.send_headers(client);
    }

    fn send_headers(&self, client: &mut Client) {
        let Style { has_video, has_audio, video_configuration, audio_configuration, .. } = self.style;
        if has_video && video_configuration > 0 {
            self.say(client, FrameKind::Video, 0, video_header(video_configuration));
        }
        if has_audio && audio_configuration > 0 {
            self.say(client, FrameKind::Audio, 0, audio_header(audio_configuration));
        }
    }

    fn change_headers(&mut self, stage: &mut Stage, client: &mut Client) {
        let style = &mut self.style;
        if style.video_configuration > 0 {
            style.video_configuration = stage.random.within(1..=3) as u8;
        }
        if style.audio_configuration > 0 {
            style.audio_configuration = stage.random.within(1..=3) as u8;
        }
        self.wants_key_frame = true;
        self.send_headers(client);
    }

    fn jump(&mut self, stage: &mut Stage) {
        let by_ms =
            stage.random.pick(&[500, 3_000, 20_000, 0_u32.wrapping_sub(400), 0_u32.wrapping_sub(60_000)]);
        self.style.clock_ms = self.style.clock_ms.wrapping_add(by_ms);
        let attempt = &mut stage.ledger.attempts[self.attempt];
        let number = attempt.frames.len();
        attempt.jumped_at.get_or_insert(number);
        stage.note(|| format!("attempt {}'s clock jumps by {} ms at {number}", self.attempt, by_ms as i32));
    }

    fn encode(&mut self, stage: &mut Stage, client: &mut Client) -> bool {
        let now_us = stage.now_us();
        let mut is_busy = false;
        while self.due_us() <= now_us {
            is_busy = true;
            if self.picture_us <= self.sound_us {
                self.send_picture(stage, client);
            } else {
                let (at_us, configuration) = (self.sound_us, self.style.audio_configuration);
                self.send(stage, client, FrameKind::Audio, Place::None, at_us, configuration);
                self.sound_us += self.style.sound_us;
                if stage.random.percent(2) {
                    self.send(stage, client, FrameKind::Data, Place::None, at_us, 0);
                }
            }
        }
        is_busy
    }

    fn send_picture(&mut self, stage: &mut Stage, client: &mut Client) {
        let is_key_frame = self.wants_key_frame || self.pictures.is_multiple_of(self.style.group);
        let (first, rest) = match is_key_frame && (self.wants_key_frame || self.pictures > 0) {
            true => (Place::KeyFrame, Place::KeyFrameRest),
            false => (Place::Picture, Place::Picture),
        };
        self.wants_key_frame = false;
        self.pictures += 1;
        let (at_us, configuration) = (self.picture_us, self.style.video_configuration);
        for slice in 0..self.style.slices {
            let place = if slice == 0 { first } else { rest };
            self.send(stage, client, FrameKind::Video, place, at_us, configuration);
        }
        self.picture_us += self.style.picture_us;
    }

    fn send(
        &mut self,
        stage: &mut Stage,
        client: &mut Client,
        kind: FrameKind,
        place: Place,
        at_us: u64,
        configuration: u8,
    ) {
        let timestamp_ms = self.style.clock_ms.wrapping_add(((at_us - self.begun_us) / 1_000) as u32);
        let most = if kind == FrameKind::Video { self.style.len } else { self.style.len.min(300) };
        let len = stage.random.below(most) as usize;
        let now_us = stage.now_us();
        if kind == FrameKind::Video {
            self.shown_us = now_us;
        } else if now_us.saturating_sub(self.shown_us) > STANDS_US {
            stage.ledger.attempts[self.attempt].has_stood = true;
        }
        let at_us = stage.fair_us();
        let Frame { payload, .. } =
            stage.ledger.send(self.attempt, Sent { kind, place, timestamp_ms, configuration, len, at_us });
        self.say(client, kind, timestamp_ms, payload.to_bytes().to_vec());
    }

    fn say(&self, client: &mut Client, kind: FrameKind, timestamp_ms: u32, payload: Vec<u8>) {
        let chunk_stream_id = self.on * 3
            + match kind {
                FrameKind::Audio => 4,
                FrameKind::Data => 5,
                FrameKind::Video => 6,
            };
        client.send_message(&Message {
            chunk_stream_id,
            timestamp_ms,
            message_type_id: kind as u8,
            message_stream_id: self.on,
            payload: payload.into(),
        });
    }
}
