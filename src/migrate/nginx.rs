//! nginx with nginx-rtmp-module: the `rtmp` block, and what in the `http` block serves it.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use super::{
    blocks::{self, Directive, Grammar},
    draft::{Draft, Place, Rule},
    files::{Files, base_name},
    known::{FROM_HERE, OFF, VARIABLE, explain, fate},
    nginx_known::{KNOWN, WEB},
    patterns,
};

/// Hooks that are asked, by their names and fanfare's.
const ASKED: [(&str, &str); 2] = [("on_publish", "hooks.on_publish"), ("on_play", "hooks.on_play")];
/// Those that are notified.
const NOTIFIED: [(&str, &[&str]); 4] = [
    ("on_publish_done", &["hooks.on_unpublish"]),
    ("on_play_done", &["hooks.on_stop"]),
    ("on_done", &["hooks.on_unpublish", "hooks.on_stop"]),
    ("on_update", &["hooks.on_update"]),
];
/// Those of connections.
const OF_CONNECTIONS: [(&str, &str); 2] =
    [("on_connect", "hooks.on_connect"), ("on_disconnect", "hooks.on_close")];

/// An application, with the directives that it inherits: its own first.
struct Application<'a> {
    directive: &'a Directive,
    levels: [&'a [Directive]; 3],
    /// Another one of its name, in another server, has other rules.
    differs: bool,
}

/// # Errors
/// The place and what is wrong, as one line.
pub(super) fn read(file: &str, text: &str, files: &Files, draft: &mut Draft) -> Result<(), String> {
    let found = blocks::parse(file, base_name(file), text, Grammar::Nginx)?;
    let found = blocks::include(found, Grammar::Nginx, files, draft, 0);
    // A file that is included in the rtmp block begins with its directives.
    let is_inside = ["server", "application"].iter().any(|name| found.iter().any(|it| it.name == *name))
        && !found.iter().any(|it| it.name == "rtmp");
    if is_inside {
        rtmp(&found, draft);
    }
    if !is_inside && !found.iter().any(|it| it.name == "rtmp") {
        return Err(format!(
            "{file}:1: there is no `rtmp` block, neither here nor in a file that is included and read"
        ));
    }
    let blocks: Vec<&Directive> = found.iter().filter(|it| it.name == "rtmp").collect();
    blocks.iter().for_each(|block| draft.read(block.place()));
    let inside: Vec<Directive> = blocks.iter().flat_map(|block| block.inner()).cloned().collect();
    if !blocks.is_empty() {
        rtmp(&inside, draft);
    }
    for directive in found.iter().filter(|_| !is_inside) {
        match directive.name.as_str() {
            "rtmp" => {}
            "http" => {
                draft.read(directive.place());
                web(directive.inner(), draft);
            }
            "worker_processes" => match directive.argument(0).parse() {
                Ok(count) if count > 1 => draft.set_number("cores", count, directive.place()),
                _ => {
                    draft.same(directive.place(), "all cores serve, and all of them the same streams: cores")
                }
            },
            "error_log" => log_level(directive, draft),
            name => {
                whole(directive, draft);
                let is_off = directive.argument(0) == "off";
                if fate(KNOWN, name).is_some() {
                    explain(KNOWN, name, is_off, directive.whole(), draft);
                } else {
                    draft.same(directive.whole(), WEB);
                }
            }
        }
    }
    draft.account_for(blocks::places(&found), blocks::lines(&found));
    Ok(())
}

/// The content of the block has one remark, that of the block.
fn whole(directive: &Directive, draft: &mut Draft) {
    if directive.block.is_some() {
        draft.read(directive.place());
        blocks::places(directive.inner()).into_iter().for_each(|place| draft.read(place));
    }
}

