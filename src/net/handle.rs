//! The relay as the control plane and other services hold it: what to ask of it, and what to hand to it. All of it may be
//! called from any thread; cores are reached by mail, and by the reports that each of them publishes.

#![forbid(unsafe_code)]

use std::{
    net::{IpAddr, SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{broadcast, oneshot},
    time::{timeout, timeout_at},
};

use super::listener::Addresses;
use crate::{
    access::{Access, Action, Decision, Denial, Question, Service, ServiceReport, Verdict},
    config::Config,
    endpoint::{
        DenialLabels, DeniedPeer, EventSink, HandshakeCounts, HttpPlayer, KnownPublisher, LineKind, Mail,
        Mailboxes, Refusal, Reply, Shared, Stalled, Ticket, TlsConfigs, VERDICT_TIMEOUT_MS, granted_in_all,
        report::{ConnectionReport, ConnectionRole, CoreReport, RelayEvent, StreamReport},
    },
    logging,
    stream::{Memory, Registry},
};

/// Events that a listener may lag by before it misses some.
const EVENTS: usize = 1024;
/// How long a core may take to answer: far more than a turn, and less than clients of the API wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// How long a service may take to decide about a request over HTTP.
const VERDICT_TIMEOUT: Duration = Duration::from_millis(VERDICT_TIMEOUT_MS);

/// The running relay. A clone is the same one.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    mailboxes: Arc<Mailboxes<TcpStream>>,
    events: broadcast::Sender<RelayEvent>,
    addresses: Arc<Addresses>,
    started: Instant,
}

/// Events for all listeners.
pub(super) struct EventSender(pub broadcast::Sender<RelayEvent>);

impl EventSender {
    /// Without listeners.
    pub(super) fn new() -> Self {
        Self(broadcast::Sender::new(EVENTS))
    }
}

impl EventSink for EventSender {
    fn is_wanted(&self) -> bool {
        self.0.receiver_count() > 0
    }

    fn send(&self, event: RelayEvent) {
        // Its error is that the last listener has just gone.
        let _ = self.0.send(event);
    }
}

/// A reply to one asynchronous caller.
struct OneReply<T>(oneshot::Sender<T>);

impl<T: Send> Reply<T> for OneReply<T> {
    fn is_wanted(&self) -> bool {
        !self.0.is_closed()
    }

    fn send(self: Box<Self>, answer: T) {
        // Its error is that the caller has just given up.
        let _ = self.0.send(answer);
    }
}

impl Handle {
    pub(super) fn new(
        shared: Arc<Shared>,
        mailboxes: Arc<Mailboxes<TcpStream>>,
        events: broadcast::Sender<RelayEvent>,
        addresses: &Addresses,
        started: Instant,
    ) -> Self {
        Self { shared, mailboxes, events, addresses: Arc::new(addresses.clone()), started }
    }

    /// Where it listens for RTMP.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The configuration in force, as of now.
    pub fn config(&self) -> Arc<Config> {
        self.shared.config().clone()
    }

    /// Puts another configuration in force, as a whole. Options that [`Config::needs_restart`] names keep their values
    /// until the next start.
    pub fn set_config(&self, config: Config) {
        logging::set_filter(&config.log.level);
        self.shared.set_config(config);
    }

