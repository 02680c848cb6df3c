//! YAML text to the tree. The only user of the YAML parser.
//!
//! Anchors and aliases are expanded here under a budget, `<<` is merged, and a key that is written
//! twice is an error. Nothing here knows a key of Compose.

use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError};
use indexmap::map::Entry as Slot;

use super::scalar::resolve_plain;
use super::source::{Report, Span};
use super::tree::{Entry, Kind, Map, Node, Scalar, Tag, Value};

/// Deeper nesting is no Compose file; it also bounds every recursion over the tree.
pub(crate) const DEPTH_MAX: usize = 64;
/// Nodes of one file after aliases are expanded.
const NODES_MAX: usize = 2_000_000;
/// Aliases may make a file this much larger …
const EXPANSION_FACTOR_MAX: usize = 10;
/// … and any file this large, so that a short file can share a long block many times.
const EXPANSION_FLOOR: usize = 100_000;
/// Anchors inside anchors may copy a file this many times.
const ANCHORED_FACTOR_MAX: usize = 4;

/// Parses every document of a file. Empty documents are left out; on a syntax error, what came
/// before it is returned and the report says what is wrong.
pub(crate) fn parse(file: u32, text: &str, report: &mut Report) -> Vec<Node> {
    let mut options = granit_parser::options! {
        emit_unresolved_aliases: true,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    options.set_emit_comments(false);
    let mut builder = Builder::new(file, report);
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => {
                if builder.take(event, span).is_break() {
                    break;
                }
            }
            Err(error) => {
                builder.syntax_error(&error);
                break;
            }
        }
    }
    builder.documents
}

type Flow = std::ops::ControlFlow<()>;

/// A finished node that an alias can name.
#[derive(Debug)]
struct Anchored {
    node: Node,
    n_nodes: usize,
    height: usize,
}

/// A collection whose end has not come yet.
#[derive(Debug)]
struct Open {
    at: Span,
    tag: Tag,
    anchor: usize,
    items: Items,
    n_nodes: usize,
    /// Levels below this one.
    height: usize,
}

#[derive(Debug)]
enum Items {
    List(Vec<Node>),
    Map { map: Map, key: Option<(String, Span)>, merge: Option<Box<(Span, Node)>> },
}

#[derive(Debug)]
struct Builder<'r> {
    file: u32,
    report: &'r mut Report,
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    n_written: usize,
    n_expanded: usize,
    n_anchored: usize,
}

impl<'r> Builder<'r> {
    fn new(file: u32, report: &'r mut Report) -> Self {
        Self {
            file,
            report,
            documents: Vec::new(),
            open: Vec::new(),
            anchors: HashMap::new(),
            n_written: 0,
            n_expanded: 0,
            n_anchored: 0,
        }
    }

