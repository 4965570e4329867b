//! One run: a relay and all its peers, from the first to the last, by one seed.

use fanfare::{
    access::{Action, Question, Verdict},
    endpoint::{Mail, TICK, report::RelayEvent},
};

use super::{
    camera::{ANSWER_US, Camera},
    control::Control,
    pipe::End,
    player::Player,
    random::Random,
    rights::{Grants, Rights},
    rules::{Decided, Judge, Rules, tag},
    setup::{Setup, vary},
    sockets::Sockets,
    stage::{SLACK_US, SWEEP_US, Stage},
    stranger::Stranger,
    world::World,
};

/// How long a service may take to decide, and how much later that may be seen.
const VERDICT_US: u64 = 10_000_000 + SWEEP_US + SLACK_US;
/// How often all is looked at.
const WATCH_US: u64 = 200_000;
/// Runs in which a core stands still alone: so many of a hundred, chosen apart from all else of a run.
const STOPS_PERCENT: u64 = 10;
const STOPS_SALT: u64 = 0x5707;
/// Runs in which players pause while they read slowly, chosen in the same way.
const PAUSES_PERCENT: u64 = 20;
const PAUSES_SALT: u64 = 0x9A05E;
/// More rounds at one moment are a relay that spins.
const MAX_ROUNDS: usize = 20_000;
/// When the relay's clock begins, milliseconds: any time, and shortly before its 32 bits are full.
const STARTS_MS: [u64; 4] = [1_000, 1_000, (1 << 31) - 8_000, (1 << 32) - 8_000];

/// What a run comes to.
pub struct Outcome {
    /// Of all bytes, in order.
    pub digest: u64,
    pub trace: Option<String>,
}

struct Run {
    stage: Stage,
    cameras: Vec<Camera>,
    players: Vec<Player>,
    strangers: Vec<Stranger>,
    control: Control,
    judge: Judge,
    decided: Decided,
    watch_us: u64,
    fate_us: u64,
    /// When the core goes on that stands still.
    starts_us: u64,
}

/// Runs the scenario of this seed, and fails where the relay does wrong.
pub fn run(seed: u64, is_traced: bool) -> Outcome {
    let mut run = Run::new(seed, is_traced);
    let end_us = run.stage.now_us() + run.stage.setup.length_us;
    run.until(end_us);
    if run.stage.setup.ends_by_drain {
        run.drain()
    } else {
        run.leave()
    }
    run.finish();
    Outcome { digest: run.stage.world.digest(), trace: run.stage.take_trace() }
}

impl Run {
    fn new(seed: u64, is_traced: bool) -> Self {
        let mut random = Random::new(seed);
        let mut setup = Setup::new(&mut random);
        if setup.cores > 1 && Random::new(seed ^ STOPS_SALT).percent(STOPS_PERCENT) {
            setup.stop_cores();
        }
        let mut pauses = Random::new(seed ^ PAUSES_SALT);
        if pauses.percent(PAUSES_PERCENT) {
            setup.pause_often(pauses);
        }
        let decided = Decided::default();
        let (rights, grants) = (Rights::new(seed), Grants::new(seed, 1));
        grants.configure(&mut setup.config);
        let rules = Rules {
            asks: setup.asks,
            seed: random.below(u64::MAX).into(),
            decided: decided.clone(),
            grants: grants.into(),
        };
        let weather = Box::new(setup.weather.take());
        let start_us = random.pick(&STARTS_MS) * 1_000;
        let world = World::with(setup.cores, setup.config.clone(), Box::new(rules), weather, start_us);
        world.shared.service().connect(Box::new(rights.told.clone()));
        let (cameras, players, strangers) = (setup.cameras, setup.players, setup.strangers);
        let mut stage = Stage::new(world, random, setup, rights, Sockets::new(seed), is_traced);
        let what = format!(
            "{} cores, {cameras} cameras, {players} players, {strangers} strangers, asks: {}, tight: {}, stands still: {}",
            stage.setup.cores, stage.setup.asks, stage.setup.is_tight, stage.setup.stands_still
        );
        stage.note(|| what);
        Self {
            cameras: (0..cameras).map(|_| Camera::new(&mut stage)).collect(),
            players: (0..players).map(|_| Player::new(&mut stage)).collect(),
            strangers: (0..strangers).map(|_| Stranger::new(&mut stage)).collect(),
            control: Control::default(),
            judge: Judge::new(Grants::new(seed, 2)),
            decided,
            watch_us: start_us,
            fate_us: start_us + 1_000_000,
            starts_us: u64::MAX,
            stage,
        }
    }

