//! From a Compose project to Kubernetes: objects, a Kustomize tree, or a Helm chart, with a report of
//! what is not carried over exactly. Pure but for reading the files that services bind. It writes
//! nothing and speaks with no cluster.
//!
//! In the order of the work: `unit` says what there is and what shares a pod, `calls` who calls whom,
//! `workload` makes each pod (`container`, `env`, `mounts`, `files`, `settings`, `security`, `wait`,
//! `placement`) and what runs it, `traffic`, `routes` and `policies` how it is reached, `storage` the
//! claims. `report` is what was lost; `plain`, `kustomize` and `helm` write the objects down;
//! `validate` looks at manifests as the API would.

mod autoscale;
mod binds;
mod build;
mod calls;
mod clock;
mod container;
mod copy;
mod disk;
mod draft;
mod env;
mod expand;
mod files;
mod gateway;
mod helm;
mod kustomize;
mod mounts;
mod names;
mod object;
mod omit;
mod patch;
mod placement;
mod plain;
mod pod;
mod policies;
mod probes;
mod quantity;
mod rename;
mod report;
mod resources;
mod routes;
mod secret_like;
mod security;
mod settings;
mod storage;
mod traffic;
mod unit;
mod validate;
mod vertical;
mod wait;
mod workload;

use std::collections::{BTreeMap, BTreeSet};

pub use disk::{Disk, Found, RealDisk};
pub use gateway::Gateway;
pub use report::Report;
pub use routes::WantedRoute;
pub use validate::{Finding, validate};

use crate::compose::Loaded;
use crate::compose::project::Project;
use crate::translate::{Notes, Places};
use draft::{Draft, Entry};
use storage::Storage;
use unit::{Profiles, Units};

/// What is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The namespace of all objects; none leaves it to whoever applies them.
    pub namespace: Option<String>,
    /// The storage class of claims; none means the cluster's default.
    pub storage_class: Option<String>,
    /// The size of claims whose volume names none, as Kubernetes writes it.
    pub volume_size: String,
    /// What becomes of secrets.
    pub secrets: Secrets,
    /// How ports that are published are reached.
    pub publish: Publish,
    /// Routes beside those of the file.
    pub ingress: Vec<WantedRoute>,
    /// The class of Ingresses; none means the cluster's default.
    pub ingress_class: Option<String>,
    /// The Gateway whose routes take the place of Ingresses.
    pub gateway: Option<Gateway>,
    /// Whether, and when, pods are given the requests that their use asks for.
    pub vpa: Option<Vpa>,
    /// Whether networks of the file become NetworkPolicies.
    pub network_policies: bool,
    /// Registry and folder of images that are built.
    pub image_prefix: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespace: None,
            storage_class: None,
            volume_size: "10Gi".to_owned(),
            secrets: Secrets::Plain,
            publish: Publish::Inside,
            ingress: Vec::new(),
            ingress_class: None,
            gateway: None,
            vpa: None,
            network_policies: false,
            image_prefix: None,
        }
    }
}

/// What becomes of values that nobody should read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// Written to files of their own, which Git is told to leave alone.
    Plain,
    /// Referred to; they have to be in the cluster.
    External,
    /// Written with the keys and without the values, to be filled in and sealed.
    Stub,
    /// Left out, and with them what refers to them: something else puts them into the pods.
    Omit,
}

/// What a Vertical Pod Autoscaler does with what it finds out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vpa {
    /// It says it.
    Recommend,
    /// New pods get it.
    Initial,
    /// Pods are replaced for it.
    Recreate,
    /// Pods get it while they run, where the cluster can do that.
    InPlace,
}

/// How published ports are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish {
    /// Inside the cluster alone.
    Inside,
    /// At a port of every node.
    NodePort,
    /// At an address of their own.
    LoadBalancer,
}

/// A file of the output: its path in the folder, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// With `/` between folders.
    pub path: String,
    /// All of it.
    pub text: String,
}

/// What an export gives.
#[derive(Debug, Clone)]
pub struct Export {
    /// The files, sorted by path.
    pub files: Vec<File>,
    /// What is not carried over exactly.
    pub report: Report,
}

/// A name that a namespace may have.
///
/// # Errors
/// When it may not.
pub fn namespace(text: &str) -> Result<String, String> {
    if names::is_label(text) {
        return Ok(text.to_owned());
    }
    Err("a namespace has a-z, 0-9 and `-`, begins with a letter and has at most 52 characters"
        .to_owned())
}

