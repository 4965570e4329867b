//! Who may publish and play, as MediaMTX decides it: users in its file, a web service, or tokens; and which paths there are.

use ipnet::IpNet;

use super::{
    draft::{Draft, MAX_RULES, Place, Rule, TOO_MANY},
    mediamtx_options::Options,
    nginx::network,
    patterns::{are_apart, covers, from_expression, literal},
    permissions::{self, Action, Permission},
    yaml::Node,
};

/// `internal`, `http` or `jwt`.
pub(super) fn method(all: &Options) -> &str {
    match all.text("externalAuthenticationURL") {
        Some(_) => "http",
        None => all.text("authMethod").unwrap_or("internal"),
    }
}

/// Whether an option is of the method that is in force.
pub(super) fn is_in_force(all: &Options, name: &str) -> bool {
    match method(all) {
        "http" => name.starts_with("authHTTP") || name.starts_with("external"),
        "jwt" => name.starts_with("authJWT"),
        _ => false,
    }
}

/// Adds what lets in.
pub(super) fn read(all: &Options, draft: &mut Draft) {
    let paths = Paths::of(all, draft);
    suggest(&paths.pulled, draft);
    match method(all) {
        "http" => web_service(all, &paths, draft),
        "jwt" => tokens(all, &paths, draft),
        method => {
            if !["internal", ""].contains(&method)
                && let Some(node) = all.get("authMethod")
            {
                draft.lose(all.place("authMethod", node), "not a method: internal, http or jwt");
            }
            internal(all, &paths, draft);
        }
    }
    if method(all) != "internal"
        && let Some(users) = all.get("authInternalUsers").filter(|it| !it.is_no())
    {
        draft.same(all.place("authInternalUsers", users), "authMethod is another one");
    }
}

/// What takes the place of sources publishes from this machine.
fn suggest(pulled: &[(String, Place)], draft: &mut Draft) {
    for (_, place) in pulled {
        draft.lose(place.clone(), "its streams came from its source: something has to publish them here");
    }
    let names: Vec<&str> = pulled.iter().map(|(streams, _)| streams.as_str()).collect();
    let streams = match names.as_slice() {
        [] => return,
        [one] => (*one).to_owned(),
        all => format!("{{{}}}", all.join(",")),
    };
    draft.rule(Rule {
        action: "publish",
        streams,
        networks: ["127.0.0.0/8", "::1/128"].map(str::to_owned).to_vec(),
        is_not_asked: true,
        is_suggested: true,
        places: pulled.iter().map(|(_, place)| place.clone()).collect(),
        note: super::known::FROM_HERE,
        ..Rule::default()
    });
}

/// What can be published.
struct Paths {
    /// Patterns; none is every path.
    named: Option<Vec<(String, Place)>>,
    /// Patterns of those that MediaMTX pulls from elsewhere.
    pulled: Vec<(String, Place)>,
}

impl Paths {
    fn of(all: &Options, draft: &mut Draft) -> Self {
        let (mut named, mut pulled) = (Vec::new(), Vec::new());
        let mut has_all = false;
        for (path, node) in all.get("paths").map(Node::map).unwrap_or_default() {
            let place = node.place(&all.file, path);
            let place = Place { text: format!("{path}:"), ..place };
            let source = node.text_of("source").or_else(|| all.get("pathDefaults")?.text_of("source"));
            if source.is_some_and(|source| source != "publisher") {
                let place = Place { end: place.line, ..place };
                match pattern(path) {
                    Some(pattern) => pulled.push((pattern, place)),
                    None => draft.lose(place, NO_PATTERN),
                }
                continue;
            }
            if is_every(path) {
                has_all = true;
                draft.same(
                    Place { end: place.line, ..place },
                    "any name can be published, as the rules allow",
                );
                continue;
            }
            match pattern(path) {
                Some(pattern) => named.push((pattern, Place { end: place.line, ..place })),
                None => draft.lose(Place { end: place.line, ..place }, NO_PATTERN),
            }
        }
        // A file without paths is a part of one.
        let is_without = all.get("paths").is_none();
        for more in [&mut named, &mut pulled] {
            let rest = more.split_off(more.len().min(MAX_RULES));
            rest.into_iter().for_each(|(_, place)| draft.lose(place, TOO_MANY));
        }
        if has_all || is_without {
            let why = "any name can be published, as the rules allow";
            named.drain(..).for_each(|(_, place)| draft.same(place, why));
            return Self { named: None, pulled };
        }
        Self { named: Some(named), pulled }
    }

