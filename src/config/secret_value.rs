//! Secrets in a configuration: written there, in a file of their own, or in the environment. Never shown.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Several secrets, all of them valid at once, and where they come from.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    sources: Vec<Source>,
    /// What the sources contained when they were read.
    values: Vec<String>,
}

/// Where a secret comes from.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a text, { file = \"…\" } or { env = \"…\" }")]
enum Source {
    /// It is this text.
    Text(String),
    /// Each line of this file is one. Only its owner and its group may have access to it.
    File(FromFile),
    /// It is in this environment variable.
    Environment(FromEnvironment),
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FromFile {
    file: PathBuf,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FromEnvironment {
    env: String,
}

impl Secrets {
    /// These texts.
    pub fn of_texts(texts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let values: Vec<String> = texts.into_iter().map(Into::into).collect();
        Self { sources: values.iter().cloned().map(Source::Text).collect(), values }
    }

    /// Whether none is configured.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Each of them.
    pub fn values(&self) -> &[String] {
        &self.values
    }
}

/// Shows where they come from, and none of them.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.sources.len())
    }
}

impl Serialize for Secrets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.sources.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a text, { file = \"…\" } or { env = \"…\" }, or a list of these")]
        enum OneOrMore {
            One(Source),
            More(Vec<Source>),
        }
        let sources = match OneOrMore::deserialize(deserializer)? {
            OneOrMore::One(source) => vec![source],
            OneOrMore::More(sources) => sources,
        };
        let texts = sources.iter().filter_map(|source| match source {
            Source::Text(text) => Some(text.clone()),
            Source::File(_) | Source::Environment(_) => None,
        });
        Ok(Self { values: texts.collect(), sources })
    }
}
