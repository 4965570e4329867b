//! Reads the source and enforces the rules of ARCHITECTURE.md: the direction of imports, which modules do I/O, where
//! unsafe code lives, that a file begins with what it owns and is small enough for one idea. Checks that the tests
//! named in docs/reliability.md exist.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The modules from the bottom up, and which others each may name: only modules below it.
const MAY_NAME: [(&str, &[&str]); 26] = [
    ("beside", &[]),
    ("refusal", &[]),
    ("systemd", &[]),
    ("amf0", &[]),
    ("flv", &["amf0"]),
    ("rtmp", &["amf0", "flv"]),
    ("http", &["flv"]),
    ("stream", &["flv"]),
    ("fanout", &["flv", "stream"]),
    ("config", &["stream"]),
    ("logging", &["config"]),
    ("access", &["config", "stream"]),
    ("endpoint", &["flv", "rtmp", "http", "stream", "fanout", "config", "access"]),
    ("net", &["refusal", "stream", "config", "logging", "access", "endpoint"]),
    ("certificates", &["config", "endpoint"]),
    ("reload", &["beside", "config", "access", "endpoint", "net"]),
    (
        "control",
        &[
            "beside",
            "amf0",
            "flv",
            "rtmp",
            "http",
            "stream",
            "config",
            "logging",
            "access",
            "endpoint",
            "net",
            "reload",
            "certificates",
        ],
    ),
    ("running", &["config"]),
    ("difference", &["config", "control", "running"]),
    ("hooks", &["beside", "config", "access", "endpoint", "net"]),
    ("renewal", &["beside", "config", "net", "certificates"]),
    ("system_check", &["config", "net"]),
    ("sign", &["rtmp", "config", "access"]),
    ("migrate", &["config"]),
    ("capacity", &[]),
    ("fuzz", &["amf0", "flv", "rtmp", "http", "stream"]),
];

/// Files with unsafe code. Clippy checks that each block has a `SAFETY:` comment.
const UNSAFE: [&str; 6] = [
    "src/stream/cells.rs",
    "src/stream/segment.rs",
    "src/net/arrivals.rs",
    "src/net/ring.rs",
    "src/net/queued.rs",
    "src/net/allocator.rs",
];

/// Types of addresses, which are values, not sockets.
const ADDRESSES: [&str; 4] = ["SocketAddr", "IpAddr", "Ipv4Addr", "Ipv6Addr"];

/// What a pure module never names: sockets, clocks, threads, runtimes.
const IO: [&str; 8] =
    ["std::net", "std::fs", "std::thread", "Instant", "SystemTime", "tokio", "socket2", "std::os"];

/// Lines of a file without its tests; a longer one probably contains a second idea.
const MAX_LINES: usize = 600;

/// Lines of `net` without its tests: business that creeps in makes it longer. Signals, sockets and what other threads may
/// ask of the relay are its own.
const MAX_LINES_OF_NET: usize = 2_600;

struct Source {
    path: String,
    module: String,
    /// Without comments and without the tests at its end.
    code: String,
    text: String,
}

#[test]
fn imports_point_one_way() {
    for source in sources() {
        let allowed = MAY_NAME.iter().find(|(module, _)| *module == source.module);
        let Some((_, allowed)) = allowed else {
            assert!(
                ["lib", "main", "cli"].contains(&source.module.as_str()),
                "{}: which layer is it?",
                source.path
            );
            continue;
        };
        for named in crate_modules_in(&source.code) {
            assert!(
                named == source.module || allowed.contains(&named.as_str()),
                "{} names crate::{named}; {} may name {allowed:?}",
                source.path,
                source.module,
            );
        }
    }
}

#[test]
fn no_module_may_name_one_above_it() {
    for (at, (module, allowed)) in MAY_NAME.iter().enumerate() {
        for named in *allowed {
            let below = MAY_NAME.iter().position(|(module, _)| module == named);
            assert!(below.is_some_and(|below| below < at), "{module} may name {named}");
        }
    }
}

