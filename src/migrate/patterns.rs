//! Names of streams as fanfare's patterns: from names, and from regular expressions where a pattern matches the same.

use globset::GlobBuilder;

/// A pattern that matches this text and no other.
pub(super) fn literal(text: &str) -> String {
    let mut pattern = String::new();
    for character in text.chars() {
        match character {
            '*' | '?' | '[' | ']' | '{' | '}' => pattern += &format!("[{character}]"),
            '\\' => pattern += "\\\\",
            character => pattern.push(character),
        }
    }
    pattern
}

/// `^live/.*$` is `live/*`; none if no pattern matches the same. An expression without `^` and `$` may match anywhere.
pub(super) fn from_expression(expression: &str) -> Option<String> {
    let (begins, inner) = match expression.strip_prefix('^') {
        Some(inner) => ("", inner),
        None => ("*", expression),
    };
    let (ends, inner) = match inner.strip_suffix('$') {
        Some(before) if !before.ends_with('\\') => ("", before),
        _ => ("*", inner),
    };
    let mut characters = inner.chars().peekable();
    let pattern = alternatives(&mut characters, 0)?;
    if characters.next().is_some() || pattern.contains(',') && !pattern.contains('{') {
        return None;
    }
    // `^a|b$` is `^a` or `b$`.
    if pattern.contains(TOP) && (begins.is_empty() || ends.is_empty()) {
        return None;
    }
    let pattern = format!("{begins}{}{ends}", pattern.replace(TOP, ""));
    let pattern = if pattern.chars().all(|c| c == '*') { "*".to_owned() } else { pattern };
    let is_valid = GlobBuilder::new(&pattern).literal_separator(false).build().is_ok();
    is_valid.then_some(pattern)
}

/// Marks alternatives outside of a group, while an expression is read: no expression of one line contains it.
const TOP: char = '\n';
/// Groups within groups.
const MAX_DEPTH: usize = 4;

/// Alternatives up to the end, or to the end of the group.
fn alternatives(characters: &mut std::iter::Peekable<std::str::Chars<'_>>, depth: usize) -> Option<String> {
    let mut all = vec![sequence(characters, depth)?];
    while characters.next_if_eq(&'|').is_some() {
        all.push(sequence(characters, depth)?);
    }
    match all.as_slice() {
        [one] => Some(one.clone()),
        _ if depth == 0 => Some(format!("{TOP}{{{}}}", all.join(","))),
        _ => Some(format!("{{{}}}", all.join(","))),
    }
}

fn sequence(characters: &mut std::iter::Peekable<std::str::Chars<'_>>, depth: usize) -> Option<String> {
    let mut pattern = String::new();
    while let Some(&next) = characters.peek() {
        if next == '|' || next == ')' && depth > 0 {
            break;
        }
        characters.next();
        let (one, is_any) = match next {
            '.' => ("?".to_owned(), true),
            '(' if depth < MAX_DEPTH => {
                if characters.next_if_eq(&'?').is_some() {
                    characters.next_if_eq(&':')?;
                }
                let inner = alternatives(characters, depth + 1)?;
                characters.next_if_eq(&')')?;
                (inner, false)
            }
            '[' => (class(characters)?, false),
            '\\' => match characters.next()? {
                'd' => ("[0-9]".to_owned(), false),
                escaped if !escaped.is_alphanumeric() && escaped != TOP => {
                    (literal(&escaped.to_string()), false)
                }
                _ => return None,
            },
            '*' | '+' | '?' | '{' | '}' | '^' | '$' | ')' | '(' | ']' | ',' | TOP => return None,
            other => (literal(&other.to_string()), false),
        };
        match characters.peek() {
            Some('*') if is_any => pattern.push('*'),
            Some('+') if is_any => pattern += "?*",
            // Repetition of anything else has no pattern.
            Some('*' | '+' | '?' | '{') => return None,
            _ => {
                pattern += &one;
                continue;
            }
        }
        characters.next();
        // As few as possible is as many, for whether something matches.
        characters.next_if_eq(&'?');
    }
    Some(pattern)
}

/// `[a-z0-9]` is the same in a pattern; classes that are negated, or have escapes, are not read.
fn class(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    let mut class = String::from("[");
    for next in characters.by_ref() {
        class.push(next);
        match next {
            ']' if class.len() > 2 => return Some(class),
            ']' | '[' | '^' | '\\' | '!' | ':' | ',' | '{' | '}' | TOP => return None,
            _ => {}
        }
    }
    None
}