    /// Lets time pass, with all that happens in it.
    fn until(&mut self, end_us: u64) {
        let mut turns_at = (0, 0);
        loop {
            self.settle();
            let now_us = self.stage.now_us();
            turns_at = if turns_at.0 == now_us { (now_us, turns_at.1 + 1) } else { (now_us, 0) };
            if turns_at.1 > MAX_ROUNDS {
                self.stage.fail("time stands still");
            }
            if now_us >= self.watch_us {
                self.watch_us = now_us + WATCH_US;
                self.watch();
            }
            if now_us >= self.starts_us {
                self.start_core();
            }
            if now_us >= self.fate_us {
                let pause_ms = self.stage.random.within(200..=3_000);
                self.fate_us = now_us + pause_ms * 1_000;
                self.decide_fate();
            }
            let next_us = self.next_us();
            if next_us.min(now_us) >= end_us {
                return;
            }
            self.stage.world.advance_to(next_us.min(end_us));
        }
    }

    /// Lets so much time pass in which cores do not stand still.
    fn pass_fairly(&mut self, us: u64) {
        let end_us = self.stage.fair_us() + us;
        while self.stage.fair_us() < end_us {
            self.until(self.stage.now_us() + end_us - self.stage.fair_us());
        }
    }

    fn next_us(&self) -> u64 {
        let stage = &self.stage;
        let cameras = self.cameras.iter().map(|it| it.due_us(stage));
        let players = self.players.iter().map(|it| it.due_us(stage));
        let strangers = self.strangers.iter().map(|it| it.due_us(stage));
        let peers = cameras.chain(players).chain(strangers).min().unwrap_or(u64::MAX);
        let others = self.judge.due_us().unwrap_or(u64::MAX).min(self.watch_us).min(self.fate_us);
        let others = others.min(self.starts_us);
        stage.world.next_us().min(peers).min(others)
    }

    /// All do what there is to do now, in whatever order.
    fn settle(&mut self) {
        for _ in 0..MAX_ROUNDS {
            let mut is_busy = false;
            let cores = self.stage.setup.cores;
            let first = self.stage.random.below(cores as u64) as usize;
            for core in (0..cores).map(|core| (first + core) % cores) {
                is_busy |= !self.stage.is_stopped(core) && self.stage.world.round(core);
                self.hear();
            }
            for at in 0..self.cameras.len() {
                if self.stage.random.percent(90) {
                    is_busy |= self.cameras[at].act(&mut self.stage);
                } else {
                    is_busy |= self.cameras[at].due_us(&self.stage) <= self.stage.now_us();
                }
            }
            for at in 0..self.players.len() {
                if self.stage.random.percent(90) {
                    is_busy |= self.players[at].act(&mut self.stage);
                } else {
                    is_busy |= self.players[at].due_us(&self.stage) <= self.stage.now_us();
                }
            }
            for stranger in &mut self.strangers {
                is_busy |= stranger.act(&mut self.stage);
            }
            is_busy |= self.answer();
            if !is_busy || self.stage.random.below(200) == 0 {
                return;
            }
        }
        self.stage.fail("the relay and its peers do not come to rest");
    }

    /// Takes note of the relay's events and questions.
    fn hear(&mut self) {
        let decided = std::mem::take(&mut *self.decided.lock().unwrap());
        for (question, verdict) in decided {
            let now_us = self.stage.now_us();
            self.note_verdict(&question, &verdict, now_us);
        }
        let now_us = self.stage.now_us();
        let asked = std::mem::take(&mut self.stage.world.net.borrow_mut().questions);
        for (asked, question) in asked {
            self.stage.note(|| {
                format!("{} is to be decided: {:?} {}", question.peer, question.action, question.name)
            });
            self.give_time(&question, VERDICT_US);
            self.judge.think(&mut self.stage.random, asked, question, now_us);
        }
        let events = std::mem::take(&mut *self.stage.world.events.0.lock().unwrap());
        events.into_iter().for_each(|event| self.note_event(event));
        let told = self.stage.rights.check_told();
        self.stage.insist(told);
    }

