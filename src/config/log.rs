//! Options for the log, and the filter that decides which lines are written.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tracing::level_filters::LevelFilter;

/// Options for the log, which goes to standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The format of a line.
    pub format: LogFormat,
    /// Which lines are written.
    pub level: Filter,
    /// Lines of one kind about one network, an IPv4 /24 or an IPv6 /56, that are written per 10 s; 0 is no limit.
    pub lines_per_network: usize,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line, for machines.
    Json,
}

/// Which log lines are written: a level, and levels for single parts of the program, such as `info,fanfare::net=debug`.
/// Displays as it is written in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    directives: Vec<Directive>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Directive {
    /// A module's path; empty for all others.
    target: String,
    level: LevelFilter,
}

impl Filter {
    /// The level for modules that match no target; `OFF` if the filter has none.
    pub fn default_level(&self) -> LevelFilter {
        let mut levels = self.directives.iter().rev().filter(|directive| directive.target.is_empty());
        levels.next().map_or(LevelFilter::OFF, |directive| directive.level)
    }

    /// Paths of modules, each with the level for its lines.
    pub fn targets(&self) -> impl Iterator<Item = (&str, LevelFilter)> {
        let targets = self.directives.iter().filter(|directive| !directive.target.is_empty());
        targets.map(|directive| (directive.target.as_str(), directive.level))
    }
}

impl FromStr for Filter {
    type Err = String;

    /// Strict: a misspelled level is an error, not the name of a module.
    fn from_str(text: &str) -> Result<Filter, String> {
        let directives = text.split(',').map(|directive| {
            let directive = directive.trim();
            Directive::parse(directive).ok_or_else(|| {
                format!("`{directive}` is not a level: error, warn, info, debug, trace, off or TARGET=LEVEL")
            })
        });
        Ok(Filter { directives: directives.collect::<Result<_, _>>()? })
    }
}

impl Directive {
    /// `LEVEL` or `TARGET=LEVEL`.
    fn parse(text: &str) -> Option<Directive> {
        let (target, level) =
            text.split_once('=').map_or(("", text), |(target, level)| (target.trim(), level.trim()));
        let is_path = target.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
        let names_target = text.contains('=');
        if !is_path || names_target == target.is_empty() {
            return None;
        }
        LEVELS.iter().find(|(name, _)| level.eq_ignore_ascii_case(name)).map(|&(_, level)| {
            let target = target.to_owned();
            Directive { target, level }
        })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Directive { target, level }) in self.directives.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let equals = if target.is_empty() { "" } else { "=" };
            write!(f, "{comma}{target}{equals}{level}")?;
        }
        Ok(())
    }
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Filter, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

impl Default for Log {
    fn default() -> Log {
        let info = Directive { target: String::new(), level: LevelFilter::INFO };
        Log { format: LogFormat::Text, level: Filter { directives: vec![info] }, lines_per_network: 20 }
    }
}

const LEVELS: [(&str, LevelFilter); 6] = [
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
    ("off", LevelFilter::OFF),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_targets_are_parsed_and_written_back() {
        for text in
            ["error", "warn", "info", "debug", "trace", "off", "info,fanfare::net=debug", "fanfare=warn"]
        {
            let filter: Filter = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(filter.to_string(), text);
        }
        let filter: Filter = " INFO , fanfare::net = Debug ".parse().unwrap();
        assert_eq!(filter.to_string(), "info,fanfare::net=debug");
        assert_eq!(filter.default_level(), LevelFilter::INFO);
        assert_eq!(filter.targets().collect::<Vec<_>>(), [("fanfare::net", LevelFilter::DEBUG)]);
        assert_eq!("fanfare=warn".parse::<Filter>().unwrap().default_level(), LevelFilter::OFF);
    }

    #[test]
    fn a_misspelled_level_is_refused_and_named() {
        for text in ["inof", "", "info,", "fanfare=loud", "info debug", "fanfare", "=debug", "a b=debug", "3"]
        {
            assert!(text.parse::<Filter>().is_err(), "{text}");
        }
        assert!("warn,inof".parse::<Filter>().unwrap_err().contains("`inof`"));
    }
}
