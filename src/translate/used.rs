//! Which keys a file uses, where each stands, and the row of each. Pure.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::table;
use super::verdict::{By, Row};
use crate::compose::{Loaded, Location};

/// A key of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used<'a> {
    /// How much of its path has a row.
    length: usize,
    /// The path of the key of the service, or other entry, that it belongs to.
    root: &'a str,
    /// Where it stands.
    pub(super) location: &'a Location,
    /// What is said of it; none of an entry without a value.
    pub(super) row: Option<&'static Row>,
}

/// Every key that was written, in no order. A short form, which says several keys in one place, is
/// one: `"80:80"` is the key `ports`.
pub(super) fn used(loaded: &Loaded) -> Vec<(String, Used<'_>)> {
    let names = Names::of(loaded);
    let mut by_place: BTreeMap<(&Location, &str), (String, Used<'_>)> = BTreeMap::new();
    for (path, location) in &loaded.locations {
        let Some(key) = names.find(loaded, path, location) else { continue };
        let bare = without_indices(&path[..key.length]);
        // An anchor is one place for keys of several services.
        match by_place.entry((location, key.root)) {
            Entry::Occupied(mut slot) => {
                let shown = &mut slot.get_mut().0;
                shown.truncate(common(shown, &bare));
            }
            Entry::Vacant(slot) => {
                slot.insert((bare, key));
            }
        }
    }
    let mut seen = HashSet::new();
    by_place.into_values().filter(|(path, _)| seen.insert(path.clone())).collect()
}

/// Where a key stands, also one whose path is told without indices.
#[derive(Debug)]
pub struct Places<'a> {
    exact: &'a BTreeMap<String, Location>,
    /// The first place of each path that goes through a list.
    in_lists: HashMap<String, &'a Location>,
}

impl<'a> Places<'a> {
    /// The places of a file.
    pub fn of(loaded: &'a Loaded) -> Self {
        let mut in_lists: HashMap<String, &Location> = HashMap::new();
        for (path, location) in &loaded.locations {
            if path.contains('[') {
                let first = in_lists.entry(without_indices(path)).or_insert(location);
                *first = (*first).min(location);
            }
        }
        Self { exact: &loaded.locations, in_lists }
    }

    /// Whether exactly this path was written in a Compose file.
    pub fn is_written(&self, path: &str) -> bool {
        self.exact.contains_key(path)
    }

    /// The place of a path, or of the nearest one above it that was written.
    pub fn find(&self, path: &str) -> Option<&'a Location> {
        let mut path = path;
        loop {
            let found = self.exact.get(path).or_else(|| self.in_lists.get(path).copied());
            if found.is_some() {
                return found;
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }
}

/// Names that the file chose; they may have dots in them.
struct Names<'a>(HashSet<&'a str>);

impl<'a> Names<'a> {
    fn of(loaded: &'a Loaded) -> Self {
        let project = &loaded.project;
        let services = project.all_services().map(|(name, _)| name);
        let files = project.configs.keys().chain(project.secrets.keys());
        let jobs = project.jobs.keys();
        let others = project.networks.keys().chain(project.volumes.keys()).chain(files);
        Self(services.chain(jobs).chain(others).map(String::as_str).collect())
    }

    /// The key a path belongs to; none for an extension, a part of a key that has no row of its
    /// own, and what does not run.
    fn find(&self, loaded: &'a Loaded, path: &'a str, location: &'a Location) -> Option<Used<'a>> {
        let mut pattern = String::new();
        let (mut at, mut depth, mut root) = (0, 0, path);
        while at < path.len() {
            let chosen = join(&pattern, "*");
            let is_chosen = !pattern.is_empty() && table::has_parts(&chosen);
            let name = if is_chosen { self.name(&path[at..]) } else { segment(&path[at..]) };
            if name.starts_with("x-") || (at > 0 && !runs(loaded, &pattern, name)) {
                return None;
            }
            at += name.len();
            depth += 1;
            if depth == 3 {
                root = path[..at].split('[').next().unwrap_or(path);
            }
            pattern = if is_chosen { chosen } else { join(&pattern, &without_indices(name)) };
            let row = table::row(&pattern).filter(|row| row.cluster.by != By::Parts);
            if row.is_some() || !table::has_parts(&pattern) {
                let is_known = row.is_some() || pattern.ends_with(".*");
                return is_known.then_some(Used { length: at, root, location, row });
            }
            at += usize::from(at < path.len());
        }
        // Keys below it say more, if there are any.
        let below = |sign: char| {
            let start = format!("{path}{sign}");
            let mut after = loaded.locations.range(start.clone()..);
            after.next().is_some_and(|(next, _)| next.starts_with(&start))
        };
        let is_leaf = !below('.') && !below('[');
        is_leaf.then_some(Used { length: path.len(), root, location, row: None })
    }

    /// The longest name the text begins with that the file knows, else its first word.
    fn name<'t>(&self, text: &'t str) -> &'t str {
        let ends = text.match_indices('.').map(|(at, _)| at).chain([text.len()]);
        let mut known = ends.map(|end| &text[..end]).filter(|name| self.0.contains(name));
        known.next_back().unwrap_or_else(|| segment(text))
    }
}

/// Whether an entry of a section is of a service that runs, or used by one.
fn runs(loaded: &Loaded, section: &str, name: &str) -> bool {
    match section {
        "services" => loaded.project.services.contains_key(name),
        "networks" | "volumes" | "configs" | "secrets" => {
            super::check::is_used(&loaded.project, section, name)
        }
        _ => true,
    }
}

fn segment(path: &str) -> &str {
    path.split('.').next().unwrap_or(path)
}

/// `services.web.ports.target` of `services.web.ports[0].target`.
fn without_indices(path: &str) -> String {
    let mut bare = String::with_capacity(path.len());
    for part in path.split_inclusive(']') {
        let is_index = |inside: &str| inside.bytes().all(|byte| byte.is_ascii_digit());
        match part.strip_suffix(']').and_then(|part| part.rsplit_once('[')) {
            Some((before, inside)) if is_index(inside) => bare.push_str(before),
            Some(_) | None => bare.push_str(part),
        }
    }
    bare
}

/// How long the path is that both have in common.
fn common(one: &str, other: &str) -> usize {
    let mut length = 0;
    for (a, b) in one.split('.').zip(other.split('.')) {
        if a != b {
            break;
        }
        length += a.len() + usize::from(length > 0);
    }
    length
}

pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_their_indices_and_nothing_else() {
        assert_eq!(without_indices("services.web.ports[0].target"), "services.web.ports.target");
        assert_eq!(without_indices("a[12][3].b[x]"), "a.b[x]");
        assert_eq!(without_indices("a.b"), "a.b");
    }

    #[test]
    fn paths_have_whole_words_in_common() {
        let cases = [("a.b.c", "a.b.d", "a.b"), ("a.bc", "a.bd", "a"), ("a.b", "a.b", "a.b")];
        for (one, other, expected) in cases {
            assert_eq!(&one[..common(one, other)], expected);
        }
    }
}
