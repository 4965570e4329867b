//! Rules for streams by name.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};

/// A rule for the streams whose names match a pattern.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamRule {
    /// Matches the whole name, `app/name`: `*` matches any text, slashes included.
    pub pattern: String,
    /// Whether lists for viewers show the stream. A viewer that knows the name may watch it in either case.
    #[serde(default = "listed")]
    pub listed: bool,
}

/// Rules, with their patterns compiled.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<StreamRule>", into = "Vec<StreamRule>")]
pub struct StreamRules {
    rules: Vec<StreamRule>,
    /// In the order of the rules.
    patterns: GlobSet,
}

impl StreamRules {
    /// Whether lists for viewers show the stream with this name: the first rule that matches decides, and a name that
    /// no rule matches is listed.
    pub fn is_listed(&self, name: &str) -> bool {
        self.patterns.matches(name).into_iter().min().is_none_or(|first| self.rules[first].listed)
    }
}

impl TryFrom<Vec<StreamRule>> for StreamRules {
    type Error = String;

    fn try_from(rules: Vec<StreamRule>) -> Result<StreamRules, String> {
        if rules.len() > MAX_RULES {
            return Err(format!("{} rules are too many: at most {MAX_RULES}", rules.len()));
        }
        let mut patterns = GlobSetBuilder::new();
        for StreamRule { pattern, .. } in &rules {
            if pattern.is_empty() || pattern.len() > MAX_PATTERN_BYTES {
                let length = pattern.len();
                return Err(format!("a pattern has 1 to {MAX_PATTERN_BYTES} bytes, not {length}"));
            }
            // A publisher may put any number of slashes into a name; one more must not evade a pattern.
            let glob = GlobBuilder::new(pattern).literal_separator(false).build();
            patterns.add(glob.map_err(|error| format!("`{pattern}` is not a pattern: {}", error.kind()))?);
        }
        let patterns =
            patterns.build().map_err(|error| format!("the patterns together: {}", error.kind()))?;
        Ok(StreamRules { rules, patterns })
    }
}

impl From<StreamRules> for Vec<StreamRule> {
    fn from(rules: StreamRules) -> Vec<StreamRule> {
        rules.rules
    }
}

impl PartialEq for StreamRules {
    fn eq(&self, other: &StreamRules) -> bool {
        self.rules == other.rules
    }
}

const fn listed() -> bool {
    true
}

/// More than an operator writes by hand; each costs a few KiB.
const MAX_RULES: usize = 256;
/// The longest name of a stream.
const MAX_PATTERN_BYTES: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(rules: &[(&str, bool)]) -> StreamRules {
        let rule = |&(pattern, listed): &(&str, bool)| StreamRule { pattern: pattern.to_owned(), listed };
        rules.iter().map(rule).collect::<Vec<_>>().try_into().unwrap()
    }

    #[test]
    fn a_pattern_matches_the_whole_name_and_slashes_do_not_evade_it() {
        let one = rules(&[("private/*", false)]);
        for hidden in ["private/a", "private/a/b", "private//a", "private/a.b", "private/a\\b", "private/ü"]
        {
            assert!(!one.is_listed(hidden), "{hidden}");
        }
        for shown in ["live/a", "live/private/a", "private", "privates/a", "Private/a"] {
            assert!(one.is_listed(shown), "{shown}");
        }
        let end = rules(&[("*_backup", false), ("live/{a,b}?", false)]);
        assert!(
            !end.is_listed("live/x_backup") && !end.is_listed("a/b/c_backup") && !end.is_listed("live/a1")
        );
        assert!(end.is_listed("live/x_backups") && end.is_listed("live/c1") && end.is_listed("live/a"));
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let several = rules(&[("internal/lobby", true), ("internal/*", false), ("*", true)]);
        assert!(several.is_listed("internal/lobby") && several.is_listed("live/a"));
        assert!(!several.is_listed("internal/lobby2"));
        assert!(rules(&[]).is_listed("live/a"));
        assert!(!rules(&[("*", false)]).is_listed("live/a"));
    }
}
