//! The order of the work: read, parse, fill in, lengthen, include, extend, merge.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::LoadOptions;
use super::canonical::{canonical, canonical_raw};
use super::files::{self, Input};
use super::interpolate::Interpolator;
use super::merge::merge;
use super::normalise;
use super::parse::parse;
use super::paths::{Base, relative};
use super::raw;
use super::read::{check_values, may_be_project};
use super::schema::{Merge, PROJECT, Shape};
use super::source::{Report, Span, read_stream};
use super::tree::{KeyPath, Node};

/// What relative paths and variables of a file mean.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// Relative paths start here.
    pub(crate) directory: PathBuf,
    /// The same of the file that includes this one; its own where none does.
    pub(crate) parent: PathBuf,
    /// Variables.
    pub(crate) environment: Arc<BTreeMap<String, String>>,
    /// The files that led here by `include`, the first one outermost.
    pub(crate) chain: Vec<PathBuf>,
    /// Tells scopes apart in caches.
    pub(crate) id: usize,
}

impl Scope {
    /// What relative paths are relative to.
    pub(crate) fn base(&self) -> Base<'_> {
        let home = self.environment.get("HOME").map(String::as_str);
        Base { directory: &self.directory, home }
    }
}

/// A file after parsing.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// Which file.
    pub(crate) input: Input,
    /// Its documents.
    pub(crate) documents: Vec<Node>,
}

/// What one load shares between all its files.
#[derive(Debug)]
pub(crate) struct Loader<'o> {
    pub(crate) report: Report,
    pub(crate) working_directory: &'o Path,
    stdin: Option<&'o [u8]>,
    skip_paths: bool,
    /// Whether variables stay as they are, and values as they were written.
    pub(crate) raw: bool,
    /// Whether values are checked all the same.
    pub(crate) check_raw: bool,
    /// Files that services extend, by path and scope.
    pub(crate) extended: HashMap<(PathBuf, usize), Option<Arc<Node>>>,
    pub(crate) n_scopes: usize,
    pub(crate) n_included: usize,
    /// Every file read, in the order read.
    pub(crate) compose_files: Vec<PathBuf>,
    /// Services that extend each other in a circle that was told.
    pub(crate) circles: HashSet<(PathBuf, String)>,
    /// Keys that were carried out and left the tree: path, place.
    pub(crate) consumed: Vec<(String, Span)>,
}

impl<'o> Loader<'o> {
    pub(crate) fn new(options: &'o LoadOptions) -> Self {
        Self {
            report: Report::default(),
            working_directory: &options.working_directory,
            stdin: options.stdin.as_deref(),
            skip_paths: options.skip.paths,
            raw: false,
            check_raw: true,
            extended: HashMap::new(),
            n_scopes: 0,
            n_included: 0,
            compose_files: Vec::new(),
            circles: HashSet::new(),
            consumed: Vec::new(),
        }
    }

    /// Reads and parses one file. A file without any content is an error.
    pub(crate) fn parse(&mut self, input: &Input) -> Option<Parsed> {
        let (file, text) = if input.path.as_os_str() == files::STDIN {
            let bytes = match self.stdin {
                Some(bytes) => Ok(bytes.to_vec()),
                None => read_stream(std::io::stdin().lock()),
            };
            match bytes {
                Ok(bytes) => self.report.add_source("<stdin>", bytes)?,
                Err(reason) => {
                    let message = format!("cannot read standard input: {reason}");
                    self.report.push(super::Diagnostic::error(message));
                    return None;
                }
            }
        } else {
            self.compose_files.push(input.path.clone());
            self.report.read_source(&input.path, &input.name)?
        };
        let errors_before = self.report.n_errors();
        let documents = parse(file, &text, &mut self.report);
        if documents.is_empty() && self.report.n_errors() == errors_before {
            let at = Span { file, line: 1, column: 1, length: 1 };
            let error = self.report.error(at, format!("`{}` is empty", input.name));
            drop(error.hint("a Compose file begins with `services:`"));
        }
        Some(Parsed { input: input.clone(), documents })
    }

