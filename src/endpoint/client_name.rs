//! Name and version of a client, as it says: RTMP's `flashVer`, HTTP's `User-Agent`. Only for people to read.

use std::ops::Deref;

use serde::Serialize;

/// Is not empty, has a bounded length and no characters that control a terminal or hide text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientName(Box<str>);

/// Longer than the names of encoders and players, and shorter than those of browsers, which begin alike.
const MAX_CHARS: usize = 120;

impl ClientName {
    /// Of what the client sent; none if that is empty.
    pub fn of(text: &str) -> Option<Self> {
        let shown = text.trim().chars().filter(|&c| !is_hidden(c));
        let name: String = shown.take(MAX_CHARS).collect();
        (!name.is_empty()).then(|| Self(name.into()))
    }
}

/// Control characters, and those that have no width or change the direction of what follows.
fn is_hidden(c: char) -> bool {
    let is_invisible = matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    );
    c.is_control() || is_invisible
}

impl Deref for ClientName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_not_empty_not_long_and_has_no_control_characters() {
        assert_eq!((ClientName::of(""), ClientName::of("  ")), (None, None));
        assert_eq!(ClientName::of("VLC/3.0.18 LibVLC/3.0.18 ").as_deref(), Some("VLC/3.0.18 LibVLC/3.0.18"));
        assert_eq!(ClientName::of("O\u{1b}[2JB\u{202e}S\r\n\0/29").as_deref(), Some("O[2JBS/29"));
        assert_eq!(ClientName::of("\u{200b}\u{7}"), None);
        assert_eq!(ClientName::of(&"ü".repeat(500)).map(|name| name.chars().count()), Some(MAX_CHARS));
    }
}