    /// Keys of options whose newest values are not in force before a restart.
    pub fn restart_needed(&self) -> Arc<Vec<&'static str>> {
        self.shared.restart_needed()
    }

    /// How long the relay has been running; the clock of all times in its reports.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether it is about to end, and takes no new connections.
    pub fn is_draining(&self) -> bool {
        self.shared.is_draining()
    }

    /// Each core's last report, at most half a second old.
    pub fn cores(&self) -> Vec<Arc<CoreReport>> {
        self.shared.reports()
    }

    /// Each stream that is published or waited for, by name.
    pub fn streams(&self) -> Vec<StreamReport> {
        StreamReport::all(self.registry())
    }

    /// One stream, by `app/name`.
    pub fn stream(&self, name: &str) -> Option<StreamReport> {
        self.registry().get(name).map(|stream| StreamReport::of(&stream))
    }

    /// Whether a viewer of this stream need not be turned away: it is live, or its encoder has just gone and has
    /// `publish.publisher_grace` to come back. So it is for every viewer, whether others wait already or not.
    pub fn can_be_watched(&self, name: &str) -> bool {
        self.shared.can_be_watched(name, self.now_ms())
    }

    /// All streams: to read from.
    pub fn registry(&self) -> &Arc<Registry> {
        self.shared.registry()
    }

    /// The account of memory that peers make the relay hold.
    pub fn memory(&self) -> &Memory {
        self.registry().memory()
    }

    /// Connections now, those of HTTP among them.
    pub fn connection_count(&self) -> usize {
        self.shared.admission().connections()
    }

    /// How many connections were refused, by limit.
    pub fn refusals(&self) -> Vec<(Refusal, u64)> {
        self.shared.admission().refusals()
    }

    /// How TLS handshakes ended; those over HTTPS are counted there as well.
    pub fn handshakes(&self) -> &Arc<HandshakeCounts> {
        self.shared.handshakes()
    }

    /// How often access was denied, by action, rule and cause.
    pub fn denials(&self) -> Vec<(DenialLabels, u64)> {
        self.shared.denials().counts()
    }

    /// A peer whose request came over HTTP is denied what it wants: counted, logged, reported as an event.
    pub fn denied(&self, denied: DeniedPeer<'_>, denial: &Denial) {
        self.shared.denied(denied, denial, self.now_ms());
    }

    /// How many log lines were suppressed since the start because they were similar to others, by kind.
    pub fn suppressed_lines(&self) -> Vec<(LineKind, u64)> {
        self.shared.log_limits().suppressed()
    }

    /// Events from now on.
    pub fn events(&self) -> broadcast::Receiver<RelayEvent> {
        self.events.subscribe()
    }

    /// A core that has not reported for some seconds, if there is one.
    pub fn stalled(&self) -> Option<Stalled> {
        self.shared.stalled()
    }

    /// The publisher with this connection: where it comes from, and what it is.
    pub fn publisher(&self, connection_id: u64) -> Option<KnownPublisher> {
        self.shared.publisher(connection_id)
    }

    /// All connections, as their cores see them; those of HTTP that play nothing are not among them.
    ///
    /// # Errors
    /// A core does not answer in time.
    pub async fn connections(&self) -> Result<Vec<ConnectionReport>, Stalled> {
        match self.ask(Mail::Report).await {
            (answers, None) => Ok(answers.concat()),
            (_, Some(stalled)) => Err(stalled),
        }
    }

    /// Ends a connection that publishes or plays, by its number. False where there is none of that role.
    ///
    /// # Errors
    /// None of the others has it, and a core does not answer in time: the connection may be there. It is not ended
    /// later.
    pub async fn end(
        &self,
        connection_id: u64,
        role: ConnectionRole,
        stream: Option<Arc<str>>,
    ) -> Result<bool, Stalled> {
        match self.ask(|reply| Mail::End { connection_id, role, stream: stream.clone(), reply }).await {
            (answers, Some(stalled)) if !answers.contains(&true) => Err(stalled),
            (answers, _) => Ok(answers.contains(&true)),
        }
    }

    /// What each core answers, and the first one that does not. One that has drained answers nothing, and one that is
    /// known to stand still is not asked: what it is asked would wait for it.
    async fn ask<T: Send + 'static>(
        &self,
        mail: impl Fn(Box<dyn Reply<T>>) -> Mail<TcpStream>,
    ) -> (Vec<T>, Option<Stalled>) {
        let mut stalled = self.stalled();
        let mut questions = Vec::new();
        for core in 0..self.shared.signals().len() {
            if self.shared.is_stalled(core) {
                continue;
            }
            let (sender, answered) = oneshot::channel();
            self.mailboxes.post(core, mail(Box::new(OneReply(sender))));
            questions.push((core, answered));
        }
        let deadline = tokio::time::Instant::now() + ANSWER_WITHIN;
        let mut answers = Vec::new();
        for (core, answered) in questions {
            match timeout_at(deadline, answered).await {
                Ok(answer) => answers.extend(answer),
                Err(_elapsed) => _ = stalled.get_or_insert(Stalled { core }),
            }
        }
        (answers, stalled)
    }

    /// Whether a peer whose request came over HTTP may do this: the rules decide, or the service that they leave it to.
    pub async fn decide(&self, mut question: Question) -> Verdict {
        question.granted = match self.shared.decide(&question) {
            Decision::Verdict(verdict) => return verdict,
            Decision::Ask(grant) => grant,
        };
        let (granted, asked) = (question.granted.clone(), Instant::now());
        let (sender, decided) = oneshot::channel();
        // Its error is that the peer has gone.
        self.shared.service().ask(question, Box::new(move |verdict| _ = sender.send(verdict)));
        match timeout(VERDICT_TIMEOUT, decided).await {
            Ok(Ok(Verdict::Allow(grant))) => {
                Verdict::Allow(granted_in_all(granted, asked.elapsed().as_millis() as u64, grant))
            }
            Ok(Ok(verdict)) => verdict,
            Ok(Err(_)) => Verdict::undecided("no service decides"),
            Err(_elapsed) => Verdict::undecided("no decision in time"),
        }
    }

    /// Whether a service is told of sessions that do this.
    pub fn tells_of(&self, action: Action) -> bool {
        self.shared.tells_of(action)
    }

    /// Whether the rules let a peer do this, as far as they alone can tell.
    pub fn decide_at_once(&self, question: &Question) -> Decision {
        self.shared.decide(question)
    }

    /// Whether so many wrong tokens of the API have come from the network of this address that no other is to be looked at.
    pub fn has_guessed_too_often(&self, address: IpAddr) -> bool {
        self.shared.access().has_guessed_too_often(address)
    }

    /// This token of the API, which came from this address, is wrong.
    pub fn note_wrong_token(&self, address: IpAddr, token: &str) {
        self.shared.access().note_wrong_token(address, token);
    }

    /// Puts other rules in force, for all questions from now on.
    pub fn set_access(&self, access: Box<dyn Access>) {
        self.shared.set_access(access);
    }

    /// Puts certificates in force, for connections that begin from now on.
    pub fn set_tls(&self, configs: TlsConfigs) {
        self.shared.set_tls(configs);
    }

    /// The certificates in force; none where nothing is encrypted.
    pub fn tls(&self) -> Option<Arc<TlsConfigs>> {
        self.shared.tls()
    }

    /// The service that decides what the rules leave open. Only the first one counts.
    pub fn set_service(&self, service: Box<dyn Service>) {
        self.shared.service().connect(service);
    }

    /// What the service has counted since the start.
    pub fn service_report(&self) -> ServiceReport {
        self.shared.service().report()
    }

    /// A place for a connection that another listener has accepted. `is_unnamed` is for a proxy that is yet to name its
    /// client.
    ///
    /// # Errors
    /// The limit that is reached; that is counted, and logged at most every 10 s.
    pub fn admit(&self, peer: SocketAddr, is_unnamed: bool) -> Result<Ticket, Refusal> {
        self.shared.admit_request(peer, is_unnamed, self.now_ms())
    }

    /// A proxy has named the client that this connection is to count for.
    ///
    /// # Errors
    /// The limit that this client has reached; that is counted, and logged at most every 10 s.
    pub fn name_client(&self, ticket: &mut Ticket, client: SocketAddr) -> Result<(), Refusal> {
        self.shared.name_client(ticket, client, self.now_ms())
    }

    /// Hands a player to the core that has the fewest.
    pub fn play(&self, player: HttpPlayer<TcpStream>) {
        self.mailboxes.post(self.shared.choose_core(), Mail::Play(Box::new(player)));
    }

    /// Whether a line of this kind about this peer is to be logged: it may be one of a flood.
    pub fn may_log(&self, kind: LineKind, peer: SocketAddr) -> bool {
        self.shared.may_log(kind, peer, self.now_ms())
    }

    fn now_ms(&self) -> u64 {
        self.uptime().as_millis() as u64
    }
}

#[cfg(test)]
mod in_tests {
    use super::*;

    impl Handle {
        /// As a core that is alive does twice a second.
        pub(crate) fn publish_report(&self, core: usize) {
            self.shared.set_report(CoreReport::new(core));
        }

        /// As the main thread of a relay that is alive does once a second.
        pub(crate) fn check_pulses(&self) {
            self.shared.check_pulses();
        }

        /// How many messages wait for this core.
        pub(crate) fn waiting_mail(&self, core: usize) -> usize {
            self.mailboxes.len(core)
        }
    }
}
