//! Splits a command line as the reference does, which is not quite as a shell does.

/// Splits a text into words. `None` when quotes or brackets are not closed.
///
/// A backslash escapes outside single quotes, where `\n` and `\t` mean a line break and a tab. An
/// unquoted `;`, `&`, `|`, `<` or `>` ends the command: what follows is dropped, as the reference
/// drops it. `#` is no comment.
pub(crate) fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word = String::new();
    // Whether `word` counts although it may be empty, as after `""`.
    let mut begun = false;
    let (mut escaped, mut double, mut single, mut back, mut dollar) =
        (false, false, false, false, false);
    for character in line.chars() {
        if escaped {
            word.push(match character {
                't' => '\t',
                'n' => '\n',
                other => other,
            });
            (escaped, begun) = (false, true);
            continue;
        }
        let quoted = single || double || back || dollar;
        match character {
            '\\' if !single => escaped = true,
            '\\' => word.push(character),
            ' ' | '\t' | '\r' | '\n' if quoted => word.push(character),
            ' ' | '\t' | '\r' | '\n' => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            '"' if !single && !dollar => {
                begun |= double;
                double = !double;
            }
            '\'' if !double && !dollar => {
                begun |= single;
                single = !single;
            }
            ';' | '&' | '|' | '<' | '>' if !quoted => {
                // `2>` redirects a stream: the number is not a word.
                let stream = character == '>' && word.starts_with(|c: char| c.is_ascii_digit());
                begun &= !stream;
                break;
            }
            '(' if !single && !double && !back => {
                if dollar || !word.ends_with('$') {
                    return None;
                }
                dollar = true;
                word.push('(');
            }
            other => {
                if other == '`' && !single && !double && !dollar {
                    back = !back;
                }
                if other == ')' && !single && !double && !back {
                    dollar = !dollar;
                }
                begun = true;
                word.push(other);
            }
        }
    }
    if escaped || double || single || back || dollar {
        return None;
    }
    if begun {
        words.push(word);
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &[&str]) {
        assert_eq!(split(line).unwrap(), expected, "{line}");
    }

    #[test]
    fn words_quotes_and_escapes() {
        check("", &[]);
        check("  a  b\tc\n", &["a", "b", "c"]);
        check(r#"sh -c "echo $X && exit""#, &["sh", "-c", "echo $X && exit"]);
        check("a 'b \"c\"' \"d 'e'\"", &["a", "b \"c\"", "d 'e'"]);
        check(r#"a "" ''"#, &["a", "", ""]);
        check(r"a\ b \'c \\d", &["a b", "'c", "\\d"]);
        check(r"'a\b'", &["a\\b"]);
        check("a # b", &["a", "#", "b"]);
        check("a=\"b c\"d", &["a=b cd"]);
        check("echo $(date +%s) x", &["echo", "$(date +%s)", "x"]);
    }

    #[test]
    fn operators_end_the_command() {
        check("a && b", &["a"]);
        check("a; b", &["a"]);
        check("a 2> b", &["a"]);
        check("a > b", &["a"]);
    }

    #[test]
    fn unclosed_is_refused() {
        for line in ["\"a", "'a", "a\\", "`a", "$(a", "(a)", "a)"] {
            assert_eq!(split(line), None, "{line}");
        }
    }
}
