//! Permissions that are looked at all together, as in MediaMTX, as rules of which the first one that applies decides.

use std::{cmp::Reverse, collections::BTreeSet};

use ipnet::IpNet;

use super::{
    draft::{Draft, Place, Rule},
    patterns::{are_apart, covers},
};

/// Lets someone do something.
#[derive(Clone, Debug)]
pub(super) struct Permission {
    pub action: Action,
    /// A pattern.
    pub streams: String,
    /// Empty is from everywhere.
    pub networks: Vec<IpNet>,
    /// None is everyone.
    pub user: Option<String>,
    pub places: Vec<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Publish,
    Play,
}

/// Who may do what a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    Everyone,
    Users(BTreeSet<String>),
}

/// Streams from a network, and who may publish or play them.
#[derive(Clone, Debug)]
struct Cell {
    streams: String,
    network: Option<IpNet>,
    who: Who,
    places: Vec<Place>,
}

/// Adds the rules that let in what the permissions let in, and nothing else.
pub(super) fn add_rules(permissions: &[Permission], draft: &mut Draft) {
    let of = |action| rules(permissions, action);
    let (mut publish, mut play) = (of(Action::Publish), of(Action::Play));
    // Anyone may watch anything without a rule as well.
    if play.len() == 1 && is_open(&play[0]) {
        let places = std::mem::take(&mut play[0].places);
        if publish.len() == 1 && is_open(&publish[0]) {
            join(&mut publish[0].places, places);
            publish[0].action = "";
            publish[0].name = "everyone".to_owned();
            play.clear();
        } else {
            play[0].places = places;
        }
    }
    let texts = |rules: &[Rule]| -> Vec<String> {
        rules.iter().map(|rule| Rule { action: "", ..rule.clone() }.to_toml()).collect()
    };
    if texts(&publish) == texts(&play) {
        for (rule, other) in publish.iter_mut().zip(std::mem::take(&mut play)) {
            rule.action = "";
            join(&mut rule.places, other.places);
        }
    }
    publish.into_iter().chain(play).for_each(|rule| draft.rule(rule));
}

/// Adds places that are not there.
fn join(places: &mut Vec<Place>, more: Vec<Place>) {
    for place in more {
        if !places.contains(&place) {
            places.push(place);
        }
    }
}

fn is_open(rule: &Rule) -> bool {
    !rule.denies && rule.users.is_empty() && rule.networks.is_empty() && rule.streams.is_empty()
}

fn rules(permissions: &[Permission], action: Action) -> Vec<Rule> {
    let permissions: Vec<&Permission> = permissions.iter().filter(|it| it.action == action).collect();
    let cells = without_repetition(cells(&permissions));
    let word = if action == Action::Publish { "publish" } else { "play" };
    let mut rules: Vec<Rule> = Vec::new();
    let mut last: Option<&Cell> = None;
    for cell in &cells {
        let networks: Vec<String> = cell.network.iter().map(ToString::to_string).collect();
        // Networks of the same streams and people are one rule.
        if let (Some(rule), Some(before)) = (rules.last_mut(), last) {
            let is_same = before.streams == cell.streams && before.who == cell.who;
            if is_same && before.network.is_some() && cell.network.is_some() {
                rule.networks.extend(networks);
                join(&mut rule.places, cell.places.clone());
                last = Some(cell);
                continue;
            }
        }
        last = Some(cell);
        let users = match &cell.who {
            Who::Everyone => Vec::new(),
            Who::Users(users) => users.iter().cloned().collect(),
        };
        let streams = if cell.streams == "*" { String::new() } else { cell.streams.clone() };
        let places = cell.places.clone();
        rules.push(Rule { action: word, streams, networks, users, places, ..Rule::default() });
    }
    if !rules.iter().any(is_open) {
        let name = "no others".to_owned();
        let note = "What no rule above lets in is refused, as it was.";
        rules.push(Rule { name, action: word, denies: true, note, ..Rule::default() });
    }
    rules
}

/// Each pattern with each network, the narrowest first: what may be done there is all that any permission around it allows.
fn cells(permissions: &[&Permission]) -> Vec<Cell> {
    let permissions = &permissions[..permissions.len().min(MAX_PERMISSIONS)];
    let mut patterns: Vec<&str> = permissions.iter().map(|it| it.streams.as_str()).collect();
    patterns.sort_unstable();
    patterns.dedup();
    let around = |pattern: &str| patterns.iter().filter(|outer| covers(outer, pattern)).copied().collect();
    let mut patterns: Vec<(&str, BTreeSet<&str>)> =
        patterns.iter().map(|pattern| (*pattern, around(pattern))).collect();
    patterns.sort_by_key(|(pattern, around)| (Reverse(around.len()), *pattern));
    let networks: BTreeSet<IpNet> = permissions.iter().flat_map(|it| it.networks.iter().copied()).collect();
    let has_all = permissions.iter().any(|it| it.networks.is_empty());
    let mut ordered: Vec<Option<IpNet>> = networks.into_iter().map(Some).collect();
    ordered.sort_by_key(|network| network.map(|network| Reverse(network.prefix_len())));
    ordered.extend(has_all.then_some(None));
    let mut cells = Vec::new();
    for (streams, outer) in patterns {
        let of_pattern: Vec<&&Permission> =
            permissions.iter().filter(|it| outer.contains(it.streams.as_str())).collect();
        for &network in &ordered {
            let is_around = |it: &&&&Permission| {
                let within = |network| it.networks.iter().any(|outer| outer.contains(&network));
                it.networks.is_empty() || network.is_some_and(within)
            };
            let around: Vec<&&Permission> = of_pattern.iter().filter(is_around).copied().collect();
            if around.is_empty() {
                continue;
            }
            // What is left is refused.
            if cells.len() == MAX_CELLS {
                return cells;
            }
            let who = match around.iter().any(|it| it.user.is_none()) {
                true => Who::Everyone,
                false => Who::Users(around.iter().filter_map(|it| it.user.clone()).collect()),
            };
            let decides = |it: &&&&Permission| who != Who::Everyone || it.user.is_none();
            let places = around.iter().filter(decides).flat_map(|it| it.places.clone()).collect();
            cells.push(Cell { streams: streams.to_owned(), network, who, places });
        }
    }
    cells
}