    /// The parts of a pattern that are paths.
    fn within(&self, streams: &str) -> Vec<(String, Option<Place>)> {
        let Some(named) = &self.named else { return vec![(streams.to_owned(), None)] };
        let both = |(path, place): &(String, Place)| {
            if covers(streams, path) {
                Some((path.clone(), Some(place.clone())))
            } else if covers(path, streams) {
                Some((streams.to_owned(), Some(place.clone())))
            } else {
                None
            }
        };
        named.iter().filter_map(both).collect()
    }

    /// Whether it is unclear which parts of a pattern are paths.
    fn is_unclear(&self, streams: &str) -> bool {
        let is = |(path, _): &(String, Place)| {
            !covers(streams, path) && !covers(path, streams) && !are_apart(streams, path)
        };
        self.named.iter().flatten().any(is)
    }
}

fn is_every(path: &str) -> bool {
    ["all", "all_others"].contains(&path) || pattern(path).as_deref() == Some("*")
}

/// `~^live/.*$` is a regular expression; nothing is every path.
fn pattern(path: &str) -> Option<String> {
    match path.strip_prefix('~') {
        Some(expression) => from_expression(expression),
        None if path.is_empty() => Some("*".to_owned()),
        None => Some(literal(path)),
    }
}

fn internal(all: &Options, paths: &Paths, draft: &mut Draft) {
    let mut found = Vec::new();
    if has_old_credentials(all) {
        old_credentials(all, &mut found, draft);
        if let Some(users) = all.get("authInternalUsers").filter(|it| !it.is_no()) {
            let why = "MediaMTX does not take it together with publishUser, readUser and the like";
            draft.lose(all.place("authInternalUsers", users), why);
        }
    } else if let Some(users) = all.get("authInternalUsers") {
        for user in users.list() {
            internal_user(all, user, &mut found, draft);
        }
    } else {
        // MediaMTX's default: everyone, from everywhere.
        for action in ["publish", "play"] {
            let Some(permission) = everyone(action) else { continue };
            found.push(permission);
        }
    }
    let mut permissions = Vec::new();
    for permission in found {
        if permission.action == Action::Play {
            permissions.push(permission);
            continue;
        }
        if paths.is_unclear(&permission.streams) {
            let why =
                format!("it is not clear which paths `{}` has: they cannot be published", permission.streams);
            permission.places.iter().for_each(|place| draft.lose(place.clone(), why.clone()));
        }
        for (streams, path) in paths.within(&permission.streams) {
            // Each line is carried, and the rule names the one that lets in.
            let places = permission.places.iter().cloned().chain(path).collect();
            permissions.push(Permission { streams, places, ..permission.clone() });
        }
    }
    let carried: Vec<Place> = permissions.iter().flat_map(|it| it.places.clone()).collect();
    permissions::add_rules(&permissions, draft);
    // What a broader permission repeats is carried as well.
    draft.carried.extend(carried.into_iter().filter(|place| place.line > 0));
    let places = paths.named.iter().flatten().map(|(_, place)| place.clone()).collect();
    for place in draft.unaccounted(places) {
        draft.lose(place, "no user may publish to this path");
    }
}

fn everyone(action: &str) -> Option<Permission> {
    Some(Permission {
        action: if action == "publish" { Action::Publish } else { Action::Play },
        streams: "*".to_owned(),
        networks: Vec::new(),
        user: None,
        places: vec![Place {
            file: "MediaMTX's default".into(),
            line: 0,
            end: 0,
            text: "everyone may".to_owned(),
        }],
    })
}

fn internal_user(all: &Options, user: &Node, found: &mut Vec<Permission>, draft: &mut Draft) {
    let text = |name: &str| user.text_of(name).unwrap_or_default();
    let (name, password) = (text("user"), text("pass"));
    let place = user.place(&all.file, "authInternalUsers");
    let place = Place { text: format!("user: {name}"), ..place };
    let Some(name) = is_user(name, password, &place, draft) else { return };
    let Some(networks) = networks_of(user.get("ips"), &place, draft) else { return };
    let mut has_any = false;
    for permission in user.get("permissions").map(Node::list).unwrap_or_default() {
        let path = permission.text_of("path").unwrap_or_default();
        let action = permission.text_of("action").unwrap_or_default();
        let what = format!("user: {}: {action} {path}", text("user")).trim_end().to_owned();
        let own = Place { text: what.clone(), ..permission.place(&all.file, "permissions") };
        let of = Place { text: what, ..place.clone() };
        let action = match action {
            "publish" => Action::Publish,
            "read" => Action::Play,
            "api" | "metrics" => {
                draft.lose(own, "the API takes tokens: [api] token and read_token; what it serves without one names no clients");
                continue;
            }
            "playback" | "pprof" => {
                draft.same(own, "fanfare has no such part");
                continue;
            }
            _ => {
                draft.lose(of, "not an action");
                continue;
            }
        };
        let Some(streams) = pattern(path) else {
            draft.lose(of, NO_PATTERN);
            continue;
        };
        has_any = true;
        found.push(Permission {
            action,
            streams,
            networks: networks.clone(),
            user: name.clone(),
            places: vec![of],
        });
    }
    if !has_any {
        draft.same(place, "this user may neither publish nor play");
    } else if name.is_some() {
        draft.user(text("user"), password, place);
    }
}