fn rtmp(directives: &[Directive], draft: &mut Draft) {
    let (is_server, is_application) =
        (|it: &&Directive| it.name == "server", |it: &&Directive| it.name == "application");
    let mut servers: Vec<&[Directive]> = Vec::new();
    for server in directives.iter().filter(is_server) {
        draft.read(server.place());
        servers.push(server.inner());
    }
    if directives.iter().any(|it| it.name == "application") {
        servers.push(directives);
    }
    let mut applications: Vec<Application<'_>> = Vec::new();
    let mut first: HashMap<&str, usize> = HashMap::new();
    for server in &servers {
        for directive in server.iter().filter(is_application) {
            let outer = if std::ptr::eq(*server, directives) { &[] } else { directives };
            let levels = [directive.inner(), server, outer];
            let application = Application { directive, levels, differs: false };
            let Some(&at) = first.get(application.name()) else {
                first.insert(application.name(), applications.len());
                applications.push(application);
                continue;
            };
            let twin = &mut applications[at];
            let differs = twin.decisions() != application.decisions();
            twin.differs |= differs;
            let (name, line) = (application.name(), twin.directive.line);
            let mut why = format!(
                "{name} is also an application in line {line}, and all ports and hosts have one namespace"
            );
            if differs {
                why += ": their rules differ, so fanfare refuses its streams, and suggests the rules of that line";
            }
            whole(directive, draft);
            draft.lose(directive.whole(), why);
        }
    }
    let mut all: Vec<&[Directive]> = vec![directives];
    all.extend(servers.iter().filter(|server| !std::ptr::eq(**server, directives)));
    for level in all {
        for directive in level.iter().filter(|it| !is_server(it) && !is_application(it)) {
            common(directive, draft, None);
        }
    }
    for application in &applications {
        for directive in application.directive.inner() {
            common(directive, draft, Some(application));
        }
    }
    let (live, others): (Vec<Application<'_>>, Vec<Application<'_>>) =
        applications.into_iter().partition(Application::is_live);
    for application in others {
        let why = "without `live on` it serves no live streams: fanfare refuses its names";
        draft.lose(application.directive.place(), why);
    }
    let hooks = hooks(&live, draft);
    for application in &live {
        let before = draft.rules.len();
        rules(application, &hooks, draft);
        if application.differs {
            refuse(application, before, draft);
        }
    }
    // What is inherited by none, and what is of applications that are not there.
    for place in draft.unaccounted(blocks::places(directives)) {
        draft.same(place, "no live application is left that it is for");
    }
    let note = "nginx-rtmp refuses the names of applications that are not there.";
    draft.rule(Rule { name: "no other application".to_owned(), denies: true, note, ..Rule::default() });
}

impl<'a> Application<'a> {
    fn name(&self) -> &'a str {
        self.directive.argument(0)
    }

    /// The directive that is in force.
    fn effective(&self, name: &str) -> Option<&'a Directive> {
        self.levels.iter().find_map(|level| level.iter().find(|it| it.name == name))
    }

    /// What decides about its streams.
    fn decisions(&self) -> Vec<String> {
        let is_access = |it: &&Directive| ["allow", "deny"].contains(&it.name.as_str());
        let accesses = self.levels.iter().flat_map(|level| level.iter()).filter(is_access);
        let hooks = ASKED.iter().filter_map(|(name, _)| self.effective(name));
        accesses.chain(hooks).map(Directive::text).chain([self.is_live().to_string()]).collect()
    }

    fn is_live(&self) -> bool {
        self.effective("live").is_some_and(Directive::is_on)
    }
}

/// Of each hook that is asked: the address that fanfare asks, if there is one.
type Hooks<'a> = [Option<&'a str>; 2];

/// fanfare asks the same addresses about all applications.
fn hooks<'a>(live: &[Application<'a>], draft: &mut Draft) -> Hooks<'a> {
    let mut hooks = [None; 2];
    for (at, (name, key)) in ASKED.into_iter().enumerate() {
        let asked: Vec<&Directive> = live.iter().filter_map(|it| it.effective(name)).collect();
        let count = |url: &str| asked.iter().filter(|it| it.argument(0) == url).count();
        // The first one of those that most applications ask.
        let Some(most) = asked.iter().rev().max_by_key(|it| count(it.argument(0))).copied() else { continue };
        let url = most.argument(0);
        let mut is_taken = true;
        for directive in asked.iter().filter(|it| it.argument(0) == url) {
            is_taken = is_taken && draft.add(key, url, directive.place());
        }
        if is_taken {
            hooks[at] = Some(url);
        }
        for other in asked.iter().filter(|it| it.argument(0) != url) {
            let why = format!(
                "fanfare asks one service about all applications, {url}: this application's streams are refused until that \
                 service decides about them too and the rule that refuses them is removed"
            );
            draft.lose(other.place(), why);
        }
    }
    for (name, keys) in NOTIFIED {
        let notified: Vec<&Directive> = live.iter().filter_map(|it| it.effective(name)).collect();
        for directive in &notified {
            keys.iter().for_each(|key| _ = draft.add(key, directive.argument(0), directive.place()));
        }
        let urls: BTreeSet<&str> = notified.iter().map(|it| it.argument(0)).collect();
        if notified.len() < live.len() || urls.len() > 1 {
            let why = "it is notified of the streams of all applications: the field `app` names which";
            notified.iter().for_each(|it| draft.lose(it.place(), why));
        }
    }
    if draft.has_table("hooks") {
        draft.set_default("hooks.dialect", "nginx-rtmp", "Requests and answers as nginx-rtmp has them.");
    }
    hooks
}

