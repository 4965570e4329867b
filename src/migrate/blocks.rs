//! The grammar that nginx and SRS share: directives with arguments, which end with `;` or have a block in braces. They differ
//! in what a backslash does.

use std::rc::Rc;

use super::{
    draft::{Draft, Place},
    files::Files,
    written::one_line,
};

/// A directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directive {
    pub name: String,
    pub arguments: Vec<String>,
    /// What is in its braces; none where it has none.
    pub block: Option<Vec<Directive>>,
    pub file: Rc<str>,
    /// From 1.
    pub line: usize,
    /// That of its `;` or its `}`.
    pub end: usize,
}

/// Whose grammar it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grammar {
    /// A backslash takes the meaning from the next character.
    Nginx,
    /// A backslash is a character.
    Srs,
}

/// Braces within braces: more than anyone writes.
const MAX_DEPTH: usize = 32;
/// Files that include files.
const MAX_INCLUDE_DEPTH: usize = 8;

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    End,
    Open,
    Close,
}

/// All directives of a file, which places name by `name`.
///
/// # Errors
/// The place and what is wrong, as one line.
pub(super) fn parse(file: &str, name: &str, text: &str, grammar: Grammar) -> Result<Vec<Directive>, String> {
    let name: Rc<str> = name.into();
    let found = tokens(text, grammar).and_then(|tokens| directives(&mut tokens.into_iter(), 0, 1, &name));
    found.map(|(found, _)| found).map_err(|(line, what)| format!("{file}:{line}: {what}"))
}

/// The same with what `include` names in its place; what cannot be read stays, and is named.
pub(super) fn include(
    found: Vec<Directive>,
    grammar: Grammar,
    files: &Files,
    draft: &mut Draft,
    depth: usize,
) -> Vec<Directive> {
    let mut all = Vec::new();
    for mut directive in found {
        if directive.name != "include" {
            // What nginx's web server includes is not of RTMP: types of files, hosts.
            let is_web =
                grammar == Grammar::Nginx && ["http", "stream", "mail"].contains(&directive.name.as_str());
            if let Some(block) = directive.block.take() {
                directive.block =
                    Some(if is_web { block } else { include(block, grammar, files, draft, depth) });
            }
            all.push(directive);
            continue;
        }
        draft.account_for(Vec::new(), [(Rc::clone(&directive.file), directive.line)]);
        for pattern in &directive.arguments {
            let read = match depth < MAX_INCLUDE_DEPTH {
                true => files.included(pattern),
                false => Err(format!("more than {MAX_INCLUDE_DEPTH} files include each other")),
            };
            let parsed = read.and_then(|texts| {
                let parse = |(name, text): &(String, String)| parse(name, name, without_mark(text), grammar);
                let parsed: Result<Vec<Vec<Directive>>, String> = texts.iter().map(parse).collect();
                parsed.map(|parsed| (parsed, texts.len()))
            });
            match parsed {
                Ok((parsed, 0)) => {
                    drop(parsed);
                    draft.same(directive.place(), "no file matches it");
                }
                Ok((parsed, _)) => {
                    draft.same(directive.place(), "its lines are read as if they were here");
                    let inner = parsed.into_iter().flatten().collect();
                    all.extend(include(inner, grammar, files, draft, depth + 1));
                }
                Err(what) => draft.lose(
                    directive.place(),
                    format!("{pattern} is not read ({what}): put it beside this file, or migrate it as well"),
                ),
            }
        }
    }
    all
}

/// A file may begin with a byte order mark.
pub(super) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The places of all directives.
pub(super) fn places(found: &[Directive]) -> Vec<Place> {
    let mut all = Vec::new();
    for directive in found {
        all.push(directive.place());
        all.extend(places(directive.inner()));
    }
    all
}

/// The lines that directives begin on.
pub(super) fn lines(found: &[Directive]) -> Vec<(Rc<str>, usize)> {
    places(found).into_iter().map(|place| (place.file, place.line)).collect()
}

/// Whether one of them, or of those within them, is such.
pub(super) fn any(found: &[Directive], is: &dyn Fn(&Directive) -> bool) -> bool {
    found.iter().any(|it| is(it) || any(it.inner(), is))
}

impl Directive {
    /// As it is written, without its block. What is secret is not shown.
    pub fn text(&self) -> String {
        let mut text = self.name.clone();
        for argument in &self.arguments {
            text += " ";
            text += if SECRET.contains(&self.name.as_str()) { "***" } else { argument };
        }
        text
    }

