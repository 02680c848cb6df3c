//! `.dockerignore`: which files of a build context stay out. Docker's rules: the last pattern that
//! matches decides, a pattern that matches a folder matches all in it, `!` takes back.

use crate::model::clean_path;

/// The patterns of one file, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// Takes back what earlier patterns left out.
    keeps: bool,
    tokens: Vec<Token>,
}

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// This character.
    Literal(char),
    /// `?`: any character but `/`.
    One,
    /// `*`: any characters but `/`.
    Some,
    /// `**` at the end of a name: any characters.
    All,
    /// `**/`: nothing, or the [`Token::Inside`] that follows it.
    Folders,
    /// Any characters and then a `/`.
    Inside,
    /// `[a-z]`, `[^a-z]`.
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Ignore {
    /// Reads the text of a `.dockerignore`.
    ///
    /// # Errors
    ///
    /// The line number, from 1, and what is wrong with the pattern there.
    pub(super) fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut patterns = Vec::new();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (keeps, rest) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            if rest.is_empty() {
                return Err((index + 1, "`!` takes nothing back".to_owned()));
            }
            let path = clean_path(&format!("/{rest}"));
            // The context itself is always there.
            if path == "/" {
                continue;
            }
            let tokens = tokens(&path[1..]).map_err(|reason| (index + 1, reason))?;
            patterns.push(Pattern { keeps, tokens });
        }
        Ok(Self { patterns })
    }

    /// Whether the file or folder at this path, with `/` between names, stays out.
    pub(super) fn ignores(&self, path: &str) -> bool {
        let mut ignored = false;
        for pattern in &self.patterns {
            // One that changes nothing need not be looked at.
            if pattern.keeps == ignored && matches_path_or_parent(&pattern.tokens, path) {
                ignored = !pattern.keeps;
            }
        }
        ignored
    }

    /// Whether a folder that is ignored may hold files that are not.
    pub(super) fn takes_back(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.keeps)
    }
}

fn tokens(path: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut chars = path.chars().peekable();
    while let Some(next) = chars.next() {
        let token = match next {
            '*' if chars.peek() == Some(&'*') => {
                while chars.next_if_eq(&'*').is_some() {}
                if chars.next_if_eq(&'/').is_some() {
                    tokens.push(Token::Folders);
                    Token::Inside
                } else {
                    Token::All
                }
            }
            '*' => Token::Some,
            '?' => Token::One,
            '[' => class(&mut chars)?,
            '\\' => {
                let escaped = chars.next();
                Token::Literal(escaped.ok_or("a pattern cannot end with `\\`")?)
            }
            other => Token::Literal(other),
        };
        tokens.push(token);
    }
    Ok(tokens)
}

/// The rest of `[…]`.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Token, String> {
    let open = || "a `[` has no `]`".to_owned();
    let negated = chars.next_if(|next| matches!(next, '^' | '!')).is_some();
    let mut ranges = Vec::new();
    loop {
        let mut from = chars.next().ok_or_else(open)?;
        if from == ']' && !ranges.is_empty() {
            return Ok(Token::Class { negated, ranges });
        }
        if from == '\\' {
            from = chars.next().ok_or_else(open)?;
        }
        let mut to = from;
        if chars.peek() == Some(&'-') {
            let mut ahead = chars.clone();
            ahead.next();
            if ahead.peek().is_some_and(|next| *next != ']') {
                chars.next();
                to = chars.next().ok_or_else(open)?;
                if to == '\\' {
                    to = chars.next().ok_or_else(open)?;
                }
            }
        }
        if from > to {
            return Err(format!("`{from}-{to}` is no range"));
        }
        ranges.push((from, to));
    }
}

fn matches_path_or_parent(tokens: &[Token], path: &str) -> bool {
    let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
    parents.chain(std::iter::once(path)).any(|path| matches(tokens, path))
}

/// Whether the pattern matches the whole path. Goes through the path once and keeps every state
/// the pattern can be in, so that no pattern makes it slow.
fn matches(tokens: &[Token], path: &str) -> bool {
    let mut states = vec![false; tokens.len() + 1];
    states[0] = true;
    skip_empty(tokens, &mut states);
    for next in path.chars() {
        let mut after = vec![false; tokens.len() + 1];
        for (index, token) in tokens.iter().enumerate().filter(|(index, _)| states[*index]) {
            match token {
                Token::Literal(wanted) => after[index + 1] |= *wanted == next,
                Token::One => after[index + 1] |= next != '/',
                Token::Some => after[index] |= next != '/',
                Token::All => after[index] = true,
                Token::Folders => {}
                Token::Inside => {
                    after[index] = true;
                    after[index + 1] |= next == '/';
                }
                Token::Class { negated, ranges } => {
                    let inside = ranges.iter().any(|(from, to)| (*from..=*to).contains(&next));
                    after[index + 1] |= next != '/' && inside != *negated;
                }
            }
        }
        skip_empty(tokens, &mut after);
        states = after;
    }
    states[tokens.len()]
}

