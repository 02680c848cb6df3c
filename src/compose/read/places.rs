//! Where each key path of the merged tree was written.

use std::collections::{BTreeMap, HashMap};

use crate::compose::diagnostic::Location;
use crate::compose::source::{Report, Span};
use crate::compose::tree::{KeyPath, Node, Value};

/// Places by key path, such as `services.web.ports[0]`.
#[derive(Debug, Default)]
pub(crate) struct Places(HashMap<String, Span>);

impl Places {
    /// Notes every key and every item of a tree.
    pub(crate) fn of(tree: &Node) -> Self {
        let mut places = Self::default();
        places.0.insert(String::new(), tree.at);
        places.note(tree, &mut KeyPath::default());
        places
    }

    fn note(&mut self, node: &Node, path: &mut KeyPath) {
        match &node.value {
            Value::Scalar(_) => {}
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    path.item(index, |path| {
                        self.0.insert(path.as_str().to_owned(), item.at);
                        self.note(item, path);
                    });
                }
            }
            Value::Map(map) => {
                for (key, entry) in map {
                    path.within(key, |path| {
                        self.0.insert(path.as_str().to_owned(), entry.key);
                        self.note(&entry.value, path);
                    });
                }
            }
        }
    }

    /// The place of a path, or of the nearest path above it that was written.
    pub(crate) fn span(&self, path: &str) -> Span {
        let mut path = path;
        loop {
            if let Some(span) = self.0.get(path) {
                return *span;
            }
            match path.rfind(['.', '[']) {
                Some(at) => path = &path[..at],
                None => return self.0.get("").copied().unwrap_or_default(),
            }
        }
    }

    /// All places as the user knows them.
    pub(crate) fn locations(self, report: &Report) -> BTreeMap<String, Location> {
        let known = self.0.into_iter().filter(|(path, _)| !path.is_empty());
        known.filter_map(|(path, span)| Some((path, report.location(span)?))).collect()
    }
}