/// The user's name, or that it is everyone; none if it cannot be carried over.
fn is_user(name: &str, password: &str, place: &Place, draft: &mut Draft) -> Option<Option<String>> {
    let is_hashed = |text: &str| text.starts_with("sha256:") || text.starts_with("argon2:");
    if is_hashed(name) || is_hashed(password) {
        let why = "a digest contains neither name nor password: add the user to [users], and to the rules, with its password";
        draft.lose(place.clone(), why);
        return None;
    }
    if name == "any" {
        return Some(None);
    }
    if name.is_empty() || password.is_empty() {
        draft.lose(
            place.clone(),
            "a user of fanfare has a name and a password: nothing is let in by this one",
        );
        return None;
    }
    Some(Some(name.to_owned()))
}

/// The networks of a list; none if one of them is not: then nothing is let in by it.
fn networks_of(list: Option<&Node>, place: &Place, draft: &mut Draft) -> Option<Vec<IpNet>> {
    let texts = list.map(Node::texts).unwrap_or_default();
    let networks: Option<Vec<IpNet>> = texts.iter().map(|text| network(text)).collect();
    if networks.is_none() {
        draft.lose(place.clone(), "not all of its `ips` are addresses or networks: nothing is let in by it");
    }
    let mut networks = networks?;
    // From everywhere, in so many words.
    let is_all = |all: &str| networks.iter().any(|network| network.to_string() == all);
    if is_all("0.0.0.0/0") && is_all("::/0") {
        networks.clear();
    }
    Some(networks)
}

/// Of an expression without a pattern that matches the same.
const NO_PATTERN: &str =
    "no pattern of fanfare matches the same names as this expression: it lets nothing in";
const OLD: [&str; 6] = ["publishUser", "publishPass", "publishIPs", "readUser", "readPass", "readIPs"];

fn has_old_credentials(all: &Options) -> bool {
    let has = |node: &Node| OLD.iter().any(|name| node.get(name).is_some_and(|it| !it.is_no()));
    all.get("pathDefaults").is_some_and(has)
        || all.get("paths").is_some_and(|paths| paths.map().iter().any(|(_, path)| has(path)))
}

/// Users and networks of each path, as versions before 1.6 have them.
fn old_credentials(all: &Options, found: &mut Vec<Permission>, draft: &mut Draft) {
    let defaults = all.get("pathDefaults");
    for (path, node) in all.get("paths").map(Node::map).unwrap_or_default() {
        let streams = if is_every(path) { Some("*".to_owned()) } else { pattern(path) };
        for (action, user, pass, ips) in [
            (Action::Publish, "publishUser", "publishPass", "publishIPs"),
            (Action::Play, "readUser", "readPass", "readIPs"),
        ] {
            let value = |name: &str| {
                let own = node.get(name).map(|it| (it, path.as_str()));
                own.or_else(|| defaults.and_then(|it| it.get(name)).map(|it| (it, "pathDefaults")))
                    .filter(|(it, _)| !it.is_no())
            };
            let place = |name: &str| value(name).map(|(it, of)| all.place(&format!("{of}.{name}"), it));
            let mut places: Vec<Place> = [user, pass, ips].into_iter().filter_map(place).collect();
            let path_place = node.place(&all.file, path);
            let first = places.first().cloned().unwrap_or(Place {
                end: path_place.line,
                text: format!("{path}: no {user}"),
                ..path_place
            });
            let Some(streams) = streams.clone() else {
                let why = NO_PATTERN;
                places.into_iter().for_each(|place| draft.lose(place, why));
                continue;
            };
            let text = |name: &str| value(name).map_or("", |(it, _)| it.text());
            let name = if text(user).is_empty() { "any" } else { text(user) };
            let Some(name) = is_user(name, text(pass), &first, draft) else {
                places.into_iter().skip(1).for_each(|it| draft.lose(it, "see the line of its user"));
                continue;
            };
            let Some(networks) = networks_of(value(ips).map(|(it, _)| it), &first, draft) else {
                places.into_iter().skip(1).for_each(|it| draft.lose(it, "see the line of its user"));
                continue;
            };
            if let Some(name) = &name
                && !places.iter().all(|place| draft.user(name, text(pass), place.clone()))
            {
                continue;
            }
            draft.carried.append(&mut places);
            found.push(Permission { action, streams, networks, user: name, places: vec![first] });
        }
    }
    // Of users with one name, fanfare knows any of their passwords.
    let twice = draft.users.iter().filter(|user| user.value.as_array().is_some_and(|it| it.len() > 1));
    let twice: Vec<Place> = twice.flat_map(|user| user.places.clone()).collect();
    twice.into_iter().for_each(|it| {
        draft.lose(it, "this user has several passwords, each of which is valid for all that the user may")
    });
}