/// A file that no module names is not compiled: nothing checks what it says.
#[test]
fn every_file_is_part_of_the_program() {
    let files = sources();
    for source in files.iter().filter(|source| !["src/lib.rs", "src/main.rs"].contains(&&*source.path)) {
        let path = source.path.strip_suffix("/mod.rs").unwrap_or(source.path.trim_end_matches(".rs"));
        let (folder, name) = path.rsplit_once('/').expect("below src");
        let parents: Vec<String> = match folder {
            "src" => ["src/lib.rs", "src/main.rs", "fanfare-rtmp/src/lib.rs"].map(str::to_owned).to_vec(),
            folder => vec![format!("{folder}/mod.rs"), format!("{folder}.rs")],
        };
        let declaration = format!("mod {name};");
        let is_declared = parents.iter().any(|parent| {
            let text = fs::read_to_string(root().join(parent)).unwrap_or_default();
            text.lines().any(|line| line.trim_start().trim_start_matches("pub ").ends_with(&declaration))
        });
        assert!(is_declared, "{}: {parents:?} do not declare it", source.path);
    }
}

/// Services use `net::Handle` and the endpoint's reports, never each other.
#[test]
fn services_name_the_handle_and_never_each_other() {
    const SERVICES: [&str; 7] = ["control", "hooks", "renewal", "record", "hls", "upstream", "cluster"];
    for source in sources().iter().filter(|source| SERVICES.contains(&source.module.as_str())) {
        let named = crate_modules_in(&source.code);
        let other = named.iter().find(|named| **named != source.module && SERVICES.contains(&named.as_str()));
        assert_eq!(other, None, "{}", source.path);
    }
}

#[test]
fn only_net_names_rings_and_runtimes() {
    for source in sources().iter().filter(|source| source.module != "net") {
        for name in ["tokio_uring", "io_uring::", "libc::"] {
            assert!(!source.code.contains(name), "{} names {name}", source.path);
        }
    }
}

#[test]
fn protocols_stream_log_fan_out_and_endpoint_do_no_io() {
    let pure = ["amf0", "flv", "rtmp", "http", "stream", "fanout", "access", "endpoint"];
    for source in sources().iter().filter(|source| pure.contains(&source.module.as_str())) {
        // An address is a value.
        let code = without_addresses(&source.code);
        for name in IO {
            assert!(!code.contains(name), "{} names {name}", source.path);
        }
    }
}

/// The wall clock may be set by hours at any time: it is only for people to read.
#[test]
fn only_the_monotonic_clock_decides_what_the_relay_does() {
    for source in sources()
        .iter()
        .filter(|source| ["net", "stream", "fanout", "endpoint"].contains(&source.module.as_str()))
    {
        assert!(!source.code.contains("SystemTime"), "{} names SystemTime", source.path);
    }
}

#[test]
fn the_control_plane_uses_only_the_names_of_rtmp() {
    for source in sources().iter().filter(|source| source.module == "control") {
        for (at, start) in source.code.match_indices("rtmp::") {
            let rest = &source.code[at + start.len()..];
            assert!(
                rest.starts_with("name::"),
                "{} names rtmp::{}",
                source.path,
                &rest[..rest.len().min(20)]
            );
        }
    }
}

#[test]
fn unsafe_code_lives_in_the_named_files() {
    let with_unsafe: BTreeSet<String> = sources()
        .into_iter()
        .filter(|source| has_word(&source.code, "unsafe"))
        .map(|source| source.path)
        .collect();
    assert_eq!(with_unsafe, UNSAFE.map(String::from).into());
}

/// It holds for all modules below the file that says so; only one with unsafe code below it cannot say so.
#[test]
fn all_other_files_forbid_unsafe_code() {
    let sources = sources();
    let forbidding: BTreeSet<String> = sources
        .iter()
        .filter(|source| source.text.contains("#![forbid(unsafe_code)]"))
        .map(|source| source.path.trim_end_matches("/mod.rs").trim_end_matches(".rs").to_owned())
        .collect();
    for source in sources.iter().filter(|source| !UNSAFE.contains(&source.path.as_str())) {
        let folder = source.path.strip_suffix("mod.rs");
        if source.path == "src/lib.rs"
            || folder.is_some_and(|it| UNSAFE.iter().any(|path| path.starts_with(it)))
        {
            continue;
        }
        let module = source.path.trim_end_matches("/mod.rs").trim_end_matches(".rs");
        let is_covered = forbidding.iter().any(|it| module == it || module.starts_with(&format!("{it}/")));
        assert!(is_covered, "{} lacks #![forbid(unsafe_code)]", source.path);
    }
}

