//! Who may publish and play: rules in their order, users, keys of tokens.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use globset::GlobBuilder;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{fault::Fault, secret_value::Secrets, units};

/// A rule. It applies to a question if the action, the name and the network all match; the first one that applies
/// decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessRule {
    /// What the log and the metrics call it; if empty, its number, from 1.
    pub name: String,
    /// Matches the whole name, `app/name`: `*` matches any text, slashes included.
    pub streams: String,
    /// To which actions it applies.
    pub action: RuleAction,
    /// To peers from which networks it applies; if empty, from all.
    pub from: Vec<IpNet>,
    /// What it does with those that it applies to.
    pub then: Then,
    /// Stream keys, one of which has to be in the address: `?key=…`.
    pub keys: Secrets,
    /// Users of `[users]`, one of whom it has to be: their names, or `*` for each of them.
    pub users: Vec<String>,
    /// Secrets that a link may be signed with.
    pub links: Secrets,
    /// Whether a JSON Web Token lets in: see `[jwt]`.
    pub jwt: bool,
    /// How long a session lasts that it lets in; 0 is without an end. A link's own expiry then only limits when a
    /// session may begin.
    #[serde(with = "units::DurationText")]
    pub session_expire: Duration,
    /// Whether the web service is asked as well, if there is one for the action.
    pub ask: bool,
}

/// To which actions a rule applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleAction {
    /// To publish and to play.
    #[default]
    Any,
    /// To publish.
    Publish,
    /// To play.
    Play,
    /// To connect over RTMP. The name is the application.
    Connect,
    /// To use the HTTP API and the metrics. The name is the path.
    Api,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Then {
    /// Lets in: with one of its keys, users, links and tokens, if it has any; otherwise everybody.
    #[default]
    Allow,
    /// Lets nobody in.
    Deny,
}

/// Users and their passwords. Several passwords of a user are valid at once.
pub type Users = BTreeMap<String, Secrets>;

/// JSON Web Tokens that rules with `jwt = true` take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jwt {
    /// Shared secrets, for HS256.
    pub secrets: Secrets,
    /// Files with a public key in PEM, for RS256, ES256 or EdDSA.
    pub public_keys: Vec<PathBuf>,
    /// Where the issuer publishes its keys, as a JWK Set; if empty, nowhere.
    pub jwks_url: String,
    /// How often they are fetched again.
    #[serde(with = "units::DurationText")]
    pub jwks_refresh: Duration,
    /// `aud` has to be this; if empty, it is not checked.
    pub audience: String,
    /// `iss` has to be this; if empty, it is not checked.
    pub issuer: String,
}

impl Default for AccessRule {
    fn default() -> Self {
        Self {
            name: String::new(),
            streams: "*".to_owned(),
            action: RuleAction::default(),
            from: Vec::new(),
            then: Then::default(),
            keys: Secrets::default(),
            users: Vec::new(),
            links: Secrets::default(),
            jwt: false,
            session_expire: Duration::ZERO,
            ask: true,
        }
    }
}

impl Default for Jwt {
    fn default() -> Self {
        Self {
            secrets: Secrets::default(),
            public_keys: Vec::new(),
            jwks_url: String::new(),
            jwks_refresh: Duration::from_secs(300),
            audience: String::new(),
            issuer: String::new(),
        }
    }
}

/// Checks the rules among themselves and with what they name.
pub(super) fn check(rules: &[AccessRule], users: &Users) -> Result<(), Fault> {
    let fault = |what: String| Fault { key: "access", what };
    if rules.len() > MAX_RULES {
        return Err(fault(format!("{} rules are too many: at most {MAX_RULES}", rules.len())));
    }
    for (rule, number) in rules.iter().zip(1..) {
        let glob = GlobBuilder::new(&rule.streams).literal_separator(false).build();
        glob.map_err(|error| {
            fault(format!("rule {number}: `{}` is not a pattern: {}", rule.streams, error.kind()))
        })?;
        if let Some(unknown) = rule.users.iter().find(|user| *user != "*" && !users.contains_key(*user)) {
            return Err(fault(format!("rule {number}: there is no user `{unknown}` in [users]")));
        }
    }
    Ok(())
}

/// More than an operator writes by hand.
const MAX_RULES: usize = 256;
