//! Stream names: one normal form for the many ways in which clients write an address.
//!
//! Clients split `rtmp://host/a/b/key` into an app and a key at different slashes (FFmpeg after the first or second, OBS
//! between its two fields, either of which may be empty). Therefore app and key are joined, normalized, and split again
//! at the last slash.

use std::{borrow::Cow, fmt};

/// The name of a stream, the same for its publisher and its players. Displays as `app/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName {
    /// All path components but the last; may contain `/`, may be empty.
    pub app: String,
    /// The last path component: the stream key. Never empty.
    pub name: String,
}

/// A stream name and the `?query` that came with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The stream.
    pub name: StreamName,
    /// The parameters of app and key, joined by `&`, without the `?`; empty if there are none. May contain secrets: not for
    /// the log.
    pub query: String,
}

/// Why a name is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither app nor key has a path component.
    #[error("no stream name")]
    Empty,
    /// The name is a number, an object or the like.
    #[error("the stream's name is not text")]
    NotText,
    /// Path or query is too long.
    #[error("{part} of {len} bytes is longer than {max}")]
    TooLong {
        /// `path` or `query`.
        part: &'static str,
        /// Its length, bytes.
        len: usize,
        /// The limit, bytes.
        max: usize,
    },
    /// A character that could forge a log line, or `.` and `..`, which could leave a directory.
    #[error("{part} contains {what}, which is not allowed")]
    Forbidden {
        /// `path` or `query`.
        part: &'static str,
        /// The character's code point or the component.
        what: Forbidden,
    },
}

/// What a name must not contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// A control character, a line separator or a character that changes the direction of text.
    Character(char),
    /// `.` or `..` as a path component.
    Dots,
}

impl Address {
    /// The normal form of `connect`'s `app` and `tcUrl` and the key of `publish` or `play`.
    ///
    /// - `?query` is split off app and key; both are kept. The path of `tc_url` replaces an empty app.
    /// - Percent signs are decoded once, if the result is UTF-8, as over HTTP: clients accept a space only as `%20`, and
    ///   OBS sends that unchanged. Decoded characters count like others: a `/` separates.
    /// - Empty components and `_definst_` (the default instance of an app) are removed.
    /// - `flv:`, `mp4:` and the like before a component, and `.flv` after the last one, are removed: FFmpeg and VLC add
    ///   and remove them depending on the name.
    /// - An empty key is allowed if the app has a component to use instead: some OBS users put all of
    ///   `rtmp://host/live/key` into the server field.
    ///
    /// # Errors
    /// The name is empty, too long, or contains something that it must not.
    pub fn parse(app: &str, tc_url: &str, key: &str) -> Result<Self, Error> {
        let (app_path, app_query) = path_and_query(app, tc_url);
        let (key_path, key_query) = split_query(key);
        bounded("path", app_path.len() + key_path.len(), MAX_ENCODED_PATH_BYTES)?;
        bounded("query", app_query.len() + key_query.len(), MAX_QUERY_BYTES)?;
        let queries: Vec<&str> = [app_query, key_query].into_iter().filter(|q| !q.is_empty()).collect();
        let query = queries.join("&");
        if let Some(character) = query.chars().find(|&c| forges_logs(c)) {
            return Err(Error::Forbidden { part: "query", what: Forbidden::Character(character) });
        }
        let name = StreamName::of_decoded(&decoded(app_path), &decoded(key_path))?;
        Ok(Self { name, query })
    }

    /// The value of a query parameter, as sent. If there are several, the last one counts, so that the key's takes
    /// precedence over the app's.
    pub fn parameter(&self, key: &str) -> Option<&str> {
        self.query
            .rsplit('&')
            .find_map(|pair| pair.split_once('=').filter(|(k, _)| *k == key))
            .map(|(_, v)| v)
    }
}

