//! YAML as MediaMTX reads it: texts, lists and maps with their lines. Bounded in depth, and in what aliases repeat.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::{draft::Place, written::one_line};

/// A value, and the lines that it is on; the first one is that of its key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub value: Value,
    pub line: usize,
    pub end: usize,
    /// Where it is from, if it is not from the file.
    pub from: Option<Rc<str>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Nothing, or an empty text.
    None,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// What is being read.
enum Open {
    List { node: Node, anchor: usize },
    Map { node: Node, anchor: usize, key: Option<(String, usize)>, names: HashSet<String> },
}

/// The first document of a text, and the line where a second one begins.
///
/// # Errors
/// The line and what is wrong.
pub(super) fn parse(text: &str) -> Result<(Node, Option<usize>), (usize, String)> {
    let mut open: Vec<Open> = Vec::new();
    let mut anchors: HashMap<usize, Node> = HashMap::new();
    let mut root: Option<Node> = None;
    let mut nodes = 0;
    let mut last = 1;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| (error.marker().line().max(1), error.info().to_owned()))?;
        let line = span.start.line().max(1);
        if matches!(event, Event::SequenceStart(..) | Event::MappingStart(..)) && open.len() == MAX_DEPTH {
            return Err((line, format!("more than {MAX_DEPTH} lists and maps in each other")));
        }
        let (node, anchor) = match event {
            Event::DocumentStart(_) if root.is_some() => {
                return Ok((root.unwrap_or_else(|| Node::new(Value::None, line)), Some(line)));
            }
            Event::Scalar(text, style, anchor, _) => {
                let is_none = text.is_empty()
                    || style == ScalarStyle::Plain && ["~", "null", "Null", "NULL"].contains(&&*text);
                let value = if is_none { Value::None } else { Value::Text(text.into_owned()) };
                // What ends at the begin of a line has ended with the one before.
                let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                let is_before = is_block || span.end.col() == 0;
                let end = span.end.line().saturating_sub(usize::from(is_before));
                last = end.max(line);
                (Node { end: last, ..Node::new(value, line) }, anchor)
            }
            Event::Alias(anchor) => {
                let aliased =
                    anchors.get(&anchor).cloned().ok_or((line, "an alias to nothing".to_owned()))?;
                last = line;
                (aliased.at(line), 0)
            }
            Event::SequenceStart(anchor, _) => {
                open.push(Open::List { node: Node::new(Value::List(Vec::new()), line), anchor });
                continue;
            }
            Event::MappingStart(anchor, _) => {
                open.push(Open::Map {
                    node: Node::new(Value::Map(Vec::new()), line),
                    anchor,
                    key: None,
                    names: HashSet::new(),
                });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List { mut node, anchor } | Open::Map { mut node, anchor, .. }) => {
                    node.end = last.max(node.line);
                    node.merge();
                    (node, anchor)
                }
                None => continue,
            },
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {
                continue;
            }
        };
        nodes += node.count();
        if nodes > MAX_NODES {
            return Err((line, format!("aliases repeat more than {MAX_NODES} values")));
        }
        if anchor > 0 {
            anchors.insert(anchor, node.clone());
        }
        match open.last_mut() {
            None => root = Some(node),
            Some(Open::List { node: list, .. }) => list.push(node),
            Some(Open::Map { node: map, key, names, .. }) => match key.take() {
                None => {
                    let name = node.text().to_owned();
                    if !names.insert(name.clone()) && name != "<<" {
                        return Err((line, format!("`{}` is there twice", one_line(&name))));
                    }
                    *key = Some((name, node.line));
                }
                Some((name, at)) => map.insert(name, Node { line: at, ..node }),
            },
        }
    }
    Ok((root.unwrap_or_else(|| Node::new(Value::None, 1)), None))
}

impl Node {
    pub const fn new(value: Value, line: usize) -> Self {
        Self { value, line, end: line, from: None }
    }

    pub fn text(&self) -> &str {
        match &self.value {
            Value::Text(text) => text,
            Value::None | Value::List(_) | Value::Map(_) => "",
        }
    }

    pub fn list(&self) -> &[Self] {
        match &self.value {
            Value::List(list) => list,
            Value::None | Value::Text(_) | Value::Map(_) => &[],
        }
    }

    /// The texts of a list; a text alone has commas between them.
    pub fn texts(&self) -> Vec<String> {
        let texts: Vec<&str> = match &self.value {
            Value::List(list) => list.iter().map(Self::text).collect(),
            Value::Text(text) => text.split(',').map(str::trim).collect(),
            Value::None | Value::Map(_) => Vec::new(),
        };
        texts.into_iter().filter(|text| !text.is_empty()).map(str::to_owned).collect()
    }

    pub fn map(&self) -> &[(String, Self)] {
        match &self.value {
            Value::Map(map) => map,
            Value::None | Value::Text(_) | Value::List(_) => &[],
        }
    }

