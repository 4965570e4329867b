//! What a session asks: whether its peer may connect, publish, play. The rules decide at once, or a service is asked
//! and the verdict comes later, or never: no core waits, and a verdict on a question that is over changes nothing.

use std::sync::Arc;

use super::{
    client_name::ClientName,
    connection::{About, Connection, OpenQuestion},
    core::Endpoint,
    denials::DeniedPeer,
    io::{Asked, Io},
    log_limits::LineKind,
    permit::{Permit, granted_in_all},
};
use crate::{
    access::{Action, Decision, Details, Grant, Login, Party, Question, Verdict},
    rtmp::{
        name::{Address, StreamName},
        session::{Answer, ConnectRequest, PlayRequest, PublishRequest, QuestionId},
    },
    stream::Start,
};

/// How long a service may take to decide, milliseconds. Less than encoders and players wait for an answer.
pub const VERDICT_TIMEOUT_MS: u64 = 10_000;

impl<I: Io> Endpoint<I> {
    pub(super) fn asks_to_connect(&mut self, key: usize, request: ConnectRequest) {
        let ConnectRequest { question, app, query, tc_url, flash_ver, swf_url, page_url } = request;
        self.connections[key].client = ClientName::of(&flash_ver);
        let login = login_in(&tc_url);
        let party =
            Party { app: app.clone(), tc_url, swf_url, page_url, client: flash_ver, user: None, login };
        self.connections[key].party = Some(Arc::new(party));
        self.ask(key, question, About::Connect, (Action::Connect, Details::None), app, query);
    }

    pub(super) fn asks_to_publish(&mut self, key: usize, request: PublishRequest) {
        let PublishRequest { question, message_stream_id, name, query, kind } = request;
        let full_name = name.to_string();
        self.begin_publish(key, message_stream_id, name);
        let details = Details::Publish { kind };
        self.ask(
            key,
            question,
            About::Publish(message_stream_id),
            (Action::Publish, details),
            full_name,
            query,
        );
    }

    pub(super) fn asks_to_play(&mut self, key: usize, request: PlayRequest) {
        self.leave_stream(key);
        let (question, name, query) = (request.question, request.name.to_string(), request.query.clone());
        let PlayRequest { start, duration, reset, .. } = request;
        let details = Details::Play { start, duration, reset };
        self.ask(key, question, About::Play(request), (Action::Play, details), name, query);
    }

    fn ask(
        &mut self,
        key: usize,
        question: QuestionId,
        about: About,
        (action, details): (Action, Details),
        name: String,
        query: String,
    ) {
        let connection = &mut self.connections[key];
        let (peer, protocol) = (connection.peer, connection.session.protocol().name());
        let open = OpenQuestion {
            question,
            about,
            asked_since_ms: None,
            renamed: None,
            asked_ms: self.now.ms,
            granted: Grant::default(),
            told: None,
        };
        connection.asked = Some(Box::new(open));
        let (connection, party) = (connection.id, connection.party.clone().unwrap_or_default());
        let granted = Grant::default();
        let mut asked = Question { action, name, query, peer, protocol, connection, party, details, granted };
        let decision = self.shared.decide(&asked);
        if let Some(open) = &mut self.connections[key].asked {
            open.told = self.shared.tells_of(action).then(|| asked.clone());
        }
        match decision {
            Decision::Verdict(verdict) => self.decide(key, verdict),
            Decision::Ask(grant) => {
                if let Some(open) = &mut self.connections[key].asked {
                    open.asked_since_ms = Some(self.now.patient_ms);
                    open.granted = grant.clone();
                }
                asked.granted = grant;
                let connection = self.connection_id(key);
                self.io.ask(Asked { connection, question }, asked);
            }
        }
    }

    /// A service has decided. Changes nothing where the question is over.
    pub(super) fn decided(&mut self, asked: Asked, verdict: Verdict) {
        let Some(key) = self.find(asked.connection) else { return };
        let is_open = self.connections[key]
            .asked
            .as_ref()
            .is_some_and(|open| open.question == asked.question && open.asked_since_ms.is_some());
        if is_open {
            self.decide(key, verdict);
            self.go_on(key);
        }
    }

    /// Denies what no service has decided in time.
    pub(super) fn check_verdict(&mut self, key: usize) {
        let since_ms = self.connections[key].asked.as_ref().and_then(|open| open.asked_since_ms);
        if since_ms.is_some_and(|since_ms| self.now.patient_ms - since_ms >= VERDICT_TIMEOUT_MS) {
            self.decide(key, Verdict::undecided("no decision in time"));
            self.go_on(key);
        }
    }

    /// After an answer: what the peer has sent since is read.
    fn go_on(&mut self, key: usize) {
        self.poll_session(key);
        self.receive(key);
        self.reap(key);
    }

