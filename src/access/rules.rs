//! The rules of a configuration: which one applies to a question, and what it makes of it.

use std::{net::IpAddr, sync::Arc};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use ipnet::IpNet;

use super::{
    Access, Action, Cause, Decision, Denial, Grant, KeyRing, Login, Question, Verdict,
    adobe::{Challenges, Refusal},
    application,
    digests::Digests,
    guesses::Guesses,
    links::{Link, LinkKeys},
    networks::{contains, is_near},
    shown::{Shown, decoded},
    tokens::Tokens,
    users::Accounts,
};
use crate::config::{AccessRule, Config, Hooks, RuleAction, Then};

/// The rules of a configuration, compiled.
pub struct Rules {
    rules: Vec<Rule>,
    /// In the order of the rules.
    patterns: GlobSet,
    hooked: Hooked,
    accounts: Accounts,
    tokens: Tokens,
    challenges: Challenges,
    guesses: Guesses,
    /// Whether a rule is for connecting.
    is_about_connecting: bool,
    unix_seconds: fn() -> u64,
}

struct Rule {
    index: usize,
    label: Arc<str>,
    action: RuleAction,
    from: Vec<IpNet>,
    lets_in: bool,
    keys: Digests,
    has_keys: bool,
    users: Allowed,
    links: LinkKeys,
    has_links: bool,
    jwt: bool,
    session_expire_ms: u64,
    ask: bool,
}

/// Which users a rule lets in.
enum Allowed {
    None,
    Some(Vec<String>),
    All,
}

/// For which actions there is a service that decides.
#[derive(Clone, Copy)]
struct Hooked {
    connect: bool,
    publish: bool,
    play: bool,
}

impl Rules {
    /// The rules of a configuration whose secrets have been read. Rules that are built one after the other share a ring.
    ///
    /// # Errors
    /// The key and what is wrong with its value, as one line.
    pub fn new(config: &Config, ring: KeyRing, unix_seconds: fn() -> u64) -> Result<Self, String> {
        let mut patterns = GlobSetBuilder::new();
        for (rule, number) in config.access.iter().zip(1..) {
            let wrong = |error: globset::Error| format!("access: rule {number}: streams: {}", error.kind());
            patterns.add(GlobBuilder::new(&rule.streams).literal_separator(false).build().map_err(wrong)?);
        }
        let patterns = patterns.build();
        let patterns =
            patterns.map_err(|error| format!("access: the patterns together: {}", error.kind()))?;
        let challenges = Challenges::new(&ring);
        let tokens = Tokens::new(&config.jwt, ring.clone())?;
        ring.follow(&config.jwt.jwks_url);
        Ok(Self {
            rules: config.access.iter().zip(1..).map(|(rule, number)| Rule::of(rule, number)).collect(),
            patterns,
            hooked: Hooked::of(&config.hooks),
            accounts: Accounts::of(&config.users),
            tokens,
            challenges,
            guesses: Guesses::new(config.limits.wrong_credentials, &config.limits.exempt),
            is_about_connecting: config.access.iter().any(|rule| rule.action == RuleAction::Connect),
            unix_seconds,
        })
    }

    /// Parameters of a link, signed with the first secret of the rule that will check it.
    ///
    /// # Errors
    /// No rule will, as one line.
    pub fn sign(&self, link: &Link<'_>) -> Result<String, String> {
        let matching = self.patterns.matches(link.name).into_iter().map(|index| &self.rules[index]);
        for rule in matching.into_iter().filter(|rule| rule.is_for(link.action)) {
            if let Some(query) = rule.links.sign(link) {
                return Ok(query);
            }
            // Another rule may apply to those that come from elsewhere.
            if rule.from.is_empty() {
                return Err(format!(
                    "rule {} applies to {} before any that takes links",
                    rule.label, link.name
                ));
            }
        }
        Err(format!("no rule in [[access]] takes links to {} {}", link.action.name(), link.name))
    }

    /// The first rule that applies.
    fn rule_for(&self, action: Action, name: &str, peer: IpAddr) -> Option<&Rule> {
        if self.rules.is_empty() {
            return None;
        }
        let matching = self.patterns.matches(name).into_iter().map(|index| &self.rules[index]);
        matching.into_iter().find(|rule| rule.is_for(action) && rule.is_from(peer))
    }

    fn without_rule(&self, action: Action, peer: IpAddr) -> Decision {
        if self.hooked.has(action) {
            return Decision::Ask(Grant::default());
        }
        if action == Action::Publish && !is_near(peer) {
            let reason = "publishing is not allowed from this network".to_owned();
            let denial = Denial { reason, cause: Cause::Network, rule: "default".into() };
            return Decision::Verdict(Verdict::Deny(denial));
        }
        Decision::Verdict(Verdict::allow())
    }

