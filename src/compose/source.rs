//! The texts that are being loaded, and the collector of what is wrong with them.
//!
//! Every file gets a number, so that a node of the tree keeps its place in twelve bytes. Reads
//! files, never writes one.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::budget::{Budgets, READ_BYTES_MAX};
use super::diagnostic::{Diagnostic, Excerpt, Location, Related, Severity};

/// A larger file is not a Compose file; refused before it is read.
pub(crate) const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// A NUL in so many bytes from the beginning tells that a file is no text.
const BINARY_BYTES: usize = 8 * 1024;
/// More errors than this tell nobody more; the rest is counted.
const DIAGNOSTICS_MAX: usize = 100;

/// A longer line is not shown, and not kept with each of its mistakes.
const EXCERPT_BYTES_MAX: usize = 16 * 1024;

/// A place in one of the sources: where a node begins and how long it is on that line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    /// Which of the sources of a [`Report`], in their order.
    pub(crate) file: u32,
    /// From 1; 0 for what no file says.
    pub(crate) line: u32,
    /// In characters, from 1.
    pub(crate) column: u32,
    /// In characters.
    pub(crate) length: u32,
}

#[derive(Debug)]
struct Source {
    name: Arc<str>,
    text: Arc<str>,
    /// Byte offset of each line's start.
    lines: Vec<usize>,
}

/// All texts read so far and all that was found wrong with them.
#[derive(Debug, Default)]
pub(crate) struct Report {
    sources: Vec<Source>,
    diagnostics: Vec<Diagnostic>,
    /// Where there is an error already.
    places: HashSet<(u32, u32, u32)>,
    n_errors: usize,
    n_dropped: usize,
    /// Whether no file may be read.
    sealed: bool,
    /// What is left for the rest of the load.
    pub(crate) budgets: Budgets,
}