#[test]
fn every_file_begins_with_what_it_owns() {
    for source in sources() {
        assert!(source.text.starts_with("//! "), "{}", source.path);
    }
}

#[test]
fn no_file_is_too_long_for_one_idea() {
    for source in sources() {
        let lines = before_tests(&source.text).lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines without its tests", source.path);
    }
}

#[test]
fn net_stays_small() {
    let sources = sources();
    let net = sources.iter().filter(|source| source.module == "net");
    let lines: usize = net.map(|source| before_tests(&source.text).lines().count()).sum();
    assert!((1_000..=MAX_LINES_OF_NET).contains(&lines), "net has {lines} lines without its tests");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let root = root();
    let mut paths = Vec::new();
    collect(&root.join("src"), &mut paths);
    assert!(paths.len() > 20, "few source files found in src");
    let source = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source file can be read");
        let path = path.strip_prefix(root).expect("below the root").to_str().expect("UTF-8").to_owned();
        let module = path.split('/').nth(1).expect("below src").trim_end_matches(".rs").to_owned();
        let code = before_tests(&text).lines().map(without_comment).collect::<Vec<_>>().join("\n");
        Source { path, module, code, text }
    };
    let is_test = |path: &PathBuf| {
        let path = path.strip_prefix(root).expect("below the root");
        path.iter().any(|part| part == "tests" || part == "tests.rs" || part == "round_trip.rs")
    };
    paths.into_iter().filter(|path| !is_test(path)).map(source).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a source folder can be listed") {
        let path = entry.expect("a folder's entry").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// The text up to the test modules, which are the last in a file.
fn before_tests(text: &str) -> &str {
    let end = text.find("\n#[cfg(test)]\nmod ").or_else(|| text.find("\n#[cfg(all(test"));
    let end = end.into_iter().chain(text.find("\n#[cfg(test)]\npub(crate) mod tests")).min();
    &text[..end.unwrap_or(text.len())]
}

fn without_comment(line: &str) -> &str {
    line.find("//").map_or(line, |start| &line[..start])
}

/// The first segments of all `crate::…` paths, including those in groups.
fn crate_modules_in(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (at, start) in code.match_indices("crate::") {
        let rest = &code[at + start.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut is_first = true;
            for word in group.split_inclusive(|c: char| !c.is_alphanumeric() && c != '_') {
                let (name, end) = word.split_at(word.len() - 1);
                if depth == 0 && is_first && !name.is_empty() {
                    named.insert(name.to_owned());
                    is_first = false;
                }
                match end {
                    "{" => depth += 1,
                    "}" if depth == 0 => break,
                    "}" => depth -= 1,
                    "," if depth == 0 => is_first = true,
                    _ => {}
                }
            }
        } else {
            named.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    named
}

/// The code without imports and paths of addresses in `std::net`.
fn without_addresses(code: &str) -> String {
    let mut rest = code;
    let mut left = String::new();
    while let Some(at) = rest.find("net::") {
        let (before, path) = rest.split_at(at + "net::".len());
        let group = path.strip_prefix('{').and_then(|group| group.split_once('}'));
        let (names, after) = group.unwrap_or_else(|| {
            path.split_at(path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len()))
        });
        let mut names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        let are_addresses = names.all(|name| ADDRESSES.contains(&name));
        left.push_str(if are_addresses {
            before.trim_end_matches("net::").trim_end_matches("std::")
        } else {
            before
        });
        rest = if are_addresses { after } else { path };
    }
    left + rest
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word)
}

#[test]
fn an_address_is_not_a_socket() {
    let code = "use std::{net::SocketAddr, sync::Arc};\nuse std::net::{IpAddr, Ipv4Addr};";
    assert!(!without_addresses(code).contains("std::net"));
    for socket in ["use std::net::TcpStream;", "use std::net::{SocketAddr, Shutdown};"] {
        assert!(without_addresses(socket).contains("std::net"), "{socket}");
    }
}

#[test]
fn the_reader_of_imports_sees_groups_and_paths() {
    let code =
        "use crate::{flv::{Frame, Run}, stream,\n  rtmp::session as s};\n fn f() { crate::config::x() }";
    let named = crate_modules_in(code);
    assert_eq!(named.into_iter().collect::<Vec<_>>(), ["config", "flv", "rtmp", "stream"]);
}

