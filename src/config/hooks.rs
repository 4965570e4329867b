//! The operator's web service: what it is asked and told, and in whose terms.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{fault::Fault, secret_value::Secrets, units};

/// The web service. Each hook has a list of addresses; of a question, all of them have to agree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hooks {
    /// In whose terms requests and answers are.
    pub dialect: Dialect,
    /// Asked when a client connects over RTMP.
    pub on_connect: Vec<String>,
    /// Asked when a client wants to publish.
    pub on_publish: Vec<String>,
    /// Asked when a client wants to play.
    pub on_play: Vec<String>,
    /// Told when a publisher has ended.
    pub on_unpublish: Vec<String>,
    /// Told when a player has ended.
    pub on_stop: Vec<String>,
    /// Told when an RTMP connection is closed, if it had been let in.
    pub on_close: Vec<String>,
    /// Told of each publisher and player every `update_interval`.
    pub on_update: Vec<String>,
    /// How often `on_update` is told.
    #[serde(with = "units::DurationText")]
    pub update_interval: Duration,
    /// How long the answer to a question may take, those of all its addresses together.
    #[serde(with = "units::DurationText")]
    pub timeout: Duration,
    /// What happens if the service does not answer, or not in its terms.
    pub on_error: OnError,
    /// How long an answer is valid for the same question; 0 asks each time.
    #[serde(with = "units::DurationText")]
    pub cache: Duration,
    /// Requests under way at the same time; others wait.
    pub max_requests: usize,
    /// Notices that wait; one more is dropped, and counted.
    pub queue: usize,
    /// How often a notice is sent again that the service did not take.
    pub retries: usize,
    /// Signs each body; of several, the first one does.
    pub secret: Secrets,
    /// With `nginx-rtmp`, whether fields are in the body or in the address.
    pub notify_method: NotifyMethod,
    /// Certificates of authorities that `https://` is trusted by, in PEM; if empty, those of the system.
    pub ca_file: PathBuf,
}

/// Where nginx-rtmp puts its fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NotifyMethod {
    /// In the body.
    #[default]
    Post,
    /// In the query of the address.
    Get,
}

/// In whose terms requests and answers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// fanfare's own: that of SRS, with more fields.
    #[default]
    Fanfare,
    /// As SRS does.
    Srs,
    /// As nginx-rtmp does: forms.
    #[serde(rename = "nginx-rtmp")]
    NginxRtmp,
    /// As MediaMTX does: one address for all questions.
    Mediamtx,
}

/// What happens if the service does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The peer is refused.
    #[default]
    Deny,
    /// The peer is let in.
    Allow,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            dialect: Dialect::default(),
            on_connect: Vec::new(),
            on_publish: Vec::new(),
            on_play: Vec::new(),
            on_unpublish: Vec::new(),
            on_stop: Vec::new(),
            on_close: Vec::new(),
            on_update: Vec::new(),
            update_interval: Duration::from_secs(30),
            timeout: Duration::from_secs(3),
            on_error: OnError::default(),
            cache: Duration::ZERO,
            max_requests: 64,
            queue: 10_000,
            retries: 5,
            secret: Secrets::default(),
            notify_method: NotifyMethod::default(),
            ca_file: PathBuf::new(),
        }
    }
}

impl Hooks {
    /// Whether anybody is to be asked or told anything.
    pub fn is_used(&self) -> bool {
        self.lists().iter().any(|(_, addresses)| !addresses.is_empty())
    }

