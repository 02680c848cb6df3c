//! Texts that Kubernetes fills in: `$(NAME)` in `value`, `command` and `args`. Compose does not,
//! so a dollar that would begin something is doubled. Pure.

/// The text that Kubernetes makes `text` of.
pub(super) fn literal(text: &str) -> String {
    if text.contains("$(") || text.contains("$$") {
        text.replace('$', "$$")
    } else {
        text.to_owned()
    }
}

/// The same for each word.
pub(super) fn literals(words: &[String]) -> Vec<String> {
    words.iter().map(|word| literal(word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kubelet does, from its documentation.
    fn expanded(text: &str) -> String {
        let chars: Vec<char> = text.chars().collect();
        let (mut out, mut at) = (String::new(), 0);
        while at < chars.len() {
            match (chars[at], chars.get(at + 1)) {
                ('$', Some('$')) => {
                    out.push('$');
                    at += 2;
                }
                ('$', Some('(')) => panic!("`{text}` would be filled in"),
                (c, _) => {
                    out.push(c);
                    at += 1;
                }
            }
        }
        out
    }

    #[test]
    fn every_text_arrives_as_it_was() {
        let texts =
            ["a", "$HOME", "$(date)", "$$", "$$(X)", "a$", "$$$(X)", "${A} $(B) $$", "$", "$("];
        for text in texts {
            assert_eq!(expanded(&literal(text)), text);
        }
        assert_eq!(literal("$HOME"), "$HOME");
    }
}
