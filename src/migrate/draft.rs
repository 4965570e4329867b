//! A configuration that is being made: options with the places that they come from, and what becomes of all others.

use std::{collections::HashSet, net::SocketAddr, rc::Rc, time::Duration};

use toml::{Table, Value};

use super::Origin;
use crate::config::{Config, Number, parse_addresses};

pub(super) struct Draft {
    pub file: String,
    pub origin: Origin,
    pub options: Vec<Entry>,
    pub rules: Vec<Rule>,
    pub users: Vec<Entry>,
    pub remarks: Vec<Remark>,
    /// Of what is carried over.
    pub carried: Vec<Place>,
    /// Blocks whose content is accounted for line by line.
    read: Vec<Place>,
    /// Lines with an option, of those that may be counted.
    lines: HashSet<(Rc<str>, usize)>,
    numbers: Vec<Number>,
    rules_are_full: bool,
    /// How often a list or the users did not take something: beyond a bound, nothing more is tried.
    refused: usize,
}

/// An option, and where it comes from.
pub(super) struct Entry {
    /// The table's name and the option's, with a dot between them; of a user, the name.
    pub key: String,
    pub value: Value,
    pub places: Vec<Place>,
    /// Why it is there, if it is from no line.
    pub note: &'static str,
}

/// Where something is in the configuration of the other server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub file: Rc<str>,
    /// From 1; 0 is no line, as of an environment variable.
    pub line: usize,
    /// The last one.
    pub end: usize,
    pub text: String,
}

/// A rule of `[[access]]`.
#[derive(Clone, Debug, Default)]
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
    /// It is for the operator to put in force.
    pub is_suggested: bool,
    pub places: Vec<Place>,
    /// Why it is there, if that is not in the text of its places.
    pub note: &'static str,
}

/// What becomes of something that is not carried over.
pub(super) struct Remark {
    pub kind: Kind,
    pub place: Place,
    pub why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Not carried over, or only in part.
    Lost,
    /// Of a part that fanfare does not have: its lines are shown in short.
    Part,
    /// Needs no option.
    Same,
}

/// How many lines became what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines that became options or rules.
    pub carried: usize,
    /// Lines that need no option.
    pub same: usize,
    /// Lines that are not carried over, or only in part.
    pub lost: usize,
}

impl Draft {
    pub fn new(file: &str, origin: Origin) -> Self {
        Self {
            file: file.to_owned(),
            origin,
            options: Vec::new(),
            rules: Vec::new(),
            users: Vec::new(),
            remarks: Vec::new(),
            carried: Vec::new(),
            read: Vec::new(),
            lines: HashSet::new(),
            numbers: Config::default().numbers(),
            rules_are_full: false,
            refused: 0,
        }
    }

    /// Sets an option. One that is set already is kept, and the second one is named.
    pub fn set(&mut self, key: &str, value: impl Into<Value>, place: Place) {
        let value = value.into();
        if let Some(entry) = self.options.iter_mut().find(|entry| entry.key == key) {
            if entry.value == value {
                entry.places.push(place.clone());
                self.carried.push(place);
            } else {
                self.lose(place, format!("{key} is one value for the whole relay, and set above"));
            }
            return;
        }
        if let Err(what) = accepted(key, &value) {
            return self.lose(place, what);
        }
        self.carried.push(place.clone());
        self.options.push(Entry { key: key.to_owned(), value, places: vec![place], note: "" });
    }

    /// Sets an option that is from no line, with a note why; nothing if it is set.
    pub fn set_default(&mut self, key: &str, value: impl Into<Value>, note: &'static str) {
        if !self.has(key) {
            let (key, value) = (key.to_owned(), value.into());
            self.options.push(Entry { key, value, places: Vec::new(), note });
        }
    }

    /// Whether an option is set.
    pub fn has(&self, key: &str) -> bool {
        self.options.iter().any(|entry| entry.key == key)
    }

    /// Whether an option of a table is set.
    pub fn has_table(&self, table: &str) -> bool {
        self.options.iter().any(|entry| entry.key.split('.').next() == Some(table))
    }

