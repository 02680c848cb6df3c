//! `include`: whole projects brought into another, each with its own folder and variables.

use std::path::{Path, PathBuf};

use super::files::{Input, display_name, read_env_files};
use super::load::{Loader, Scope};
use super::schema::{Merge, PROJECT};
use super::source::Span;
use super::tree::{Entry, Map, Node, Value};

/// Deepest include of an include.
const DEPTH_MAX: usize = 16;
/// Files included in one load; bounds a tree of files that each include many.
const FILES_MAX: usize = 1_000;

/// The sections that an included file brings along.
const SECTIONS: [&str; 7] =
    ["services", "volumes", "networks", "secrets", "configs", "models", "jobs"];

impl Loader<'_> {
    /// Puts what a document includes underneath it.
    pub(crate) fn include(&mut self, document: &mut Node, scope: &Scope) {
        let included = document.as_map_mut().and_then(|map| map.shift_remove("include"));
        let Some(included) = included else { return };
        self.consumed.push(("include".to_owned(), included.key));
        let Value::List(items) = included.value.value else { return };
        for item in items {
            let mark = self.report.mark();
            let tree = self.included(&item, scope);
            self.report.came_from(mark, item.at, "included here");
            let Some(tree) = tree else { continue };
            let Value::Map(mut sections) = tree.value else { continue };
            let Some(target) = document.as_map_mut() else { return };
            for section in SECTIONS {
                if let Some(entry) = sections.shift_remove(section) {
                    self.import(target, section, entry);
                }
            }
        }
    }

    fn included(&mut self, item: &Node, scope: &Scope) -> Option<Node> {
        let base = scope.base();
        let texts = |key: &str| -> Vec<String> {
            let items = item.get(key).and_then(Node::as_list).unwrap_or_default();
            items.iter().filter_map(Node::as_text).map(str::to_owned).collect()
        };
        let names = texts("path");
        let Some(first) = names.first() else {
            drop(self.report.error(item.at, "`include` needs `path`"));
            return None;
        };
        if let Some(remote) = names.iter().find(|name| is_remote(name)) {
            let message = format!("cannot include `{remote}`: only local files can be included");
            drop(self.report.error(item.at, message).hint("copy the file beside this one"));
            return None;
        }
        let paths: Vec<PathBuf> = names.iter().map(|name| base.path(name)).collect();
        let main = base.path(first);
        if !self.may_include(&main, scope, item.at) {
            return None;
        }
        let directory = match item.get("project_directory").and_then(Node::as_text) {
            Some(directory) => base.path(directory),
            None => main.parent().map_or_else(PathBuf::new, Path::to_path_buf),
        };
        let mut env_files: Vec<PathBuf> =
            texts("env_file").iter().filter(|f| *f != "/dev/null").map(|f| base.path(f)).collect();
        if item.get("env_file").is_none() {
            env_files.extend(Some(directory.join(".env")).filter(|file| file.is_file()));
        }
        let working = self.working_directory;
        let more = read_env_files(&env_files, &scope.environment, working, &mut self.report);
        let mut environment = (*scope.environment).clone();
        for (key, value) in more {
            environment.entry(key).or_insert(value);
        }
        let mut parsed = Vec::with_capacity(paths.len());
        for path in paths {
            let name = display_name(&path, working);
            if !path.is_file() {
                let message = format!("cannot read `{name}`: no such file");
                drop(self.report.error(item.at, message));
                return None;
            }
            parsed.push(self.parse(&Input { path, name })?);
        }
        let mut chain = scope.chain.clone();
        chain.push(main);
        let inner = self.scope(directory, scope.directory.clone(), environment, chain);
        self.model(parsed, &inner)
    }

    /// What the document says itself is laid on top of what it includes.
    fn import(&self, target: &mut Map, section: &str, mut imported: Entry) {
        let (shape, rule) = PROJECT.child(section);
        match target.get_mut(section) {
            None => {
                target.insert(section.to_owned(), imported);
            }
            Some(own) => {
                let at = own.value.at;
                let over = std::mem::replace(&mut own.value, Node::null(at));
                self.merge(&mut imported.value, over, shape, rule);
                own.value = imported.value;
            }
        }
        debug_assert!(rule == Merge::Deep, "sections merge by name");
    }

    fn may_include(&mut self, main: &Path, scope: &Scope, at: Span) -> bool {
        self.n_included += 1;
        let name = |path: &Path| format!("`{}`", display_name(path, self.working_directory));
        let (message, hint) = if let Some(start) = scope.chain.iter().position(|path| path == main)
        {
            let circle = scope.chain[start..].iter().map(PathBuf::as_path).chain([main]);
            let names: Vec<String> = circle.map(name).collect();
            let names = names.join(", then ");
            let message = format!("files include each other in a circle: {names}");
            (message, "remove one of these includes")
        } else if scope.chain.len() > DEPTH_MAX {
            let message = format!("included more than {DEPTH_MAX} files deep");
            (message, "include the file where it is needed first")
        } else if self.n_included > FILES_MAX {
            let message = format!("more than {FILES_MAX} files are included");
            (message, "merge some of them to one, or split the project")
        } else {
            return true;
        };
        drop(self.report.error(at, message).hint(hint));
        false
    }
}

fn is_remote(name: &str) -> bool {
    name.contains("://") || name.starts_with("git@") || name.starts_with("oci:")
}
