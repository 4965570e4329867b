//! Which streams are in the lists that viewers see.

use globset::GlobSet;

use crate::config::{self, StreamRule};

/// The rules in force.
pub(super) struct Listing {
    patterns: GlobSet,
    /// By the pattern's number.
    listed: Vec<bool>,
}

impl Listing {
    /// # Errors
    /// A pattern that is none.
    pub(super) fn new(rules: &[StreamRule]) -> Result<Self, String> {
        let listed = rules.iter().map(|rule| rule.listed).collect();
        Ok(Self { patterns: config::patterns(rules)?, listed })
    }

    /// By the first rule whose pattern fits; a name that fits none is listed.
    pub(super) fn is_listed(&self, name: &str) -> bool {
        self.patterns.matches(name).into_iter().min().is_none_or(|first| self.listed[first])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(rules: &[(&str, bool)]) -> Listing {
        let rule = |&(pattern, listed): &(&str, bool)| StreamRule { pattern: pattern.to_owned(), listed };
        Listing::new(&rules.iter().map(rule).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_pattern_is_for_the_whole_name_and_no_slash_gets_past_it() {
        let one = listing(&[("private/*", false)]);
        for hidden in ["private/a", "private/a/b", "private//a", "private/a.b", "private/a\\b", "private/ü"]
        {
            assert!(!one.is_listed(hidden), "{hidden}");
        }
        for shown in ["live/a", "live/private/a", "private", "privates/a", "Private/a"] {
            assert!(one.is_listed(shown), "{shown}");
        }
        let end = listing(&[("*_backup", false), ("live/{a,b}?", false)]);
        assert!(
            !end.is_listed("live/x_backup") && !end.is_listed("a/b/c_backup") && !end.is_listed("live/a1")
        );
        assert!(end.is_listed("live/x_backups") && end.is_listed("live/c1") && end.is_listed("live/a"));
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = listing(&[("internal/lobby", true), ("internal/*", false), ("*", true)]);
        assert!(rules.is_listed("internal/lobby") && rules.is_listed("live/a"));
        assert!(!rules.is_listed("internal/lobby2"));
        assert!(listing(&[]).is_listed("live/a"));
        assert!(!listing(&[("*", false)]).is_listed("live/a"));
    }
}