    fn decide_by(&self, rule: &Rule, question: &Question, name: &str) -> Decision {
        match self.granted_by(rule, question, name) {
            Ok(grant) => rule.decision(grant, self.hooked.has(question.action)),
            Err(cause) => Decision::Verdict(Verdict::Deny(rule.denial(cause, reason_of(cause).to_owned()))),
        }
    }

    fn granted_by(&self, rule: &Rule, question: &Question, name: &str) -> Result<Grant, Cause> {
        if !rule.lets_in {
            return Err(Cause::Rule);
        }
        if !rule.takes_credentials() {
            return Ok(rule.grant(None, None));
        }
        // It may have been removed since the client has connected.
        let is_user = |user: &&Arc<str>| rule.users.contains(user) && self.accounts.contains(user);
        if let Some(user) = question.party.user.as_ref().filter(is_user) {
            return Ok(rule.grant(None, Some(user.clone())));
        }
        let shown = Shown::in_query(&question.query);
        let (peer, now) = (question.peer.ip(), (self.unix_seconds)());
        let may_be_a_guess = !shown.is_empty() || question.party.login.is_some();
        if may_be_a_guess && self.guesses.are_too_many(rule.index, peer, now) {
            return Err(Cause::TooManyAttempts);
        }
        let ways = [Self::by_user, Self::by_key, Self::by_link, Self::by_token];
        let (mut refusal, mut is_guess) = (Cause::NoCredentials, false);
        for way in ways {
            match way(self, rule, question, &shown, name) {
                Ok(grant) => return Ok(grant),
                // What came closest is the reason.
                Err(cause) => {
                    refusal = refusal.max(cause);
                    is_guess |= cause == Cause::WrongCredentials;
                }
            }
        }
        if is_guess {
            self.guesses.add(rule.index, peer, now, (&shown, &question.party.login));
        }
        Err(refusal)
    }

    fn by_user(
        &self,
        rule: &Rule,
        question: &Question,
        shown: &Shown<'_>,
        _name: &str,
    ) -> Result<Grant, Cause> {
        if matches!(rule.users, Allowed::None) {
            return Err(Cause::NoCredentials);
        }
        match self.user_with_password(question, shown)? {
            Some(user) if rule.users.contains(&user) => Ok(rule.grant(None, Some(user))),
            Some(_) => Err(Cause::NotForThis),
            None if question.party.user.is_some() => Err(Cause::NotForThis),
            None => Err(Cause::NoCredentials),
        }
    }

    fn by_key(&self, rule: &Rule, _: &Question, shown: &Shown<'_>, _name: &str) -> Result<Grant, Cause> {
        let key = shown.key.filter(|_| rule.has_keys).ok_or(Cause::NoCredentials)?;
        let is_right = rule.keys.contains(key) | rule.keys.contains(&decoded(key));
        if is_right { Ok(rule.grant(None, None)) } else { Err(Cause::WrongCredentials) }
    }

    fn by_link(
        &self,
        rule: &Rule,
        question: &Question,
        shown: &Shown<'_>,
        name: &str,
    ) -> Result<Grant, Cause> {
        if !rule.has_links {
            return Err(Cause::NoCredentials);
        }
        let now = (self.unix_seconds)();
        let until = rule.links.check(shown, (question.action, name), question.peer.ip(), now)?;
        let ends = until.session.or((rule.session_expire_ms == 0).then_some(until.expires));
        match ends {
            Some(ends) => Ok(Grant { lasts_ms: Some(ms_until(ends, now)), ..Grant::default() }),
            None => Ok(rule.grant(None, None)),
        }
    }

    fn by_token(
        &self,
        rule: &Rule,
        question: &Question,
        shown: &Shown<'_>,
        name: &str,
    ) -> Result<Grant, Cause> {
        let bearer = match &question.party.login {
            Some(Login::Token(token)) => Some(token.as_str()),
            _ => None,
        };
        let token = shown.token.or(bearer).filter(|_| rule.jwt).ok_or(Cause::NoCredentials)?;
        let now = (self.unix_seconds)();
        let permit = self.tokens.check(token, question.action, name, now)?;
        // A token's subject need not be one of our users.
        let user = permit.user.filter(|_| question.action != Action::Connect);
        Ok(rule.grant(Some(ms_until(permit.expires, now)), user))
    }

    /// The user whose name and password came in the address or with the request, if any came.
    fn user_with_password(&self, question: &Question, shown: &Shown<'_>) -> Result<Option<Arc<str>>, Cause> {
        let found = match (shown.password(), &question.party.login) {
            (Some((user, password)), _) => self.accounts.check(&user, &password),
            (None, Some(Login::Password { user, password })) => self.accounts.check(user, password),
            (None, _) => return Ok(None),
        };
        found.map(Some).ok_or(Cause::WrongCredentials)
    }

