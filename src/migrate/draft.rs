//! A configuration that is being written: options with where they come from, and what could not be carried over.

use std::{fmt::Write, time::Duration};

use toml::Value;

use super::Origin;
use crate::config::{Config, Number};

pub(super) struct Draft {
    file: String,
    origin: Origin,
    options: Vec<Entry>,
    rules: Vec<Rule>,
    users: Vec<Entry>,
    left: Vec<Left>,
    numbers: Vec<Number>,
}

/// An option, and the line that it is from.
struct Entry {
    /// The table's name and the option's, with a dot between them.
    key: String,
    value: Value,
    from: From,
}

/// Where something comes from.
#[derive(Clone, Default)]
pub(super) struct From {
    /// From 1; 0 is no line.
    pub line: usize,
    pub text: String,
}

/// A rule of `[[access]]`.
#[derive(Clone, Default)]
pub(super) struct Rule {
    /// For the log and metrics.
    pub name: String,
    /// `publish`, `play`, `any`, `connect` or `api`; empty is `any`.
    pub action: &'static str,
    /// Empty is all.
    pub streams: String,
    pub networks: Vec<String>,
    pub users: Vec<String>,
    pub jwt: bool,
    pub denies: bool,
    /// The web service is not asked.
    pub is_not_asked: bool,
    pub from: From,
}

/// A line that is not carried over.
struct Left {
    from: From,
    why: String,
}

/// The order of the tables.
const TABLES: [&str; 12] =
    ["", "listen", "publish", "play", "limits", "proxy", "jwt", "tls", "hooks", "http", "api", "log"];

impl Draft {
    pub fn new(file: &str, origin: Origin) -> Self {
        Self {
            file: file.to_owned(),
            origin,
            options: Vec::new(),
            rules: Vec::new(),
            users: Vec::new(),
            left: Vec::new(),
            numbers: Config::default().numbers(),
        }
    }

    /// Sets an option. One that is set already is kept, and the second one is named.
    pub fn set(&mut self, key: &str, value: impl Into<Value>, from: From) {
        let value = value.into();
        match self.options.iter().find(|entry| entry.key == key) {
            Some(entry) if entry.value == value => {}
            Some(_) => self.leave(from, format!("{key} is one value for the whole relay, and set above")),
            None => self.options.push(Entry { key: key.to_owned(), value, from }),
        }
    }

    /// Adds to a list.
    pub fn add(&mut self, key: &str, value: impl Into<Value>, from: From) {
        let value = value.into();
        match self.options.iter_mut().find(|entry| entry.key == key) {
            Some(Entry { value: Value::Array(list), from: first, .. }) => {
                if !list.contains(&value) {
                    list.push(value);
                    if !first.text.contains(&from.text) {
                        first.text += "; ";
                        first.text += &from.text;
                    }
                }
            }
            _ => self.options.push(Entry { key: key.to_owned(), value: Value::Array(vec![value]), from }),
        }
    }

    /// Sets a duration; one that is out of range becomes the nearest that is not, and that is said.
    pub fn set_duration(&mut self, key: &'static str, duration: Duration, from: From) {
        let wanted = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let ms = self.in_range(key, wanted, &from);
        self.set(key, humantime::format_duration(Duration::from_millis(ms)).to_string(), from);
    }

    /// Sets a number.
    pub fn set_number(&mut self, key: &'static str, number: u64, from: From) {
        let number = self.in_range(key, number, &from);
        self.set(key, i64::try_from(number).unwrap_or(i64::MAX), from);
    }

    /// Sets a size in bytes.
    pub fn set_size(&mut self, key: &'static str, bytes: u64, from: From) {
        let bytes = self.in_range(key, bytes, &from);
        self.set(key, format!("{bytes}B"), from);
    }

    fn in_range(&mut self, key: &str, wanted: u64, from: &From) -> u64 {
        let Some(number) = self.numbers.iter().find(|number| number.key == key) else { return wanted };
        let near = wanted.clamp(*number.range.start(), *number.range.end());
        if near != wanted {
            let range = number.range_text();
            self.leave(from.clone(), format!("{key} is set to the nearest value in its range, {range}"));
        }
        near
    }

    /// Adds a rule after those that are there; one that says the same as an earlier one changes nothing.
    pub fn rule(&mut self, rule: Rule) {
        let is_same = |other: &Rule| other.to_toml() == rule.to_toml();
        if !self.rules.iter().any(is_same) {
            self.rules.push(rule);
        }
    }