    fn decide(&mut self, key: usize, verdict: Verdict) {
        let Some(open) = &mut self.connections[key].asked else { return };
        open.asked_since_ms = None;
        let verdict = match verdict {
            Verdict::Allow(grant) => {
                let waited_ms = self.now.ms - open.asked_ms;
                let grant = granted_in_all(std::mem::take(&mut open.granted), waited_ms, grant);
                match grant.name.as_deref().map(StreamName::of_path).transpose() {
                    Ok(renamed) => return self.allow(key, renamed, &grant),
                    Err(error) => {
                        Verdict::undecided(format!("another name was given, which is none: {error}"))
                    }
                }
            }
            verdict => verdict,
        };
        match verdict {
            Verdict::Allow(_) => {}
            Verdict::Redirect(address) => self.redirect(key, address),
            Verdict::Deny(denial) => {
                let code = match self.connections[key].asked.as_ref().map(|open| &open.about) {
                    Some(About::Publish(_)) => "NetStream.Publish.Denied",
                    Some(About::Play(_)) => "NetStream.Play.Failed",
                    Some(About::Connect) | None => "NetConnection.Connect.Rejected",
                };
                let description = denial.reason.clone();
                if let Some((action, name)) =
                    self.turn_away(key, Answer::Deny { code: code.to_owned(), description })
                {
                    let connection = &self.connections[key];
                    let denied = DeniedPeer {
                        id: connection.id,
                        peer: connection.peer,
                        client: connection.client.as_ref(),
                        action,
                        name: &name,
                        protocol: connection.session.protocol().name(),
                    };
                    self.shared.denied(denied, &denial, self.now.ms);
                }
            }
        }
    }

    fn redirect(&mut self, key: usize, address: String) {
        let Some((action, name)) = self.turn_away(key, Answer::Redirect(address)) else { return };
        let Connection { id, peer, ref client, .. } = self.connections[key];
        let (kind, client) = (LineKind::of_refusal(action), client.as_deref());
        if self.shared.may_log(kind, peer, self.now.ms) {
            tracing::info!(id, %peer, action = action.name(), name, client, "redirected");
        }
    }

    fn allow(&mut self, key: usize, renamed: Option<StreamName>, grant: &Grant) {
        let connection = &mut self.connections[key];
        let Some(open) = &mut connection.asked else { return };
        if let (About::Connect, Some(user), Some(party)) = (&open.about, &grant.user, &mut connection.party) {
            Arc::make_mut(party).user = Some(user.clone());
        }
        let permit = Permit::of(grant, open.told.take(), self.now.ms);
        open.renamed = renamed;
        if let About::Publish(message_stream_id) = open.about {
            let renamed = open.renamed.clone();
            if let Some(publishing) = connection.publishing_on(message_stream_id) {
                publishing.permit = permit;
                publishing.name = renamed.unwrap_or(publishing.name.clone());
            }
            return self.allow_publish(key, message_stream_id);
        }
        let Some(open) = connection.asked.take() else { return };
        match open.about {
            About::Play(request) => self.allow_play(key, request, open.renamed, permit),
            About::Connect | About::Publish(_) => {
                connection.permit = permit;
                if let (Some(name), Some(party)) = (&open.renamed, &mut connection.party) {
                    Arc::make_mut(party).app = name.to_string();
                }
                let answer = open.renamed.map_or(Answer::Allow, Answer::AllowAs);
                connection.session.answer(open.question, answer);
            }
        }
    }

    fn allow_play(
        &mut self,
        key: usize,
        request: PlayRequest,
        renamed: Option<StreamName>,
        permit: Option<Box<Permit>>,
    ) {
        let PlayRequest { question, name, query, .. } = request;
        let address = Address { name, query };
        let start = match Start::requested(address.parameter("start")) {
            Ok(requested) => requested.unwrap_or(self.shared.config().play.start),
            Err(invalid) => {
                let (code, description) = ("NetStream.Play.Failed".to_owned(), invalid.to_string());
                return self.connections[key].session.answer(question, Answer::Deny { code, description });
            }
        };
        let name = renamed.as_ref().unwrap_or(&address.name).to_string();
        self.begin_play(key, name.into_boxed_str(), start, permit);
        let answer = renamed.map_or(Answer::Allow, Answer::AllowAs);
        self.connections[key].session.answer(question, answer);
    }

    /// Answers the open question with no. Returns what was asked for: the action, and `app/name` or the application.
    fn turn_away(&mut self, key: usize, answer: Answer) -> Option<(Action, String)> {
        let connection = &mut self.connections[key];
        let OpenQuestion { question, about, .. } = *connection.asked.take()?;
        connection.session.answer(question, answer);
        Some(match about {
            About::Connect => {
                let app = connection.party.as_ref().map(|party| party.app.clone());
                (Action::Connect, app.unwrap_or_default())
            }
            About::Publish(message_stream_id) => {
                let publishing = connection.take_publishing(message_stream_id);
                (Action::Publish, publishing.map(|it| it.name.to_string()).unwrap_or_default())
            }
            About::Play(request) => (Action::Play, request.name.to_string()),
        })
    }
}

/// The user part of `rtmp://user:password@host/app`.
fn login_in(tc_url: &str) -> Option<Login> {
    let (_scheme, rest) = tc_url.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let (user, password) = authority.rsplit_once('@')?.0.split_once(':')?;
    let decoded = |text| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some(Login::Password { user: decoded(user), password: decoded(password) })
}
