//! The operator's web service: what it is asked and told, and in whose terms.

use std::time::Duration;

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
    /// Told when an RTMP connection is closed.
    pub on_close: Vec<String>,
    /// Told of each publisher and player every `update_interval`.
    pub on_update: Vec<String>,
    /// How often `on_update` is told.
    #[serde(with = "units::DurationText")]
    pub update_interval: Duration,
    /// How long an answer may take, all in all.
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
            let is_address = |it: &&String| it.starts_with("http://") || it.starts_with("https://");
            if let Some(other) = addresses.iter().find(|it| !is_address(it)) {
                return Err(Fault {
                    key,
                    what: format!("`{other}` is not an address: http://… or https://…"),
                });
            }
        }
        Ok(())
    }
}

/// More than services that one relay asks.
const MAX_ADDRESSES: usize = 8;