    /// Each list, with its key.
    pub fn lists(&self) -> [(&'static str, &Vec<String>); 7] {
        [
            ("hooks.on_connect", &self.on_connect),
            ("hooks.on_publish", &self.on_publish),
            ("hooks.on_play", &self.on_play),
            ("hooks.on_unpublish", &self.on_unpublish),
            ("hooks.on_stop", &self.on_stop),
            ("hooks.on_close", &self.on_close),
            ("hooks.on_update", &self.on_update),
        ]
    }

    pub(super) fn check(&self) -> Result<(), Fault> {
        for (key, addresses) in self.lists() {
            if addresses.len() > MAX_ADDRESSES {
                let what = format!("{} addresses are too many: at most {MAX_ADDRESSES}", addresses.len());
                return Err(Fault { key, what });
            }
            addresses.iter().try_for_each(|it| check_address(it)).map_err(|what| Fault { key, what })?;
            let is_asked = ["hooks.on_publish", "hooks.on_play"].contains(&key);
            if self.dialect == Dialect::Mediamtx && !is_asked && !addresses.is_empty() {
                let what =
                    "MediaMTX has no such request: leave it empty, or choose another dialect".to_owned();
                return Err(Fault { key, what });
            }
        }
        if self.notify_method == NotifyMethod::Get && self.dialect != Dialect::NginxRtmp {
            let what = "only the dialect nginx-rtmp has fields in the address".to_owned();
            return Err(Fault { key: "hooks.notify_method", what });
        }
        Ok(())
    }

    /// The same options with `***` in place of the queries of addresses, which may contain secrets.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        let mut shown = self.clone();
        let lists = [
            &mut shown.on_connect,
            &mut shown.on_publish,
            &mut shown.on_play,
            &mut shown.on_unpublish,
            &mut shown.on_stop,
            &mut shown.on_close,
            &mut shown.on_update,
        ];
        for address in lists.into_iter().flatten() {
            if let Some((path, _)) = address.split_once('?') {
                *address = format!("{path}?***");
            }
        }
        shown
    }
}

/// `http://host:port/path?query`. What is wrong does not contain the query, which may be secret.
fn check_address(address: &str) -> Result<(), String> {
    let shown = address.split('?').next().unwrap_or_default();
    let rest = address.strip_prefix("http://").or_else(|| address.strip_prefix("https://"));
    let authority = rest.and_then(|rest| rest.split(['/', '?']).next()).unwrap_or_default();
    if authority.contains('@') {
        return Err(
            "an address has no user and no password: set hooks.secret, which signs requests".to_owned()
        );
    }
    let is_text = address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let is_host = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte));
    match is_text && is_port && is_host && !host.is_empty() {
        true => Ok(()),
        false => Err(format!("`{shown}` is not an address: http://… or https://…")),
    }
}

/// More than services that one relay asks.
const MAX_ADDRESSES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn an_address_has_a_scheme_a_host_and_neither_password_nor_fragment() {
        for address in [
            "http://127.0.0.1:8085/api/v1/streams",
            "https://auth.example.org",
            "http://[::1]:80/?a=b",
            "http://[::1]/a",
            "http://a_b?key=x:y@z",
        ] {
            assert_eq!(check_address(address), Ok(()), "{address}");
        }
        for other in [
            "",
            "auth.example.org/a",
            "ftp://host/",
            "http://",
            "http:///a",
            "http://host:0/",
            "http://host:70000/",
            "http://ho st/",
            "http://host/a#b",
            "http://host/a\r\nb",
            "http://höst/",
        ] {
            assert!(check_address(other).is_err(), "{other}");
        }
        let error = check_address("http://user:hunter22@host/").unwrap_err();
        assert!(error.contains("hooks.secret") && !error.contains("hunter22"), "{error}");
        assert!(!check_address("http:/host/?key=hunter22").unwrap_err().contains("hunter22"));
    }

    #[test]
    fn what_a_dialect_cannot_say_is_refused_with_its_key() {
        let error = |file: &str| Config::from_toml("f", file).unwrap_err().to_string();
        for key in ["on_connect", "on_unpublish", "on_stop", "on_close", "on_update"] {
            let file = format!("[hooks]\ndialect = 'mediamtx'\n{key} = ['http://a/']");
            let expected = format!("f:3:{}: hooks.{key}: MediaMTX has no such request", key.len() + 4);
            assert!(error(&file).starts_with(&expected), "{}", error(&file));
        }
        assert!(error("hooks.notify_method = 'get'").starts_with("f:1:23: hooks.notify_method: only"));
        for file in [
            "[hooks]\ndialect = 'mediamtx'\non_play = ['http://a/']\non_publish = ['http://a/']",
            "[hooks]\ndialect = 'nginx-rtmp'\nnotify_method = 'get'",
        ] {
            Config::from_toml("f", file).unwrap();
        }
    }

    #[test]
    fn the_query_of_an_address_is_not_shown() {
        let with = |address: &str| Hooks { on_stop: vec![address.to_owned()], ..Hooks::default() };
        assert_eq!(with("http://a/b?key=hunter22").without_secrets(), with("http://a/b?***"));
        assert_eq!(with("http://a/b").without_secrets(), with("http://a/b"));
    }
}