    fn note_event(&mut self, event: RelayEvent) {
        let stage = &mut self.stage;
        stage.note(|| format!("{event:?}"));
        match event {
            RelayEvent::Publishing { peer, stream, .. } => {
                let fair_us = stage.fair_us();
                // Of one connection one is open at a time.
                let asked = stage
                    .ledger
                    .attempts
                    .iter()
                    .rposition(|it| it.peer == peer && it.order.is_none() && it.stream() == stream);
                let Some(attempt) = asked else { stage.fail(&format!("{peer} publishes {stream}, unasked")) };
                if stage.setup.asks && !stage.ledger.attempts[attempt].is_allowed {
                    stage.fail(&format!("{peer} publishes {stream}, which was not allowed"));
                }
                if stage.ledger.live(&stream).is_some() {
                    stage.fail(&format!("{stream} has two publishers"));
                }
                stage.ledger.came(attempt, fair_us);
                let begun = stage.rights.begun(Action::Publish, peer, &stream, stage.now_us());
                stage.insist(begun);
            }
            RelayEvent::PublishEnded { peer, stream, reason, .. } => {
                let Some(attempt) = stage.ledger.live(&stream) else {
                    stage.fail(&format!("{stream} is not published"));
                };
                if stage.ledger.attempts[attempt].peer != peer {
                    stage.fail(&format!("{peer} does not publish {stream}"));
                }
                stage.ledger.attempts[attempt].is_live = false;
                let ended = stage.rights.ended(Action::Publish, peer, &stream, reason.kind, stage.now_us());
                stage.insist(ended);
                let line = self.cameras.iter_mut().find_map(|it| it.line_of(peer));
                if let Some(line) = line {
                    line.ended(stage, attempt, reason.kind);
                }
            }
            RelayEvent::Playing { peer, stream, .. } => {
                let begun = stage.rights.begun(Action::Play, peer, &stream, stage.now_us());
                stage.insist(begun);
                if let Some(seat) = self.players.iter_mut().find_map(|it| it.seat_of(peer)) {
                    seat.playing(stage, &stream);
                }
            }
            RelayEvent::PlayEnded { peer, stream, reason, .. } => {
                let ended = stage.rights.ended(Action::Play, peer, &stream, reason.kind, stage.now_us());
                stage.insist(ended);
                if let Some(seat) = self.players.iter_mut().find_map(|it| it.seat_of(peer)) {
                    seat.play_ended(stage, &stream, reason.kind);
                }
            }
            RelayEvent::Denied { .. } | RelayEvent::Refused { .. } | RelayEvent::Draining => {}
        }
    }

    fn answer(&mut self) -> bool {
        let now_us = self.stage.now_us();
        let Some(answer) = self.judge.answer(now_us) else { return false };
        if !answer.is_second {
            self.note_verdict(&answer.question, &answer.verdict, answer.asked_us);
        }
        self.stage.note(|| format!("{} hears {:?}", answer.question.peer, answer.verdict));
        let (asked, verdict) = (answer.asked, answer.verdict);
        self.stage.world.mailboxes.post(asked.connection.core, Mail::Verdict { asked, verdict });
        true
    }

    /// A question that was asked at this time is decided.
    fn note_verdict(&mut self, question: &Question, verdict: &Verdict, asked_us: u64) {
        self.give_time(question, 0);
        let is_name = |name: &&String| !name.is_empty();
        let renamed = match verdict {
            Verdict::Allow(grant) => {
                let now_us = self.stage.now_us();
                self.stage.rights.allowed(question, grant, asked_us, now_us);
                grant.name.as_ref().filter(is_name).cloned()
            }
            Verdict::Redirect(_) | Verdict::Deny(_) => return,
        };
        match question.action {
            Action::Connect | Action::Api => {}
            Action::Publish => {
                let attempt = tag(question, "a").and_then(|tag| self.stage.ledger.attempts.get_mut(tag));
                if let Some(attempt) = attempt {
                    (attempt.is_allowed, attempt.renamed) = (true, renamed);
                }
            }
            Action::Play => {
                let seat = self.players.iter_mut().find_map(|it| it.seat_of(question.peer));
                let play =
                    seat.and_then(|it| it.asked.iter_mut().find(|play| Some(play.tag) == tag(question, "p")));
                if let Some(play) = play {
                    (play.is_allowed, play.renamed) = (true, renamed);
                }
            }
        }
    }

    /// The peer that asks need not be answered for so much longer.
    fn give_time(&mut self, question: &Question, us: u64) {
        let until_us = self.stage.fair_us() + us;
        if let Some(line) = self.cameras.iter_mut().find_map(|it| it.line_of(question.peer)) {
            line.answered_by_us = self.stage.fair_us_of(line.core) + us + ANSWER_US;
            line.pipe.holds_until_us = until_us;
            if us > 0 {
                line.stands(&mut self.stage);
            }
        }
        if let Some(seat) = self.players.iter_mut().find_map(|it| it.seat_of(question.peer)) {
            seat.answered_by_us = until_us + ANSWER_US;
            seat.pipe.holds_until_us = until_us;
        }
        let strangers = self.strangers.iter_mut().filter_map(|it| it.pipe.as_mut());
        strangers.filter(|pipe| pipe.peer == question.peer).for_each(|pipe| pipe.holds_until_us = until_us);
    }

    fn watch(&mut self) {
        let stage = &mut self.stage;
        self.cameras.iter_mut().for_each(|it| it.watch(stage));
        self.players.iter_mut().for_each(|it| it.watch(stage));
        self.strangers.iter_mut().for_each(|it| it.watch(stage));
        self.control.watch(stage);
        self.watch_rights();
    }

