//! A player, over RTMP or over HTTP: plays, pauses, changes its mind, reads slowly, goes.

use std::{collections::VecDeque, net::SocketAddr};

use bytes::Bytes;
use fanfare::{
    endpoint::{HttpPlayer, Mail, ReasonKind},
    rtmp::{
        chunk::ChunkSize,
        client::{Client, ClientConfig, Event, Role, Status},
        command::Command,
    },
    stream::{Form, Start},
};

use super::{
    camera::ANSWER_US,
    flv,
    pipe::{End, NEVER, Pace, Pipe},
    stage::{SLACK_US, SWEEP_US, Stage},
    view::{Excuses, View},
};

/// A player over HTTP begins when both kinds of media have come, or so long after the first frame.
const KINDS_US: u64 = 1_000_000;
/// What has been received is with each player that reads within this.
const FRESH_US: u64 = 3_000_000;

pub struct Player {
    name: &'static str,
    comes_us: u64,
    comings: u64,
    seat: Option<Seat>,
    left: Vec<Pipe>,
    /// How often players of this one have been moved ahead, by core.
    pub skips: Vec<u64>,
    finished: Vec<(usize, View)>,
}

/// One connection of it.
pub struct Seat {
    pub pipe: Pipe,
    core: usize,
    speaks: Speaks,
    view: Option<View>,
    /// Of what it played before.
    earlier: Vec<View>,
    /// Streams that it has been let play and has not been notified of.
    begun: VecDeque<String>,
    /// Plays that it has asked for and that are not answered.
    pub asked: Vec<Play>,
    /// Kinds that it wants again, video or not, and was not notified of.
    wanted_again: VecDeque<bool>,
    has_ended: bool,
    deed_us: u64,
    /// When it next pauses or resumes, if a send to it waits then.
    pause_us: u64,
    /// Bytes that its line takes, as a rule.
    capacity: usize,
    pub answered_by_us: u64,
    start: Start,
    attentive_since_us: u64,
    vacant_since_us: Option<u64>,
    /// It has left its stream, and may do so at any time.
    has_stopped: bool,
    /// The reason that the relay gives for its end.
    reason: Option<ReasonKind>,
    sent_close: bool,
}

/// One `play`.
pub struct Play {
    pub tag: usize,
    pub requested: String,
    pub renamed: Option<String>,
    pub is_allowed: bool,
}

enum Speaks {
    Rtmp(Box<Client>),
    Http(Box<flv::Reader>),
}

impl Player {
    pub fn new(stage: &mut Stage) -> Self {
        let names = stage.setup.names;
        let name = stage.random.pick(names);
        let comes_us = stage.now_us() + stage.random.within(0..=5_000) * 1_000;
        let comings = stage.random.within(1..=3);
        let skips = vec![0; stage.setup.cores];
        Self { name, comes_us, comings, seat: None, left: Vec::new(), skips, finished: Vec::new() }
    }

    pub fn seat_of(&mut self, peer: SocketAddr) -> Option<&mut Seat> {
        self.seat.as_mut().filter(|seat| seat.pipe.peer == peer)
    }

    pub fn pipes(&mut self) -> impl Iterator<Item = &mut Pipe> {
        self.seat.iter_mut().map(|seat| &mut seat.pipe).chain(&mut self.left)
    }

    pub fn due_us(&self, stage: &Stage) -> u64 {
        match &self.seat {
            Some(seat) => seat.pipe.due_us(stage).min(seat.deed_us).min(seat.pause_us),
            None if self.comings > 0 && !stage.is_draining => self.comes_us,
            None => NEVER,
        }
    }