/// The service is asked about each publisher and player, except what is excluded.
fn web_service(all: &Options, paths: &Paths, draft: &mut Draft) {
    let name =
        if all.text("authHTTPAddress").is_some() { "authHTTPAddress" } else { "externalAuthenticationURL" };
    let Some(node) = all.get(name) else {
        draft.rule(closed("MediaMTX refuses everyone without authHTTPAddress."));
        return;
    };
    let mut is_taken = true;
    for key in ["hooks.on_publish", "hooks.on_play"] {
        is_taken &= draft.add(key, node.text(), all.place(name, node));
    }
    if !is_taken {
        draft.rule(closed("The service cannot be asked: everyone is refused."));
        return;
    }
    draft.set_default("hooks.dialect", "mediamtx", "Requests and answers as MediaMTX has them.");
    excluded(all, "authHTTPExclude", draft);
    restrict(paths, &Rule::default(), draft);
}

/// Tokens, except for what is excluded.
fn tokens(all: &Options, paths: &Paths, draft: &mut Draft) {
    let names = [
        ("authJWTJWKS", "jwt.jwks_url"),
        ("authJWTIssuer", "jwt.issuer"),
        ("authJWTAudience", "jwt.audience"),
    ];
    for (name, key) in names {
        if let Some(node) = all.get(name).filter(|node| !node.text().is_empty()) {
            draft.set(key, node.text(), all.place(name, node));
        }
    }
    if !draft.has("jwt.jwks_url") {
        draft.rule(closed("There is no authJWTJWKS to check tokens with: everyone is refused."));
        return;
    }
    excluded(all, "authJWTExclude", draft);
    let rule = Rule { name: "tokens".to_owned(), jwt: true, ..Rule::default() };
    restrict(paths, &rule, draft);
    draft.rule(Rule { action: if paths.named.is_some() { "play" } else { "" }, ..rule });
}

fn closed(note: &'static str) -> Rule {
    Rule { name: "no one".to_owned(), denies: true, note, ..Rule::default() }
}

/// What is let in without being asked or without a token.
fn excluded(all: &Options, name: &str, draft: &mut Draft) {
    let Some(list) = all.get(name) else { return };
    draft.read(all.place(name, list));
    for permission in list.list() {
        let path = permission.text_of("path").unwrap_or_default();
        let action = permission.text_of("action").unwrap_or_default();
        let place = permission.place(&all.file, name);
        let place = Place { text: format!("{name}: {action} {path}").trim_end().to_owned(), ..place };
        let action = match action {
            "publish" => "publish",
            "read" => "play",
            _ => {
                draft.same(place, "the API takes tokens of its own: [api] token and read_token");
                continue;
            }
        };
        match pattern(path) {
            Some(streams) => {
                let streams = if streams == "*" { String::new() } else { streams };
                draft.rule(Rule {
                    action,
                    streams,
                    is_not_asked: true,
                    places: vec![place],
                    ..Rule::default()
                });
            }
            None => draft.lose(place, NO_PATTERN),
        }
    }
}

/// Only the paths that are in the file can be published.
fn restrict(paths: &Paths, rule: &Rule, draft: &mut Draft) {
    let Some(named) = &paths.named else { return };
    for (streams, place) in named {
        let (streams, places) = (streams.clone(), vec![place.clone()]);
        draft.rule(Rule { action: "publish", streams, places, ..rule.clone() });
    }
    let note = "MediaMTX lets nothing be published to a path that is not in its file.";
    draft.rule(Rule {
        name: "no other path".to_owned(),
        action: "publish",
        denies: true,
        note,
        ..Rule::default()
    });
}