    /// The value of a key.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.map().iter().find_map(|(key, node)| (key == name).then_some(node))
    }

    /// The text of a key.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.get(name).map(Self::text).filter(|text| !text.is_empty())
    }

    pub fn is_yes(&self) -> bool {
        ["yes", "true", "on"].contains(&self.text().to_ascii_lowercase().as_str())
    }

    /// Nothing, or `no`.
    pub fn is_no(&self) -> bool {
        match &self.value {
            Value::None => true,
            Value::Text(text) => ["no", "false", "off"].contains(&text.to_ascii_lowercase().as_str()),
            Value::List(list) => list.is_empty(),
            Value::Map(map) => map.is_empty(),
        }
    }

    /// Sets what an environment variable names, by keys in capitals with underscores between them.
    ///
    /// `names` are those of all options. False if there is no such option.
    pub fn set(&mut self, path: &str, text: &str, variable: &Rc<str>, names: &[&str]) -> bool {
        let value = if text.is_empty() { Value::None } else { Value::Text(text.to_owned()) };
        let leaf = Self { value, line: 0, end: 0, from: Some(Rc::clone(variable)) };
        self.set_node(path, leaf, names)
    }

    fn set_node(&mut self, path: &str, leaf: Self, names: &[&str]) -> bool {
        if self.value == Value::None {
            let is_index = path.split('_').next().is_some_and(|first| first.parse::<usize>().is_ok());
            self.value = if is_index { Value::List(Vec::new()) } else { Value::Map(Vec::new()) };
            if self.from.is_none() {
                self.from.clone_from(&leaf.from);
            }
        }
        let empty = || Self { value: Value::None, line: 0, end: 0, from: leaf.from.clone() };
        match &mut self.value {
            Value::Map(map) => {
                let of = |key: &str| {
                    let rest = path.strip_prefix(&key.to_ascii_uppercase())?;
                    if rest.is_empty() { Some("") } else { rest.strip_prefix('_') }
                };
                // The longest key first: names of paths may have underscores.
                let mut keys: Vec<usize> = (0..map.len()).filter(|&at| of(&map[at].0).is_some()).collect();
                keys.sort_by_key(|&at| std::cmp::Reverse(map[at].0.len()));
                let found = keys.first().map(|&at| (at, of(&map[at].0).unwrap_or_default().to_owned()));
                let known = || names.iter().filter_map(|name| of(name).map(|rest| (*name, rest)));
                let (at, rest) = match found {
                    Some(found) => found,
                    None => {
                        let (name, rest) = match known().max_by_key(|(name, _)| name.len()) {
                            Some((name, rest)) => (name.to_owned(), rest),
                            None if names.is_empty() => return false,
                            // A path.
                            None => match path.split_once('_') {
                                Some((name, rest)) => (name.to_ascii_lowercase(), rest),
                                None => return false,
                            },
                        };
                        map.push((name, empty()));
                        (map.len() - 1, rest.to_owned())
                    }
                };
                match rest.as_str() {
                    "" => {
                        map[at].1 = leaf;
                        true
                    }
                    rest => map[at].1.set_node(rest, leaf, names),
                }
            }
            Value::List(list) => {
                let (index, rest) = path.split_once('_').unwrap_or((path, ""));
                let Ok(index) = index.parse::<usize>() else { return false };
                if index > list.len() {
                    return false;
                }
                if index == list.len() {
                    list.push(empty());
                }
                if rest.is_empty() {
                    list[index] = leaf;
                    return true;
                }
                list[index].set_node(rest, leaf, names)
            }
            Value::Text(_) | Value::None => false,
        }
    }

    /// Its place under a name.
    pub fn place(&self, file: &Rc<str>, name: &str) -> Place {
        let text = match &self.value {
            Value::List(list) if list.iter().any(|node| !node.map().is_empty()) => String::new(),
            Value::List(_) => format!("[{}]", self.texts().join(", ")),
            Value::Text(_) if is_secret(name) => "***".to_owned(),
            Value::None | Value::Text(_) | Value::Map(_) => self.text().to_owned(),
        };
        let text = format!("{name}: {text}").trim_end().to_owned();
        let file = self.from.as_ref().unwrap_or(file);
        Place { file: Rc::clone(file), line: self.line, end: self.end, text }
    }

    fn push(&mut self, node: Self) {
        if let Value::List(list) = &mut self.value {
            list.push(node);
        }
    }

    fn insert(&mut self, name: String, node: Self) {
        if let Value::Map(map) = &mut self.value {
            map.push((name, node));
        }
    }

    /// `<<: *other` adds the entries of another map that are not there.
    fn merge(&mut self) {
        let Value::Map(map) = &mut self.value else { return };
        let Some(at) = map.iter().position(|(key, _)| key == "<<") else { return };
        let (_, others) = map.remove(at);
        let lists = if others.list().is_empty() { std::slice::from_ref(&others) } else { others.list() };
        for (key, node) in lists.iter().flat_map(Self::map) {
            if !map.iter().any(|(there, _)| there == key) {
                map.push((key.clone(), node.clone()));
            }
        }
    }

    /// The same on another line.
    fn at(mut self, line: usize) -> Self {
        (self.line, self.end) = (line, line);
        match &mut self.value {
            Value::List(list) => list.iter_mut().for_each(|node| *node = node.clone().at(line)),
            Value::Map(map) => map.iter_mut().for_each(|(_, node)| *node = node.clone().at(line)),
            Value::None | Value::Text(_) => {}
        }
        self
    }

    /// Its line and those of the values in it.
    pub fn lines(&self) -> Vec<usize> {
        let inner: Vec<usize> = match &self.value {
            Value::List(list) => list.iter().flat_map(Self::lines).collect(),
            Value::Map(map) => map.iter().flat_map(|(_, node)| node.lines()).collect(),
            Value::None | Value::Text(_) => Vec::new(),
        };
        [vec![self.line], inner].concat()
    }

    /// Values in it, and itself.
    fn count(&self) -> usize {
        match &self.value {
            Value::List(list) => 1 + list.iter().map(Self::count).sum::<usize>(),
            Value::Map(map) => 1 + map.iter().map(|(_, node)| node.count()).sum::<usize>(),
            Value::None | Value::Text(_) => 1,
        }
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["pass", "passphrase", "secret", "token"].iter().any(|end| name.ends_with(end))
}