/// Without those that a later one decides in the same way.
fn without_repetition(cells: Vec<Cell>) -> Vec<Cell> {
    let mut kept: Vec<Cell> = Vec::new();
    for mut cell in cells.into_iter().rev() {
        let touches = |other: &&mut Cell| {
            let is_apart = match (cell.network, other.network) {
                (Some(one), Some(other)) => !one.contains(&other) && !other.contains(&one),
                _ => false,
            };
            !is_apart && !are_apart(&cell.streams, &other.streams)
        };
        let next = kept.iter_mut().rev().find(touches);
        match next {
            Some(next)
                if next.who == cell.who
                    && covers(&next.streams, &cell.streams)
                    && next
                        .network
                        .is_none_or(|outer| cell.network.is_some_and(|it| outer.contains(&it))) =>
            {
                next.places.append(&mut cell.places);
            }
            _ => kept.push(cell),
        }
    }
    kept.reverse();
    kept
}

/// As many as there are rules.
const MAX_PERMISSIONS: usize = 256;
/// More than fanfare takes rules.
const MAX_CELLS: usize = 400;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        access::{Access, Decision, KeyRing, Question, Rules, Verdict},
        config::Config,
        migrate::{Origin, written},
    };

    /// Whether MediaMTX would let it in: any permission will do.
    fn may(
        permissions: &[Permission],
        action: Action,
        name: &str,
        address: &str,
        user: Option<&str>,
    ) -> bool {
        let address: std::net::IpAddr = address.parse().unwrap();
        permissions.iter().any(|it| {
            let glob = globset::GlobBuilder::new(&it.streams).literal_separator(false).build().unwrap();
            it.action == action
                && glob.compile_matcher().is_match(name)
                && (it.networks.is_empty() || it.networks.iter().any(|network| network.contains(&address)))
                && (it.user.is_none() || it.user.as_deref() == user)
        })
    }

    fn permission() -> impl Strategy<Value = Permission> {
        let streams = prop::sample::select(vec!["*", "a", "b", "ab", "a*", "ab*", "b*"]);
        let networks =
            prop::sample::subsequence(vec!["10.0.0.0/8", "10.1.0.0/16", "10.1.1.1/32", "192.0.2.0/24"], 0..3);
        let user = prop::sample::select(vec![None, Some("ann"), Some("bob")]);
        (any::<bool>(), streams, networks, user).prop_map(|(is_publish, streams, networks, user)| {
            Permission {
                action: if is_publish { Action::Publish } else { Action::Play },
                streams: streams.to_owned(),
                networks: networks.iter().map(|it| it.parse().unwrap()).collect(),
                user: user.map(str::to_owned),
                places: vec![Place { file: "f".into(), line: 1, end: 1, text: String::new() }],
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn rules_let_in_what_permissions_let_in(permissions in prop::collection::vec(permission(), 0..6)) {
            let mut draft = Draft::new("f", Origin::Mediamtx);
            for user in ["ann", "bob"] {
                let place = Place { file: "f".into(), line: 1, end: 1, text: String::new() };
                draft.user(user, &format!("password-of-{user}"), place);
            }
            add_rules(&permissions, &mut draft);
            let toml = written::toml(&draft);
            let config = Config::from_toml("f", &toml).unwrap();
            let rules = Rules::new(&config, KeyRing::new(), || 0).unwrap();
            for (action, of_rules) in [(Action::Publish, crate::access::Action::Publish), (Action::Play, crate::access::Action::Play)] {
                for name in ["a", "b", "ab", "abc", "ba", "c"] {
                    for address in ["10.1.1.1", "10.1.2.3", "10.9.9.9", "192.0.2.1", "198.51.100.1"] {
                        for user in [None, Some("ann"), Some("bob")] {
                            let mut question = Question::new(of_rules, name, (address.parse::<std::net::IpAddr>().unwrap(), 9).into(), "rtmp");
                            if let Some(user) = user {
                                question.query = format!("user={user}&pass=password-of-{user}");
                            }
                            let decision = rules.decide(&question);
                            let is_let_in = !matches!(decision, Decision::Verdict(Verdict::Deny(_)));
                            let expected = may(&permissions, action, name, address, user);
                            prop_assert_eq!(is_let_in, expected, "{:?} {} {} {:?}\n{}", action, name, address, user, toml);
                        }
                    }
                }
            }
        }
    }
}