    /// Adds to a list; false if fanfare does not take it.
    pub fn add(&mut self, key: &str, value: impl Into<Value>, place: Place) -> bool {
        let value = value.into();
        let existing = self.options.iter().position(|entry| entry.key == key);
        let mut list = match existing.map(|at| &self.options[at].value) {
            Some(Value::Array(list)) => list.clone(),
            _ => Vec::new(),
        };
        if !list.contains(&value) {
            list.push(value);
        }
        let value = Value::Array(list);
        let is_full = list_len(&value) > MAX_LIST;
        let taken = if is_full { Err(TOO_MANY.to_owned()) } else { self.trial(|| accepted(key, &value)) };
        if let Err(what) = taken {
            self.lose(place, what);
            return false;
        }
        self.carried.push(place.clone());
        match existing {
            Some(at) => {
                self.options[at].value = value;
                self.options[at].places.push(place);
            }
            None => {
                self.options.push(Entry { key: key.to_owned(), value, places: vec![place], note: "" });
            }
        }
        true
    }

    /// The result of a check, unless so much has been refused that no more is tried.
    fn trial(&mut self, check: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
        if self.refused > MAX_REFUSED {
            return Err(TOO_MANY.to_owned());
        }
        let result = check();
        self.refused += usize::from(result.is_err());
        result
    }

    /// Adds an address to listen on, or a port alone for all addresses; false if it is none, or taken.
    pub fn listen(&mut self, key: &'static str, address: &str, place: Place) -> bool {
        let addresses = match parse_addresses(address) {
            Ok(addresses) => addresses,
            Err(what) => {
                self.lose(place, what);
                return false;
            }
        };
        let taken = |entry: &&Entry| {
            entry.key.ends_with("listen") || entry.key.starts_with("listen.") && entry.key != key
        };
        for entry in self.options.iter().filter(taken).filter(|entry| entry.key != key) {
            if addresses_of(&entry.value).iter().any(|address| addresses.contains(address)) {
                let other = entry.key.clone();
                match (key, other.as_str()) {
                    ("api.listen", "listen.http") => {
                        self.same(place, "the API is on the addresses of listen.http");
                    }
                    _ => self.lose(place, format!("{address} is already in {other}")),
                }
                return false;
            }
        }
        let there = self.options.iter().find(|entry| entry.key == key);
        let there: Vec<SocketAddr> = there.map(|entry| addresses_of(&entry.value)).unwrap_or_default();
        match addresses.iter().filter(|address| !there.contains(address)).count() {
            0 => {
                let entry = self.options.iter_mut().find(|entry| entry.key == key);
                entry.into_iter().for_each(|entry| entry.places.push(place.clone()));
                self.carried.push(place);
                true
            }
            count if count < addresses.len() => {
                let mut rest = addresses.into_iter().filter(|address| !there.contains(address));
                rest.all(|rest| self.add(key, rest.to_string(), place.clone()))
            }
            _ => match address.trim_start_matches(':').parse::<u16>() {
                Ok(port) => self.add(key, i64::from(port), place),
                Err(_) => self.add(key, addresses[0].to_string(), place),
            },
        }
    }

    /// Sets a duration; one that is out of range becomes the nearest that is not, with a remark.
    pub fn set_duration(&mut self, key: &'static str, duration: Duration, place: Place) {
        let wanted = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let ms = self.in_range(key, wanted, &place);
        self.set(key, humantime::format_duration(Duration::from_millis(ms)).to_string(), place);
    }

    /// Sets a number.
    pub fn set_number(&mut self, key: &'static str, number: u64, place: Place) {
        let number = self.in_range(key, number, &place);
        self.set(key, i64::try_from(number).unwrap_or(i64::MAX), place);
    }

    /// Sets a size in bytes.
    pub fn set_size(&mut self, key: &'static str, bytes: u64, place: Place) {
        let bytes = self.in_range(key, bytes, &place);
        let text = match bytes {
            bytes if bytes > 0 && bytes % (1 << 20) == 0 => format!("{}MiB", bytes >> 20),
            bytes if bytes > 0 && bytes % (1 << 10) == 0 => format!("{}KiB", bytes >> 10),
            bytes => format!("{bytes}B"),
        };
        self.set(key, text, place);
    }

    fn in_range(&mut self, key: &str, wanted: u64, place: &Place) -> u64 {
        let Some(number) = self.numbers.iter().find(|number| number.key == key) else { return wanted };
        let near = wanted.clamp(*number.range.start(), *number.range.end());
        if near != wanted {
            let range = number.range_text();
            self.lose(place.clone(), format!("{key} is set to the nearest value in its range, {range}"));
        }
        near
    }

