//! What a service is told of sessions: that one has ended, once, and from time to time that one goes on. Costs nothing where
//! no service is told: then a session keeps no question.

use super::{
    core::{Endpoint, millis},
    io::Io,
    permit::Permit,
};
use crate::{
    access::{Notice, NoticeKind},
    stream::Stream,
};

/// What there is to tell of a session.
pub(super) struct Progress {
    pub name: String,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub duration_ms: u64,
    pub timestamp_ms: u32,
    pub reason: &'static str,
}

impl<I: Io> Endpoint<I> {
    /// Tells the service of this session, if it wants to hear that.
    pub(super) fn tell(
        &self,
        kind: NoticeKind,
        permit: &Option<Box<Permit>>,
        progress: impl FnOnce() -> Progress,
    ) {
        let Some(question) = permit.as_ref().and_then(|permit| permit.question()) else { return };
        let config = self.shared.config();
        let addresses = match kind {
            NoticeKind::Unpublished => &config.hooks.on_unpublish,
            NoticeKind::Stopped => &config.hooks.on_stop,
            NoticeKind::Closed => &config.hooks.on_close,
            NoticeKind::Update => &config.hooks.on_update,
        };
        if addresses.is_empty() {
            return;
        }
        let Progress { name, sent_bytes, received_bytes, duration_ms, timestamp_ms, reason } = progress();
        let question = question.clone();
        self.shared.service().tell(Notice {
            kind,
            question,
            name,
            sent_bytes,
            received_bytes,
            duration_ms,
            timestamp_ms,
            reason,
        });
    }

    /// Tells the service what goes on here, if it is time.
    pub(super) fn check_updates(&mut self, key: usize) {
        let now_ms = self.now.ms;
        let hooks = &self.shared.config().hooks;
        if hooks.on_update.is_empty() {
            return;
        }
        let interval_ms = millis(hooks.update_interval);
        let is_due = |permit: &mut Option<Box<Permit>>| {
            permit.as_mut().is_some_and(|permit| permit.is_update_due(interval_ms, now_ms))
        };
        let connection = &mut self.connections[key];
        if connection.is_closing() {
            return;
        }
        let playing = connection.playing.as_mut().is_some_and(|playing| is_due(&mut playing.permit));
        let live = connection.publishing.iter_mut().enumerate().filter(|(_, it)| it.publication().is_some());
        let due: Vec<usize> = live.filter_map(|(at, it)| is_due(&mut it.permit).then_some(at)).collect();
        let connection = &self.connections[key];
        if let Some(playing) = connection.playing.as_ref().filter(|_| playing) {
            self.tell(NoticeKind::Update, &playing.permit, || Progress {
                name: playing.name.to_string(),
                sent_bytes: connection.bytes_out - playing.bytes_out_before,
                received_bytes: 0,
                duration_ms: now_ms - playing.since_ms,
                timestamp_ms: newest_ms(self.hub.stream(playing.key)),
                reason: "",
            });
        }
        for publishing in due.into_iter().map(|at| &connection.publishing[at]) {
            self.tell(NoticeKind::Update, &publishing.permit, || Progress {
                name: publishing.name.to_string(),
                sent_bytes: 0,
                received_bytes: publishing.bytes,
                duration_ms: now_ms - publishing.since_ms,
                timestamp_ms: publishing.timestamp_ms,
                reason: "",
            });
        }
    }
}

/// Time of the newest frame of a stream, as of the last half second; 0 before one came.
pub(super) fn newest_ms(stream: &Stream) -> u32 {
    stream.facts().newest.map_or(0, |newest| newest.timestamp_ms)
}
