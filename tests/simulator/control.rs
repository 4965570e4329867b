//! The control plane: asks for reports, ends connections, and checks that what cores report fits together.

use std::sync::{Arc, Mutex};

use fanfare::endpoint::{
    Mail, ReasonKind, Reply,
    report::{ConnectionReport, ConnectionRole, CoreReport},
};

use super::stage::{SLACK_US, Stage};

#[derive(Default)]
pub struct Control {
    /// What was asked for and has not come, with the fair time of the question.
    asked: Vec<(u64, Slot<Vec<ConnectionReport>>)>,
    kicked: Vec<(u64, Slot<bool>)>,
    known: Vec<ConnectionReport>,
    last: Vec<Option<Arc<CoreReport>>>,
}

type Slot<T> = Arc<Mutex<Option<T>>>;

struct ReplySlot<T> {
    slot: Slot<T>,
    is_wanted: bool,
}

impl<T: Send> Reply<T> for ReplySlot<T> {
    fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    fn send(self: Box<Self>, answer: T) {
        *self.slot.lock().unwrap() = Some(answer);
    }
}

impl Control {
    pub fn act(&mut self, stage: &mut Stage) {
        let fair_us = stage.fair_us();
        let core = stage.random.below(stage.setup.cores as u64) as usize;
        let slot = Slot::default();
        let reply = ReplySlot { slot: slot.clone(), is_wanted: true };
        stage.world.mailboxes.post(core, Mail::Report(Box::new(reply)));
        self.asked.push((fair_us, slot));
        if stage.setup.kicks && stage.random.percent(40) && !self.known.is_empty() {
            let at = stage.random.below(self.known.len() as u64) as usize;
            let it = &self.known[at];
            let slot = Slot::default();
            let reply = ReplySlot { slot: slot.clone(), is_wanted: true };
            let one = it.role == ConnectionRole::Publisher && stage.random.percent(50);
            let stream = it.stream.as_deref().filter(|_| one).map(Arc::from);
            let (core, connection_id, role, peer) = (it.core, it.id, it.role, it.peer);
            stage.note(|| format!("{peer} is to be ended by the operator"));
            stage
                .world
                .mailboxes
                .post(core, Mail::End { connection_id, role, stream, reply: Box::new(reply) });
            self.kicked.push((fair_us, slot));
        }
    }

    /// Fails the run where an answer does not come, or reports contradict each other.
    pub fn watch(&mut self, stage: &mut Stage) {
        let fair_us = stage.fair_us();
        let known = &mut self.known;
        self.asked.retain(|(_, slot)| match slot.lock().unwrap().take() {
            Some(reports) => {
                *known = reports;
                false
            }
            None => true,
        });
        self.kicked.retain(|(_, slot)| slot.lock().unwrap().is_none());
        let asked = self.asked.iter().map(|it| it.0).chain(self.kicked.iter().map(|it| it.0));
        if asked.min().is_some_and(|since_us| fair_us > since_us + SLACK_US) {
            stage.fail("a core does not answer the control plane");
        }
        let reports = stage.world.shared.reports();
        self.last.resize(reports.len(), None);
        for (last, report) in self.last.iter_mut().zip(reports) {
            if let Some(what) = last.as_ref().and_then(|last| goes_back(last, &report)) {
                stage.fail(&format!("core {}: {what} goes back", report.core));
            }
            *last = Some(report);
        }
    }

    /// All connections have ended.
    pub fn finish(&mut self, stage: &mut Stage, skips: &[u64]) {
        self.watch(stage);
        for report in stage.world.shared.reports() {
            let core = report.core;
            let now = (report.connections, report.publishers, report.players, report.streams.len());
            if now != (0, 0, [0; 3], 0) {
                stage.fail(&format!("core {core} still reports {now:?}"));
            }
            if report.ends.iter().sum::<u64>() != report.connects {
                stage.fail(&format!("core {core}: {} connects, ends {:?}", report.connects, report.ends));
            }
            let moved = stage.world.net.borrow().moved[core];
            let counted = (report.bytes_in, report.bytes_out.iter().sum::<u64>());
            if counted != (moved.received, moved.sent) {
                stage.fail(&format!("core {core} counts {counted:?} bytes, and has moved {moved:?}"));
            }
            if report.skips < skips[core] && !stage.is_rough() {
                stage.fail(&format!(
                    "core {core}: players lack {} times, and it counts {} skips",
                    skips[core], report.skips
                ));
            }
            let ended = |kind: ReasonKind| report.ends[kind.index()];
            let has_strangers = stage.setup.strangers > 0;
            let wrong = [
                (ReasonKind::Violation, has_strangers),
                (ReasonKind::UnreadAnswers, has_strangers),
                (ReasonKind::MessageRate, false),
                (ReasonKind::PublisherRate, false),
                (ReasonKind::Kicked, stage.setup.kicks),
                (ReasonKind::Expired, stage.rights.is_on),
                (ReasonKind::MemoryBudget, stage.setup.is_tight),
                (ReasonKind::ShuttingDown, stage.is_draining),
            ];
            if let Some((kind, _)) = wrong.into_iter().find(|&(kind, may_be)| !may_be && ended(kind) > 0) {
                stage.fail(&format!("core {core} has ended {} for {}", ended(kind), kind.label()));
            }
        }
    }
}

fn goes_back(last: &CoreReport, report: &CoreReport) -> Option<&'static str> {
    let counts = |it: &CoreReport| {
        [
            ("connects", it.connects),
            ("taken_in", it.taken_in),
            ("bytes_in", it.bytes_in),
            ("frames_in", it.frames_in),
            ("sends", it.sends),
            ("skips", it.skips),
            ("passes", it.passes),
            ("bytes_out", it.bytes_out.iter().sum()),
            ("ends", it.ends.iter().sum()),
        ]
    };
    counts(last).into_iter().zip(counts(report)).find(|(last, now)| now.1 < last.1).map(|(last, _)| last.0)
}