impl StreamName {
    /// The normal form of the path of an HTTP URL whose percent signs have been decoded: the same as for an RTMP key.
    ///
    /// # Errors
    /// As [`Address::parse`].
    pub fn of_path(path: &str) -> Result<Self, Error> {
        Self::of_decoded("", path)
    }

    fn of_decoded(app_path: &str, key_path: &str) -> Result<Self, Error> {
        bounded("path", app_path.len() + key_path.len(), MAX_PATH_BYTES)?;
        // RTMP would split an address at a `?`.
        let is_forbidden = |&c: &char| c == '?' || forges_logs(c);
        if let Some(character) = app_path.chars().chain(key_path.chars()).find(is_forbidden) {
            return Err(Error::Forbidden { part: "path", what: Forbidden::Character(character) });
        }
        let mut components: Vec<&str> = app_path
            .split('/')
            .chain(key_path.split('/'))
            .map(without_prefix)
            .filter(|component| !component.is_empty() && *component != DEFAULT_INSTANCE)
            .collect();
        let last = components.pop().ok_or(Error::Empty)?;
        let name = last.strip_suffix(".flv").filter(|rest| !rest.is_empty()).unwrap_or(last);
        if components.iter().chain([&name]).any(|component| matches!(*component, "." | "..")) {
            return Err(Error::Forbidden { part: "path", what: Forbidden::Dots });
        }
        Ok(Self { app: components.join("/"), name: name.to_owned() })
    }
}

/// The text with its percent signs decoded, or unchanged if the result is not UTF-8.
fn decoded(text: &str) -> Cow<'_, str> {
    percent_encoding::percent_decode_str(text).decode_utf8().unwrap_or(Cow::Borrowed(text))
}

/// Path and query of `connect`'s app, or of its `tcUrl` if the app is empty; as sent.
pub(super) fn path_and_query<'a>(app: &'a str, tc_url: &'a str) -> (&'a str, &'a str) {
    split_query(if app.is_empty() { path_of_url(tc_url) } else { app })
}

fn split_query(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}

/// The part after `scheme://host/`, with its query.
fn path_of_url(url: &str) -> &str {
    url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_host, path)| path)
}

fn without_prefix(component: &str) -> &str {
    PREFIXES.iter().find_map(|prefix| component.strip_prefix(prefix)).unwrap_or(component)
}

fn forges_logs(c: char) -> bool {
    let direction =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || direction || matches!(c, '\u{2028}' | '\u{2029}')
}

fn bounded(part: &'static str, len: usize, max: usize) -> Result<(), Error> {
    if len > max { Err(Error::TooLong { part, len, max }) } else { Ok(()) }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.app.as_str() {
            "" => f.write_str(&self.name),
            app => write!(f, "{app}/{}", self.name),
        }
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character(c) => write!(f, "character U+{:04X}", u32::from(*c)),
            Self::Dots => f.write_str("a component of dots"),
        }
    }
}

/// App and key together, so that a name fits into a file name (255 bytes on Linux) for recordings.
const MAX_PATH_BYTES: usize = 255;
/// `%XX` for each byte of such a name.
const MAX_ENCODED_PATH_BYTES: usize = 3 * MAX_PATH_BYTES;
/// An app or key that is longer is not valid, whatever it contains.
pub const MAX_TEXT_BYTES: usize = MAX_ENCODED_PATH_BYTES + 1 + MAX_QUERY_BYTES;
/// Signed tokens have a few hundred bytes, a JWT with claims up to 2 KiB.
const MAX_QUERY_BYTES: usize = 4096;
/// Flash Media Server's name for the default instance of an app.
const DEFAULT_INSTANCE: &str = "_definst_";
/// File types that Flash clients put before a name.
const PREFIXES: [&str; 6] = ["flv:", "mp4:", "mp3:", "f4v:", "id3:", "raw:"];