    /// What a client may do that connects over RTMP, and which user it is.
    fn decide_connect(&self, question: &Question, application: &str, peer: IpAddr) -> Decision {
        let rule = self.rule_for(Action::Connect, application, peer);
        let (decision, rule_for_users) = match rule {
            // The user decides.
            Some(rule) if rule.takes_users_only() => {
                (rule.decision(rule.grant(None, None), self.hooked.connect), Some(rule))
            }
            Some(rule) => (self.decide_by(rule, question, application), None),
            None => (self.without_rule(Action::Connect, peer), None),
        };
        let (grant, is_asked) = match decision {
            Decision::Verdict(Verdict::Allow(grant)) => (grant, false),
            Decision::Ask(grant) => (grant, true),
            denied @ Decision::Verdict(_) => return denied,
        };
        let needed = rule_for_users.or_else(|| self.rule_for_users(question, application, peer));
        let denied =
            |rule: &Rule, (cause, reason)| Decision::Verdict(Verdict::Deny(rule.denial(cause, reason)));
        let user = match (self.identify(question, needed, peer), needed) {
            (Ok(user), _) => user,
            (Err(refusal), Some(rule)) => return denied(rule, refusal),
            // It may have something else to show.
            (Err(_), None) => None,
        };
        if let Some(rule) =
            rule_for_users.filter(|rule| user.as_ref().is_none_or(|user| !rule.users.contains(user)))
        {
            return denied(rule, refusal(Cause::NotForThis));
        }
        let grant = Grant { user, ..grant };
        if is_asked { Decision::Ask(grant) } else { Decision::Verdict(Verdict::Allow(grant)) }
    }

    /// Why the client may not use the application of its stream, if that is another one than it has connected to: clients
    /// divide an address at different slashes, and one could name the application with the stream alone.
    fn denied_application(&self, question: &Question, peer: IpAddr) -> Option<Decision> {
        if !self.is_about_connecting || question.protocol != "rtmp" {
            return None;
        }
        let application = question.name.rsplit_once('/').map_or("", |(application, _)| application);
        if application::normal(&question.party.app) == application {
            return None;
        }
        let rule = self.rule_for(Action::Connect, application, peer)?;
        let connect = Question { action: Action::Connect, name: application.to_owned(), ..question.clone() };
        let cause = self.granted_by(rule, &connect, application).err()?;
        Some(Decision::Verdict(Verdict::Deny(rule.denial(cause, reason_of(cause).to_owned()))))
    }

    /// Which user a client is that connects over RTMP. One that could do nothing without being a user is asked now, for the
    /// rule that needs it: later there is no way to ask.
    fn identify(
        &self,
        question: &Question,
        needed: Option<&Rule>,
        peer: IpAddr,
    ) -> Result<Option<Arc<str>>, Refusal> {
        let shown = Shown::in_query(&question.query);
        let (index, now) = (needed.map_or(NO_RULE, |rule| rule.index), (self.unix_seconds)());
        let may_be_a_guess = !shown.is_empty() || question.party.login.is_some();
        if may_be_a_guess && self.guesses.are_too_many(index, peer, now) {
            return Err(refusal(Cause::TooManyAttempts));
        }
        let answered = match self.user_with_password(question, &shown) {
            Ok(Some(user)) => return Ok(Some(user)),
            Ok(None) if shown.response.is_some() || needed.is_some() => {
                self.challenges.check(&shown, &self.accounts, peer, now).map(Some)
            }
            Ok(None) => return Ok(None),
            Err(cause) => Err(refusal(cause)),
        };
        if matches!(answered, Err((Cause::WrongCredentials, _))) {
            self.guesses.add(index, peer, now, (&shown, &question.party.login));
        }
        answered
    }

    /// The rule that lets only users publish or play any stream of this application, whichever of both the client is
    /// about to do.
    fn rule_for_users(&self, question: &Question, application: &str, peer: IpAddr) -> Option<&Rule> {
        let is_encoder = question.party.client.starts_with("FMLE/");
        let action = if is_encoder { Action::Publish } else { Action::Play };
        let rule = self.rule_for(action, &format!("{application}/{ANY_STREAM}"), peer)?;
        rule.takes_users_only().then_some(rule)
    }
}

impl Access for Rules {
    fn decide(&self, question: &Question) -> Decision {
        let peer = question.peer.ip().to_canonical();
        if question.action == Action::Connect {
            return self.decide_connect(question, &application::normal(&question.name), peer);
        }
        if let Some(denied) = self.denied_application(question, peer) {
            return denied;
        }
        match self.rule_for(question.action, &question.name, peer) {
            Some(rule) => self.decide_by(rule, question, &question.name),
            None => self.without_rule(question.action, peer),
        }
    }