    fn watch_rights(&mut self) {
        let stage = &mut self.stage;
        let (now_us, fair_us, timeout_us) = (stage.now_us(), stage.fair_us(), stage.longest.send_timeout_us);
        let players = &mut self.players;
        let watched = stage.rights.watch(now_us, fair_us, |peer| {
            let seat = players.iter_mut().find_map(|it| it.seat_of(peer));
            let is_prompt =
                seat.is_some_and(|seat| !seat.pipe.is_slow() && seat.pipe.longest_wait_us(fair_us) < 100_000);
            if is_prompt { 0 } else { timeout_us }
        });
        stage.insist(watched);
    }

    /// What neither encoders nor players do.
    fn decide_fate(&mut self) {
        self.control.act(&mut self.stage);
        self.stop_core();
        let stage = &mut self.stage;
        if stage.setup.stands_still && stage.random.percent(30) {
            let ms = stage.random.pick(&[300, 1_500, 4_000]);
            stage.stand_still_ms(ms);
        }
        if stage.setup.reconfigures && stage.random.percent(30) {
            let mut config = stage.setup.config.clone();
            vary(&mut stage.random, &mut config);
            stage.note(|| "another configuration".to_owned());
            stage.configure(config);
        }
    }

    /// Lets a core stand still, with a publisher whose name another one wants, if there is one.
    fn stop_core(&mut self) {
        let stage = &mut self.stage;
        let may_stop = stage.setup.stops_cores && !stage.is_draining && self.starts_us == u64::MAX;
        if !may_stop || stage.random.percent(60) {
            return;
        }
        let live = self.cameras.iter().find_map(|it| it.live_on(stage));
        let core = live.map_or_else(|| stage.any_core(), |(core, _)| core);
        let ms = stage.random.pick(&[1_500, 10_000, 10_000]);
        self.starts_us = stage.now_us() + ms * 1_000;
        stage.stop_core(core);
        self.cameras.iter().filter_map(|it| it.line_on(core)).for_each(|it| it.stands(stage));
        if let Some((_, name)) = live {
            self.cameras.iter_mut().for_each(|it| it.want(stage, name));
        }
    }

    fn start_core(&mut self) {
        self.starts_us = u64::MAX;
        self.stage.start_core();
    }

    fn drain(&mut self) {
        self.start_core();
        self.stage.note(|| "the relay drains".to_owned());
        self.stage.is_draining = true;
        self.stage.world.shared.drain();
        for core in 0..self.stage.setup.cores {
            self.stage.world.mailboxes.post(core, Mail::Drain);
        }
        // What is half sent, then the peer's own end.
        let longest_us = self.stage.longest.send_timeout_us * 2 + 2_000_000 + SWEEP_US * 2 + SLACK_US;
        self.pass_fairly(longest_us);
        if !self.stage.world.cores.iter().all(|core| core.has_drained()) {
            self.stage.fail("the relay has not drained");
        }
    }

    fn leave(&mut self) {
        self.start_core();
        self.stage.note(|| "all peers leave".to_owned());
        self.stage.is_draining = true;
        let stage = &mut self.stage;
        let cameras = self.cameras.iter_mut().flat_map(Camera::pipes);
        let players = self.players.iter_mut().flat_map(Player::pipes);
        let strangers = self.strangers.iter_mut().filter_map(|it| it.pipe.as_mut());
        for pipe in cameras.chain(players).chain(strangers) {
            let end = stage.random.pick(&[End::Finished, End::Reset]);
            pipe.go(stage, end);
        }
        self.pass_fairly(SWEEP_US + SLACK_US);
    }

    /// All has been given back.
    fn finish(&mut self) {
        // Ledgers are posted and reports published with ticks.
        self.pass_fairly(10 * TICK.as_micros() as u64);
        let stage = &mut self.stage;
        let mut skips = vec![0; stage.setup.cores];
        for player in &mut self.players {
            player.finish(stage);
            skips.iter_mut().zip(&player.skips).for_each(|(sum, more)| *sum += more);
        }
        self.control.finish(stage, &skips);
        let finished = stage.rights.finish();
        stage.insist(finished);
        let open = stage.world.net.borrow().sockets.iter().filter(|socket| !socket.is_closed).count();
        if open > 0 {
            stage.fail(&format!("{open} sockets are open"));
        }
        let inside = stage.world.shared.admission().connections();
        if inside > 0 {
            stage.fail(&format!("{inside} connections are counted at admission"));
        }
        let registry = stage.world.shared.registry();
        let (streams, bytes) = (registry.len(), registry.memory().bytes());
        if streams > 0 || bytes > 0 {
            stage.fail(&format!("{streams} streams and {bytes} bytes are left"));
        }
    }
}
