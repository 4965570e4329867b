//! The grammar that nginx and SRS share: directives with arguments, which end with `;` or have a block in braces.

/// A directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directive {
    pub name: String,
    pub arguments: Vec<String>,
    /// What is in its braces; none where it has none.
    pub block: Option<Vec<Directive>>,
    /// From 1.
    pub line: usize,
}

/// Braces within braces: more than anyone writes.
const MAX_DEPTH: usize = 32;

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    End,
    Open,
    Close,
}

/// All directives of a file.
///
/// # Errors
/// The line and what is wrong, as one line.
pub(super) fn parse(text: &str) -> Result<Vec<Directive>, (usize, String)> {
    let mut tokens = tokens(text)?.into_iter();
    directives(&mut tokens, 0, 1)
}

impl Directive {
    /// As it is written, without its block.
    pub fn text(&self) -> String {
        let mut text = self.name.clone();
        for argument in &self.arguments {
            text += " ";
            text += argument;
        }
        text
    }

    /// An argument, or nothing.
    pub fn argument(&self, index: usize) -> &str {
        self.arguments.get(index).map_or("", String::as_str)
    }

    /// What is in its braces.
    pub fn inner(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }

    /// Whether its argument means yes.
    pub fn is_on(&self) -> bool {
        self.argument(0) == "on"
    }
}

fn directives(
    tokens: &mut impl Iterator<Item = (Token, usize)>,
    depth: usize,
    opened: usize,
) -> Result<Vec<Directive>, (usize, String)> {
    let mut found = Vec::new();
    let mut words: Vec<(String, usize)> = Vec::new();
    while let Some((token, line)) = tokens.next() {
        let block = match token {
            Token::Word(word) => {
                words.push((word, line));
                continue;
            }
            Token::End if words.is_empty() => continue,
            Token::End => None,
            Token::Open if words.is_empty() => return Err((line, "a block without a name".to_owned())),
            Token::Open if depth == MAX_DEPTH => {
                return Err((line, format!("more than {MAX_DEPTH} blocks in each other")));
            }
            Token::Open => Some(directives(tokens, depth + 1, line)?),
            Token::Close if depth == 0 => return Err((line, "a `}` without its `{`".to_owned())),
            Token::Close if words.is_empty() => return Ok(found),
            Token::Close => return Err((line, format!("`{}` has no `;`", words[0].0))),
        };
        let mut these = words.drain(..);
        let Some((name, line)) = these.next() else { continue };
        found.push(Directive { name, arguments: these.map(|(word, _)| word).collect(), block, line });
    }
    match words.first() {
        Some((word, line)) => Err((*line, format!("`{word}` has no `;`"))),
        None if depth > 0 => Err((opened, "a `{` without its `}`".to_owned())),
        None => Ok(found),
    }
}

fn tokens(text: &str) -> Result<Vec<(Token, usize)>, (usize, String)> {
    let mut found = Vec::new();
    let mut line = 1;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\n' => line += 1,
            character if character.is_whitespace() => {}
            '#' => while characters.next_if(|&next| next != '\n').is_some() {},
            ';' => found.push((Token::End, line)),
            '{' => found.push((Token::Open, line)),
            '}' => found.push((Token::Close, line)),
            quote @ ('"' | '\'') => {
                let (mut word, begins) = (String::new(), line);
                loop {
                    match characters.next() {
                        Some(next) if next == quote => break,
                        Some('\\') => word.extend(characters.next()),
                        Some(next) => {
                            line += usize::from(next == '\n');
                            word.push(next);
                        }
                        None => return Err((begins, "a quote that does not end".to_owned())),
                    }
                }
                found.push((Token::Word(word), begins));
            }
            first => {
                let mut word = String::from(first);
                // `${name}` is a variable.
                while let Some(next) = characters.next_if(|&next| {
                    !next.is_whitespace() && next != ';' && (next != '{' || word.ends_with('$'))
                }) {
                    if next == '}' && !word.contains("${") {
                        found.push((Token::Word(std::mem::take(&mut word)), line));
                        found.push((Token::Close, line));
                        break;
                    }
                    word.push(next);
                }
                if !word.is_empty() {
                    found.push((Token::Word(word), line));
                }
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_have_arguments_blocks_and_lines() {
        let text = "a 1 'x y;';\n# b;\nouter \"n\\\"m\" { inner on; c{} }\nd ${var} e;";
        let found = parse(text).unwrap();
        let texts: Vec<(String, usize)> = found.iter().map(|it| (it.text(), it.line)).collect();
        let expected = [("a 1 x y;", 1), ("outer n\"m", 3), ("d ${var} e", 4)]
            .map(|(text, line)| (text.to_owned(), line));
        assert_eq!(texts, expected);
        assert_eq!(found[1].inner().len(), 2);
        assert!(found[1].inner()[0].is_on() && found[1].inner()[1].block == Some(vec![]));
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn what_is_not_whole_is_an_error_with_its_line() {
        for (text, line, what) in [
            ("a\nb", 1, "`a` has no `;`"),
            ("a;\nb {\n c;\n", 2, "a `{` without its `}`"),
            ("a;\n}", 2, "a `}` without its `{`"),
            ("\n{ }", 2, "a block without a name"),
            ("a { b }", 1, "`b` has no `;`"),
            ("a\n'b", 2, "a quote that does not end"),
        ] {
            assert_eq!(parse(text).unwrap_err(), (line, what.to_owned()), "{text}");
        }
        assert!(parse(&"a {".repeat(100_000)).unwrap_err().1.contains("blocks in each other"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-c ;{}'\"#$\\\\\n]{0,60}") {
            let _ = parse(&text);
        }
    }
}