impl Report {
    /// Takes the bytes of a file in. `None` when they are not text; the report says why.
    pub(crate) fn add_source(&mut self, name: &str, bytes: Vec<u8>) -> Option<(u32, Arc<str>)> {
        let name: Arc<str> = name.into();
        if bytes.len() as u64 > FILE_BYTES_MAX {
            self.push(too_large(&name));
            return None;
        }
        if !self.budgets.read.take(bytes.len()) {
            let most = READ_BYTES_MAX / 1024 / 1024;
            let message = format!(
                "cannot read `{name}`: the files of one project are larger than {most} MiB"
            );
            let error = Diagnostic::error(message);
            self.push(error.with_hint("a file counts each time it is named; split the project"));
            return None;
        }
        if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
            let error = Diagnostic::error(format!("`{name}` is UTF-16, not UTF-8"));
            self.push(error.with_hint("save the file as UTF-8"));
            return None;
        }
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                self.push(not_utf8(&name, error.as_bytes(), error.utf8_error().valid_up_to()));
                return None;
            }
        };
        let text: Arc<str> = match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.into(),
            None => text.into(),
        };
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(starts.map(|(offset, _)| offset + 1)).collect();
        let file = u32::try_from(self.sources.len()).expect("fewer sources than 2^32");
        self.sources.push(Source { name, text: Arc::clone(&text), lines });
        Some((file, text))
    }

    /// From now on no file is read: each is as if it could not be.
    pub(crate) fn seal(&mut self) {
        self.sealed = true;
    }

    /// Reads a file from the disk and takes it in.
    pub(crate) fn read_source(&mut self, path: &Path, name: &str) -> Option<(u32, Arc<str>)> {
        let read = if self.sealed { Err("files are sealed".into()) } else { read_limited(path) };
        match read {
            Ok(bytes) => self.add_source(name, bytes),
            Err(reason) => {
                self.push(Diagnostic::error(format!("cannot read `{name}`: {reason}")));
                None
            }
        }
    }

    /// The place as the user knows it; `None` for what no file says.
    pub(crate) fn location(&self, at: Span) -> Option<Location> {
        let source = self.sources.get(at.file as usize).filter(|_| at.line > 0)?;
        Some(Location { file: Arc::clone(&source.name), line: at.line, column: at.column })
    }

    fn excerpt(&self, at: Span) -> Option<Excerpt> {
        let source = self.sources.get(at.file as usize)?;
        let line = at.line.checked_sub(1)? as usize;
        let start = *source.lines.get(line)?;
        let end = source.lines.get(line + 1).map_or(source.text.len(), |next| next - 1);
        if end - start > EXCERPT_BYTES_MAX {
            return None;
        }
        let text = source.text.get(start..end)?.trim_end_matches('\r').to_owned();
        Some(Excerpt { text, length: at.length })
    }

    /// Starts an error at a place.
    pub(crate) fn error(&mut self, at: Span, message: impl Into<String>) -> Pending<'_> {
        self.pending(at, Diagnostic::error(message))
    }

    /// The first tab in the line of a place, or in the next one: a parser may only miss what
    /// should stand in front of it. The place itself when there is none.
    pub(crate) fn first_tab(&self, at: Span) -> Span {
        let column = |line: u32| {
            let excerpt = self.excerpt(Span { line, ..at })?;
            let column = excerpt.text.chars().position(|c| c == '\t')? + 1;
            Some(Span { line, column: u32::try_from(column).ok()?, ..at })
        };
        column(at.line).or_else(|| column(at.line.saturating_add(1))).unwrap_or(at)
    }

    /// Messages so far, for [`Report::came_from`].
    pub(crate) fn mark(&self) -> usize {
        self.diagnostics.len()
    }

    /// Says of every error since the mark that stands in another file how it was come by; one
    /// that stands nowhere, such as of a file that cannot be read, is put here.
    pub(crate) fn came_from(&mut self, mark: usize, at: Span, label: &str) {
        let Some((location, excerpt)) = self.location(at).zip(self.excerpt(at)) else { return };
        for diagnostic in self.diagnostics.iter_mut().skip(mark) {
            if diagnostic.location.is_none() {
                diagnostic.location = Some(location.clone());
                diagnostic.excerpt = Some(excerpt.clone());
                continue;
            }
            let is_error = diagnostic.severity == Severity::Error;
            let is_elsewhere =
                diagnostic.location.as_ref().is_some_and(|there| there.file != location.file);
            if is_error && is_elsewhere {
                let (location, excerpt) = (location.clone(), excerpt.clone());
                diagnostic.related.push(Related { location, excerpt, label: label.to_owned() });
            }
        }
    }

    /// Counts an error at a place that was told at another one.
    pub(crate) fn repeat(&mut self, at: Span) {
        self.places.insert((at.file, at.line, at.column));
        self.n_errors += 1;
    }

    /// Starts a warning at a place.
    pub(crate) fn warning(&mut self, at: Span, message: impl Into<String>) -> Pending<'_> {
        self.pending(at, Diagnostic::warning(message))
    }

    fn pending(&mut self, at: Span, mut diagnostic: Diagnostic) -> Pending<'_> {
        let value = (at.file, at.line, at.column);
        if diagnostic.severity == Severity::Error && at.line > 0 && !self.places.insert(value) {
            // The first error at a place is the cause; what follows from it only confuses.
            self.n_errors += 1;
            return Pending { report: self, diagnostic: None };
        }
        if self.is_full() {
            self.push(diagnostic);
            return Pending { report: self, diagnostic: None };
        }
        diagnostic.location = self.location(at);
        diagnostic.excerpt = self.excerpt(at);
        Pending { report: self, diagnostic: Some(diagnostic) }
    }

    /// Takes a finished message.
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        match diagnostic.severity {
            Severity::Error => self.n_errors += 1,
            Severity::Warning => {}
        }
        if self.diagnostics.len() < DIAGNOSTICS_MAX {
            self.diagnostics.push(diagnostic);
        } else {
            self.n_dropped += 1;
        }
    }

    /// Whether nothing more is kept, so that a suggestion would be made for nobody.
    pub(crate) fn is_full(&self) -> bool {
        self.diagnostics.len() >= DIAGNOSTICS_MAX
    }

    /// Whether anything so far forbids to go on.
    pub(crate) fn failed(&self) -> bool {
        self.n_errors > 0
    }

    /// Errors so far; a caller compares two of these to see whether its part went well.
    pub(crate) fn n_errors(&self) -> usize {
        self.n_errors
    }

    /// Everything found: what no line is to blame for, then file by file from top to bottom.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        let names = self.sources.iter().map(|source| &source.name).enumerate();
        let order: HashMap<&Arc<str>, usize> = names.map(|(index, name)| (name, index)).collect();
        self.diagnostics.sort_by_key(|diagnostic| {
            let at = diagnostic.location.as_ref();
            at.map(|at| (order.get(&at.file).copied(), at.line, at.column))
        });
        if self.n_dropped > 0 {
            let message = format!("{} more messages are not shown", self.n_dropped);
            self.diagnostics.push(if self.n_errors > 0 {
                Diagnostic::error(message)
            } else {
                Diagnostic::warning(message)
            });
        }
        self.diagnostics
    }
}