/// What decides about an application's streams: its rules, those that it inherits after them, and then all may.
fn rules(application: &Application<'_>, hooks: &Hooks<'_>, draft: &mut Draft) {
    let name = application.name();
    let streams = format!("{}/*", patterns::literal(name));
    let mut open = ["publish", "play"].map(|action| (action, true));
    let mut is_not_asked = [false; 2];
    for (at, (hook, _)) in ASKED.into_iter().enumerate() {
        let own = application.effective(hook).map(|it| it.argument(0));
        match (own, hooks[at]) {
            (None, Some(_)) => is_not_asked[at] = true,
            (Some(own), service) if service != Some(own) => {
                open[at].1 = false;
                let rule = Rule {
                    name: format!("{name}: its service is not asked"),
                    action: open[at].0,
                    streams: streams.clone(),
                    denies: true,
                    places: application.effective(hook).map(Directive::place).into_iter().collect(),
                    ..Rule::default()
                };
                draft.rule(rule);
            }
            _ => {}
        }
    }
    let accesses = application.levels.iter().flat_map(|level| level.iter());
    suggest(application, &streams, hooks, draft);
    for directive in accesses.filter(|it| ["allow", "deny"].contains(&it.name.as_str())) {
        let (actions, network) = match directive.arguments.as_slice() {
            [network] => (&["publish", "play"][..], network.as_str()),
            [action, network] if action == "publish" => (&["publish"][..], network.as_str()),
            [action, network] if action == "play" => (&["play"][..], network.as_str()),
            _ => {
                draft.lose(directive.place(), "not understood: `allow` or `deny`, an action, a network");
                continue;
            }
        };
        let denies = directive.name == "deny";
        let Some(networks) = networks(network) else {
            let why = match denies {
                true => "not a network: fanfare cannot refuse it",
                false => "not a network: fanfare does not let it in by this line",
            };
            draft.lose(directive.place(), why);
            continue;
        };
        let actions: Vec<usize> = (0..2).filter(|&at| open[at].1 && actions.contains(&open[at].0)).collect();
        if actions.is_empty() {
            draft.same(directive.place(), "what an earlier line decides, it does not change");
            continue;
        }
        let is_all = networks.is_empty();
        let rule = Rule {
            streams: streams.clone(),
            networks,
            denies,
            places: vec![directive.place()],
            ..Rule::default()
        };
        let asked = if denies { [false; 2] } else { is_not_asked };
        for_actions(&actions, &asked, &rule, draft);
        if is_all {
            actions.iter().for_each(|&at| open[at].1 = false);
        }
    }
    let rest: Vec<usize> = (0..2).filter(|&at| open[at].1).collect();
    let name = format!("application {name}");
    let mut places = vec![application.directive.place()];
    places.extend(application.effective("live").map(Directive::place));
    if rest.is_empty() {
        places
            .into_iter()
            .for_each(|place| draft.same(place, "the rules above decide about this application's streams"));
        return;
    }
    for_actions(&rest, &is_not_asked, &Rule { name, streams, places, ..Rule::default() }, draft);
}

/// Its rules are only suggested: another application of its name, in another server, has others.
fn refuse(application: &Application<'_>, before: usize, draft: &mut Draft) {
    let own = draft.rules.get_mut(before..).unwrap_or_default();
    own.iter_mut().for_each(|rule| rule.is_suggested = true);
    let mut places: Vec<Place> = own.iter().flat_map(|rule| rule.places.clone()).collect();
    places.push(application.directive.place());
    for place in places {
        draft.lose(place, "its rules are only suggested: another application of its name has others");
    }
    let (name, streams) = (application.name(), format!("{}/*", patterns::literal(application.name())));
    let name = format!("{name}: two servers, two answers");
    let places = vec![application.directive.place()];
    let note =
        "To put those rules above in force that are right, remove the # before each line, and this rule.";
    draft.rule(Rule { name, streams, denies: true, places, note, ..Rule::default() });
}