/// Lists and maps within each other: more than anyone writes.
const MAX_DEPTH: usize = 32;
/// Ten times the values of the file that MediaMTX comes with, with all its comments uncommented. Each level of depth counts
/// its content again.
const MAX_NODES: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Node {
        parse(text).unwrap().0
    }

    #[test]
    fn values_have_the_line_of_their_key_and_that_where_they_end() {
        let root = parsed("a: 1\n# c\nb:\n  - x\n  - y: 'null'\n    z: ~\nc: {d: [e, f]}\n");
        assert_eq!((root.text_of("a"), root.get("a").unwrap().line), (Some("1"), 1));
        let b = root.get("b").unwrap();
        assert_eq!((b.line, b.end, b.list().len()), (3, 6, 2));
        assert_eq!(b.list()[1].text_of("y"), Some("null"));
        assert_eq!(b.list()[1].get("z").unwrap().value, Value::None);
        assert_eq!(root.get("c").unwrap().get("d").unwrap().texts(), ["e", "f"]);
        assert_eq!(parse("a: 1\n---\nb: 2\n").unwrap().1, Some(2));
        assert_eq!(parse("a: 1\nb:\n  c: 1\n  c: 2\n").unwrap_err(), (4, "`c` is there twice".to_owned()));
    }

    #[test]
    fn anchors_are_read_and_cannot_grow_without_bound() {
        let root = parsed("a: &x {b: 1, c: 2}\nd: *x\ne: {<<: *x, c: 3}\n");
        assert_eq!(root.get("d").unwrap().text_of("b"), Some("1"));
        assert_eq!((root.get("d").unwrap().line, root.get("d").unwrap().end), (2, 2));
        let e = root.get("e").unwrap();
        assert_eq!((e.text_of("b"), e.text_of("c")), (Some("1"), Some("3")));
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..20 {
            let before = format!("*a{}", n - 1);
            bomb += &format!("a{n}: &a{n} [{}]\n", [before.as_str(); 10].join(", "));
        }
        let (line, what) = parse(&bomb).unwrap_err();
        assert!(line > 3 && what.contains("aliases repeat"), "{line} {what}");
    }

    #[test]
    fn depth_is_bounded_and_costs_no_stack() {
        for bomb in ["[", "{a: ", "- ", "? ", "&a [", "!a ["] {
            let bomb = bomb.repeat(100_000);
            let (_, what) = parse(&bomb).unwrap_err();
            assert!(what.contains("in each other") || what.contains("recursion"), "{what}");
        }
    }

    #[test]
    fn variables_name_options_by_their_keys_in_capitals() {
        let mut root =
            parsed("rtmpAddress: :1935\npaths:\n  my_cam:\n    source: a\nusers:\n  - user: ann\n");
        let name = Rc::from("$MTX");
        let mut set =
            |path: &str, text: &str| root.set(path, text, &name, &["rtmp", "rtmpAddress", "user", "source"]);
        assert!(set("RTMPADDRESS", ":1936") && set("PATHS_MY_CAM_SOURCE", "b") && set("USERS_1_USER", "bob"));
        assert!(set("RTMP", "no") && set("PATHS_OTHER_SOURCE", "c"));
        assert!(!set("UNKNOWN", "x") && !set("USERS_7_USER", "x") && !set("RTMPADDRESS_X", "y"));
        assert_eq!((root.text_of("rtmpAddress"), root.text_of("rtmp")), (Some(":1936"), Some("no")));
        let paths = root.get("paths").unwrap();
        assert_eq!(paths.get("my_cam").unwrap().text_of("source"), Some("b"));
        assert_eq!(paths.get("other").unwrap().text_of("source"), Some("c"));
        assert_eq!(root.get("users").unwrap().list()[1].text_of("user"), Some("bob"));
    }
}
