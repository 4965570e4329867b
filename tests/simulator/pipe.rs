//! One connection as its peer has it: how it reads and sends, and how it goes; and what the relay owes to any connection,
//! whatever is spoken on it.

use std::{collections::VecDeque, net::SocketAddr};

use super::{
    stage::{SLACK_US, SWEEP_US, Stage},
    world::SocketId,
};

pub struct Pipe {
    pub socket: SocketId,
    pub peer: SocketAddr,
    unsent: VecDeque<u8>,
    pub pace: Pace,
    /// It reads and sends no earlier than this.
    pub reads_at_us: u64,
    pub sends_at_us: u64,
    /// How it has gone, and when.
    pub end: Option<(End, u64)>,
    /// The relay goes on sending to one that has closed its sending side: it is gone when it resets the connection.
    pub is_http: bool,
    /// It has closed its sending side alone, and goes on reading.
    pub is_one_sided: bool,
    /// The relay may leave its input unread until then: a question of its is open.
    pub holds_until_us: u64,
    /// Since when there is something to read, and for how long there has been at most.
    waits_since_us: Option<u64>,
    longest_wait_us: u64,
    /// Since when the relay's send waits for the peer to read.
    blocked_since_us: Option<u64>,
    /// Since when the relay has shut its side.
    shut_since_us: Option<u64>,
    /// What the relay had read when it was last looked at, and since when.
    pushed: u64,
    taken: (u64, u64),
}

/// How a peer reads.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// All that there is, at once.
    Fast,
    /// Whatever pieces, at once.
    Pieces,
    /// So much, and then nothing for a while.
    Slow { bytes: usize, every_us: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It has closed its side.
    Finished,
    /// It has reset the connection.
    Reset,
}

pub const NEVER: u64 = u64::MAX;

