//! Who may publish and play: rules in their order, users, keys of tokens.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use globset::GlobBuilder;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{fault::Fault, secret_file::read_file, secret_value::Secrets, units};

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
    #[serde(deserialize_with = "not_empty", skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<IpNet>,
    /// What it does with those that it applies to.
    pub then: Then,
    /// Stream keys, one of which has to be in the address: `?key=…`.
    #[serde(deserialize_with = "not_empty", skip_serializing_if = "Secrets::is_empty")]
    pub keys: Secrets,
    /// Users of `[users]`, one of whom it has to be: their names, or `*` for each of them.
    #[serde(deserialize_with = "not_empty", skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// Secrets that a link may be signed with.
    #[serde(deserialize_with = "not_empty", skip_serializing_if = "Secrets::is_empty")]
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

/// A list of a rule, if it is written: without an entry the rule would let in everybody, or apply to all networks.
fn not_empty<'de, L: List + Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<L, D::Error> {
    let list = L::deserialize(deserializer)?;
    match list.has_entries() {
        true => Ok(list),
        false => Err(de::Error::custom(
            "an empty list is as none, which lets in everybody: leave it out if that is meant",
        )),
    }
}

trait List {
    fn has_entries(&self) -> bool;
}

impl<T> List for Vec<T> {
    fn has_entries(&self) -> bool {
        !self.is_empty()
    }
}

impl List for Secrets {
    fn has_entries(&self) -> bool {
        !self.is_empty()
    }
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
    /// Refuses all.
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
    pub public_keys: PublicKeys,
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
            public_keys: PublicKeys::default(),
            jwks_url: String::new(),
            jwks_refresh: Duration::from_secs(300),
            audience: String::new(),
            issuer: String::new(),
        }
    }
}

/// Files with public keys, and what they contained when they were read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<PathBuf>", into = "Vec<PathBuf>")]
pub struct PublicKeys {
    paths: Vec<PathBuf>,
    texts: Vec<String>,
}

impl PublicKeys {
    /// Each file with its text, once they have been read: see [`super::Config::with_secret_files`].
    pub fn files(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.paths.iter().map(PathBuf::as_path).zip(self.texts.iter().map(String::as_str))
    }

    pub(super) fn read(&mut self) -> Result<(), String> {
        let text = |path: &PathBuf| read_file(path).map_err(|error| format!("{}: {error}", path.display()));
        self.texts = self.paths.iter().map(text).collect::<Result<_, _>>()?;
        Ok(())
    }
}

impl From<Vec<PathBuf>> for PublicKeys {
    fn from(paths: Vec<PathBuf>) -> Self {
        Self { paths, texts: Vec::new() }
    }
}

impl From<PublicKeys> for Vec<PathBuf> {
    fn from(keys: PublicKeys) -> Self {
        keys.paths
    }
}

/// Checks rules, users and tokens among themselves.
pub(super) fn check(access: &[AccessRule], users: &Users, jwt: &Jwt) -> Result<(), Fault> {
    check_users(users).map_err(|what| Fault { key: "users", what })?;
    jwt.check()?;
    if access.len() > MAX_RULES {
        let what = format!("{} rules are too many: at most {MAX_RULES}", access.len());
        return Err(Fault { key: "access", what });
    }
    for (rule, number) in access.iter().zip(1..) {
        let what = rule.check(users, jwt);
        what.map_err(|what| Fault { key: "access", what: format!("rule {number}: {what}") })?;
    }
    Ok(())
}