    pub fn act(&mut self, stage: &mut Stage) -> bool {
        self.left.retain(|pipe| !pipe.is_closed(stage));
        let now_us = stage.now_us();
        let Some(seat) = &mut self.seat else {
            if self.comings == 0 || now_us < self.comes_us || stage.is_draining {
                return false;
            }
            self.comings -= 1;
            self.seat = Seat::new(stage, self.name);
            self.comes_us = now_us + 500_000;
            return true;
        };
        let is_busy = seat.act(stage);
        let is_closed = seat.pipe.is_closed(stage) && seat.pipe.is_at_end(stage);
        if seat.pipe.is_gone() || is_closed {
            let Some(seat) = self.seat.take() else { return true };
            if is_closed {
                seat.check_last(stage);
            }
            let core = seat.core;
            self.finished.extend(seat.earlier.into_iter().chain(seat.view).map(|view| (core, view)));
            self.left.push(seat.pipe);
            self.comes_us = now_us + stage.random.pick(&[0, 300_000, 2_000_000]);
            return true;
        }
        is_busy
    }

    pub fn watch(&mut self, stage: &mut Stage) {
        if let Some(seat) = &mut self.seat {
            seat.watch(stage);
        }
        self.left.iter_mut().for_each(|pipe| pipe.watch(stage));
    }

    /// All is over: what it had is checked as a whole.
    pub fn finish(&mut self, stage: &mut Stage) {
        if let Some(seat) = self.seat.take() {
            let core = seat.core;
            self.finished.extend(seat.earlier.into_iter().chain(seat.view).map(|view| (core, view)));
        }
        for (core, view) in &self.finished {
            let mut notes = Vec::new();
            let finished = view.finish(&stage.ledger, |note| notes.push(note));
            notes.into_iter().for_each(|note| stage.note(|| note));
            match finished {
                Ok(skips) => self.skips[*core] += skips,
                Err(what) => stage.fail(&what),
            }
        }
    }
}

impl Seat {
    fn new(stage: &mut Stage, name: &'static str) -> Option<Self> {
        let core = stage.any_core();
        let peer = stage.world.address();
        let form = stage.random.pick(&[
            Form::Rtmp,
            Form::Rtmp,
            Form::Rtmp,
            Form::HttpFlv,
            Form::HttpFlvChunked,
            Form::WebsocketFlv,
        ]);
        let start = match stage.random.below(4) {
            0 => Start::Live,
            _ => stage.setup.config.play.start,
        };
        stage.note(|| format!("{peer} comes to play {name}, {form:?}, start {start}, core {core}"));
        let mut asked = Vec::new();
        let (socket, speaks) = match form {
            Form::Rtmp => {
                let socket = stage.sockets.connect(&mut stage.world, core, peer);
                let tag = stage.tag();
                let url =
                    format!("rtmp://relay/live/{name}?p={tag}&start={start}").parse().expect("an address");
                let fmle = stage.random.percent(50);
                let config = ClientConfig { url, role: Role::Play, chunk_size: ChunkSize::INITIAL, fmle };
                asked.push(Play { tag, requested: format!("live/{name}"), renamed: None, is_allowed: false });
                (socket, Speaks::Rtmp(Box::new(Client::new(config, stage.world.now_ms(), [2; 32]))))
            }
            form => {
                let ticket = stage.world.shared.admit_request(peer, false, stage.world.now_ms()).ok()?;
                let (socket, transport) = stage.sockets.request(&mut stage.world);
                let name = format!("live/{name}");
                let permit = stage.rights.permit(ticket.id(), peer, &name, stage.now_us());
                let player = HttpPlayer {
                    socket,
                    peer,
                    ticket,
                    stream: name,
                    client: None,
                    form,
                    transport,
                    permit,
                    start,
                    head: Bytes::from_static(flv::HEAD),
                    rest: Bytes::new(),
                };
                stage.world.mailboxes.post(core, Mail::Play(Box::new(player)));
                (socket, Speaks::Http(Box::new(flv::Reader::new(form))))
            }
        };
        let mut pipe = Pipe::new(socket, peer, stage);
        pipe.is_http = matches!(form, Form::HttpFlv | Form::HttpFlvChunked);
        pipe.pace = stage.random.pick(&[Pace::Fast, Pace::Fast, Pace::Pieces]);
        if stage.setup.has_slow_peers && stage.random.percent(30) {
            let bytes = stage.random.pick(&[200, 3_000, 30_000]);
            pipe.pace = Pace::Slow { bytes, every_us: stage.random.within(50..=400) * 1_000 };
        }
        let capacity = stage.random.pick(&[1_000, 8_000, 256 << 10]);
        stage.world.at(socket, |socket| socket.capacity = capacity);
        if let Some(random) = stage.setup.pauses.as_mut().filter(|_| form == Form::Rtmp)
            && random.percent(60)
        {
            let bytes = random.pick(&[200, 3_000]);
            pipe.pace = Pace::Slow { bytes, every_us: random.within(20..=200) * 1_000 };
        }
        let deed_us = stage.now_us() + stage.random.within(300..=4_000) * 1_000;
        Some(Self {
            pipe,
            core,
            speaks,
            view: None,
            earlier: Vec::new(),
            begun: VecDeque::new(),
            asked,
            wanted_again: VecDeque::new(),
            has_ended: false,
            deed_us,
            capacity,
            pause_us: if stage.setup.pauses.is_some() { stage.now_us() } else { NEVER },
            answered_by_us: stage.fair_us() + ANSWER_US,
            start,
            attentive_since_us: stage.fair_us(),
            vacant_since_us: None,
            has_stopped: false,
            reason: None,
            sent_close: false,
        })
    }