/// nginx-rtmp pulls, pushes and records without asking itself; what takes its place may need a rule.
fn suggest(application: &Application<'_>, streams: &str, hooks: &Hooks<'_>, draft: &mut Draft) {
    let refuses = |action: &str| {
        let mut levels = application.levels.iter().flat_map(|level| level.iter());
        levels.any(|it| it.name == "deny" && (it.arguments.len() == 1 || it.argument(0) == action))
    };
    let asks = |at: usize| hooks[at].is_some() && application.effective(ASKED[at].0).is_some();
    for (action, at, names) in
        [("publish", 0, &["pull"][..]), ("play", 1, &["push", "record", "recorder", "hls", "dash"])]
    {
        let replaced = names.iter().filter_map(|name| application.effective(name));
        let replaced: Vec<&Directive> = replaced.filter(|it| it.argument(0) != "off").collect();
        if replaced.is_empty() || !refuses(action) && !asks(at) {
            continue;
        }
        draft.rule(Rule {
            action,
            streams: streams.to_owned(),
            networks: ["127.0.0.0/8", "::1/128"].map(str::to_owned).to_vec(),
            is_not_asked: true,
            is_suggested: true,
            places: replaced.into_iter().map(Directive::place).collect(),
            note: FROM_HERE,
            ..Rule::default()
        });
    }
}

/// One rule for both actions, if it is the same.
fn for_actions(actions: &[usize], is_not_asked: &[bool; 2], rule: &Rule, draft: &mut Draft) {
    if actions.len() == 2 && is_not_asked[0] == is_not_asked[1] {
        return draft.rule(Rule { is_not_asked: is_not_asked[0], ..rule.clone() });
    }
    for &at in actions {
        let (action, is_not_asked) = (["publish", "play"][at], is_not_asked[at]);
        draft.rule(Rule { action, is_not_asked, ..rule.clone() });
    }
}

/// `all` is no network; an address alone is one of a single host.
pub(super) fn networks(text: &str) -> Option<Vec<String>> {
    if text == "all" {
        return Some(Vec::new());
    }
    network(text).map(|network| vec![network.to_string()])
}

/// A network, or an address alone.
pub(super) fn network(text: &str) -> Option<ipnet::IpNet> {
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        return Some(address.into());
    }
    text.parse::<ipnet::IpNet>().ok().map(|network| network.trunc())
}

fn listen(directive: &Directive, draft: &mut Draft) {
    let address = directive.argument(0);
    if address.starts_with("unix:") {
        return draft
            .lose(directive.place(), "fanfare listens on TCP alone, on no socket of the file system");
    }
    if address.contains('$') {
        return draft.lose(directive.place(), VARIABLE);
    }
    let port = address.strip_prefix("*:").unwrap_or(address);
    let mut addresses = match port.parse::<u16>() {
        Ok(port) => vec![format!("0.0.0.0:{port}")],
        Err(_) if address.starts_with("localhost:") => vec![address.replacen("localhost", "127.0.0.1", 1)],
        Err(_) => vec![address.to_owned()],
    };
    let is_both = directive.arguments.iter().any(|option| option == "ipv6only=off");
    if let (true, Some(port)) = (is_both, address.strip_prefix("[::]:")) {
        addresses.push(format!("0.0.0.0:{port}"));
    }
    for address in &addresses {
        if !draft.listen("listen.rtmp", address, directive.place()) {
            return;
        }
    }
    for option in directive.arguments.iter().skip(1) {
        match option.as_str() {
            "proxy_protocol" => {
                for address in &addresses {
                    draft.add("proxy.listeners", address.as_str(), directive.place());
                }
                draft.add("proxy.trusted", "127.0.0.0/8", directive.place());
                let why = "proxy.trusted has this machine alone: add the networks of your proxies";
                draft.lose(directive.place(), why);
            }
            "ipv6only=on" | "ipv6only=off" => {}
            "bind" | "so_keepalive=on" => draft.same(directive.place(), "sockets are set up so in any case"),
            option => {
                draft.lose(directive.place(), format!("`{option}`: fanfare sets up its sockets by itself"))
            }
        }
    }
}