/// A test is named by its path, where `…` stands for any text: `relay limits::one_stream_past_the_limit_…`. One without
/// a path is in the file that was named before it on the line.
#[test]
fn tests_named_in_the_reliability_document_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("docs/reliability.md")).expect("the document can be read");
    let tests = tests();
    let named: Vec<_> = document.lines().flat_map(|line| NamedTest::all_of(line, &tests)).collect();
    assert!(named.len() > 80, "only {} names found", named.len());
    let missing: Vec<_> = named.iter().filter(|named| !named.is_one_of(&tests)).map(|it| it.text).collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}

/// A file with tests: its path as words, its inline modules among them, and the names of its tests.
struct TestFile {
    path: Vec<String>,
    names: Vec<String>,
}

/// The files of this crate and of the workspace's other ones.
fn tests() -> Vec<TestFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for folder in ["src", "tests", "fanfare-rtmp/src", "loadtest/src", "loadtest/tests"] {
        collect(&root.join(folder), &mut paths);
    }
    let file = |path: PathBuf| {
        let code = fs::read_to_string(&path).expect("a source file can be read");
        let relative = path.strip_prefix(root).expect("below the root").with_extension("");
        let folders = relative.iter().map(|part| part.to_str().expect("UTF-8"));
        let modules = code.lines().filter_map(|line| line.trim().strip_suffix(" {")?.rsplit_once("mod "));
        TestFile {
            path: folders.chain(modules.map(|(_, name)| name)).map(str::to_owned).collect(),
            names: names_of_tests(&code),
        }
    };
    paths.into_iter().map(file).collect()
}

/// The functions with an attribute such as `#[test]` or `#[tokio::test]`.
fn names_of_tests(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in code.lines().map(str::trim) {
        is_test |= line.starts_with("#[") && has_word(line, "test") && !line.contains("cfg");
        if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
            names.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
            is_test = false;
        }
    }
    names
}

/// A test that a text names, or all those of a module.
struct NamedTest<'a> {
    text: &'a str,
    path: Vec<&'a str>,
    /// What its name contains, in this order.
    parts: Vec<&'a str>,
}

impl<'a> NamedTest<'a> {
    /// What is quoted on a line of the document and names a test.
    fn all_of(line: &'a str, tests: &[TestFile]) -> Vec<Self> {
        let mut path_before = Vec::new();
        let mut named = Vec::new();
        for text in line.split('`').skip(1).step_by(2) {
            if let Some(file) = text.strip_suffix(".rs") {
                path_before = file.split('/').collect();
                let (last, path) = path_before.split_last().expect("a text has a part");
                named.push(Self { text, path: path.to_vec(), parts: vec![last] });
            } else if let Some(mut test) = Self::new(text, tests) {
                match test.path.is_empty() {
                    true => test.path.clone_from(&path_before),
                    false => path_before.clone_from(&test.path),
                }
                named.push(test);
            }
        }
        named
    }

    /// None if the text names something else.
    fn new(text: &'a str, tests: &[TestFile]) -> Option<Self> {
        let is_path = text.chars().all(|c| c.is_alphanumeric() || " :_…".contains(c));
        let mut path: Vec<&str> = text.split([' ', ':']).filter(|word| !word.is_empty()).collect();
        let is_of_tests =
            |word: &str| tests.iter().any(|file| file.path.starts_with(&["tests".into(), word.into()]));
        let names_test = text.contains("::") || text.contains('…') || path.len() > 1 && is_of_tests(path[0]);
        if !is_path || !names_test {
            return None;
        }
        let parts = path.pop()?.split('…').collect();
        Some(Self { text, path, parts })
    }

    fn is_one_of(&self, tests: &[TestFile]) -> bool {
        tests.iter().any(|file| {
            let last = (self.parts.len() == 1).then_some(self.parts[0]);
            let is_module = last.is_some_and(|last| {
                is_in_order(self.path.iter().copied().chain([last]), &file.path) && !file.names.is_empty()
            });
            is_module
                || is_in_order(self.path.iter().copied(), &file.path)
                    && file.names.iter().any(|name| self.is_name(name))
        })
    }

    /// Whether this is the name, with any text in place of each `…`.
    fn is_name(&self, name: &str) -> bool {
        let [first, rest @ ..] = &self.parts[..] else { return false };
        let Some(mut left) = name.strip_prefix(first) else { return false };
        let Some((last, middle)) = rest.split_last() else { return left.is_empty() };
        for part in middle {
            let Some(at) = left.find(part) else { return false };
            left = &left[at + part.len()..];
        }
        left.ends_with(last)
    }
}