    /// Files to one tree: long forms, absolute paths, extended and included parts in place.
    pub(crate) fn model(&mut self, parsed: Vec<Parsed>, scope: &Scope) -> Option<Node> {
        let mut merged: Option<Node> = None;
        let mut interpolator = Interpolator::new(&scope.environment);
        for Parsed { input, documents } in parsed {
            for mut document in documents {
                if !self.lengthen(&mut document, &mut interpolator) {
                    continue;
                }
                self.include(&mut document, scope);
                self.extend(&mut document, &input.path, scope);
                match &mut merged {
                    None => merged = Some(document),
                    Some(base) => self.merge(base, document, &PROJECT, Merge::Deep),
                }
            }
        }
        let mut tree = merged?;
        if self.raw {
            // Lists of pairs that were merged may have a longer form.
            canonical_raw(&mut tree, true, &mut Report::default());
        }
        default_contexts(&mut tree);
        // What is included moves from its own folder to that of the file that includes it.
        if !self.skip_paths || scope.chain.len() > 1 {
            self.resolve(&mut tree, &scope.directory, &scope.parent, scope);
        }
        // Of a project whose variables are left alone only included files have some.
        if !self.raw || scope.chain.len() > 1 {
            inherit(&mut tree, &scope.environment);
        }
        Some(tree)
    }

    /// Lays `over` on top of `base`.
    pub(crate) fn merge(
        &self,
        base: &mut Node,
        mut over: Node,
        shape: &'static Shape,
        rule: Merge,
    ) {
        if self.raw {
            raw::join_pairs(base, &mut over, shape);
        }
        merge(base, over, shape, rule);
    }

    /// Makes the paths of a tree absolute, or else relative to the folder `from`.
    pub(crate) fn resolve(&self, tree: &mut Node, directory: &Path, from: &Path, scope: &Scope) {
        let home = scope.environment.get("HOME").map(String::as_str);
        if self.skip_paths {
            let directory = &relative(from, directory);
            Base { directory, home }.resolve(tree);
        } else {
            Base { directory, home }.resolve(tree);
        }
    }

    /// Variables filled in, short forms made long; false when the document has mistakes.
    pub(crate) fn lengthen(
        &mut self,
        document: &mut Node,
        interpolator: &mut Interpolator<'_>,
    ) -> bool {
        let errors_before = self.report.n_errors();
        if !may_be_project(document, &mut self.report) {
            return false;
        }
        if self.raw {
            canonical_raw(document, !self.check_raw, &mut self.report);
        } else {
            interpolator.apply(document, &mut self.report);
            canonical(document, &PROJECT, &mut KeyPath::default(), &mut self.report);
        }
        if let Some(entry) = document.as_map_mut().and_then(|map| map.shift_remove("version")) {
            self.consumed.push(("version".to_owned(), entry.key));
            let warning = self.report.warning(entry.key, "`version` is obsolete and ignored");
            drop(warning.hint("remove it"));
        }
        let good = self.report.n_errors() == errors_before;
        if !good && !self.raw {
            check_values(document, &mut self.report);
        }
        good
    }

    /// A scope that no cache has seen.
    pub(crate) fn scope(
        &mut self,
        directory: PathBuf,
        parent: PathBuf,
        environment: BTreeMap<String, String>,
        chain: Vec<PathBuf>,
    ) -> Scope {
        self.n_scopes += 1;
        Scope { directory, parent, environment: Arc::new(environment), chain, id: self.n_scopes }
    }
}

/// A build without a context is built from the project directory.
fn default_contexts(tree: &mut Node) {
    for section in ["services", "jobs"] {
        let services = tree.as_map_mut().and_then(|map| map.get_mut(section));
        let services = services.and_then(|entry| entry.value.as_map_mut());
        for entry in services.into_iter().flat_map(|map| map.values_mut()) {
            let build = entry.value.as_map_mut().and_then(|map| map.get_mut("build"));
            let Some(build) = build.map(|entry| &mut entry.value) else { continue };
            let at = build.at;
            if let Some(map) = build.as_map_mut().filter(|map| !map.contains_key("context")) {
                let value = Node::text(".", at);
                map.insert("context".to_owned(), super::tree::Entry { key: at, value });
            }
        }
    }
}

/// Bare names in `environment` take their value from the variables of their own file.
fn inherit(tree: &mut Node, environment: &BTreeMap<String, String>) {
    for section in ["services", "jobs"] {
        let containers = tree.as_map_mut().and_then(|map| map.get_mut(section));
        let containers = containers.and_then(|entry| entry.value.as_map_mut());
        for entry in containers.into_iter().flat_map(|map| map.values_mut()) {
            let names = entry.value.as_map_mut().and_then(|map| map.get_mut("environment"));
            if let Some(names) = names {
                normalise::inherit(&mut names.value, environment);
            }
        }
    }
}