impl AccessRule {
    fn check(&self, users: &Users, jwt: &Jwt) -> Result<(), String> {
        let is_label = |c: char| !c.is_control() && !"\"\\".contains(c);
        let is_taken = self.name.starts_with('/') || matches!(self.name.as_str(), "default" | "hook");
        if self.name.len() > MAX_NAME_BYTES || !self.name.chars().all(is_label) || is_taken {
            return Err(format!(
                "name: up to {MAX_NAME_BYTES} bytes, without quotes and backslashes; it does not begin with a slash, and is \
                 neither default nor hook"
            ));
        }
        if self.streams.is_empty() || self.streams.len() > MAX_NAME_BYTES_OF_STREAM {
            let length = self.streams.len();
            return Err(format!(
                "streams: a pattern has 1 to {MAX_NAME_BYTES_OF_STREAM} bytes, not {length}"
            ));
        }
        let glob = GlobBuilder::new(&self.streams).literal_separator(false).build();
        glob.map_err(|error| format!("streams: `{}` is not a pattern: {}", self.streams, error.kind()))?;
        if has_character_of_several_bytes(&self.streams) {
            return Err(format!(
                "streams: `{}`: ? and [] stand for one character of ASCII: write {{ä,ö}} or * for others",
                self.streams
            ));
        }
        let takes_any = self.jwt || !self.keys.is_empty() || !self.links.is_empty() || !self.users.is_empty();
        if self.then == Then::Deny && takes_any {
            return Err("a rule that denies takes no keys, users, links or tokens".to_owned());
        }
        self.keys.check(1).map_err(|what| format!("keys: {what}"))?;
        self.links.check(MIN_SIGNING_BYTES).map_err(|what| format!("links: {what}"))?;
        if self.jwt && !jwt.has_keys() {
            return Err("jwt: there is no key in [jwt]".to_owned());
        }
        match self.users.iter().find(|user| *user != "*" && !users.contains_key(*user)) {
            Some(unknown) => Err(format!("users: there is no user `{unknown}` in [users]")),
            None if !self.users.is_empty() && users.is_empty() => Err("users: [users] is empty".to_owned()),
            None => Ok(()),
        }
    }
}

/// Whether a pattern's brackets contain a character that is not of ASCII. The crate matches bytes, so that such a class
/// never matches, and a rule that denies would not apply.
fn has_character_of_several_bytes(pattern: &str) -> bool {
    let mut is_in_class = false;
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' if !is_in_class => _ = characters.next(),
            '[' => is_in_class = true,
            ']' => is_in_class = false,
            other if is_in_class && !other.is_ascii() => return true,
            _ => {}
        }
    }
    false
}

impl Jwt {
    /// Whether any token can be verified.
    fn has_keys(&self) -> bool {
        !self.secrets.is_empty() || !self.public_keys.paths.is_empty() || !self.jwks_url.is_empty()
    }

    fn check(&self) -> Result<(), Fault> {
        let secrets = self.secrets.check(MIN_SIGNING_BYTES);
        secrets.map_err(|what| Fault { key: "jwt.secrets", what })?;
        if self.public_keys.paths.len() > MAX_KEY_FILES {
            let what =
                format!("{} files are too many: at most {MAX_KEY_FILES}", self.public_keys.paths.len());
            return Err(Fault { key: "jwt.public_keys", what });
        }
        let host = self.jwks_url.strip_prefix("https://").or_else(|| self.jwks_url.strip_prefix("http://"));
        let host = host.and_then(|rest| rest.split(['/', '?', '#']).next()).filter(|host| !host.is_empty());
        // A password there would be shown.
        if !self.jwks_url.is_empty() && host.is_none_or(|host| host.contains('@')) {
            let what = "not an address https://HOST/… or http://HOST/…, without a user".to_owned();
            return Err(Fault { key: "jwt.jwks_url", what });
        }
        Ok(())
    }
}

fn check_users(users: &Users) -> Result<(), String> {
    for (name, passwords) in users {
        if name.is_empty() || name == "*" || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control)
        {
            let name = name.escape_debug();
            return Err(format!("{name}: a user's name has 1 to {MAX_NAME_BYTES} bytes, and is not *"));
        }
        if passwords.is_empty() {
            return Err(format!("{name}: a user has a password"));
        }
        passwords.check(1).map_err(|what| format!("{name}: {what}"))?;
    }
    Ok(())
}

/// More than an operator writes by hand.
const MAX_RULES: usize = 256;
/// Of a rule, as a label; of a user.
const MAX_NAME_BYTES: usize = 64;
/// The longest name of a stream.
const MAX_NAME_BYTES_OF_STREAM: usize = 255;
/// Rotation needs two for each issuer.
const MAX_KEY_FILES: usize = 16;
/// Anyone with a link can try secrets without asking the relay: a shorter one could be found.
pub const MIN_SIGNING_BYTES: usize = 16;