fn is_in_order<'a>(words: impl Iterator<Item = &'a str>, path: &[String]) -> bool {
    let mut path = path.iter();
    words.into_iter().all(|word| path.any(|part| part == word))
}

#[test]
fn names_of_tests_match_by_path_and_by_text_around_an_ellipsis() {
    let code = "#[test]\nfn a_player_waits() {}\nmod joining {\n#[tokio::test]\n#[ignore]\nasync fn b() {}\nfn c() {}";
    assert_eq!(names_of_tests(code), ["a_player_waits", "b"]);
    let path = ["tests", "relay", "limits", "inner"].map(str::to_owned).to_vec();
    let tests = [TestFile { path, names: names_of_tests(code) }];
    for exists in
        ["relay limits::a_player_…", "…waits", "relay limits", "limits::inner::…_player_…s", "relay::b"]
    {
        assert!(NamedTest::new(exists, &tests).is_some_and(|it| it.is_one_of(&tests)), "{exists}");
    }
    for missing in
        ["relay limits::a_player", "…player", "relay other", "limits::relay::b", "c::b", "relay::c"]
    {
        assert!(NamedTest::new(missing, &tests).is_some_and(|it| !it.is_one_of(&tests)), "{missing}");
    }
    for other in ["limits", "limits.connections", "publish(false)", "other limits"] {
        assert!(NamedTest::new(other, &tests).is_none(), "{other}");
    }
    for (line, exists) in [
        ("`relay limits::…_player_…`, `…waits`", true),
        ("`relay other::b`, `…waits`", false),
        ("`tests/relay/limits.rs` `a_…`", true),
        ("`tests/relay/other.rs` `a_…`", false),
    ] {
        let last = NamedTest::all_of(line, &tests).pop().expect("a name on the line");
        assert_eq!(last.is_one_of(&tests), exists, "{line}");
    }
}

/// No file imports, directly or through others, a file that imports it.
#[test]
fn files_of_a_folder_do_not_import_each_other_in_circles() {
    let in_folders = sources().into_iter().filter(|source| source.path.matches('/').count() > 1);
    let folders: BTreeSet<_> = in_folders.map(|source| source.module).collect();
    assert!(folders.len() > 10, "{folders:?}");
    for folder in &folders {
        let files = Files::of(folder);
        if let Some(circle) = files.circle() {
            panic!("a circle of files: {}", circle.join(" → "));
        }
    }
}

/// The files of one folder and of the folders below it, by module path.
struct Files(BTreeMap<Vec<String>, SourceFile>);

struct SourceFile {
    path: String,
    /// Paths of the crate that it names, without those that a `mod.rs` only re-exports.
    names: Vec<Vec<String>>,
    /// Names that it re-exports, and the path of each.
    exports: BTreeMap<String, Vec<String>>,
}

impl Files {
    fn of(folder: &str) -> Self {
        let sources = sources().into_iter().filter(|source| source.module == folder);
        Self(sources.map(|source| Self::file(&source.path, &source.code)).collect())
    }

    fn file(path: &str, code: &str) -> (Vec<String>, SourceFile) {
        let is_mod = path.ends_with("/mod.rs");
        let module = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        let module: Vec<String> = module.split('/').map(str::to_owned).collect();
        let mut file = SourceFile { path: path.to_owned(), names: Vec::new(), exports: BTreeMap::new() };
        for Named { path, name, is_public } in paths_in(code) {
            if is_public {
                file.exports.insert(name, path.clone());
            }
            if !is_public || !is_mod {
                file.names.push(path);
            }
        }
        (module, file)
    }

    /// The file of what `path` names in `module`; none if that is in another folder.
    fn find(&self, module: &[String], path: &[String]) -> Option<&Vec<String>> {
        let mut absolute = module.to_vec();
        let mut rest = path;
        while let Some((first, after)) = rest.split_first() {
            match first.as_str() {
                "crate" => absolute.clear(),
                "self" => {}
                "super" => _ = absolute.pop(),
                _ => break,
            }
            rest = after;
        }
        absolute.extend_from_slice(rest);
        let len = (1..=absolute.len()).rev().find(|&len| self.0.contains_key(&absolute[..len]))?;
        // A path of another crate was taken for one below its module.
        if rest.len() == path.len() && len <= module.len() {
            return None;
        }
        let (file, source) = self.0.get_key_value(&absolute[..len])?;
        match absolute.get(len).and_then(|name| source.exports.get(name)) {
            Some(exported) => self.find(file, &[exported, &absolute[len + 1..]].concat()),
            None => Some(file),
        }
    }