    /// The relay lets it play.
    pub fn playing(&mut self, stage: &mut Stage, stream: &str) {
        if let Speaks::Http(_) = self.speaks {
            self.begin(stage, stream.to_owned());
        } else {
            let is_it = |play: &Play| play.renamed.as_ref().unwrap_or(&play.requested) == stream;
            match self.asked.iter().position(is_it) {
                Some(at) if self.asked[at].is_allowed || !stage.setup.asks => {
                    self.asked.drain(..=at);
                }
                _ => stage.fail(&format!("{} plays {stream}, which was not allowed", self.pipe.peer)),
            }
            self.begun.push_back(stream.to_owned());
        }
    }

    fn begin(&mut self, stage: &mut Stage, stream: String) {
        let mut view = View::new(stream);
        view.has_own_times = !matches!(self.speaks, Speaks::Rtmp(_));
        self.earlier.extend(self.view.replace(view));
        self.has_stopped = false;
        (self.attentive_since_us, self.vacant_since_us) = (stage.fair_us(), None);
    }

    fn act(&mut self, stage: &mut Stage) -> bool {
        let now_us = stage.now_us();
        let mut is_busy = false;
        if now_us >= self.deed_us {
            self.deed_us = now_us + stage.random.within(200..=4_000) * 1_000;
            self.do_something(stage);
            is_busy = true;
        }
        if now_us >= self.pause_us {
            self.pause_if_blocked(stage);
        }
        self.poll(stage);
        let mut read = Vec::new();
        is_busy |= self.pipe.exchange(stage, &mut read);
        if !read.is_empty() {
            self.receive(stage, read);
        }
        if self.pipe.is_at_end(stage) && self.pipe.end.is_none() && stage.random.percent(40) {
            self.check_last(stage);
            self.pipe.go(stage, End::Finished);
            is_busy = true;
        }
        is_busy
    }

    fn receive(&mut self, stage: &mut Stage, read: Vec<u8>) {
        let peer = self.pipe.peer;
        match &mut self.speaks {
            Speaks::Rtmp(client) => {
                if let Err(error) = client.receive(read.into(), stage.world.now_ms()) {
                    stage.fail(&format!("what {peer} is sent cannot be read: {error}"));
                }
                self.poll(stage);
            }
            Speaks::Http(reader) => {
                let frames = match reader.feed(&read) {
                    Ok(frames) => frames,
                    Err(error) => stage.fail(&format!("what {peer} is sent cannot be read: {error}")),
                };
                self.has_ended |= reader.has_ended;
                for ping in std::mem::take(&mut reader.pings) {
                    self.pipe.send(&flv::masked(flv::PONG, &ping));
                }
                frames.iter().for_each(|frame| self.frame(stage, frame));
            }
        }
    }