/// A size as Kubernetes writes it.
///
/// # Errors
/// When it is none.
pub fn size(text: &str) -> Result<String, String> {
    let is_size = quantity::parse(text).is_some_and(|bytes| bytes >= 1.0);
    is_size.then(|| text.to_owned()).ok_or_else(|| format!("`{text}` is no size; as in `10Gi`"))
}

/// The objects of a project, one file each.
pub fn export(loaded: &Loaded, disk: &dyn Disk, options: &Options) -> Export {
    let places = Places::of(loaded);
    let objects = Objects::of(&loaded.project, &places, disk, options);
    let report = report::of(loaded, &objects, options);
    let files = plain::files(&objects, &places, options, &report);
    Export { files, report }
}

/// The report alone.
pub fn report(loaded: &Loaded, disk: &dyn Disk, options: &Options) -> Report {
    let places = Places::of(loaded);
    report::of(loaded, &Objects::of(&loaded.project, &places, disk, options), options)
}

/// The same as a Kustomize tree: a base, and an overlay for each of `variants`, which are the project
/// with another choice of files or profiles.
pub fn kustomize(
    loaded: &Loaded,
    variants: &[(String, Loaded)],
    disk: &dyn Disk,
    options: &Options,
) -> Export {
    let places = Places::of(loaded);
    let objects = Objects::of(&loaded.project, &places, disk, options);
    let report = report::of(loaded, &objects, options);
    let variants: Vec<kustomize::Variant<'_>> = variants
        .iter()
        .map(|(name, loaded)| {
            let places = Places::of(loaded);
            let objects = Objects::of(&loaded.project, &places, disk, options);
            kustomize::Variant { name: names::label(name), objects, places }
        })
        .collect();
    let files = kustomize::files(&objects, &places, &variants, (options, &report));
    Export { files, report }
}

/// The same as a Helm chart. `loaded` has all profiles; `active` names those that are on, and `raw` is
/// the file before variables are filled in.
pub fn helm(
    loaded: &Loaded,
    (raw, active): (Option<&serde_json::Value>, &[String]),
    disk: &dyn Disk,
    options: &Options,
) -> Export {
    let places = Places::of(loaded);
    // The namespace is Helm's to choose.
    let options = Options { namespace: None, ..options.clone() };
    let choices = (&options, Profiles::Switched);
    let objects = Objects::with(&loaded.project, &places, disk, choices);
    let report = report::of(loaded, &objects, &options);
    let source =
        helm::Source { project: &loaded.project, objects: &objects, places: &places, raw, active };
    let files = helm::files(&source, &report);
    Export { files, report }
}

/// All objects, and what was said while they were made.
pub(crate) struct Objects {
    entries: Vec<Entry>,
    notes: Notes,
    steps: Vec<draft::Step>,
    expected: Vec<String>,
    levels: BTreeMap<String, draft::Level>,
}

impl Objects {
    /// Makes them.
    fn of(project: &Project, places: &Places<'_>, disk: &dyn Disk, options: &Options) -> Self {
        Self::with(project, places, disk, (options, Profiles::Fixed))
    }

    fn with(
        project: &Project,
        places: &Places<'_>,
        disk: &dyn Disk,
        (options, profiles): (&Options, Profiles),
    ) -> Self {
        let mut names = names::Names::default();
        let units = Units::of(project, &mut names, profiles);
        let renamed = units.iter().filter(|unit| unit.name != unit.key.to_ascii_lowercase());
        let renamed = renamed.map(|unit| (unit.key.clone(), unit.name.clone())).collect();
        let mut draft = Draft {
            project,
            places,
            disk,
            options,
            names,
            notes: Notes::default(),
            entries: Vec::new(),
            steps: Vec::new(),
            expected: Vec::new(),
            omitted: BTreeSet::new(),
            levels: BTreeMap::new(),
            storage: Storage::of(&units),
            calls: calls::find(project, &units, disk),
            templates: BTreeMap::new(),
            awaited: BTreeMap::new(),
            secret_values: secret_like::values(project),
            renamed,
        };
        let pods = units.pods();
        for own in &pods {
            let templates = storage::templates(&mut draft, own);
            if let (Some(leader), false) = (own.first(), templates.is_empty()) {
                draft.templates.insert(leader.key.clone(), templates);
            }
        }
        for own in &pods {
            workload::add(&mut draft, &units, own);
        }
        for leader in pods.iter().filter_map(|own| own.first()) {
            traffic::add(&mut draft, &units, leader);
            routes::add(&mut draft, leader);
        }
        policies::add(&mut draft, &units);
        policies::note_open(&mut draft, &units);
        storage::add_claims(&mut draft, &units);
        copy::of_volumes(&mut draft, &units);
        draft.finish()
    }
}

#[cfg(test)]
pub(crate) mod tests;