    fn circle(&self) -> Option<Vec<String>> {
        let mut done = BTreeSet::new();
        self.0.keys().find_map(|module| self.circle_from(module, &mut Vec::new(), &mut done))
    }

    fn circle_from<'a>(
        &'a self,
        module: &'a Vec<String>,
        way: &mut Vec<&'a Vec<String>>,
        done: &mut BTreeSet<&'a Vec<String>>,
    ) -> Option<Vec<String>> {
        if let Some(at) = way.iter().position(|&passed| passed == module) {
            let circle = way[at..].iter().copied().chain([module]);
            return Some(circle.map(|module| self.0[module].path.clone()).collect());
        }
        if !done.insert(module) {
            return None;
        }
        way.push(module);
        let named = self.0[module].names.iter().filter_map(|path| self.find(module, path));
        let circle = named.filter(|&named| named != module).find_map(|it| self.circle_from(it, way, done));
        way.pop();
        circle
    }
}

/// A path that code names, and its name there.
#[derive(Debug, PartialEq)]
struct Named {
    path: Vec<String>,
    name: String,
    is_public: bool,
}

/// Each path of a `use`, and each other path of more than one word.
fn paths_in(code: &str) -> Vec<Named> {
    let mut tokens = tokens(code).into_iter().peekable();
    let mut named = Vec::new();
    let mut is_public = false;
    while let Some(token) = tokens.next() {
        match token {
            "use" => {
                use_tree(&mut tokens, &[], is_public, &mut named);
                is_public = false;
            }
            "pub" => is_public = true,
            // Between `pub` and `use`: `pub(super) use`.
            "(" | ")" | "in" => {}
            word => {
                let mut path = vec![word.to_owned()];
                while is_word(word) && tokens.next_if_eq(&"::").is_some() {
                    path.extend(tokens.next_if(|token| is_word(token)).map(str::to_owned));
                }
                if path.len() > 1 {
                    named.push(Named { name: path[path.len() - 1].clone(), path, is_public: false });
                }
                is_public &= ["crate", "self", "super"].contains(&word);
            }
        }
    }
    named
}

fn use_tree<'a>(
    tokens: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
    before: &[String],
    is_public: bool,
    named: &mut Vec<Named>,
) {
    let mut path = before.to_vec();
    while let Some(token) = tokens.next() {
        match token {
            "::" => {}
            "{" => {
                loop {
                    use_tree(tokens, &path, is_public, named);
                    // Stopped at a comma, which may be the last one, or at the end.
                    let has_more = tokens.next_if_eq(&",").is_some();
                    if tokens.next_if_eq(&"}").is_some() || !has_more {
                        return;
                    }
                }
            }
            "as" => {
                let name = tokens.next().unwrap_or_default().to_owned();
                named.push(Named { path, name, is_public });
                return;
            }
            word => path.push(word.to_owned()),
        }
        if tokens.peek().is_none_or(|next| [",", "}", ";"].contains(next)) {
            let path_of_self = path.len() > 1 && path.last().is_some_and(|last| last == "self");
            path.truncate(path.len() - usize::from(path_of_self));
            named.push(Named { name: path.last().cloned().unwrap_or_default(), path, is_public });
            return;
        }
    }
}

/// Words, `::`, and every other character on its own, without spaces.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let len = match first {
            _ if rest.starts_with("::") => 2,
            _ if is_word(&rest[..first.len_utf8()]) => {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            }
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(len);
        tokens.push(token);
        rest = after.trim_start();
    }
    tokens
}

fn is_word(token: &str) -> bool {
    token.chars().all(|c| c.is_alphanumeric() || c == '_')
}