impl Pipe {
    pub fn new(socket: SocketId, peer: SocketAddr, stage: &Stage) -> Self {
        Self {
            socket,
            peer,
            unsent: VecDeque::new(),
            pace: Pace::Fast,
            reads_at_us: 0,
            sends_at_us: 0,
            end: None,
            is_http: false,
            is_one_sided: false,
            holds_until_us: 0,
            waits_since_us: None,
            longest_wait_us: 0,
            blocked_since_us: None,
            shut_since_us: None,
            pushed: 0,
            taken: (0, stage.fair_us()),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        if self.end.is_none() {
            self.unsent.extend(bytes);
        }
    }

    /// Whether all that was to be sent has been received.
    pub fn is_received(&self, stage: &Stage) -> bool {
        self.unsent.is_empty() && stage.world.at(self.socket, |socket| socket.unread_bytes() == 0)
    }

    /// Sends and reads what it does now. True if that was something.
    pub fn exchange(&mut self, stage: &mut Stage, read: &mut Vec<u8>) -> bool {
        let now_us = stage.now_us();
        let mut is_busy = false;
        if !self.unsent.is_empty() && self.end.is_none() && now_us >= self.sends_at_us {
            let all = self.unsent.len();
            let n = if stage.random.percent(80) { all } else { stage.random.within(1..=all as u64) as usize };
            let bytes: Vec<u8> = self.unsent.drain(..n).collect();
            stage.world.at(self.socket, |socket| socket.to_relay.extend(&bytes[..]));
            self.pushed += n as u64;
            is_busy = true;
        }
        let waiting = stage.world.at(self.socket, |socket| socket.to_peer.len());
        if waiting == 0 || self.is_gone() {
            return is_busy;
        }
        let fair_us = stage.fair_us();
        let since_us = *self.waits_since_us.get_or_insert(fair_us);
        if now_us < self.reads_at_us {
            return is_busy;
        }
        let most = match self.pace {
            Pace::Fast => usize::MAX,
            Pace::Pieces => stage.random.within(1..=waiting as u64) as usize,
            Pace::Slow { bytes, every_us } => {
                self.reads_at_us = now_us + every_us;
                bytes
            }
        };
        read.extend_from_slice(&stage.world.at(self.socket, |socket| socket.read(most)));
        self.longest_wait_us = self.longest_wait_us.max(fair_us - since_us);
        self.waits_since_us = (waiting > most).then_some(since_us);
        self.blocked_since_us = None;
        true
    }

    /// For how long something has waited to be read, at most.
    pub fn longest_wait_us(&self, fair_us: u64) -> u64 {
        self.longest_wait_us.max(self.waits_since_us.map_or(0, |since_us| fair_us - since_us))
    }

    /// It is slow from now on, so what it has waited for is no peer's fault.
    pub fn is_slow(&self) -> bool {
        matches!(self.pace, Pace::Slow { .. })
    }

    /// When it does something by itself.
    pub fn due_us(&self, stage: &Stage) -> u64 {
        if self.is_gone() {
            return NEVER;
        }
        let reads_us =
            if stage.world.at(self.socket, |it| it.to_peer.is_empty()) { NEVER } else { self.reads_at_us };
        let sends_us = if self.unsent.is_empty() || self.end.is_some() { NEVER } else { self.sends_at_us };
        reads_us.min(sends_us)
    }

    /// It neither sends nor reads any more.
    pub fn is_gone(&self) -> bool {
        self.end.is_some() && !self.is_one_sided
    }

    pub fn go(&mut self, stage: &mut Stage, end: End) {
        let is_heard = !self.is_http || stage.world.at(self.socket, |socket| socket.shut_send);
        let end = if is_heard { end } else { End::Reset };
        if self.end.is_some_and(|(before, _)| before == end || before == End::Reset) {
            return;
        }
        self.is_one_sided = false;
        stage.note(|| format!("{} {end:?}", self.peer));
        self.end = Some((end, stage.fair_us()));
        self.unsent.clear();
        stage.world.at(self.socket, |socket| match end {
            End::Finished => socket.peer_finished = true,
            End::Reset => socket.is_reset = true,
        });
    }

    /// Whether the peer has read the end of what it is sent.
    pub fn is_at_end(&self, stage: &Stage) -> bool {
        stage.world.at(self.socket, |socket| socket.is_at_end())
    }

    pub fn is_closed(&self, stage: &Stage) -> bool {
        stage.world.is_closed(self.socket)
    }

    /// Fails the run where the relay lets this connection wait.
    pub fn watch(&mut self, stage: &mut Stage) {
        if self.is_closed(stage) {
            return;
        }
        let fair_us = stage.fair_us();
        let peer = self.peer;
        if let Some((end, since_us)) = self.end.filter(|_| !self.is_one_sided)
            && fair_us > since_us + SWEEP_US + SLACK_US
        {
            stage.fail(&format!(
                "{peer} has gone ({end:?}) for {} ms, and is not closed",
                (fair_us - since_us) / 1_000
            ));
        }
        let (is_blocked, is_shut, unread) = stage.world.at(self.socket, |socket| {
            (socket.is_send_blocked(), socket.shut_send, socket.unread_bytes() as u64)
        });
        let since = |since_us: &mut Option<u64>, is: bool| {
            *since_us = is.then(|| since_us.unwrap_or(fair_us));
            since_us.map_or(0, |since_us| fair_us - since_us)
        };
        let send_timeout_us = stage.longest.send_timeout_us;
        if since(&mut self.blocked_since_us, is_blocked) > send_timeout_us + SWEEP_US + SLACK_US {
            stage.fail(&format!(
                "{peer} has taken nothing for longer than play.send_timeout, and is not closed"
            ));
        }
        if since(&mut self.shut_since_us, is_shut) > LINGER_US + SWEEP_US + SLACK_US {
            stage.fail(&format!("{peer} has been sent all, and is not closed"));
        }
        let taken = self.pushed - unread;
        if taken != self.taken.0 || unread == 0 || fair_us < self.holds_until_us || is_shut {
            self.taken = (taken, fair_us);
        } else if fair_us > self.taken.1 + HAND_OVER_US + SWEEP_US + SLACK_US {
            stage.fail(&format!("{unread} bytes of {peer} are not read"));
        }
    }
}

/// How long the relay waits for a peer to close once it has sent its last.
const LINGER_US: u64 = 2_000_000;
/// How long a publisher waits for a name that is to be given up; meanwhile it is not read.
const HAND_OVER_US: u64 = 3_000_000;
