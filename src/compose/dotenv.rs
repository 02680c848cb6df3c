//! `.env` and `env_file` grammar, as the reference loader reads it and not as shells do.
//!
//! Works on text; opens no file.

use std::collections::BTreeMap;

use super::interpolate::{self, InterpolationError};

/// Values of one file in all.
const VALUES_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a file of variables could not be read. The line counts from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DotenvError {
    /// A name with a character that no name has.
    #[error("unexpected character `{character}` in variable name `{name}`")]
    Name {
        /// Where.
        line: u32,
        /// The first wrong one.
        character: char,
        /// The line as written.
        name: String,
    },
    /// A name with a space inside.
    #[error("key cannot contain a space")]
    Space {
        /// Where.
        line: u32,
    },
    /// `A="x` to the end of the file.
    #[error("unterminated quoted value {value}")]
    Unterminated {
        /// Where.
        line: u32,
        /// The line as written.
        value: String,
    },
    /// Values that use each other grow without end.
    #[error("the values of this file are larger than 16 MiB")]
    TooLarge {
        /// Where.
        line: u32,
    },
    /// A variable in a value could not be filled in.
    #[error("{cause}")]
    Interpolation {
        /// Where.
        line: u32,
        /// What was wrong.
        cause: InterpolationError,
    },
}

impl DotenvError {
    /// The line, from 1.
    pub(crate) fn line(&self) -> u32 {
        match self {
            Self::Name { line, .. }
            | Self::Space { line }
            | Self::Unterminated { line, .. }
            | Self::TooLarge { line }
            | Self::Interpolation { line, .. } => *line,
        }
    }
}

/// Reads a file into `variables`. Values may use variables of `lookup`, which win, and of earlier
/// lines. A bare `KEY` is taken from `lookup` when it is there.
///
/// # Errors
/// At the first line that is not of the grammar; earlier ones are in `variables` by then.
pub(crate) fn read(
    text: &str,
    variables: &mut BTreeMap<String, String>,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<(), DotenvError> {
    let mut n_bytes = 0;
    let mut reader = Reader { rest: text.trim_start_matches('\u{feff}'), line: 1 };
    while reader.skip_to_statement() {
        let (name, inherited) = reader.name()?;
        if name.contains(' ') {
            return Err(DotenvError::Space { line: reader.line });
        }
        if inherited {
            if let Some(value) = lookup(&name) {
                variables.insert(name, value);
            }
            continue;
        }
        let value = reader.value(variables, lookup)?;
        n_bytes += value.len();
        if n_bytes > VALUES_BYTES_MAX {
            return Err(DotenvError::TooLarge { line: reader.line });
        }
        variables.insert(name, value);
    }
    Ok(())
}

/// Reads a file of format `raw`: `KEY=VALUE` to the end of the line, no quotes, no variables.
pub(crate) fn read_raw(
    text: &str,
    variables: &mut BTreeMap<String, String>,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<(), DotenvError> {
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (line, lookup(line)),
        };
        if name.contains(char::is_whitespace) {
            let line = u32::try_from(index + 1).unwrap_or(u32::MAX);
            return Err(DotenvError::Space { line });
        }
        if let Some(value) = value {
            variables.insert(name.to_owned(), value);
        }
    }
    Ok(())
}

#[derive(Debug)]
struct Reader<'t> {
    rest: &'t str,
    line: u32,
}

impl Reader<'_> {
    /// Skips empty lines and comments; false at the end.
    fn skip_to_statement(&mut self) -> bool {
        loop {
            let trimmed = self.rest.trim_start();
            self.advance(self.rest.len() - trimmed.len());
            if !self.rest.starts_with('#') {
                return !self.rest.is_empty();
            }
            self.advance(self.rest.find('\n').unwrap_or(self.rest.len()));
        }
    }

    /// Moves on, counting lines.
    fn advance(&mut self, n_bytes: usize) {
        let (skipped, rest) = self.rest.split_at(n_bytes);
        let n_lines = skipped.bytes().filter(|byte| *byte == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(n_lines).unwrap_or(u32::MAX));
        self.rest = rest;
    }

    /// The name and whether it stands alone.
    fn name(&mut self) -> Result<(String, bool), DotenvError> {
        if let Some(rest) = self.rest.strip_prefix("export")
            && rest.starts_with(char::is_whitespace)
        {
            let n_spaces = rest.len() - rest.trim_start_matches(is_space).len();
            self.advance("export".len() + n_spaces);
        }
        for (at, character) in self.rest.char_indices() {
            match character {
                '=' | ':' | '\n' => {
                    let name = self.rest[..at].trim_end().to_owned();
                    let line_of_name = self.rest[..at].to_owned();
                    debug_assert!(!line_of_name.contains('\n'));
                    self.advance(at + 1);
                    self.skip_spaces();
                    return Ok((name, character == '\n'));
                }
                '_' | '.' | '-' | '[' | ']' => {}
                _ if is_space(character) || character.is_alphabetic() || character.is_numeric() => {
                }
                _ => {
                    let name = self.rest.lines().next().unwrap_or_default().to_owned();
                    return Err(DotenvError::Name { line: self.line, character, name });
                }
            }
        }
        // The file ends with a bare name and no line break.
        let name = self.rest.trim_end().to_owned();
        self.advance(self.rest.len());
        Ok((name, true))
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start_matches(is_space);
    }

    fn value(
        &mut self,
        variables: &BTreeMap<String, String>,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<String, DotenvError> {
        let line = self.line;
        let expand = |text: &str| {
            let both = |name: &str| lookup(name).or_else(|| variables.get(name).cloned());
            interpolate::substitute(text, &both, &mut |_| {})
                .map_err(|cause| DotenvError::Interpolation { line, cause })
        };
        match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let raw = self.quoted(quote)?;
                if quote == '"' { expand(&unescape(&raw)) } else { Ok(raw) }
            }
            _ => {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                let text = &self.rest[..end];
                let text = text.split_once(" #").map_or(text, |(before, _)| before).trim_end();
                let value = expand(text)?;
                self.advance(end);
                Ok(value)
            }
        }
    }

    /// The text up to the closing quote, which may be lines away; backslash keeps the quote.
    fn quoted(&mut self, quote: char) -> Result<String, DotenvError> {
        let mut out = String::new();
        let mut escaped = false;
        for (at, character) in self.rest.char_indices().skip(1) {
            if character == quote && !escaped {
                self.advance(at + quote.len_utf8());
                return Ok(out);
            }
            if character == '\\' && !escaped {
                escaped = true;
                continue;
            }
            if escaped && character != quote {
                out.push('\\');
            }
            escaped = false;
            out.push(character);
        }
        let value = self.rest.lines().next().unwrap_or_default().to_owned();
        Err(DotenvError::Unterminated { line: self.line, value })
    }
}