    /// Its first line.
    pub fn place(&self) -> Place {
        let end = if self.block.is_some() { self.line } else { self.end };
        Place { file: Rc::clone(&self.file), line: self.line, end, text: self.text() }
    }

    /// All of it.
    pub fn whole(&self) -> Place {
        let text = if self.block.is_some() { format!("{} {{ … }}", self.text()) } else { self.text() };
        Place { end: self.end, text, ..self.place() }
    }

    /// An argument, or nothing.
    pub fn argument(&self, index: usize) -> &str {
        self.arguments.get(index).map_or("", String::as_str)
    }

    /// What is in its braces.
    pub fn inner(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }

    /// The first one of this name in its braces.
    pub fn find(&self, name: &str) -> Option<&Directive> {
        self.inner().iter().find(|it| it.name == name)
    }

    /// Whether its argument means yes.
    pub fn is_on(&self) -> bool {
        self.argument(0).eq_ignore_ascii_case("on")
    }
}

/// Directives whose arguments are secrets.
const SECRET: [&str; 5] = ["password", "passphrase", "secret_id", "secret_key", "token"];

type Failure = (usize, String);

fn directives(
    tokens: &mut impl Iterator<Item = (Token, usize)>,
    depth: usize,
    opened: usize,
    file: &Rc<str>,
) -> Result<(Vec<Directive>, usize), Failure> {
    let mut found = Vec::new();
    let mut words: Vec<(String, usize)> = Vec::new();
    while let Some((token, line)) = tokens.next() {
        let (block, end) = match token {
            Token::Word(word) => {
                words.push((word, line));
                continue;
            }
            Token::End if words.is_empty() => continue,
            Token::End => (None, line),
            Token::Open if words.is_empty() => return Err((line, "a block without a name".to_owned())),
            Token::Open if depth == MAX_DEPTH => {
                return Err((line, format!("more than {MAX_DEPTH} blocks in each other")));
            }
            Token::Open => {
                let (block, end) = directives(tokens, depth + 1, line, file)?;
                (Some(block), end)
            }
            Token::Close if depth == 0 => return Err((line, "a `}` without its `{`".to_owned())),
            Token::Close if words.is_empty() => return Ok((found, line)),
            Token::Close => return Err((words[0].1, without_end(&words[0].0))),
        };
        let mut these = words.drain(..);
        let Some((name, line)) = these.next() else { continue };
        let arguments = these.map(|(word, _)| word).collect();
        found.push(Directive { name, arguments, block, file: Rc::clone(file), line, end });
    }
    match words.first() {
        Some((word, line)) => Err((*line, without_end(word))),
        None if depth > 0 => Err((opened, "a `{` without its `}`".to_owned())),
        None => Ok((found, opened)),
    }
}

fn without_end(word: &str) -> String {
    format!("`{}` has no `;`", one_line(word))
}

fn tokens(text: &str, grammar: Grammar) -> Result<Vec<(Token, usize)>, Failure> {
    let mut found: Vec<(Token, usize)> = Vec::new();
    let mut line = 1;
    let mut characters = text.chars().peekable();
    let escapes = grammar == Grammar::Nginx;
    while let Some(character) = characters.next() {
        match character {
            '\n' => line += 1,
            character if character.is_whitespace() => {}
            '#' => while characters.next_if(|&next| next != '\n').is_some() {},
            ';' => found.push((Token::End, line)),
            '{' if is_program(&found) => {
                skip_program(&mut characters, &mut line)?;
                found.push((Token::End, line));
            }
            '{' => found.push((Token::Open, line)),
            '}' => found.push((Token::Close, line)),
            quote @ ('"' | '\'') => {
                let (mut word, begins) = (String::new(), line);
                loop {
                    let next = match characters.next() {
                        Some(next) if next == quote => break,
                        Some('\\') if escapes => match characters.next() {
                            Some('t') => Some('\t'),
                            Some('n') => Some('\n'),
                            Some('r') => Some('\r'),
                            Some(next) if !"\"'\\ ".contains(next) => {
                                word.push('\\');
                                Some(next)
                            }
                            next => next,
                        },
                        next => next,
                    };
                    let next = next.ok_or_else(|| (begins, "a quote that does not end".to_owned()))?;
                    line += usize::from(next == '\n');
                    word.push(next);
                }
                found.push((Token::Word(word), begins));
            }
            first => {
                let (mut word, begins) = (String::new(), line);
                let mut next = Some(first);
                while let Some(character) = next {
                    match (character, escapes) {
                        ('\\', true) => {
                            let escaped = characters.next().unwrap_or('\\');
                            if !"\"'\\ ;{}#".contains(escaped) {
                                word.push('\\');
                            }
                            line += usize::from(escaped == '\n');
                            word.push(escaped);
                        }
                        (character, _) => word.push(character),
                    }
                    // `${name}` is a variable.
                    let is_variable = word.ends_with('$');
                    next = characters.next_if(|&next| {
                        !next.is_whitespace() && next != ';' && (next != '{' || is_variable)
                    });
                }
                found.push((Token::Word(word), begins));
            }
        }
    }
    Ok(found)
}