/// What may be in `rtmp`, in `server` and in an application alike.
fn common(directive: &Directive, draft: &mut Draft, application: Option<&Application<'_>>) {
    let place = directive.place();
    let name = directive.name.as_str();
    let value = directive.argument(0);
    let key = match name {
        "listen" => return listen(directive, draft),
        // With the application: see `rules` and `hooks`.
        "allow" | "deny" | "live" => return,
        _ if ASKED.iter().any(|(hook, _)| *hook == name)
            || NOTIFIED.iter().any(|(hook, _)| *hook == name) =>
        {
            return;
        }
        "timeout" => "play.send_timeout",
        "ping" => "play.ping_interval",
        "drop_idle_publisher" => "limits.publisher_timeout",
        "buflen" => "play.max_lag",
        "notify_update_timeout" => "hooks.update_interval",
        "netcall_timeout" => "hooks.timeout",
        "max_connections" => {
            return match value.parse() {
                Ok(count) if application.is_none() => draft.set_number("limits.connections", count, place),
                Ok(_) => {
                    draft.lose(place, "limits are for the whole relay, and per address and network: [limits]")
                }
                Err(_) => draft.lose(place, "not a number"),
            };
        }
        "max_message" => {
            return match size(value) {
                Some(bytes) => draft.set_size("limits.video_message", bytes, place),
                None => draft.lose(place, "not a size"),
            };
        }
        "notify_method" if value.eq_ignore_ascii_case("get") => {
            return draft.set("hooks.notify_method", "get", place);
        }
        "notify_method" => {
            return draft.same(place, "POST is the default: [hooks] notify_method");
        }
        "on_connect" | "on_disconnect" => {
            let key = OF_CONNECTIONS.iter().find(|(hook, _)| *hook == name).map(|(_, key)| *key);
            key.into_iter().for_each(|key| _ = draft.add(key, value, place.clone()));
            return;
        }
        "idle_streams" if value == "off" => return draft.set("play.wait_for_publisher", "0s", place),
        "idle_streams" => {
            return draft.same(place, "players wait for their encoder: [play] wait_for_publisher");
        }
        "gop_cache" if value == "off" => return draft.set("play.start", "live", place),
        "gop_cache" => return draft.same(place, "players start at the newest key frame: [play] start"),
        "error_log" => return log_level(directive, draft),
        _ => {
            whole(directive, draft);
            return explain(KNOWN, name, value == "off", directive.whole(), draft);
        }
    };
    match duration(value) {
        Some(time) if time.is_zero() => draft.same(place, OFF),
        Some(time) => draft.set_duration(key, time, place),
        None => draft.lose(place, "not a time"),
    }
}

/// What serves RTMP is named; the rest is nginx's own, block by block.
fn web(directives: &[Directive], draft: &mut Draft) {
    for directive in directives {
        let is_ours = |it: &Directive| it.name.starts_with("rtmp_") || it.name == "flv_live";
        let has_page_port =
            directive.name == "listen" && directive.argument(0).rsplit(':').next() == Some("8080");
        if has_page_port {
            draft.lose(
                directive.place(),
                "fanfare's page, API and HTTP-FLV are on port 8080 by default: if nginx stays, set [listen] http to another one",
            );
        } else if is_ours(directive) {
            explain(KNOWN, &directive.name, false, directive.place(), draft);
        } else if blocks::any(directive.inner(), &is_ours) {
            draft.same(directive.place(), WEB);
            web(directive.inner(), draft);
        } else {
            whole(directive, draft);
            draft.same(directive.whole(), WEB);
        }
    }
}

fn log_level(directive: &Directive, draft: &mut Draft) {
    match directive.argument(1) {
        "debug" => draft.set("log.level", "debug", directive.place()),
        _ => draft.same(
            directive.place(),
            "the log goes to standard error, for the journal; what happens to streams is at level info: [log] level",
        ),
    }
}

/// `10s`, `1m`, `500ms`, `1h30m`; a number alone is seconds.
fn duration(text: &str) -> Option<Duration> {
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text).ok(),
    }
}

/// `1M`, `512k`, `1g`; a number alone is bytes.
fn size(text: &str) -> Option<u64> {
    let (number, factor) = match text.chars().last()?.to_ascii_lowercase() {
        'k' => (&text[..text.len() - 1], 1 << 10),
        'm' => (&text[..text.len() - 1], 1 << 20),
        'g' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}