    fn take(&mut self, event: Event<'_>, span: granit_parser::Span) -> Flow {
        let at = self.span(&span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.n_written += 1;
                let core = tag.as_ref().and_then(|tag| tag.core_suffix().map(str::to_owned));
                let tag = merge_tag(tag.as_deref());
                let kind = match (style, core.as_deref()) {
                    (_, Some("str")) => Kind::Text,
                    (ScalarStyle::Plain, _) => resolve_plain(&text),
                    (_, Some(_)) => resolve_plain(&text),
                    (_, None) => Kind::Text,
                };
                let value = Value::Scalar(Scalar { text: text.into_owned(), kind });
                let node = Node { value, at, tag };
                self.put(Anchored { node, n_nodes: 1, height: 0 }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.begin(at, merge_tag(tag.as_deref()), anchor, Items::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                let items = Items::Map { map: Map::new(), key: None, merge: None };
                self.begin(at, merge_tag(tag.as_deref()), anchor, items)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(id) => self.alias(id, at),
            Event::UnresolvedAlias(name) => {
                let error = self.report.error(at, format!("alias `*{name}` has no anchor"));
                drop(error.hint(format!("an anchor `&{name}` must come before it")));
                // A mapping, so that `<<` has nothing to say about it.
                let node = Node::map([], at);
                let nothing = Anchored { node, n_nodes: 1, height: 0 };
                self.put(nothing, 0)
            }
            // The remaining events carry no data; the enum is not ours and may grow.
            _ => Flow::Continue(()),
        }
    }

    fn begin(&mut self, at: Span, tag: Tag, anchor: usize, items: Items) -> Flow {
        self.n_written += 1;
        self.open.push(Open { at, tag, anchor, items, n_nodes: 1, height: 0 });
        if self.open.len() > DEPTH_MAX {
            return self.too_deep(at);
        }
        Flow::Continue(())
    }

    fn end(&mut self) -> Flow {
        let Some(open) = self.open.pop() else { return Flow::Continue(()) };
        let value = match open.items {
            Items::List(items) => Value::List(items),
            Items::Map { mut map, merge, key: _ } => {
                if let Some((at, merged)) = merge.map(|merge| *merge) {
                    merge_keys(&mut map, at, merged, self.report);
                }
                Value::Map(map)
            }
        };
        let node = Node { value, at: open.at, tag: open.tag };
        let (n_nodes, height) = (open.n_nodes, open.height);
        self.put(Anchored { node, n_nodes, height }, open.anchor)
    }

    fn alias(&mut self, id: usize, at: Span) -> Flow {
        let Some(target) = self.anchors.get(&id) else {
            let error = self.report.error(at, "this alias is inside the block that it names");
            drop(error.hint("a value cannot contain itself"));
            return Flow::Break(());
        };
        self.n_expanded += target.n_nodes;
        let depth = self.open.len() + target.height;
        let limit = EXPANSION_FLOOR.max(self.n_written * EXPANSION_FACTOR_MAX).min(NODES_MAX);
        if self.n_expanded > limit {
            return self.too_expanded(limit, at);
        }
        if depth > DEPTH_MAX {
            return self.too_deep(at);
        }
        let copy =
            Anchored { node: target.node.clone(), n_nodes: target.n_nodes, height: target.height };
        self.put(copy, 0)
    }

    /// Puts a finished node where it belongs: under its key, into its list, or as a document.
    fn put(&mut self, done: Anchored, anchor: usize) -> Flow {
        let Anchored { node, n_nodes, height } = done;
        if self.n_written > NODES_MAX {
            let message = format!("more than {NODES_MAX} values in one file");
            drop(
                self.report.error(node.at, message).hint("split the file, and `include` its parts"),
            );
            return Flow::Break(());
        }
        if anchor > 0 {
            // Anchors inside anchors copy what is in them once for each.
            self.n_anchored += n_nodes;
            let limit = EXPANSION_FLOOR.max(self.n_written * ANCHORED_FACTOR_MAX);
            if self.n_anchored > limit {
                return self.too_expanded(limit, node.at);
            }
            let node = node.clone();
            self.anchors.insert(anchor, Anchored { node, n_nodes, height });
        }
        let Some(parent) = self.open.last_mut() else {
            if !node.is_null() {
                self.documents.push(node);
            }
            return Flow::Continue(());
        };
        parent.n_nodes += n_nodes;
        parent.height = parent.height.max(height + 1);
        match &mut parent.items {
            Items::List(items) => items.push(node),
            Items::Map { map, key, merge } => match key.take() {
                None => *key = Some(key_text(node, self.report)),
                Some((name, at)) if name == "<<" && merge.is_none() => {
                    *merge = Some(Box::new((at, node)));
                }
                Some((name, at)) => insert(map, merge.as_deref(), name, at, node, self.report),
            },
        }
        Flow::Continue(())
    }

    fn too_expanded(&mut self, limit: usize, at: Span) -> Flow {
        let message = format!("anchors and aliases expand this file to more than {limit} values");
        let hint = "an alias repeats all that it names: name smaller blocks";
        drop(self.report.error(at, message).hint(hint));
        Flow::Break(())
    }

    fn too_deep(&mut self, at: Span) -> Flow {
        let message = format!("nested more than {DEPTH_MAX} levels deep");
        drop(self.report.error(at, message).hint("is an indentation or a bracket wrong?"));
        Flow::Break(())
    }

    fn span(&self, span: &granit_parser::Span) -> Span {
        let (start, end) = (span.start, span.end);
        let length =
            if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { 1 };
        Span {
            file: self.file,
            line: narrow(start.line()),
            column: narrow(start.col() + 1),
            length: narrow(length.max(1)),
        }
    }

    fn syntax_error(&mut self, error: &ScanError) {
        let marker = error.marker();
        let mut at = Span {
            file: self.file,
            line: narrow(marker.line()),
            column: narrow(marker.col() + 1),
            length: 1,
        };
        let (message, hint) = explain(error.kind());
        if message == Some(TAB) {
            at = self.report.first_tab(at);
        }
        let message = match (message, error.kind()) {
            (Some(message), _) => message.to_owned(),
            (None, ErrorKind::UnexpectedCharacter { character }) if character.is_control() => {
                let code = u32::from(*character);
                format!("the control character U+{code:04X} cannot stand in YAML")
            }
            (None, kind) => format!("not YAML: {kind}"),
        };
        let pending = self.report.error(at, message);
        if let Some(hint) = hint {
            drop(pending.hint(hint));
        }
    }
}

fn narrow(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn merge_tag(tag: Option<&granit_parser::Tag>) -> Tag {
    match tag.map(granit_parser::Tag::original).as_deref() {
        Some("!reset") => Tag::Reset,
        Some("!override") => Tag::Override,
        _ => Tag::None,
    }
}

fn key_text(node: Node, report: &mut Report) -> (String, Span) {
    let at = node.at;
    match node.value {
        Value::Scalar(scalar) => {
            if scalar.kind != Kind::Text {
                let text = &scalar.text;
                let error = report.error(at, format!("key `{text}` is not text"));
                drop(error.hint(format!("put it in quotes: `\"{text}\"`")));
            }
            (scalar.text, at)
        }
        Value::List(_) | Value::Map(_) => {
            drop(report.error(at, "a key cannot be a list or a mapping"));
            (String::new(), at)
        }
    }
}

fn insert(
    map: &mut Map,
    merge: Option<&(Span, Node)>,
    name: String,
    at: Span,
    node: Node,
    report: &mut Report,
) {
    if let Some((first, _)) = merge.filter(|_| name == "<<") {
        duplicate(report, &name, at, *first);
        return;
    }
    match map.entry(name) {
        Slot::Vacant(slot) => {
            slot.insert(Entry { key: at, value: node });
        }
        Slot::Occupied(slot) => {
            let first = slot.get().key;
            duplicate(report, slot.key(), at, first);
        }
    }
}

fn duplicate(report: &mut Report, name: &str, at: Span, first: Span) {
    let message = format!("key `{name}` is already defined at line {}", first.line);
    drop(report.error(at, message).related(first, "first defined here"));
}

/// `<<`: keys written in the map win, then earlier ones of a list of maps.
fn merge_keys(map: &mut Map, at: Span, merged: Node, report: &mut Report) {
    let sources = match merged.value {
        Value::Map(_) => vec![merged],
        Value::List(items) => items,
        Value::Scalar(_) => {
            drop(report.error(at, "`<<` needs a mapping or a list of mappings"));
            return;
        }
    };
    for source in sources {
        let Value::Map(source_map) = source.value else {
            drop(report.error(source.at, "`<<` needs a mapping or a list of mappings"));
            continue;
        };
        for (key, entry) in source_map {
            map.entry(key).or_insert(entry);
        }
    }
}

/// What is said of a tab.
const TAB: &str = "a tab cannot indent YAML";

/// Our words for the mistakes that people make, and what to do about them.
fn explain(kind: &ErrorKind) -> (Option<&'static str>, Option<&'static str>) {
    match kind {
        ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabNotAllowed
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => (Some(TAB), Some("use spaces")),
        ErrorKind::RecursionLimitExceeded => (Some("nested more than 64 levels deep"), None),
        ErrorKind::UnclosedQuotedScalar => {
            (Some("this quoted text has no end"), Some("add the closing quote"))
        }
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping => {
            (Some("this `[` or `{` is never closed"), Some("add the closing bracket"))
        }
        ErrorKind::InvalidColonPlacement => {
            (Some("a mapping cannot begin here"), Some("is a `[` or `{` above never closed?"))
        }
        ErrorKind::MappingValueNotAllowed => (
            Some("a mapping cannot begin here"),
            Some(
                "text that contains `: ` needs quotes; otherwise check the indentation, and that the \
                 key above ends with `:`",
            ),
        ),
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            (Some("expected `key: value`"), Some("is the `:` missing, or a space after it?"))
        }
        ErrorKind::UnexpectedCharacter { character: '%' | '@' | '`' } => {
            (Some("text cannot begin with this character"), Some("put the value in quotes"))
        }
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::InvalidIndentation
        | ErrorKind::BlockSequenceEntryNotAllowed => (
            Some("this line does not fit what is above it"),
            Some("lines of one block must be indented alike"),
        ),
        // Not our enum, and far longer than what is worth own words.
        _ => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> (Vec<Node>, Vec<String>) {
        let mut report = Report::default();
        let (file, text) = report.add_source("f", text.as_bytes().to_vec()).unwrap();
        let documents = parse(file, &text, &mut report);
        (documents, report.finish().iter().map(|one| one.render(false)).collect())
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let (documents, errors) = load(text);
        assert_eq!(errors, [""; 0], "{text}");
        let json: Vec<String> = documents.iter().map(|one| one.to_json().to_string()).collect();
        assert_eq!(json.join(" "), expected, "{text}");
    }

    #[track_caller]
    fn refused(text: &str, expected: &[&str]) {
        let (_, errors) = load(text);
        let all = errors.join("\n");
        for part in expected {
            assert!(all.contains(part), "{text}: `{part}` is not in\n{all}");
        }
    }

    #[test]
    fn scalars_resolve_only_when_plain() {
        check(
            "a: 0644\nb: '0644'\nc: yes\nd: \"1\"\ne: |\n  2\n",
            r#"{"a":420,"b":"0644","c":"yes","d":"1","e":"2\n"}"#,
        );
        check("a: !!str 5\nb: !!int \"7\"\n", r#"{"a":"5","b":7}"#);
    }

    #[test]
    fn anchors_expand_and_merge_keys_yield_to_written_ones() {
        check("a: &x {k: 1, l: 2}\nb: *x\n", r#"{"a":{"k":1,"l":2},"b":{"k":1,"l":2}}"#);
        check(
            "a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}\n",
            r#"{"a":{"k":1,"l":2},"b":{"k":3,"l":2}}"#,
        );
        check(
            "a: &x {k: 1}\nb: &y {k: 2, m: 4}\nc:\n  <<: [*x, *y]\n",
            r#"{"a":{"k":1},"b":{"k":2,"m":4},"c":{"k":1,"m":4}}"#,
        );
        check("l: &l [{k: 1}]\nc:\n  <<: *l\n", r#"{"l":[{"k":1}],"c":{"k":1}}"#);
    }

    #[test]
    fn several_documents_and_empty_ones() {
        check("a: 1\n---\n---\nb: 2\n", r#"{"a":1} {"b":2}"#);
        check("", "");
        check("# nothing\n", "");
    }

    #[test]
    fn carriage_returns_are_line_breaks() {
        check("a: 1\r\nb:\r\n  - x\r\n", r#"{"a":1,"b":["x"]}"#);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        refused(
            "a: 1\nb: 2\na: 3\n",
            &["key `a` is already defined at line 1", "f:3:1", "first defined here"],
        );
        refused(
            "a: &x {k: 1}\nb:\n  <<: *x\n  <<: *x\n",
            &["key `<<` is already defined at line 3"],
        );
        refused("a: *nope\n", &["alias `*nope` has no anchor", "f:1:4"]);
        refused("a: &a [1, *a]\n", &["inside the block that it names"]);
        refused("a:\n\tb: 1\n", &["a tab cannot indent YAML", "use spaces"]);
        refused("80: x\n", &["key `80` is not text", "put it in quotes"]);
        refused("a: 'x\n", &["this quoted text has no end"]);
        refused("a: [1, 2\n", &["never closed"]);
        refused("[1, 2]: x\n", &["a key cannot be a list"]);
        refused("a: b: c\n", &["a mapping cannot begin here"]);
        refused("a: @x\n", &["quotes"]);
        refused("a:\n  <<: 5\n", &["`<<` needs a mapping"]);
    }

    #[test]
    fn row_40_bombs_are_refused() {
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let previous = format!("*a{}", level - 1);
            let row = vec![previous; 10].join(", ");
            laughs.push_str(&format!("a{level}: &a{level} [{row}]\n"));
        }
        refused(&laughs, &["aliases expand this file"]);
        refused(&"[".repeat(100_000), &["nested more than 64 levels"]);
        let nested: String = (0..200).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        refused(&nested, &["nested more than 64 levels"]);
    }

    #[test]
    fn merge_tags_are_kept() {
        let (documents, errors) = load("a: !reset []\nb: !override {k: 1}\nc: !reset null\n");
        assert_eq!(errors, [""; 0]);
        let tags: Vec<Tag> = ["a", "b", "c"].map(|key| documents[0].get(key).unwrap().tag).into();
        assert_eq!(tags, [Tag::Reset, Tag::Override, Tag::Reset]);
    }
}
