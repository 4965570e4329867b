//! Name and version of a client, as it says: RTMP's `flashVer`, HTTP's `User-Agent`. Only for people to read.

use std::ops::Deref;

/// Is not empty, and has a bounded length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientName(Box<str>);

/// Longer than the names of encoders and players, and shorter than those of browsers, which begin alike.
const MAX_CHARS: usize = 120;

impl ClientName {
    /// Of what the client sent; none if that is empty.
    pub fn of(text: &str) -> Option<Self> {
        let name: String = text.trim().chars().take(MAX_CHARS).collect();
        (!name.is_empty()).then(|| Self(name.into()))
    }
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
    fn a_name_is_not_empty_and_not_long() {
        assert_eq!((ClientName::of(""), ClientName::of("  ")), (None, None));
        assert_eq!(ClientName::of("VLC/3.0.18 LibVLC/3.0.18 ").as_deref(), Some("VLC/3.0.18 LibVLC/3.0.18"));
        assert_eq!(ClientName::of(&"ü".repeat(500)).map(|name| name.chars().count()), Some(MAX_CHARS));
    }
}