    fn poll(&mut self, stage: &mut Stage) {
        while let Speaks::Rtmp(client) = &mut self.speaks
            && let Some(event) = client.poll()
        {
            match event {
                Event::Send(bytes) => self.pipe.send(&bytes),
                Event::Status(status) => self.status(stage, &status),
                Event::Frame(frame) => self.frame(stage, &frame),
                Event::Ended => self.has_ended = true,
                Event::Started => {}
            }
        }
    }

    fn frame(&mut self, stage: &mut Stage, frame: &fanfare::flv::Frame) {
        let max_lag_us = stage.setup.config.play.max_lag.as_micros() as u64;
        let fair_us = stage.fair_us();
        // Over HTTP it may have waited so long until it was known which kinds of media there are.
        let is_late = self.pipe.longest_wait_us(fair_us) + 500_000 > max_lag_us / 2
            || (matches!(self.speaks, Speaks::Http(_)) && max_lag_us <= KINDS_US + SLACK_US);
        let excuses = Excuses {
            is_slow: self.pipe.is_slow() || is_late || stage.setup.has_trouble,
            is_rough: stage.is_rough(),
            has_jumps: stage.setup.has_jumps,
        };
        let peer = self.pipe.peer;
        stage.note_frame(peer, frame);
        let Some(view) = &mut self.view else {
            stage.fail(&format!("{peer} gets a frame, and does not play"))
        };
        let skips = view.skips;
        if let Err(what) = view.frame(&mut stage.ledger, frame, excuses) {
            stage.fail(&format!("{peer}: {what}"));
        }
        if view.skips > skips {
            stage.note(|| format!("{peer} has been moved ahead"));
        }
    }

    fn status(&mut self, stage: &mut Stage, status: &Status) {
        let peer = self.pipe.peer;
        stage.note(|| format!("{peer} hears {} ({})", status.code, status.description));
        match (status.code.as_str(), &mut self.view) {
            ("NetStream.Play.Start", _) if !status.description.is_empty() => {
                let Some(stream) = self.begun.pop_front() else {
                    stage.fail(&format!("{peer} is notified of a play that it did not get"));
                };
                self.begin(stage, stream);
            }
            ("NetStream.Play.Start", Some(view)) => match self.wanted_again.pop_front() {
                Some(is_video) if self.wanted_again.contains(&is_video) => {}
                Some(true) => view.video_goes_on(),
                Some(false) => view.audio_goes_on(),
                None => stage.fail(&format!(
                    "{peer} is notified that a kind of media goes on, and did not ask for it"
                )),
            },
            ("NetStream.Pause.Notify", Some(view)) => view.is_paused = true,
            ("NetStream.Unpause.Notify", Some(view)) => (view.is_paused, view.may_move) = (false, true),
            ("NetStream.Play.Failed" | "NetStream.Play.StreamNotFound", _) => self.has_ended = true,
            _ => {}
        }
        self.attentive_since_us = stage.fair_us();
    }

    fn do_something(&mut self, stage: &mut Stage) {
        let is_playing = self.view.is_some() && self.asked.is_empty() && self.begun.is_empty();
        if self.pipe.end.is_some() {
            if self.pipe.is_one_sided && stage.random.percent(40) {
                self.pipe.go(stage, End::Reset);
            }
            return;
        }
        match stage.random.below(100) {
            0..20 if stage.setup.has_slow_peers => {
                let until_us = stage.now_us() + stage.random.pick(&[300, 1_500, 7_000]) * 1_000;
                self.pipe.reads_at_us = until_us;
                stage.note(|| format!("{} reads nothing for a while", self.pipe.peer));
            }
            20..32 => self.leave(stage),
            _ if !is_playing || self.has_ended => {}
            what => self.ask_for_something(stage, what),
        }
    }

