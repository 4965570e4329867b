//! Writes what was made of the other configuration: options and rules, each with the lines that it comes from, and at the end
//! what became of all other lines.

use std::{collections::BTreeSet, fmt::Write, rc::Rc};

use super::{
    draft::{Draft, Entry, Kind, Place, Remark},
    files::base_name,
};

/// The order of the tables.
const TABLES: [&str; 12] =
    ["", "listen", "publish", "play", "limits", "proxy", "jwt", "tls", "hooks", "http", "api", "log"];

/// The file.
pub(super) fn toml(draft: &Draft) -> String {
    let mut out = head(draft);
    for table in TABLES {
        let own = |entry: &&Entry| entry.key.split_once('.').map_or("", |(table, _)| table) == table;
        let entries: Vec<&Entry> = draft.options.iter().filter(own).collect();
        if entries.is_empty() {
            continue;
        }
        _ = if table.is_empty() { writeln!(out) } else { writeln!(out, "\n[{table}]") };
        for Entry { key, value, places, note } in entries {
            comment(&mut out, places, note);
            let name = key.split_once('.').map_or(key.as_str(), |(_, name)| name);
            _ = writeln!(out, "{name} = {value}");
        }
    }
    if !draft.users.is_empty() {
        out += "\n[users]\n";
        let mut users: Vec<&Entry> = draft.users.iter().collect();
        users.sort_by_key(|user| &user.key);
        for Entry { key, value, places, note } in users {
            comment(&mut out, places, note);
            let is_bare =
                !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
            let key = if is_bare { key.clone() } else { toml::Value::from(key.as_str()).to_string() };
            _ = writeln!(out, "{key} = {value}");
        }
    }
    for rule in &draft.rules {
        if rule.is_suggested {
            out.push('\n');
            comment(&mut out, &rule.places, rule.note);
            for line in format!("[[access]]\n{}", rule.to_toml()).lines() {
                _ = writeln!(out, "#{line}");
            }
            continue;
        }
        out += "\n[[access]]\n";
        comment(&mut out, &rule.places, rule.note);
        out += &rule.to_toml();
    }
    remarks(&mut out, draft, |kind| kind != Kind::Same, "Not carried over, or only in part");
    remarks(&mut out, draft, |kind| kind == Kind::Same, "Needs no option");
    out
}

fn head(draft: &Draft) -> String {
    let file = one_line(base_name(&draft.file));
    let counts = draft.counts();
    let mut out = format!(
        "# Made from {file}, a configuration of {}. Save this as fanfare.toml, then:\n",
        draft.origin.title()
    );
    out += "#   fanfare check --config fanfare.toml && fanfare --config fanfare.toml\n";
    out += "# Each comment names the lines that what follows it is from. docs/migrating.md describes what differs.\n";
    out += &match counts.lost {
        0 => "# Every line is carried over, or needs no option.\n".to_owned(),
        lost => format!("# Lines not carried over, or only in part: {lost}. See the end.\n"),
    };
    if !draft.users.is_empty() {
        out += "# It contains passwords: let no one but the relay's user and group read it (chmod 640).\n";
    }
    out
}

/// The lines that something is from.
fn comment(out: &mut String, places: &[Place], note: &str) {
    if !note.is_empty() {
        _ = writeln!(out, "# {note}");
    }
    let seen = each(&places.iter().collect::<Vec<&Place>>());
    for place in seen.iter().take(MAX_PLACES) {
        _ = writeln!(out, "# {}: {}", position(place), one_line(&place.text));
    }
    if let Some(rest) = seen.get(MAX_PLACES..).filter(|rest| !rest.is_empty()) {
        let positions: Vec<String> = rest.iter().map(position).collect();
        _ = writeln!(out, "# {}", positions.join(" "));
    }
}

/// Remarks of some kinds: each reason once, with the lines that it is about.
fn remarks(out: &mut String, draft: &Draft, is_wanted: fn(Kind) -> bool, title: &str) {
    let mut groups: Vec<(Kind, &str, Vec<&Place>)> = Vec::new();
    for Remark { kind, place, why } in draft.remarks.iter().filter(|remark| is_wanted(remark.kind)) {
        match groups.iter_mut().find(|(of, reason, _)| of == kind && reason == why) {
            Some((_, _, places)) => places.push(place),
            None => groups.push((*kind, why, vec![place])),
        }
    }
    if groups.is_empty() {
        return;
    }
    groups.sort_by_key(|(kind, _, _)| *kind == Kind::Part);
    let all = draft.carried.iter().chain(draft.remarks.iter().map(|remark| &remark.place));
    let lines: Lines = all.map(|place| (Rc::clone(&place.file), place.line)).collect();
    _ = writeln!(out, "\n# {title}:");
    for (kind, why, places) in groups {
        let why: String = why.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        _ = writeln!(out, "#\n# - {why}:");
        let places = if kind == Kind::Lost { each(&places) } else { in_short(&places, &lines) };
        for place in &places {
            _ = writeln!(out, "#     {}: {}", position(place), one_line(&place.text));
        }
    }
}

fn each(places: &[&Place]) -> Vec<Place> {
    let mut all: Vec<Place> = places.iter().map(|&place| place.clone()).collect();
    all.sort_by(|one, other| (&one.file, one.line, &one.text).cmp(&(&other.file, other.line, &other.text)));
    all.dedup();
    all
}

/// Neighbours are one, with their names alone, if there are many.
fn in_short(places: &[&Place], lines: &Lines) -> Vec<Place> {
    if places.len() < MANY {
        return each(places);
    }
    let mut all: Vec<Place> = Vec::new();
    for &place in places {
        let name = place.text.split([' ', ':']).next().unwrap_or_default();
        if let Some(last) = all.last_mut().filter(|last| is_next(last, place, lines)) {
            last.end = last.end.max(place.end);
            if last.text.len() < MAX_TEXT && !last.text.split(", ").any(|it| it == name) {
                last.text += &format!(", {name}");
            }
        } else {
            all.push(Place { text: name.to_owned(), ..place.clone() });
        }
    }
    all
}

/// Whether nothing else is between two places.
fn is_next(last: &Place, place: &Place, lines: &Lines) -> bool {
    let between = || {
        let line = |line| (Rc::clone(&place.file), line);
        lines.range(line(last.end + 1)..line(place.line.max(last.end + 1))).next()
    };
    place.line > 0 && last.file == place.file && place.line >= last.end && between().is_none()
}

/// Lines with a remark or an option.
type Lines = BTreeSet<(Rc<str>, usize)>;

/// `nginx.conf:7`, `nginx.conf:7-12`; of an environment variable its name.
fn position(Place { file, line, end, .. }: &Place) -> String {
    let file = one_line(file);
    match (line, end) {
        (0, _) => file,
        (line, end) if end > line => format!("{file}:{line}-{end}"),
        (line, _) => format!("{file}:{line}"),
    }
}

/// A comment has one line, and no end of a terminal's sequence either.
pub(super) fn one_line(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TEXT).collect();
    if text.chars().count() > MAX_TEXT { clean + "…" } else { clean }
}

/// Of a comment, in characters.
const MAX_TEXT: usize = 160;
/// More lines than this are named without their text.
const MAX_PLACES: usize = 6;
/// So many options of a part are shown in short.
const MANY: usize = 5;