    /// Adds a rule after those that are there; one that is the same as an earlier one changes nothing.
    pub fn rule(&mut self, rule: Rule) {
        // What is left is refused in any case.
        if self.rules_are_full {
            rule.places.into_iter().for_each(|place| self.lose(place, TOO_MANY));
            return;
        }
        let places = rule.places.clone();
        if rule.is_suggested {
            if self.rules.len() < MAX_RULES && self.trial_of_rule(&rule).is_ok() {
                self.rules.push(rule);
            }
            return;
        }
        if let Some(same) =
            self.rules.iter_mut().find(|other| !other.is_suggested && other.to_toml() == rule.to_toml())
        {
            let new: Vec<Place> = places.iter().filter(|it| !same.places.contains(it)).cloned().collect();
            same.places.extend(new);
            self.carried.extend(places);
            return;
        }
        // Two are left for rules that refuse all others.
        let count = self.rules.iter().filter(|rule| !rule.is_suggested).count();
        if count + 2 >= MAX_RULES && !rule.denies || count + 1 >= MAX_RULES {
            self.rules_are_full = true;
            for place in places {
                self.lose(place, TOO_MANY);
            }
            return;
        }
        if let Err(what) = self.trial_of_rule(&rule) {
            self.rules_are_full |= rule.denies;
            places.into_iter().for_each(|place| self.lose(place, what.clone()));
            return;
        }
        self.carried.extend(places);
        self.rules.push(rule);
    }

    fn trial_of_rule(&mut self, rule: &Rule) -> Result<(), String> {
        let mut toml = String::from("[jwt]\nsecrets = 'a-secret-of-16-bytes'\n[users]\n");
        for name in &rule.users {
            toml += &format!("{} = 'x'\n", Value::from(name.as_str()));
        }
        toml += &format!("[[access]]\n{}", rule.to_toml());
        self.trial(|| check(&toml))
    }

    /// A user; false if fanfare does not take such a one.
    pub fn user(&mut self, name: &str, password: &str, place: Place) -> bool {
        let toml = format!("[users]\n{} = [{}]\n", Value::from(name), Value::from(password));
        let is_full = self.users.len() >= MAX_USERS;
        let taken = if is_full { Err(TOO_MANY.to_owned()) } else { self.trial(|| check(&toml)) };
        if let Err(what) = taken {
            self.lose(place, what);
            return false;
        }
        self.carried.push(place.clone());
        match self.users.iter_mut().find(|user| user.key == name) {
            Some(Entry { value: Value::Array(passwords), places, .. }) => {
                if !passwords.contains(&password.into()) {
                    passwords.push(password.into());
                }
                places.push(place);
            }
            _ => {
                let (key, value) = (name.to_owned(), Value::Array(vec![password.into()]));
                self.users.push(Entry { key, value, places: vec![place], note: "" });
            }
        }
        true
    }

    /// Something is not carried over, or only in part.
    pub fn lose(&mut self, place: Place, why: impl Into<String>) {
        self.remark(Kind::Lost, place, why.into());
    }

    /// Something is of a part that fanfare does not have.
    pub fn part(&mut self, place: Place, why: impl Into<String>) {
        self.remark(Kind::Part, place, why.into());
    }

    /// Something needs no option.
    pub fn same(&mut self, place: Place, why: impl Into<String>) {
        self.remark(Kind::Same, place, why.into());
    }

    /// The block there is read, and what is in it accounts for itself.
    pub fn read(&mut self, place: Place) {
        self.read.push(place);
    }

    fn remark(&mut self, kind: Kind, place: Place, why: String) {
        let is_there =
            |it: &Remark| it.kind == kind && it.why == why && it.place == place && it.place.line > 0;
        if !self.remarks.last().is_some_and(is_there) {
            self.remarks.push(Remark { kind, place, why });
        }
    }

    /// Those of these places that are neither carried over nor in a remark.
    pub fn unaccounted(&self, places: Vec<Place>) -> Vec<Place> {
        let known: HashSet<&Place> = self.carried.iter().chain(&self.read).collect();
        let lines =
            |place: &Place| (place.line..=place.end).map(|line| (Rc::clone(&place.file), line)).collect();
        let remarked: HashSet<(Rc<str>, usize)> =
            self.remarks.iter().flat_map(|remark| -> Vec<_> { lines(&remark.place) }).collect();
        let is_unaccounted = |place: &Place| {
            !known.contains(place) && !remarked.contains(&(Rc::clone(&place.file), place.line))
        };
        places.into_iter().filter(is_unaccounted).collect()
    }

    /// Names those of these places that are not accounted for, so that nothing is dropped silently. `lines` are those of the
    /// options: what is between them is not counted.
    pub fn account_for(&mut self, places: Vec<Place>, lines: impl IntoIterator<Item = (Rc<str>, usize)>) {
        self.lines.extend(lines);
        self.unaccounted(places).into_iter().for_each(|place| self.lose(place, NOT_READ));
    }

