//! What went wrong in a Compose file and where: one form for every message, one place that renders it.
//!
//! A diagnostic carries the line of text that it points at, so it can be shown after the sources
//! are gone. Nothing here prints.

use std::fmt;
use std::sync::Arc;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;

/// A line longer than this is not shown, only named; it would not fit any terminal.
const EXCERPT_CHARS_MAX: usize = 2_000;

/// Columns of a terminal that is none.
const COLUMNS: usize = 140;
/// On fewer nothing of a line would be left.
const COLUMNS_MIN: u16 = 40;

/// Whether a load can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but probably says something else than was meant.
    Warning,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Location {
    /// The file as it was named by the user, or found.
    #[serde(serialize_with = "as_text")]
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

fn as_text<S: serde::Serializer>(file: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(file)
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The line of text at a location, and how many characters of it are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The whole line, without its line break.
    pub text: String,
    /// Characters from the location's column on.
    pub length: u32,
}

/// A second place that explains the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// Where.
    pub location: Location,
    /// The line there.
    pub excerpt: Excerpt,
    /// What this place has to do with the message.
    pub label: String,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// Where; absent when no line is to blame, as for a missing file.
    pub location: Option<Location>,
    /// The line at `location`.
    pub excerpt: Option<Excerpt>,
    /// Other places, nearest cause first.
    pub related: Vec<Related>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error that no line is to blame for.
    pub fn error(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, message.into())
    }

    /// A warning that no line is to blame for.
    pub fn warning(message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, message.into())
    }

    fn new(severity: Severity, message: String) -> Self {
        Self { severity, message, location: None, excerpt: None, related: Vec::new(), hint: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The message as a person reads it: several lines, without a line break at the end.
    pub fn render(&self, colour: bool) -> String {
        self.render_within(colour, None)
    }

    /// The same for a terminal of so many columns: of a line that is longer the part that matters.
    pub fn render_within(&self, colour: bool, columns: Option<u16>) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let columns = columns.map_or(COLUMNS, |columns| usize::from(columns.max(COLUMNS_MIN)));
        let renderer = renderer.term_width(columns);
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(self.message.as_str()));
        if let Some(location) = &self.location {
            group = with_place(group, location, self.excerpt.as_ref(), AnnotationKind::Primary, "");
        }
        for related in &self.related {
            let excerpt = Some(&related.excerpt);
            let kind = AnnotationKind::Context;
            group = with_place(group, &related.location, excerpt, kind, &related.label);
        }
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.with_name("hint").message(hint.as_str()));
        }
        renderer.decor_style(DecorStyle::Ascii).render(&[group])
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// All messages as text, errors and warnings in the order given, an empty line between two.
pub fn render_all(diagnostics: &[Diagnostic], colour: bool) -> String {
    render_all_within(diagnostics, colour, None)
}

/// The same for a terminal of so many columns.
pub fn render_all_within(diagnostics: &[Diagnostic], colour: bool, columns: Option<u16>) -> String {
    let rendered = diagnostics.iter().map(|one| one.render_within(colour, columns));
    rendered.collect::<Vec<_>>().join("\n\n")
}

fn with_place<'a>(
    group: Group<'a>,
    location: &'a Location,
    excerpt: Option<&'a Excerpt>,
    kind: AnnotationKind,
    label: &'a str,
) -> Group<'a> {
    let shown = excerpt.filter(|excerpt| excerpt.text.chars().count() <= EXCERPT_CHARS_MAX);
    let Some(excerpt) = shown else {
        let origin = Origin::path(&*location.file).line(location.line as usize);
        return group.element(origin.char_column(location.column as usize));
    };
    let start = byte_offset(&excerpt.text, location.column.saturating_sub(1) as usize);
    let end = start + byte_offset(&excerpt.text[start..], excerpt.length.max(1) as usize);
    let mut annotation = kind.span(start..end);
    if !label.is_empty() {
        annotation = annotation.label(label);
    }
    group.element(
        Snippet::source(excerpt.text.as_str())
            .line_start(location.line as usize)
            .path(&*location.file)
            .annotation(annotation),
    )
}

/// Where the character with this index begins, or the end of the text.
fn byte_offset(text: &str, chars: usize) -> usize {
    text.char_indices().nth(chars).map_or(text.len(), |(offset, _)| offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u32, column: u32) -> Location {
        Location { file: "compose.yaml".into(), line, column }
    }

    #[test]
    fn error_shows_its_line_with_a_caret_and_a_hint() {
        let mut error = Diagnostic::error("unknown key `imgae`").with_hint("did you mean `image`?");
        error.location = Some(at(3, 5));
        error.excerpt = Some(Excerpt { text: "    imgae: nginx".into(), length: 5 });
        let text = error.render(false);
        assert!(text.starts_with("error: unknown key `imgae`\n"), "{text}");
        assert!(text.contains("compose.yaml:3:5"), "{text}");
        assert!(text.contains("    imgae: nginx\n"), "{text}");
        assert!(text.contains("^^^^^"), "{text}");
        assert!(text.contains("hint: did you mean `image`?"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(error.render(true).contains('\u{1b}'));
    }

    #[test]
    fn a_caret_counts_characters_and_survives_a_wrong_length() {
        let mut error = Diagnostic::error("x");
        error.location = Some(at(1, 3));
        error.excerpt = Some(Excerpt { text: "é: ü".into(), length: 900 });
        assert!(error.render(false).contains("compose.yaml:1:3"));
        error.location = Some(at(1, 900));
        assert!(error.render(false).contains("compose.yaml"));
    }

    #[test]
    fn a_very_long_line_is_named_and_not_shown() {
        let mut error = Diagnostic::error("x");
        error.location = Some(at(1, 2_500));
        error.excerpt = Some(Excerpt { text: "a".repeat(5_000), length: 1 });
        let text = error.render(false);
        assert!(text.contains("compose.yaml:1:2500") && text.len() < 200, "{text}");
    }
}