    /// Pauses or resumes while a send to it waits for it to read; now and then its line is full before the send begins, so
    /// that the send waits between two messages.
    fn pause_if_blocked(&mut self, stage: &mut Stage) {
        let is_blocked = stage.world.at(self.pipe.socket, |socket| socket.is_send_blocked());
        let Some(random) = &mut stage.setup.pauses else { return };
        let (wait_ms, is_paused, is_full) = (random.within(20..=200), random.percent(60), random.percent(50));
        let capacity = self.capacity;
        stage.world.at(self.pipe.socket, |socket| {
            socket.capacity = if is_full { socket.to_peer.len().clamp(1, capacity) } else { capacity };
        });
        self.pause_us = stage.now_us() + wait_ms * 1_000;
        let is_playing = self.view.is_some() && !self.has_ended && self.pipe.end.is_none();
        if let Speaks::Rtmp(client) = &mut self.speaks
            && is_blocked
            && is_playing
        {
            client.send_command(&Command::call("pause", 0.0, [is_paused.into(), 0.0.into()]));
            stage.note(|| format!("{} asks to pause: {is_paused}, while a send waits", self.pipe.peer));
        }
    }

    fn leave(&mut self, stage: &mut Stage) {
        match (&mut self.speaks, stage.random.below(4)) {
            (_, 0) => self.pipe.go(stage, End::Reset),
            (_, 1) => self.pipe.go(stage, End::Finished),
            (Speaks::Rtmp(client), _) => {
                client.stop();
                self.poll(stage);
                let mut read = Vec::new();
                while self.pipe.sends_at_us <= stage.now_us() && self.pipe.exchange(stage, &mut read) {}
                self.pipe.go(stage, End::Finished);
            }
            (Speaks::Http(reader), _) if reader.form() == Form::WebsocketFlv => {
                self.pipe.send(&flv::masked(flv::CLOSE, &1_000_u16.to_be_bytes()));
                self.sent_close = true;
            }
            (Speaks::Http(_), _) => {
                // It has asked, and has nothing more to send.
                self.pipe.is_one_sided = true;
                self.pipe.end = Some((End::Finished, stage.fair_us()));
                let socket = self.pipe.socket;
                stage.world.at(socket, |socket| socket.peer_finished = true);
                stage.note(|| format!("{} closes its sending side", self.pipe.peer));
            }
        }
    }

    fn ask_for_something(&mut self, stage: &mut Stage, what: u64) {
        let peer = self.pipe.peer;
        let Some(view) = &mut self.view else { return };
        let client = match &mut self.speaks {
            Speaks::Rtmp(client) => client,
            Speaks::Http(reader) => {
                if reader.form() == Form::WebsocketFlv && !self.sent_close {
                    let op_code = stage.random.pick(&[flv::PING, flv::BINARY]);
                    self.pipe.send(&flv::masked(op_code, b"hello"));
                } else if reader.form() != Form::WebsocketFlv {
                    self.pipe.send(b"\r\n");
                }
                return;
            }
        };
        let number = 0.0;
        match what {
            32..52 => {
                let is_paused = stage.random.percent(50);
                stage.note(|| format!("{peer} asks to pause: {is_paused}"));
                client.send_command(&Command::call("pause", number, [is_paused.into(), 0.0.into()]));
            }
            52..62 => {
                let wants = stage.random.percent(50);
                stage.note(|| format!("{peer} asks for audio: {wants}"));
                view.ask_for_audio(wants);
                self.wanted_again.extend(wants.then_some(false));
                client.send_command(&Command::call("receiveAudio", number, [wants.into()]));
            }
            62..74 => {
                let wants = stage.random.percent(50);
                stage.note(|| format!("{peer} asks for video: {wants}"));
                view.ask_for_video(wants);
                self.wanted_again.extend(wants.then_some(true));
                client.send_command(&Command::call("receiveVideo", number, [wants.into()]));
            }
            74..86 if self.wanted_again.is_empty() => {
                let names = stage.setup.names;
                let (name, tag) = (stage.random.pick(names), stage.tag());
                stage.note(|| format!("{peer} plays {name} from now on"));
                let key = format!("{name}?p={tag}&start={}", self.start);
                client.send_command(&Command::call("play", number, [key.as_str().into(), (-1_000.0).into()]));
                let requested = format!("live/{name}");
                self.asked.push(Play { tag, requested, renamed: None, is_allowed: false });
                self.answered_by_us = self.answered_by_us.max(stage.fair_us() + ANSWER_US);
            }
            86..90 if self.wanted_again.is_empty() => {
                stage.note(|| format!("{peer} stops"));
                client.send_command(&Command::call("closeStream", number, []));
                self.has_stopped = true;
            }
            _ => {}
        }
    }

