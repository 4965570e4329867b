//! What holds for some streams, by their names.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};

/// What holds for the streams whose names fit a pattern.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamRule {
    /// For the whole name, `app/name`: `*` is any text, slashes included.
    pub pattern: String,
    /// Whether viewers see the name in lists of streams. One who has the name may watch in either case.
    #[serde(default = "listed")]
    pub listed: bool,
}

/// The patterns of rules, in the same order, ready to be compared with names.
///
/// # Errors
/// What is wrong with one of them, as one line.
pub fn patterns(rules: &[StreamRule]) -> Result<GlobSet, String> {
    if rules.len() > MAX_RULES {
        return Err(format!("{} rules are more than {MAX_RULES}", rules.len()));
    }
    let mut patterns = GlobSetBuilder::new();
    for StreamRule { pattern, .. } in rules {
        if pattern.is_empty() || pattern.len() > MAX_PATTERN {
            let length = pattern.len();
            return Err(format!("a pattern of {length} bytes is outside 1 to {MAX_PATTERN}"));
        }
        // A name has as many slashes as its publisher likes: a pattern is not to be evaded by one more.
        let glob = GlobBuilder::new(pattern).literal_separator(false).build();
        patterns.add(glob.map_err(|error| format!("`{pattern}` is no pattern: {}", error.kind()))?);
    }
    patterns.build().map_err(|error| format!("the patterns together: {}", error.kind()))
}

const fn listed() -> bool {
    true
}

/// More than anyone writes by hand; each costs some KiB.
const MAX_RULES: usize = 256;
/// As long as a name may be.
const MAX_PATTERN: usize = 255;
