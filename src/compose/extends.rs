//! `extends`: a service on top of another one, of the same file or of another.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::budget::COPIED_NODES_MAX;
use super::files::{Input, display_name};
use super::interpolate::Interpolator;
use super::load::{Loader, Parsed, Scope};
use super::merge::strip;
use super::paths::Base;
use super::schema::{Merge, PROJECT, SERVICE, Shape, nearest};
use super::source::Span;
use super::tree::{Map, Node};

/// Longest chain of services that extend each other.
const CHAIN_MAX: usize = 16;

static SHAPE: Shape = Shape::Object(&SERVICE);

/// A service somewhere in a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Link {
    file: PathBuf,
    service: String,
}

/// The file that is being looked at.
struct Place<'a> {
    file: &'a Path,
    directory: PathBuf,
    services: &'a Map,
    scope: &'a Scope,
}

impl Loader<'_> {
    /// Resolves every `extends` of a document.
    pub(crate) fn extend(&mut self, document: &mut Node, file: &Path, scope: &Scope) {
        let services = document.get("services").and_then(Node::as_map);
        let Some(services) = services else { return };
        let extending: Vec<&String> = services
            .iter()
            .filter(|(_, s)| s.value.get("extends").is_some())
            .map(|(k, _)| k)
            .collect();
        if extending.is_empty() {
            return;
        }
        let place = Place { file, directory: scope.directory.clone(), services, scope };
        let mut done = Vec::with_capacity(extending.len());
        for name in extending {
            if let Some(node) = self.extended(&place, name, &mut Vec::new()) {
                done.push((name.clone(), node));
            }
        }
        let services = document.as_map_mut().and_then(|map| map.get_mut("services"));
        let Some(services) = services.and_then(|entry| entry.value.as_map_mut()) else { return };
        for (name, node) in done {
            if let Some(entry) = services.get_mut(&name) {
                let extends = entry.value.as_map().and_then(|map| map.get("extends"));
                let at = extends.map(|entry| entry.key);
                self.consumed.extend(at.map(|at| (format!("services.{name}.extends"), at)));
                entry.value = node;
            }
        }
    }

    /// One service with everything that it extends underneath; `None` after an error.
    fn extended(&mut self, place: &Place<'_>, name: &str, chain: &mut Vec<Link>) -> Option<Node> {
        let node = &place.services.get(name)?.value;
        let at = node.get("extends").map_or(node.at, |extends| extends.at);
        if !self.report.budgets.copied.take(node.n_nodes()) {
            let message =
                format!("services that extend others copy more than {COPIED_NODES_MAX} values");
            let hint = "have fewer services extend a large one";
            drop(self.report.error(at, message).hint(hint));
            return None;
        }
        let Some(extends) = node.get("extends") else { return Some(node.clone()) };
        let link = Link { file: place.file.to_path_buf(), service: name.to_owned() };
        let repeated = chain.contains(&link);
        chain.push(link);
        if repeated || chain.len() > CHAIN_MAX {
            self.refuse_chain(chain, repeated, at);
            return None;
        }
        let Some(service) = extends.get("service").and_then(Node::as_text) else {
            let message = format!("`services.{name}.extends` needs `service`");
            drop(self.report.error(at, message));
            return None;
        };
        let mut base = match extends.get("file").and_then(Node::as_text) {
            None => {
                let at = extends.get("service").map_or(at, |node| node.at);
                self.extended_here(place, service, at, chain)?
            }
            Some(file) => {
                let at = extends.get("file").map_or(at, |node| node.at);
                self.extended_there(place, file, service, at, chain)?
            }
        };
        chain.pop();
        // Marks of the base spoke of the base alone.
        strip(&mut base);
        let mut over = node.clone();
        if let Some(map) = over.as_map_mut() {
            map.shift_remove("extends");
        }
        self.merge(&mut base, over, &SHAPE, Merge::Deep);
        Some(base)
    }

    fn extended_here(
        &mut self,
        place: &Place<'_>,
        service: &str,
        at: Span,
        chain: &mut Vec<Link>,
    ) -> Option<Node> {
        if !place.services.contains_key(service) {
            let file = display_name(place.file, self.working_directory);
            let message = format!("there is no service `{service}` in `{file}` to extend");
            let near = nearest(service, place.services.keys().map(String::as_str));
            let error = self.report.error(at, message);
            if let Some(near) = near {
                drop(error.hint(format!("did you mean `{near}`?")));
            }
            return None;
        }
        self.extended(place, service, chain)
    }

    fn extended_there(
        &mut self,
        place: &Place<'_>,
        file: &str,
        service: &str,
        at: Span,
        chain: &mut Vec<Link>,
    ) -> Option<Node> {
        let home = place.scope.environment.get("HOME").map(String::as_str);
        let path = Base { directory: &place.directory, home }.path(file);
        let root = self.extended_file(&path, place.scope, at)?;
        let services = root.get("services").and_then(Node::as_map);
        let services = services.filter(|services| services.contains_key(service));
        let Some(services) = services else {
            let message = format!("there is no service `{service}` in `{file}` to extend");
            drop(self.report.error(at, message));
            return None;
        };
        // Its own paths are absolute by now, or else relative to the folder of the first file.
        let directory = place.scope.directory.clone();
        let there = Place { file: &path, directory, services, scope: place.scope };
        self.extended(&there, service, chain)
    }

    /// The tree of a file that services extend; read once.
    fn extended_file(&mut self, path: &Path, scope: &Scope, at: Span) -> Option<Arc<Node>> {
        let key = (path.to_path_buf(), scope.id);
        if let Some(known) = self.extended.get(&key) {
            return known.clone();
        }
        let mark = self.report.mark();
        let loaded = self.load_extended(path, scope, at).map(Arc::new);
        self.report.came_from(mark, at, "extended here");
        self.extended.insert(key, loaded.clone());
        loaded
    }

    fn load_extended(&mut self, path: &Path, scope: &Scope, at: Span) -> Option<Node> {
        let name = display_name(path, self.working_directory);
        if !path.is_file() {
            let message = format!("cannot read `{name}`: no such file");
            drop(self.report.error(at, message));
            return None;
        }
        let Parsed { documents, .. } = self.parse(&Input { path: path.to_path_buf(), name })?;
        let mut interpolator = Interpolator::new(&scope.environment);
        let mut merged: Option<Node> = None;
        for mut document in documents {
            if !self.lengthen(&mut document, &mut interpolator) {
                return None;
            }
            match &mut merged {
                None => merged = Some(document),
                Some(base) => self.merge(base, document, &PROJECT, Merge::Deep),
            }
        }
        let mut tree = merged?;
        self.resolve(&mut tree, path.parent().unwrap_or(path), &scope.directory, scope);
        Some(tree)
    }

    /// Each circle is told once, whichever of its services is looked at first.
    fn refuse_chain(&mut self, chain: &[Link], repeated: bool, at: Span) {
        let key = |link: &Link| (link.file.clone(), link.service.clone());
        if chain.iter().any(|link| self.circles.contains(&key(link))) {
            self.report.repeat(at);
            return;
        }
        self.circles.extend(chain.iter().map(key));
        let is_one_file = chain.windows(2).all(|pair| pair[0].file == pair[1].file);
        let name = |link: &Link| match is_one_file {
            true => format!("`{}`", link.service),
            false => {
                let file = display_name(&link.file, self.working_directory);
                format!("`{}` of `{file}`", link.service)
            }
        };
        let names: Vec<String> = chain.iter().map(name).collect();
        let message = if repeated {
            format!("services extend each other in a circle: {}", names.join(" -> "))
        } else {
            format!("more than {CHAIN_MAX} services extend each other, beginning with {}", names[0])
        };
        let error = self.report.error(at, message);
        drop(error.hint(if repeated {
            "remove one `extends`"
        } else {
            "let a service extend one that is nearer to the beginning"
        }));
    }
}
