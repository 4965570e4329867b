//! Parses a file into a `Config`. An error is one line with the file, line, column and key.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::{Config, Listen, fault::Fault, renamed::RENAMED};

type Entry<'a, 'i> = (&'a Spanned<DeString<'i>>, &'a Spanned<DeValue<'i>>);

/// Why a file cannot be used, as one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read, or is not UTF-8.
    #[error("{file}: {reason}")]
    Unreadable {
        /// The path as given.
        file: String,
        /// The system's error.
        reason: String,
    },
    /// Something in the file is wrong.
    #[error("{file}:{line}:{column}: {what}")]
    Wrong {
        /// The path as given.
        file: String,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// The key, if there is one, and what is wrong.
        what: String,
    },
}

impl Config {
    /// Reads and validates a file.
    ///
    /// # Errors
    /// The file cannot be read, or what is wrong in it and where.
    pub fn load(path: &Path) -> Result<Config, Error> {
        let name = path.display().to_string();
        match read(path) {
            Ok(toml) => Config::from_toml(&name, &toml),
            Err(error) => Err(Error::Unreadable { file: name, reason: error.to_string() }),
        }
    }

    /// Validates the text of a file; errors call it `name`.
    ///
    /// # Errors
    /// What is wrong in it and where.
    pub fn from_toml(name: &str, toml: &str) -> Result<Config, Error> {
        let wrong = |offset: usize, key: &str, what: &str| {
            let (line, column) = line_and_column(toml, offset);
            let what = if key.is_empty() { what.to_owned() } else { format!("{key}: {what}") };
            Error::Wrong { file: name.to_owned(), line, column, what }
        };

        // Parsed twice: once for the places of keys and values, once for the values.
        let places =
            DeTable::parse(toml).map_err(|error| wrong(start(&error), "", &on_one_line(error.message())))?;
        let old_keys = RENAMED.iter().filter_map(|(old, new)| {
            let (name, _) = entry(places.get_ref(), old)?;
            Some((name.span().start, old, new))
        });
        if let Some((offset, old, new)) = old_keys.min() {
            return Err(wrong(offset, old, &format!("this option is now called {new}")));
        }
        let mut config: Config = toml::from_str(toml).map_err(|error| {
            let key = key_at(places.get_ref(), start(&error)).unwrap_or_default();
            wrong(start(&error), &key, &in_terms_of_the_file(error.message()))
        })?;
        config.check().map_err(|Fault { key, what }| {
            // A key that is not in the file has its default, and defaults are in range.
            let value = entry(places.get_ref(), key).map(|(_, value)| place_in(value, &what));
            wrong(value.unwrap_or(0), key, &what)
        })?;

        config.mark_defaults();
        Ok(config)
    }

    /// Notes whether the addresses for HTTP are the default ones, whether they are written down or not.
    pub(super) fn mark_defaults(&mut self) {
        self.listen.is_default_http = self.listen.http == Listen::default().http;
    }

    /// This configuration as a file that names every option.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every option has a TOML form: numbers, strings and lists in tables")
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(std::io::Error::other("larger than 1 MiB: not a configuration file"));
    }
    // An editor's byte order mark.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn start(error: &toml::de::Error) -> usize {
    error.span().map_or(0, |span| span.start)
}

fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The full key whose name or value contains the byte at `offset`.
fn key_at(table: &DeTable<'_>, offset: usize) -> Option<String> {
    table.iter().find_map(|(name, value)| {
        let key = name.get_ref().to_string();
        // Values of a table lie outside its own span when it has a [header]: look inside first.
        let inner = match value.get_ref() {
            DeValue::Table(inner) => key_at(inner, offset),
            DeValue::Array(list) => list.iter().find_map(|entry| match entry.get_ref() {
                DeValue::Table(inner) => key_at(inner, offset),
                _ => None,
            }),
            _ => None,
        };
        if let Some(rest) = inner {
            return Some(format!("{key}.{rest}"));
        }
        (name.span().contains(&offset) || value.span().contains(&offset)).then_some(key)
    })
}

/// The last name of a full key, and its value, both with their places.
fn entry<'a, 'i>(table: &'a DeTable<'i>, key: &str) -> Option<Entry<'a, 'i>> {
    let (name, rest) = key.split_once('.').map_or((key, None), |(name, rest)| (name, Some(rest)));
    let (name, value) = table.iter().find(|(candidate, _)| candidate.get_ref().as_ref() == name)?;
    match (rest, value.get_ref()) {
        (None, _) => Some((name, value)),
        (Some(rest), DeValue::Table(inner)) => entry(inner, rest),
        (Some(_), _) => None,
    }
}

/// Where a value is, or the part of it that a fault begins with: `rule 2: keys: …` of a list, `ann: …` of a table.
fn place_in(value: &Spanned<DeValue<'_>>, what: &str) -> usize {
    let (name, rest) = what.split_once(": ").unwrap_or((what, ""));
    let part = match value.get_ref() {
        DeValue::Array(list) => {
            let number = name.strip_prefix("rule ").and_then(|number| number.parse::<usize>().ok());
            number.and_then(|number| list.get(number.checked_sub(1)?))
        }
        DeValue::Table(table) => {
            table.iter().find_map(|(key, value)| (key.get_ref().as_ref() == name).then_some(value))
        }
        _ => None,
    };
    part.map_or(value.span().start, |part| place_in(part, rest))
}

/// Replaces the terms of serde and Rust by those of the file.
pub(super) fn in_terms_of_the_file(message: &str) -> String {
    on_one_line(message)
        .replacen("unknown field", "unknown key", 1)
        .replacen("missing field", "missing key", 1)
        .replacen("unknown variant", "unknown value", 1)
        .replacen("expected usize", "expected a whole number that is not negative", 1)
        .replacen("expected a sequence", "expected a list in brackets", 1)
        .replacen("expected struct StreamRule", "expected a rule, such as { pattern = \"private/*\" }", 1)
        .replacen("invalid type: ", "", 1)
        .replacen("invalid value: ", "", 1)
        .replacen("invalid IP address syntax", "not a network with a prefix, such as 192.0.2.0/24", 1)
}

fn on_one_line(message: &str) -> String {
    message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// A hundred times the size of the annotated file: a device or a log given by mistake is not read to its end.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
