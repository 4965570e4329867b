//! When a publisher's core tells the others of growth that waits for a picture: after `merge`, or a little later where
//! the picture is about to come.

use std::cmp::Reverse;

use super::core::Core;
use crate::rtmp::session::MessageStreamId;

/// Growth that waits for a picture.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Untold {
    /// When it has waited long enough, microseconds.
    pub(super) due_us: u64,
    /// The publisher's connection, and its number.
    key: usize,
    connection_id: u64,
    message_stream_id: MessageStreamId,
    /// It has had its time, and waits because the picture is near.
    has_waited: bool,
}

impl Core {
    /// A publisher's growth waits for a picture to go out with, but not for long.
    pub(super) fn tell_soon(&mut self, key: usize, message_stream_id: MessageStreamId) {
        let connection_id = self.connections[key].id;
        let due_us = self.clock_us() + self.common.config().play.merge_window.as_micros() as u64;
        self.tell_at(Untold { due_us, key, connection_id, message_stream_id, has_waited: false });
    }

    fn tell_at(&mut self, untold: Untold) {
        if let Some(publishing) = self.connections[untold.key].publishing_on(untold.message_stream_id) {
            publishing.untold_until_us = untold.due_us;
            self.untold.push(Reverse(untold));
        }
    }

    /// Tells of growth that has waited long enough.
    pub(super) fn tell_of_growth(&mut self, now_us: u64) {
        while self.untold.peek().is_some_and(|Reverse(untold)| untold.due_us <= now_us) {
            let Some(Reverse(untold)) = self.untold.pop() else { return };
            let Untold { due_us, key, connection_id, message_stream_id, has_waited } = untold;
            let connection = self.connections.get_mut(key).filter(|it| it.id == connection_id);
            let Some(publishing) = connection.and_then(|it| it.publishing_on(message_stream_id)) else {
                continue;
            };
            // Told with a picture since, and other frames wait now: their time comes.
            let Some(publication) =
                publishing.publication.as_mut().filter(|_| publishing.untold_until_us == due_us)
            else {
                continue;
            };
            match publication.picture_is_near(self.now_ms).filter(|_| !has_waited) {
                Some(near_us) => {
                    let budget_us = self.common.config().play.latency_budget.as_micros() as u64;
                    let due_us = now_us + near_us.min(budget_us);
                    self.tell_at(Untold { due_us, key, connection_id, message_stream_id, has_waited: true });
                }
                None => publication.tell(),
            }
        }
    }
}