/// For the tests below and the fuzz target of commands: checks that the name from any text cannot forge a log line or
/// leave a directory, and that its length is bounded.
#[cfg(any(test, fuzzing))]
pub fn check_any_text(app: &str, tc_url: &str, key: &str) {
    let Ok(Address { name, query }) = Address::parse(app, tc_url, key) else {
        return;
    };
    let shown = name.to_string();
    assert!(shown.len() <= MAX_PATH_BYTES + 1 && query.len() <= MAX_QUERY_BYTES + 1);
    assert!(!shown.chars().chain(query.chars()).any(forges_logs));
    assert!(!name.name.is_empty() && !shown.split('/').any(|part| matches!(part, "" | "." | "..")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_address_is_the_same_stream() {
        // app, tcUrl, key, name, query
        let table = [
            ("live", "", "key", "live/key", ""),
            ("live/", "", "/key", "live/key", ""),
            ("live", "", "key?token=1", "live/key", "token=1"),
            ("live?a=1", "", "key?b=2", "live/key", "a=1&b=2"),
            ("live?a=1", "", "", "live", "a=1"),
            ("live/key", "", "", "live/key", ""),
            ("live/key?a=1", "", "", "live/key", "a=1"),
            ("a", "", "b/c", "a/b/c", ""),
            ("a/b", "", "c", "a/b/c", ""),
            ("a/b/c", "", "", "a/b/c", ""),
            ("", "", "a/b/c", "a/b/c", ""),
            ("", "", "key", "key", ""),
            ("", "rtmp://host:1935/live?a=1", "key", "live/key", "a=1"),
            ("", "rtmp://host/a/b", "c", "a/b/c", ""),
            ("", "rtmp://host", "key", "key", ""),
            ("", "nonsense", "key", "key", ""),
            ("live", "rtmp://host/other", "key", "live/key", ""),
            ("live/_definst_", "", "key", "live/key", ""),
            ("live/_definst_/", "", "mp4:key", "live/key", ""),
            ("live", "", "mp4:key.mp4", "live/key.mp4", ""),
            ("live", "", "flv:key", "live/key", ""),
            ("live", "", "key.flv", "live/key", ""),
            ("live", "", "key.flv?a=1", "live/key", "a=1"),
            ("live", "", ".flv", "live/.flv", ""),
            ("live", "", "key?url=http://x/y", "live/key", "url=http://x/y"),
            ("live", "", "key?", "live/key", ""),
            ("直播", "", "频道 1", "直播/频道 1", ""),
        ];
        for (app, tc_url, key, name, query) in table {
            let address = Address::parse(app, tc_url, key).unwrap();
            let found = (address.name.to_string(), address.query.as_str());
            assert_eq!(found, (name.to_owned(), query), "{app:?} {tc_url:?} {key:?}");
        }
    }

    #[test]
    fn percent_signs_are_decoded_once_if_the_result_is_utf_8() {
        let table = [
            ("live", "a%20b", "live/a b"),
            ("live", "caf%C3%A9", "live/café"),
            ("live", "caf%c3%a9.flv", "live/café"),
            ("%E7%9B%B4%E6%92%AD", "%E9%A2%91%E9%81%93", "直播/频道"),
            ("li%76e", "mp4%3Akey", "live/key"),
            ("a%2Fb", "c", "a/b/c"),
            ("live", "%2Fkey%2f", "live/key"),
            ("live/_definst%5F", "key", "live/key"),
            // Once.
            ("live", "%2541", "live/%41"),
            ("live", "%252e%252e", "live/%2e%2e"),
            // These cannot be decoded.
            ("live", "50%", "live/50%"),
            ("live", "%zz%4", "live/%zz%4"),
            ("live", "caf%E9", "live/caf%E9"),
            ("live", "%ff%41", "live/%ff%41"),
        ];
        for (app, key, meant) in table {
            let address = Address::parse(app, "", key).unwrap();
            assert_eq!(address.name.to_string(), meant, "{app:?} {key:?}");
            // Over HTTP the whole path is decoded before.
            if let Ok(path) = percent_encoding::percent_decode_str(&format!("/{app}/{key}")).decode_utf8() {
                assert_eq!(StreamName::of_path(&path), Ok(address.name), "{path:?}");
            }
        }
        let address = Address::parse("", "rtmp://host/li%76e?a=%20", "k?b=%2e").unwrap();
        assert_eq!((address.name.to_string().as_str(), address.query.as_str()), ("live/k", "a=%20&b=%2e"));
    }

    #[test]
    fn decoded_characters_are_refused_like_others() {
        let refused = |key| Address::parse("live", "", key).unwrap_err().to_string();
        assert_eq!(refused("a%0Ab"), "path contains character U+000A, which is not allowed");
        assert_eq!(refused("a%00"), "path contains character U+0000, which is not allowed");
        assert_eq!(refused("a%3Fb"), "path contains character U+003F, which is not allowed");
        assert_eq!(refused("%E2%80%AEa"), "path contains character U+202E, which is not allowed");
        assert_eq!(refused("%2e%2e"), "path contains a component of dots, which is not allowed");
        assert_eq!(refused("..%2fa"), "path contains a component of dots, which is not allowed");
        assert_eq!(Address::parse("", "", "%2F"), Err(Error::Empty));
    }

    #[test]
    fn an_http_path_is_the_same_stream_as_an_rtmp_key() {
        let meant = |path| StreamName::of_path(path).map(|name| name.to_string());
        assert_eq!(meant("/live//key.flv").as_deref(), Ok("live/key"));
        assert_eq!(meant("/a/b/c.flv").as_deref(), Ok("a/b/c"));
        assert!(meant("/live/a?b.flv").is_err(), "RTMP would split it there");
        assert!(meant("/live/../key.flv").is_err() && meant("//").is_err());
    }

    #[test]
    fn names_that_are_empty_or_could_forge_a_log_line_are_refused() {
        let refused = |app, key| Address::parse(app, "", key).unwrap_err().to_string();
        assert_eq!(refused("", ""), "no stream name");
        assert_eq!(refused("/", "_definst_"), "no stream name");
        assert_eq!(refused("live", "a\nb"), "path contains character U+000A, which is not allowed");
        assert_eq!(refused("live\u{1b}[2J", "a"), "path contains character U+001B, which is not allowed");
        assert_eq!(refused("live", "a?b=\r"), "query contains character U+000D, which is not allowed");
        assert_eq!(refused("live", "\u{202e}a"), "path contains character U+202E, which is not allowed");
        assert_eq!(refused("live/..", "a"), "path contains a component of dots, which is not allowed");
        assert_eq!(refused("live", ".."), "path contains a component of dots, which is not allowed");
        assert_eq!(refused("live", "...flv"), "path contains a component of dots, which is not allowed");
    }

    #[test]
    fn names_and_queries_are_bounded() {
        let key = "k".repeat(251);
        assert_eq!(Address::parse("live", "", &key).unwrap().name.name, key);
        assert!(matches!(Address::parse("live", "", &(key + "k")), Err(Error::TooLong { len: 256, .. })));
        // As many characters of three bytes, each of them in nine.
        let encoded = "%E7%9B%B4".repeat(83);
        assert_eq!(Address::parse("live", "", &encoded).unwrap().name.name, "直".repeat(83));
        assert!(matches!(
            Address::parse("live", "", &(encoded + "%41%41%41")),
            Err(Error::TooLong { len: 256, .. })
        ));
        let endless = "%41".repeat(256);
        assert!(matches!(Address::parse("", "", &endless), Err(Error::TooLong { len: 768, max: 765, .. })));
        let query = format!("k?{}", "q".repeat(4097));
        assert!(matches!(Address::parse("live", "", &query), Err(Error::TooLong { part: "query", .. })));
    }

    #[test]
    fn the_key_s_parameters_take_precedence_over_the_app_s() {
        let address = Address::parse("live?start=live", "", "key?start=keyframe&x").unwrap();
        assert_eq!(address.parameter("start"), Some("keyframe"));
        assert_eq!(address.parameter("x"), None);
    }
}