    /// The reason that the relay gives for the end of its play.
    pub fn play_ended(&mut self, stage: &mut Stage, stream: &str, reason: ReasonKind) {
        let fair_us = stage.fair_us();
        // Its end may have been decided before the publisher came, and be sent since.
        let is_live = stage.ledger.live(stream).is_some_and(|attempt| {
            fair_us > stage.ledger.attempts[attempt].live_us + stage.longest.send_timeout_us
        });
        let lives = stage.ledger.lives.get(stream).map_or(0, Vec::len);
        let is_right = match reason {
            ReasonKind::Stopped => true,
            ReasonKind::PeerClosed => self.pipe.end.is_some() || self.sent_close,
            // It may take its time to read the last of it, and the next encoder come meanwhile.
            ReasonKind::StreamNotFound | ReasonKind::Unpublished => !is_live || lives > 1,
            ReasonKind::OtherMedia => {
                lives > 1
                    || stage.setup.has_jumps
                    || self.view.as_ref().is_some_and(|view| view.has_own_times)
            }
            ReasonKind::ShuttingDown => stage.is_draining,
            ReasonKind::Kicked => stage.setup.kicks,
            ReasonKind::Expired => stage.rights.is_on,
            ReasonKind::SendTimeout => {
                stage.setup.stops_cores
                    || self.pipe.longest_wait_us(fair_us) + 500_000 > stage.shortest.send_timeout_us
            }
            ReasonKind::MemoryBudget => stage.setup.is_tight,
            _ => self.pipe.end.is_some(),
        };
        if !is_right {
            stage.fail(&format!("{} is ended for no reason: {reason:?}", self.pipe.peer));
        }
        if reason != ReasonKind::Stopped {
            self.reason = Some(reason);
        }
    }

    /// It has read its last.
    fn check_last(&self, stage: &mut Stage) {
        let Speaks::Http(reader) = &self.speaks else { return };
        let is_graceful = self.reason.is_some_and(|reason| {
            GRACEFUL.contains(&reason) || (reason == ReasonKind::PeerClosed && self.sent_close)
        });
        let has_end = reader.form() == Form::HttpFlv || reader.has_ended;
        // One that does not read is sent what there is for so long, and no longer.
        let is_slow = self.pipe.is_slow()
            || stage.setup.stops_cores
            || self.pipe.longest_wait_us(stage.fair_us()) + 500_000 > stage.shortest.send_timeout_us;
        let has_read = !self.pipe.is_gone() && !is_slow;
        if is_graceful && has_read && !(reader.is_at_boundary() && has_end) {
            stage.fail(&format!("{} is ended in the middle ({:?})", self.pipe.peer, self.reason));
        }
    }