    /// The API is on all addresses for HTTP that it has not to itself.
    fn drop_shared_api_addresses(&mut self) {
        let of = |options: &[Entry], key: &str| {
            options.iter().find(|entry| entry.key == key).map(|it| it.value.clone())
        };
        let Some(Value::Array(http)) = of(&self.options, "listen.http") else { return };
        for entry in self.options.iter_mut().filter(|entry| entry.key == "api.listen") {
            if let Value::Array(list) = &mut entry.value {
                list.retain(|address| !http.contains(address));
            }
        }
        self.options.retain(|entry| entry.key != "api.listen" || entry.value != Value::Array(Vec::new()));
    }

    pub fn user(&mut self, name: &str, password: &str, from: From) {
        let entry = Entry { key: name.to_owned(), value: password.into(), from };
        if !self.users.iter().any(|user| user.key == entry.key && user.value == entry.value) {
            self.users.push(entry);
        }
    }

    /// A line is not carried over.
    pub fn leave(&mut self, from: From, why: impl Into<String>) {
        self.left.push(Left { from, why: why.into() });
    }

    /// The file.
    pub fn into_toml(mut self) -> String {
        self.drop_shared_api_addresses();
        let Self { file, origin, .. } = &self;
        let mut out =
            format!("# Made from {file}, a configuration of {}, by fanfare migrate.\n", origin.name());
        out +=
            "# Each comment names the line that what follows is from; fanfare.toml describes all options.\n";
        match self.left.len() {
            0 => out += "# Every line was carried over.\n",
            count => {
                _ = writeln!(out, "# {count} lines were not carried over, or only in part: see the end.")
            }
        }
        self.rules.iter_mut().for_each(|rule| rule.from.text = one_line(&rule.from.text));
        for table in TABLES {
            let own = |entry: &&Entry| entry.key.split_once('.').map_or("", |(table, _)| table) == table;
            let entries: Vec<&Entry> = self.options.iter().filter(own).collect();
            if entries.is_empty() {
                continue;
            }
            _ = if table.is_empty() { writeln!(out) } else { writeln!(out, "\n[{table}]") };
            for Entry { key, value, from } in entries {
                self.comment(&mut out, from);
                let name = key.split_once('.').map_or(key.as_str(), |(_, name)| name);
                _ = writeln!(out, "{name} = {value}");
            }
        }
        if !self.users.is_empty() {
            out += "\n[users]\n";
            let mut names: Vec<&str> = self.users.iter().map(|user| user.key.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let of = self.users.iter().filter(|user| user.key == name);
                of.clone().for_each(|user| self.comment(&mut out, &user.from));
                let passwords: Vec<Value> = of.map(|user| user.value.clone()).collect();
                _ = writeln!(out, "{} = {}", Value::from(name), Value::Array(passwords));
            }
        }
        for rule in &self.rules {
            out += "\n[[access]]\n";
            self.comment(&mut out, &rule.from);
            out += &rule.to_toml();
        }
        if !self.left.is_empty() {
            out += "\n# Not carried over, or only in part:\n";
            for Left { from, why } in &self.left {
                _ = writeln!(out, "#   {}: {}: {why}", self.place(from), one_line(&from.text));
            }
        }
        out
    }

    fn comment(&self, out: &mut String, from: &From) {
        if from.line > 0 {
            _ = writeln!(out, "# {}: {}", self.place(from), one_line(&from.text));
        }
    }

    fn place(&self, from: &From) -> String {
        format!("{}:{}", self.file, from.line)
    }
}

impl Rule {
    fn to_toml(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: Value| _ = writeln!(out, "{name} = {value}");
        let list = |texts: &[String]| Value::Array(texts.iter().map(|text| text.as_str().into()).collect());
        if !self.name.is_empty() {
            line("name", self.name.as_str().into());
        }
        if !self.action.is_empty() {
            line("action", self.action.into());
        }
        if !self.streams.is_empty() {
            line("streams", self.streams.as_str().into());
        }
        if !self.networks.is_empty() {
            line("from", list(&self.networks));
        }
        if !self.users.is_empty() {
            line("users", list(&self.users));
        }
        if self.jwt {
            line("jwt", true.into());
        }
        if self.denies {
            line("then", "deny".into());
        }
        if self.is_not_asked {
            line("ask", false.into());
        }
        out
    }
}

impl From {
    pub fn new(line: usize, text: impl Into<String>) -> Self {
        Self { line, text: text.into() }
    }
}

/// A comment has one line, and no end of a terminal's sequence either.
fn one_line(text: &str) -> String {
    const MAX: usize = 120;
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX).collect();
    if text.chars().count() > MAX { clean + "…" } else { clean }
}
