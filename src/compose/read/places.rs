//! Where each key path of the merged tree was written.

use std::collections::{BTreeMap, HashMap};

use crate::compose::budget::{Budget, PATH_BYTES_MAX};
use crate::compose::diagnostic::Location;
use crate::compose::source::{Report, Span};
use crate::compose::tree::{KeyPath, Node, Value};

/// Places by key path, such as `services.web.ports[0]`.
#[derive(Debug)]
pub(crate) struct Places {
    spans: HashMap<String, Span>,
    /// Keys can be long and nest; past this, a value has the place of what is around it.
    bytes: Budget,
}

impl Places {
    /// Notes every key and every item of a tree.
    pub(crate) fn of(tree: &Node) -> Self {
        let mut places = Self { spans: HashMap::new(), bytes: Budget::new(PATH_BYTES_MAX) };
        places.spans.insert(String::new(), tree.at);
        places.note(tree, &mut KeyPath::default());
        places
    }

    fn note(&mut self, node: &Node, path: &mut KeyPath) {
        match &node.value {
            Value::Scalar(_) => {}
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    path.item(index, |path| {
                        if self.put(path, item.at) {
                            self.note(item, path);
                        }
                    });
                }
            }
            Value::Map(map) => {
                for (key, entry) in map {
                    path.within(key, |path| {
                        if self.put(path, entry.key) {
                            self.note(&entry.value, path);
                        }
                    });
                }
            }
        }
    }

    fn put(&mut self, path: &KeyPath, at: Span) -> bool {
        let fits = self.bytes.take(path.as_str().len());
        if fits {
            self.spans.insert(path.as_str().to_owned(), at);
        }
        fits
    }

    /// The place of a path, or of the nearest path above it that was written.
    pub(crate) fn span(&self, path: &str) -> Span {
        let mut path = path;
        loop {
            if let Some(span) = self.spans.get(path) {
                return *span;
            }
            match path.rfind(['.', '[']) {
                Some(at) => path = &path[..at],
                None => return self.spans.get("").copied().unwrap_or_default(),
            }
        }
    }

    /// All places as the user knows them.
    pub(crate) fn locations(self, report: &Report) -> BTreeMap<String, Location> {
        let known = self.spans.into_iter().filter(|(path, _)| !path.is_empty());
        known.filter_map(|(path, span)| Some((path, report.location(span)?))).collect()
    }
}