    fn has_guessed_too_often(&self, address: IpAddr) -> bool {
        self.guesses.are_too_many(API_TOKENS, address, (self.unix_seconds)())
    }

    fn note_wrong_token(&self, address: IpAddr, token: &str) {
        self.guesses.add(API_TOKENS, address, (self.unix_seconds)(), token);
    }
}

impl Rule {
    fn of(rule: &AccessRule, number: usize) -> Self {
        let label = if rule.name.is_empty() { number.to_string() } else { rule.name.clone() };
        let users = match rule.users.as_slice() {
            [] => Allowed::None,
            users if users.iter().any(|user| user == "*") => Allowed::All,
            users => Allowed::Some(users.to_vec()),
        };
        Self {
            index: number - 1,
            label: label.into(),
            action: rule.action,
            from: rule.from.clone(),
            lets_in: rule.then == Then::Allow,
            keys: Digests::of(rule.keys.values()),
            has_keys: !rule.keys.is_empty(),
            users,
            links: LinkKeys::of(rule.links.values()),
            has_links: !rule.links.is_empty(),
            jwt: rule.jwt,
            session_expire_ms: u64::try_from(rule.session_expire.as_millis()).unwrap_or(u64::MAX),
            ask: rule.ask,
        }
    }

    fn is_for(&self, action: Action) -> bool {
        match self.action {
            RuleAction::Any => matches!(action, Action::Publish | Action::Play),
            RuleAction::Publish => action == Action::Publish,
            RuleAction::Play => action == Action::Play,
            RuleAction::Connect => action == Action::Connect,
            RuleAction::Api => action == Action::Api,
        }
    }

    fn is_from(&self, peer: IpAddr) -> bool {
        self.from.is_empty() || self.from.iter().any(|network| contains(network, peer))
    }

    fn takes_credentials(&self) -> bool {
        self.has_keys || self.jwt || self.has_links || !matches!(self.users, Allowed::None)
    }

    fn takes_users_only(&self) -> bool {
        let takes_others = self.has_keys || self.jwt || self.has_links;
        self.lets_in && !takes_others && !matches!(self.users, Allowed::None)
    }

    /// For as long as the rule and what was shown allow, whichever is shorter.
    fn grant(&self, lasts_ms: Option<u64>, user: Option<Arc<str>>) -> Grant {
        let of_rule = (self.session_expire_ms > 0).then_some(self.session_expire_ms);
        let lasts_ms = lasts_ms.into_iter().chain(of_rule).min();
        Grant { name: None, user, lasts_ms }
    }

    /// It lets in, unless there is a service that has to agree.
    fn decision(&self, grant: Grant, is_hooked: bool) -> Decision {
        if self.ask && is_hooked { Decision::Ask(grant) } else { Decision::Verdict(Verdict::Allow(grant)) }
    }

    fn denial(&self, cause: Cause, reason: String) -> Denial {
        Denial { reason, cause, rule: self.label.clone() }
    }
}

impl Allowed {
    fn contains(&self, user: &str) -> bool {
        match self {
            Self::None => false,
            Self::Some(users) => users.iter().any(|it| it == user),
            Self::All => true,
        }
    }
}

impl Hooked {
    fn of(hooks: &Hooks) -> Self {
        Self {
            connect: !hooks.on_connect.is_empty(),
            publish: !hooks.on_publish.is_empty(),
            play: !hooks.on_play.is_empty(),
        }
    }

    fn has(self, action: Action) -> bool {
        match action {
            Action::Connect => self.connect,
            Action::Publish => self.publish,
            Action::Play => self.play,
            Action::Api => false,
        }
    }
}

/// A refusal, with the text for the client.
fn refusal(cause: Cause) -> Refusal {
    (cause, reason_of(cause).to_owned())
}

/// The text for the client: no more than it needs to correct it.
const fn reason_of(cause: Cause) -> &'static str {
    match cause {
        Cause::NoCredentials => "a key, link, token or user is needed",
        Cause::WrongCredentials => "wrong key, link, token, user or password",
        Cause::NotForThis => "not valid for this",
        Cause::Expired => "expired, or not yet valid",
        Cause::TooManyAttempts => "too many wrong attempts from this network: try again in a minute",
        Cause::Rule | Cause::Network | Cause::Service | Cause::ServiceFailed => "not allowed",
    }
}

const fn ms_until(seconds: u64, now: u64) -> u64 {
    seconds.saturating_sub(now).saturating_mul(1000)
}

/// Stands for a rule where a client says who it is and none asks for that.
const NO_RULE: usize = usize::MAX;
/// Stands for a rule that the tokens of the API are for.
const API_TOKENS: usize = usize::MAX - 1;
/// Stands for all streams of an application that no pattern names.
const ANY_STREAM: &str = "any-stream-of-this-application";