/// A space that does not end a line.
fn is_space(character: char) -> bool {
    matches!(character, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}')
}

/// Escapes of a double-quoted value. `\$` becomes `$$`, which the expansion reads as a dollar.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let Some(first) = after.chars().next() else {
            out.push('\\');
            rest = after;
            break;
        };
        let plain = match first {
            'a' => Some('\u{7}'),
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\u{b}'),
            '"' => Some('"'),
            '\\' => Some('\\'),
            _ => None,
        };
        let octal =
            after.get(1..4).filter(|digits| digits.bytes().all(|b| (b'0'..=b'7').contains(&b)));
        rest = &after[first.len_utf8()..];
        match (plain, first, octal) {
            (Some(character), _, _) => out.push(character),
            (None, '$', _) => out.push_str("$$"),
            (None, '0', Some(digits)) => {
                let code = u32::from_str_radix(digits, 8).unwrap_or_default();
                out.push(char::from_u32(code).unwrap_or('\u{fffd}'));
                rest = &rest[3..];
            }
            (None, other, _) => {
                out.push('\\');
                out.push(other);
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<BTreeMap<String, String>, DotenvError> {
        let mut variables = BTreeMap::new();
        let lookup = |name: &str| (name == "OUTER").then(|| "outside".to_owned());
        read(text, &mut variables, &lookup).map(|()| variables)
    }

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let expected: BTreeMap<String, String> =
            expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(run(text), Ok(expected), "{text}");
    }

    #[test]
    fn plain_lines() {
        check(
            "A=1\nB = two words \n\n# no\n  C=3\n",
            &[("A", "1"), ("B", "two words"), ("C", "3")],
        );
        check("A=1 # comment\nB=1#kept\nC=#kept\n", &[("A", "1"), ("B", "1#kept"), ("C", "#kept")]);
        check(
            "export A=1\nexport\tB=2\nexported=3\n",
            &[("A", "1"), ("B", "2"), ("exported", "3")],
        );
        check("A: yaml\nA.b-c[0]=x\n1A=y\n", &[("A", "yaml"), ("A.b-c[0]", "x"), ("1A", "y")]);
        check("\u{feff}A=1\r\nB=2\r\n", &[("A", "1"), ("B", "2")]);
        check("A=\nB=x", &[("A", ""), ("B", "x")]);
    }

    #[test]
    fn bare_names_inherit() {
        check("OUTER\nNOT_THERE\nA=1\n", &[("OUTER", "outside"), ("A", "1")]);
        check("A=1\nOUTER", &[("A", "1"), ("OUTER", "outside")]);
    }

    #[test]
    fn quotes_and_escapes() {
        check(r#"A="x # y" # z"#, &[("A", "x # y")]);
        check("A='x $B \\n'\n", &[("A", "x $B \\n")]);
        check("A='it\\'s'\n", &[("A", "it's")]);
        check("A=\"a\\nb\\t\\\"c\\\" \\\\ \\q\"\n", &[("A", "a\nb\t\"c\" \\ \\q")]);
        check("A=\"one\ntwo\"\nB='x\ny'\n", &[("A", "one\ntwo"), ("B", "x\ny")]);
        check("A=\"\\$OUTER \\0101\"\n", &[("A", "$OUTER A")]);
    }

    #[test]
    fn variables_expand_and_the_outside_wins() {
        check("A=1\nB=$A-${A}\nC=\"${A}2\"\n", &[("A", "1"), ("B", "1-1"), ("C", "12")]);
        check("OUTER=in\nB=$OUTER\n", &[("OUTER", "in"), ("B", "outside")]);
        check("B=${NO:-def}\nC=${NO}\nD=$$x\n", &[("B", "def"), ("C", ""), ("D", "$x")]);
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, line, words) in [
            ("A=1\nB C=2\n", 2, "key cannot contain a space"),
            ("A=1\n\nB!=2\n", 3, "unexpected character `!` in variable name `B!=2`"),
            ("A=\"x\ny\n", 1, "unterminated quoted value \"x"),
            ("A=${X\n", 1, "invalid interpolation format"),
            ("A=${X:?gone}\n", 1, "required variable X is missing a value: gone"),
        ] {
            let error = run(text).unwrap_err();
            assert_eq!(error.line(), line, "{text}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn raw_format_takes_the_line_as_it_is() {
        let mut variables = BTreeMap::new();
        read_raw("A=\"x\" # y\n# no\nB=$A\nOUTER\n", &mut variables, &|_| None).unwrap();
        assert_eq!(variables["A"], "\"x\" # y");
        assert_eq!(variables["B"], "$A");
        assert_eq!(variables.len(), 2);
    }
}