/// Whether everything that the second pattern matches is matched by the first one, as far as it can be seen.
pub(super) fn covers(outer: &str, inner: &str) -> bool {
    if outer == "*" || outer == inner {
        return true;
    }
    let is_special = |text: &str| text.contains(['*', '?', '[', '{', '\\']);
    if !is_special(outer) {
        return false;
    }
    if !is_special(inner) {
        let glob = GlobBuilder::new(outer).literal_separator(false).build();
        return glob.is_ok_and(|glob| glob.compile_matcher().is_match(inner));
    }
    let prefix = |text: &str| text.strip_suffix('*').filter(|text| !is_special(text)).map(str::to_owned);
    match (prefix(outer), prefix(inner)) {
        (Some(outer), Some(inner)) => inner.starts_with(&outer),
        // What begins with letters that are no special ones.
        (Some(outer), None) => {
            let plain: String = inner.chars().take_while(|c| !is_special(&c.to_string())).collect();
            plain.starts_with(&outer)
        }
        (None, _) => false,
    }
}

/// Whether no name is matched by both, for certain.
pub(super) fn are_apart(one: &str, other: &str) -> bool {
    let plain = |text: &str| -> (String, bool) {
        let begin: String = text.chars().take_while(|c| !['*', '?', '[', '{', '\\'].contains(c)).collect();
        let is_all = begin.len() == text.len();
        (begin, is_all)
    };
    let ((first, first_is_all), (second, second_is_all)) = (plain(one), plain(other));
    match (first_is_all, second_is_all) {
        (true, true) => one != other,
        (true, false) => !covers(other, one),
        (false, true) => !covers(one, other),
        (false, false) => !first.starts_with(&second) && !second.starts_with(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_become_patterns_that_match_the_same() {
        for (expression, pattern) in [
            ("^.*$", Some("*")),
            (".*", Some("*")),
            ("", Some("*")),
            ("^", Some("*")),
            ("^live/.*$", Some("live/*")),
            ("^live/", Some("live/*")),
            ("^cam.+$", Some("cam?*")),
            ("cam", Some("*cam*")),
            ("^(a|b)$", Some("{a,b}")),
            ("^(?:a|b)/x$", Some("{a,b}/x")),
            ("^hall(1|2)_(.+)$", Some("hall{1,2}_?*")),
            (r"^a\.b\/c$", Some("a.b/c")),
            ("^cam[0-9]$", Some("cam[0-9]")),
            (r"^cam\d$", Some("cam[0-9]")),
            ("a|b", Some("*{a,b}*")),
            ("^a|b$", None),
            ("^[^/]+$", None),
            ("^cam[0-9]+$", None),
            (r"^\w$", None),
            ("^a{2}$", None),
            ("^(a$", None),
            ("^a)$", None),
            ("^(?i)a$", None),
            ("^a?$", None),
        ] {
            assert_eq!(from_expression(expression).as_deref(), pattern, "{expression}");
        }
    }

    #[test]
    fn a_literal_matches_itself_alone() {
        for text in ["a", "a*b", "{a,b}", "[x]", "a?b", r"a\b"] {
            let glob = GlobBuilder::new(&literal(text)).literal_separator(false).build();
            let glob = glob.unwrap().compile_matcher();
            assert!(glob.is_match(text), "{text}");
            assert!(!glob.is_match("ab") && !glob.is_match("b"), "{text}");
        }
    }

    #[test]
    fn what_covers_what_is_known_for_names_and_beginnings() {
        for (outer, inner) in
            [("*", "a*"), ("a", "a"), ("a*", "ab"), ("a*", "ab*"), ("{a,b}", "b"), ("a*", "ab?")]
        {
            assert!(covers(outer, inner) && !are_apart(outer, inner), "{outer} {inner}");
        }
        for (outer, inner) in [("a", "b"), ("ab*", "a*"), ("a*", "*"), ("a*", "b*")] {
            assert!(!covers(outer, inner), "{outer} {inner}");
        }
        assert!(
            are_apart("a*", "b*") && are_apart("a", "b") && are_apart("a*", "b") && !are_apart("*a", "b*")
        );
    }

    proptest::proptest! {
        #[test]
        fn no_expression_makes_it_panic(text in "[ab^$.*+?(){}|\\[\\]\\\\,/0-9\n]{0,20}") {
            if let Some(pattern) = from_expression(&text) {
                proptest::prop_assert!(!pattern.is_empty() && !pattern.contains('\n'));
            }
        }
    }
}