/// Whether what comes is the block of `content_by_lua_block` or the like, which has another grammar.
fn is_program(found: &[(Token, usize)]) -> bool {
    let of_this = found.iter().rev().take_while(|(token, _)| matches!(token, Token::Word(_)));
    let name = of_this.last().map(|(token, _)| token);
    matches!(name, Some(Token::Word(name)) if name.ends_with("_by_lua_block"))
}

fn skip_program(characters: &mut impl Iterator<Item = char>, line: &mut usize) -> Result<(), Failure> {
    let (mut depth, begins) = (1, *line);
    while depth > 0 {
        match characters.next() {
            Some('\n') => *line += 1,
            Some('{') => depth += 1,
            Some('}') => depth -= 1,
            Some(_) => {}
            None => return Err((begins, "a `{` without its `}`".to_owned())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Directive>, String> {
        parse("f", "f", text, Grammar::Nginx)
    }

    #[test]
    fn directives_have_arguments_blocks_and_lines() {
        let text = "a 1 'x y;';\n# b;\nouter \"n\\\"m\" { inner on;\n c{} }\nd ${var} e\\;f;";
        let found = parsed(text).unwrap();
        let texts: Vec<(String, usize, usize)> =
            found.iter().map(|it| (it.text(), it.line, it.end)).collect();
        let expected = [("a 1 x y;", 1, 1), ("outer n\"m", 3, 4), ("d ${var} e;f", 5, 5)]
            .map(|(text, line, end)| (text.to_owned(), line, end));
        assert_eq!(texts, expected);
        assert_eq!(found[1].inner().len(), 2);
        assert!(found[1].inner()[0].is_on() && found[1].inner()[1].block == Some(vec![]));
        assert_eq!(parsed("").unwrap(), []);
    }

    #[test]
    fn a_backslash_is_a_character_in_srs_and_none_in_nginx() {
        let text = r"a 'b\\c' d\ e 'f\.g';";
        assert_eq!(parsed(text).unwrap()[0].arguments, [r"b\c", "d e", r"f\.g"]);
        let srs = parse("f", "f", text, Grammar::Srs).unwrap();
        assert_eq!(srs[0].arguments, [r"b\\c", r"d\", "e", r"f\.g"]);
    }

    #[test]
    fn a_program_in_another_language_is_skipped() {
        let found = parsed("a_by_lua_block {\n local x = { \"it's; {}\" }\n}\nb;").unwrap();
        let names: Vec<(&str, usize)> = found.iter().map(|it| (it.name.as_str(), it.line)).collect();
        assert_eq!(names, [("a_by_lua_block", 1), ("b", 4)]);
    }

    #[test]
    fn what_is_not_whole_is_an_error_with_its_line() {
        for (text, expected) in [
            ("a\nb", "f:1: `a` has no `;`"),
            ("a;\nb {\n c;\n", "f:2: a `{` without its `}`"),
            ("a;\n}", "f:2: a `}` without its `{`"),
            ("\n{ }", "f:2: a block without a name"),
            ("a { b }", "f:1: `b` has no `;`"),
            ("a\n'b", "f:2: a quote that does not end"),
            ("x_by_lua_block {\n", "f:1: a `{` without its `}`"),
        ] {
            assert_eq!(parsed(text).unwrap_err(), expected, "{text}");
        }
        assert!(parsed(&"a {".repeat(100_000)).unwrap_err().contains("blocks in each other"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-c ;{}'\"#$\\\\\n]{0,60}") {
            let _ = parse("f", "f", &text, Grammar::Nginx);
            let _ = parse("f", "f", &text, Grammar::Srs);
        }
    }
}