    fn watch(&mut self, stage: &mut Stage) {
        self.pipe.watch(stage);
        let fair_us = stage.fair_us();
        let peer = self.pipe.peer;
        let is_over = self.has_ended
            || self.pipe.is_gone()
            || self.sent_close
            || stage.world.at(self.pipe.socket, |it| it.shut_send || it.is_closed);
        let is_slow = self.pipe.is_slow() || self.pipe.reads_at_us > stage.now_us();
        let is_asking = !self.asked.is_empty() || !self.begun.is_empty();
        if is_asking
            && !is_over
            && fair_us > self.answered_by_us
            && !is_slow
            && self.pipe.longest_wait_us(fair_us) < 100_000
        {
            stage.fail(&format!("{peer} has waited too long for the answer to its play"));
        }
        let is_asking = is_asking || self.has_stopped;
        let Some(view) = self.view.as_ref().filter(|_| !is_over && !is_slow && !is_asking) else {
            (self.attentive_since_us, self.vacant_since_us) = (fair_us, None);
            return;
        };
        let Some(attempt) = stage.ledger.live(&view.stream) else {
            self.attentive_since_us = fair_us;
            let since_us = *self.vacant_since_us.get_or_insert(fair_us);
            if fair_us > since_us + patience_us(stage) {
                stage.fail(&format!("{peer} still waits for {}", view.stream));
            }
            return;
        };
        self.vacant_since_us = None;
        // A send that finds no memory waits for a tick each time: large frames come slower than they are published.
        let is_hindered = stage.is_rough() || stage.setup.has_trouble;
        if view.is_paused || view.lacks_audio || view.lacks_video || is_hindered {
            self.attentive_since_us = fair_us;
            return;
        }
        self.check_freshness(stage, attempt);
    }

    /// What the relay has received for some time is with the player.
    fn check_freshness(&self, stage: &mut Stage, attempt: usize) {
        let Some(view) = &self.view else { return };
        let fair_us = stage.fair_us();
        if self.attentive_since_us + FRESH_US > fair_us {
            return;
        }
        let it = &stage.ledger.attempts[attempt];
        let received = it.received.iter().rev().find(|(_, at_us)| at_us + FRESH_US <= fair_us);
        let Some(&(count, _)) = received.filter(|(count, _)| *count > 0) else { return };
        let last = match view.at {
            Some((seen, number)) if seen == attempt => Some(number),
            Some(_) => None,
            None => {
                // It begins with a key frame; with the next one, if it asked for that.
                let from_us = if self.start == Start::Live { self.attentive_since_us } else { 0 };
                let is_key =
                    |&number: &usize| it.begins_key_frame(number) && it.frames[number].at_us > from_us;
                // The log of its form is made with the next frame that comes.
                let has_log = !view.has_own_times || it.frames[count - 1].at_us > self.attentive_since_us;
                let can_begin = has_log && (0..count).any(|number| is_key(&number));
                if can_begin {
                    stage.fail(&format!("{} has not begun with attempt {attempt}", self.pipe.peer));
                }
                return;
            }
        };
        let from = last.map_or(0, |number| number + 1);
        let missing = (from..count).find(|&number| view.wants(&stage.ledger, attempt, number));
        if let Some(missing) = missing {
            stage.fail(&format!(
                "{} has {:?} of {attempt}, and {missing} has come {} ms ago",
                self.pipe.peer,
                view.at,
                (fair_us - it.frames[missing].at_us) / 1_000
            ));
        }
    }
}

const GRACEFUL: [ReasonKind; 6] = [
    ReasonKind::Expired,
    ReasonKind::StreamNotFound,
    ReasonKind::Unpublished,
    ReasonKind::OtherMedia,
    ReasonKind::ShuttingDown,
    ReasonKind::Kicked,
];

/// How long a player waits at most for a name that is not published.
fn patience_us(stage: &Stage) -> u64 {
    let config = &stage.setup.config;
    let grace = config.publish.publisher_grace + config.play.max_lag;
    grace.max(config.play.wait_for_publisher).as_micros() as u64 + SWEEP_US + SLACK_US
}