/// A message under construction; recorded when it goes out of scope.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    report: &'a mut Report,
    diagnostic: Option<Diagnostic>,
}

impl Pending<'_> {
    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Some(diagnostic) = &mut self.diagnostic {
            diagnostic.hint = Some(hint.into());
        }
        self
    }

    /// Adds a second place.
    pub(crate) fn related(mut self, at: Span, label: impl Into<String>) -> Self {
        let place = self.report.location(at).zip(self.report.excerpt(at));
        if let (Some(diagnostic), Some((location, excerpt))) = (&mut self.diagnostic, place) {
            diagnostic.related.push(Related { location, excerpt, label: label.into() });
        }
        self
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(diagnostic) = self.diagnostic.take() {
            self.report.push(diagnostic);
        }
    }
}

/// Reads a file that may not be larger than [`FILE_BYTES_MAX`]; the error is a reason in words.
pub(crate) fn read_limited(path: &Path) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| describe(&error))?;
    let metadata = file.metadata().map_err(|error| describe(&error))?;
    if metadata.is_dir() {
        return Err("it is a directory, not a file".to_owned());
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(format!("it is larger than {} MiB", FILE_BYTES_MAX / 1024 / 1024));
    }
    read_stream(file)
}

/// Reads a stream up to the limit; a pipe tells no size in advance.
pub(crate) fn read_stream(stream: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut limited = stream.take(FILE_BYTES_MAX + 1);
    limited.read_to_end(&mut bytes).map_err(|error| describe(&error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it is larger than {} MiB", FILE_BYTES_MAX / 1024 / 1024));
    }
    Ok(bytes)
}

fn describe(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    }
}

fn too_large(name: &str) -> Diagnostic {
    let limit = FILE_BYTES_MAX / 1024 / 1024;
    Diagnostic::error(format!("`{name}` is larger than {limit} MiB"))
        .with_hint("is it the file that was meant?")
}

fn not_utf8(name: &Arc<str>, bytes: &[u8], valid: usize) -> Diagnostic {
    let good = String::from_utf8_lossy(&bytes[..valid]);
    let line = good.matches('\n').count() + 1;
    let before = good.rsplit('\n').next().unwrap_or_default();
    let column = before.chars().count() + 1;
    let byte = bytes[valid];
    if bytes.iter().take(BINARY_BYTES).any(|byte| *byte == 0) {
        let error = Diagnostic::error(format!("`{name}` is not a text file"));
        return error.with_hint("a Compose file is YAML, saved as UTF-8");
    }
    let message = format!("`{name}` is not UTF-8: byte 0x{byte:02x} at line {line}");
    let mut error = Diagnostic::error(message).with_hint("save the file as UTF-8");
    error.location = Some(Location {
        file: Arc::clone(name),
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(column).unwrap_or(u32::MAX),
    });
    let rest = bytes[valid..].split(|byte| *byte == b'\n').next().unwrap_or_default();
    let rest = String::from_utf8_lossy(rest);
    let text = format!("{before}{}", rest.trim_end_matches('\r'));
    error.excerpt = Some(Excerpt { text, length: 1 });
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(bytes: &[u8], expected: &str) {
        let mut report = Report::default();
        assert!(report.add_source("f.yaml", bytes.to_vec()).is_none());
        let text = report.finish()[0].render(false);
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn bytes_that_are_not_text_are_refused_with_their_place() {
        refused(b"a: b\nc: \xff", "byte 0xff at line 2");
        refused(b"a: b\nc: \xff", "f.yaml:2:4");
        refused(b"\xff\xfea\0", "UTF-16");
        refused(&vec![b' '; FILE_BYTES_MAX as usize + 1], "larger than 16 MiB");
    }

    #[test]
    fn byte_order_mark_is_dropped_and_lines_lose_their_carriage_return() {
        let mut report = Report::default();
        let (file, text) =
            report.add_source("f", b"\xef\xbb\xbfa: 1\r\nb: 2\r\n".to_vec()).unwrap();
        assert!(text.starts_with('a'));
        report.error(Span { file, line: 1, column: 4, length: 1 }, "wrong");
        let found = report.finish();
        assert_eq!(found[0].excerpt.as_ref().unwrap().text, "a: 1");
    }

    #[test]
    fn a_flood_of_errors_is_counted_and_not_kept() {
        let mut report = Report::default();
        for _ in 0..250 {
            report.push(Diagnostic::error("again"));
        }
        let found = report.finish();
        assert_eq!(found.len(), 101);
        assert_eq!(found[100].message, "150 more messages are not shown");
    }
}
