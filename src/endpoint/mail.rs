//! What is asked of a core from outside: by other cores, by the control plane, by a service that answers a question. One
//! mailbox per core, for rare messages: none is on the data path of a frame.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use std::net::SocketAddr;

use super::{
    admission::Ticket,
    client_name::ClientName,
    io::Asked,
    permit::Permit,
    report::{ConnectionReport, ConnectionRole},
    transport::Transport,
};
use crate::{
    access::Verdict,
    stream::{ConnectionRef, Form, NameNotice, Signal, Start},
};

/// A message to one core. `S` is a socket.
pub enum Mail<S> {
    /// About a name: another publisher wants it, or it is free.
    Name {
        /// Whom it concerns.
        connection: ConnectionRef,
        /// What has happened.
        notice: NameNotice,
    },
    /// A question has been decided.
    Verdict {
        /// Which one.
        asked: Asked,
        /// How.
        verdict: Verdict,
    },
    /// The process is about to end: end players and publishers cleanly.
    Drain,
    /// Report all connections.
    Report(Box<dyn Reply<Vec<ConnectionReport>>>),
    /// End a connection.
    End {
        /// Its number.
        connection_id: u64,
        /// If it has this role.
        role: ConnectionRole,
        /// Of a publisher of several streams, the one of this name alone.
        stream: Option<Arc<str>>,
        /// Whether it was here.
        reply: Box<dyn Reply<bool>>,
    },
    /// Send to this player from now on.
    Play(Box<HttpPlayer<S>>),
}

/// Where the answer to a message goes.
pub trait Reply<T>: Send {
    /// Whether it is still waited for. If it is not, the message must not take effect any more.
    fn is_wanted(&self) -> bool;
    /// The answer.
    fn send(self: Box<Self>, answer: T);
}

/// A player whose request came over HTTP and was answered with the head of a response, ready to be sent to.
pub struct HttpPlayer<S> {
    /// Its socket.
    pub socket: S,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Its place among those that were admitted.
    pub ticket: Ticket,
    /// `app/name`.
    pub stream: String,
    /// Name and version of the client, as it says: `User-Agent`.
    pub client: Option<ClientName>,
    /// In what form it gets its media: any but RTMP's.
    pub form: Form,
    /// How its bytes reach its socket.
    pub transport: Transport,
    /// Where it begins.
    pub start: Start,
    /// What it keeps of the decision that let it in.
    pub permit: Option<Box<Permit>>,
    /// What it is sent first: the response's head.
    pub head: Bytes,
    /// What has been read of what it sent after its request.
    pub rest: Bytes,
}

/// The mailboxes of all cores.
pub struct Mailboxes<S> {
    boxes: Box<[Mutex<Vec<Mail<S>>>]>,
    signals: Arc<[Signal]>,
}

impl<S> Mailboxes<S> {
    /// One for each signal.
    pub fn new(signals: Arc<[Signal]>) -> Self {
        Self { boxes: signals.iter().map(|_| Mutex::default()).collect(), signals }
    }

    /// Leaves a message, and wakes the core.
    pub fn post(&self, core: usize, mail: Mail<S>) {
        self.lock(core).push(mail);
        self.signals[core].post();
    }

    /// The core takes its messages, in the order in which they were left.
    pub fn take(&self, core: usize) -> Vec<Mail<S>> {
        std::mem::take(&mut self.lock(core))
    }

    /// How many wait.
    pub fn len(&self, core: usize) -> usize {
        self.lock(core).len()
    }

    fn lock(&self, core: usize) -> MutexGuard<'_, Vec<Mail<S>>> {
        // A message is in it whole or not at all: a panic elsewhere spoils nothing.
        self.boxes[core].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Mail<S> {
    /// The same with another kind of socket.
    pub fn map_socket<T>(self, map: impl FnOnce(S) -> T) -> Mail<T> {
        match self {
            Mail::Name { connection, notice } => Mail::Name { connection, notice },
            Mail::Verdict { asked, verdict } => Mail::Verdict { asked, verdict },
            Mail::Drain => Mail::Drain,
            Mail::Report(reply) => Mail::Report(reply),
            Mail::End { connection_id, role, stream, reply } => {
                Mail::End { connection_id, role, stream, reply }
            }
            Mail::Play(player) => {
                let HttpPlayer {
                    socket,
                    peer,
                    ticket,
                    stream,
                    client,
                    form,
                    transport,
                    start,
                    permit,
                    head,
                    rest,
                } = *player;
                let socket = map(socket);
                Mail::Play(Box::new(HttpPlayer {
                    socket,
                    peer,
                    ticket,
                    stream,
                    client,
                    form,
                    transport,
                    start,
                    permit,
                    head,
                    rest,
                }))
            }
        }
    }
}