/// What may match nothing lets the next token begin.
fn skip_empty(tokens: &[Token], states: &mut [bool]) {
    for (index, token) in tokens.iter().enumerate().filter(|(_, token)| may_be_empty(token)) {
        states[index + 1] |= states[index];
        if *token == Token::Folders {
            states[index + 2] |= states[index];
        }
    }
}

fn may_be_empty(token: &Token) -> bool {
    match token {
        Token::Some | Token::All | Token::Folders => true,
        Token::Literal(_) | Token::One | Token::Inside | Token::Class { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(file: &str, ignored: &[&str], kept: &[&str]) {
        let ignore = Ignore::parse(file).unwrap();
        for path in ignored {
            assert!(ignore.ignores(path), "`{path}` should be ignored by {file:?}");
        }
        for path in kept {
            assert!(!ignore.ignores(path), "`{path}` should be kept by {file:?}");
        }
    }

    #[test]
    fn a_name_matches_at_the_top_and_all_in_it() {
        check("target", &["target", "target/debug/a"], &["src/target", "targets"]);
        check("/target/", &["target/a"], &["src/target"]);
        check("./a/../b//c", &["b/c", "b/c/d"], &["a", "b", "c"]);
    }

    #[test]
    fn a_star_stays_in_its_folder() {
        check("*.md", &["a.md", ".md"], &["docs/a.md", "a.mdx"]);
        check("*/temp*", &["a/temp", "a/tempo.txt", "a/temp/b"], &["temp", "a/b/temp"]);
        check("a?c", &["abc", "aüc"], &["ac", "a/c", "abbc"]);
    }

    #[test]
    fn two_stars_cross_folders() {
        check("**/*.go", &["a.go", "a/b/c.go"], &["a.got"]);
        check("**/node_modules", &["node_modules/x", "a/node_modules/x"], &["a_node_modules"]);
        check("a/**/b", &["a/b", "a/x/b", "a/x/y/b/c"], &["a/xb", "xa/b", "ab"]);
        check("a/**", &["a/b", "a/b/c"], &["b", "ab"]);
        check("**", &["a", "a/b"], &[]);
        check("**/a/**/b", &["a/b", "x/a/y/b", "x/y/a/b"], &["a/xb", "xa/b"]);
    }

    #[test]
    fn two_stars_within_a_name_may_match_nothing() {
        check("*x**/b", &["xb", "xxb", "x/b", "xy/z/b"], &["xyb", "b"]);
    }

    #[test]
    fn the_last_match_decides() {
        check("*\n!src\n!Cargo.toml", &["a", "b/c"], &["src", "src/main.rs", "Cargo.toml"]);
        check("*.md\n!README*.md\nREADME-secret.md", &["a.md", "README-secret.md"], &["README.md"]);
        check("!a\n*", &["a"], &[]);
    }

    #[test]
    fn classes_and_escapes() {
        check("[a-c]x", &["ax", "cx"], &["dx", "-x"]);
        check("[^a-c]x", &["dx"], &["ax", "/x"]);
        check("[]a]x", &["]x", "ax"], &["bx"]);
        check(r"a\*b", &["a*b"], &["axb"]);
        check("[a-]x", &["-x", "ax"], &["bx"]);
    }

    #[test]
    fn comments_and_blanks_are_nothing() {
        check("\u{feff}# target\n\n  target  \n.\n", &["target"], &["src", "# target"]);
    }

    #[test]
    fn a_broken_pattern_is_named_by_its_line() {
        assert_eq!(Ignore::parse("a\n[b"), Err((2, "a `[` has no `]`".to_owned())));
        assert_eq!(Ignore::parse("!"), Err((1, "`!` takes nothing back".to_owned())));
        assert_eq!(Ignore::parse("[z-a]"), Err((1, "`z-a` is no range".to_owned())));
    }

    #[test]
    fn a_pattern_of_many_stars_is_not_slow() {
        let file = "*a".repeat(60);
        let path = "a".repeat(2_000) + "b";
        check(&file, &[], &[&path]);
    }
}