#[test]
fn circles_are_found_through_groups_paths_and_re_exports() {
    let circle = |files: [(&str, &str); 4]| {
        Files(files.iter().map(|(path, code)| Files::file(path, code)).collect()).circle()
    };
    let face =
        ("src/x/mod.rs", "mod a;\nmod b;\nmod c;\npub use a::{A, Other as Renamed};\npub(crate) use b::B;");
    let a = "use std::{fmt, io::{self, Write}};\nuse super::{\n    B,\n    c::{C, D},\n};";
    let without =
        [face, ("src/x/a.rs", a), ("src/x/b.rs", "use super::c::C;"), ("src/x/c.rs", "use crate::y::A;")];
    assert_eq!(circle(without), None);
    // A folder's own file, which names a file below it and is named by that.
    let own = ("src/x/mod.rs", "mod a;\npub struct Own;\nfn f() { a::f() }");
    let below = [own, ("src/x/a.rs", "use super::Own;"), without[2], without[3]];
    let expected = ["src/x/mod.rs", "src/x/a.rs", "src/x/mod.rs"].map(String::from);
    assert_eq!(circle(below), Some(expected.to_vec()));
    let ways = [
        "use super::A;",
        "use super::Renamed;",
        "use super::{d::E, a::A};",
        "use crate::{\n    y::Z,\n    x::a,\n};",
        "fn f() {\n    crate::x::a::f();\n}",
        "fn f(a: super::A) {}",
    ];
    for way in ways {
        let with = [without[0], without[1], without[2], ("src/x/c.rs", way)];
        let expected = ["src/x/a.rs", "src/x/b.rs", "src/x/c.rs", "src/x/a.rs"].map(String::from);
        assert_eq!(circle(with), Some(expected.to_vec()), "{way}");
    }
}

/// Files and folders, and what stands in code spans: types, functions, options.
#[test]
fn what_architecture_md_names_exists() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("it is there");
    let paths = paths_named_in(&text);
    assert!(paths.len() > 50, "{paths:?}");
    let exists = |path: &&str| root().join(path).exists() || root().join("src").join(path).exists();
    let lost: Vec<_> = paths.into_iter().filter(|path| !exists(path)).collect();
    assert!(lost.is_empty(), "ARCHITECTURE.md names {lost:?}");
    let code: String = sources().into_iter().map(|source| source.code).collect();
    let words: BTreeSet<_> = tokens(&code).into_iter().collect();
    let names = names_in_code_spans(&text);
    assert!(names.len() > 50, "{names:?}");
    let lost: Vec<_> = names.into_iter().filter(|name| !words.contains(name)).collect();
    assert!(lost.is_empty(), "ARCHITECTURE.md names {lost:?}");
}

#[test]
fn each_file_of_the_endpoint_has_its_line_in_architecture_md() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("it is there");
    for source in sources().iter().filter(|source| source.module == "endpoint") {
        let file = source.path.trim_start_matches("src/");
        assert!(
            file == "endpoint/mod.rs" || text.contains(&format!("\n  {file} ")),
            "ARCHITECTURE.md lacks {file}"
        );
    }
}

/// Files by their extension, folders by the slash at their end.
fn paths_named_in(text: &str) -> BTreeSet<&str> {
    const EXTENSIONS: [&str; 6] = [".rs", ".md", ".svg", ".toml", ".sh", ".py"];
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"_-./".contains(c));
    let words = words.map(|word| word.trim_end_matches('.')).filter(|word| word.len() > 1);
    words.filter(|word| word.ends_with('/') || EXTENSIONS.iter().any(|end| word.ends_with(end))).collect()
}

/// The words of all spans like `Mail::Verdict`: between backticks, within a line, without a space, and no path.
fn names_in_code_spans(text: &str) -> BTreeSet<&str> {
    let lines = text.lines().filter(|line| !line.starts_with("```"));
    let spans = lines.flat_map(|line| line.split('`').skip(1).step_by(2));
    let spans = spans.filter(|span| !span.contains([' ', '/']) && paths_named_in(span).is_empty());
    spans.flat_map(tokens).filter(|token| is_word(token)).collect()
}

#[test]
fn paths_and_names_are_found_in_text() {
    let text = "See `Mail::Verdict` in src/a/b.rs, (`c/`) and [d](docs/d.md). `not this`, nor `x/y`.";
    assert_eq!(paths_named_in(text).into_iter().collect::<Vec<_>>(), ["c/", "docs/d.md", "src/a/b.rs"]);
    assert_eq!(names_in_code_spans(text).into_iter().collect::<Vec<_>>(), ["Mail", "Verdict"]);
}