    /// What has to be right among several options, once all are known.
    pub fn finish(&mut self) {
        if self.rules_are_full {
            let note = "Not all rules could be carried over: what they would have decided is refused.";
            self.rules.push(Rule { name: "the rest".to_owned(), denies: true, note, ..Rule::default() });
        }
        let default = Config::default().listen.http;
        if self.has("listen.http") {
            return;
        }
        // The default addresses for HTTP are there as well.
        for entry in &mut self.options {
            let is_taken = addresses_of(&entry.value).iter().any(|address| default.contains(address));
            match entry.key.as_str() {
                "api.listen" if is_taken => {
                    entry.key = "listen.http".to_owned();
                    entry.note = "Port 8080 is that of the page and the streams as well.";
                }
                "listen.rtmp" | "listen.rtmps" | "listen.https" if is_taken => {
                    let note = "Port 8080, on which they are by default, is taken above.";
                    return self.set_default("listen.http", Value::Array(Vec::new()), note);
                }
                _ => {}
            }
        }
    }

    pub fn counts(&self) -> Counts {
        let lines = |places: &mut dyn Iterator<Item = &Place>| -> HashSet<(Rc<str>, usize)> {
            places
                .flat_map(|place| (place.line..=place.end).map(|line| (Rc::clone(&place.file), line)))
                .filter(|line| self.lines.contains(line))
                .collect()
        };
        let of = |is: fn(Kind) -> bool| {
            lines(&mut self.remarks.iter().filter(|it| is(it.kind)).map(|remark| &remark.place))
        };
        let lost = of(|kind| kind != Kind::Same);
        let carried = lines(&mut self.carried.iter());
        let same = of(|kind| kind == Kind::Same);
        Counts {
            lost: lost.len(),
            carried: carried.difference(&lost).count(),
            same: same.iter().filter(|line| !lost.contains(line) && !carried.contains(line)).count(),
        }
    }
}

impl Place {
    /// A variable of the environment.
    pub fn of_variable(name: &str) -> Self {
        Self { file: format!("${name}").into(), line: 0, end: 0, text: String::new() }
    }
}

impl Rule {
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: Value| out += &format!("{name} = {value}\n");
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

/// The addresses of a list of them.
fn addresses_of(value: &Value) -> Vec<SocketAddr> {
    let texts = value.as_array().into_iter().flatten().map(|entry| match entry {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    texts.filter_map(|text| parse_addresses(&text).ok()).flatten().collect()
}

fn list_len(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len)
}

/// Whether fanfare takes such an option, as far as it can be seen alone.
fn accepted(key: &str, value: &Value) -> Result<(), String> {
    // These are only valid together with others.
    if key == "proxy.listeners" {
        return Ok(());
    }
    let mut table = Table::new();
    match key.split_once('.') {
        Some((outer, inner)) => {
            let mut within = Table::new();
            within.insert(inner.to_owned(), value.clone());
            table.insert(outer.to_owned(), within.into());
        }
        None => _ = table.insert(key.to_owned(), value.clone()),
    }
    // The dialect counts for what notify_method may be, and that an address of the default is taken is seen at the end.
    let mut toml = table.to_string();
    match key {
        "hooks.notify_method" => toml += "dialect = 'nginx-rtmp'\n",
        "listen.http" => {}
        _ if key.contains("listen.") => toml += "http = []\n",
        _ if key == "api.listen" => toml += "[listen]\nhttp = []\n",
        _ => {}
    }
    check(&toml)
}

fn check(toml: &str) -> Result<(), String> {
    Config::from_toml("fanfare.toml", toml).map(|_| ()).map_err(|error| {
        let error = error.to_string();
        let what = error.split_once(": ").map_or(error.as_str(), |(_, what)| what);
        format!("fanfare does not take it: {what}")
    })
}

/// As many as fanfare takes.
pub(super) const MAX_RULES: usize = 256;
/// Entries of a list: more than fanfare takes in most of them.
const MAX_LIST: usize = 256;
/// More than an operator writes into a file.
const MAX_USERS: usize = 2_000;
/// Values that are not valid: more than an operator's mistakes.
const MAX_REFUSED: usize = 500;
pub(super) const TOO_MANY: &str = "more than fanfare takes: what is left is refused";
/// The reason for a line without any other: a fault in here.
pub(super) const NOT_READ: &str = "this line has not been read";
