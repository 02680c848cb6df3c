//! From a Compose project to a Revision. Pure but for reading the files of configs and secrets.
//!
//! What cannot be carried over is never dropped in silence: each key has a verdict in [`table`],
//! and every verdict that is not "done" becomes a [`Note`], as does what is done in a way that people
//! should know of.

pub mod check;
pub mod table;
mod verdict;

mod addresses;
pub(crate) mod autoscale;
mod build;
mod checks;
mod container;
mod deployment;
mod devices;
mod files;
mod gang;
mod health;
mod hooks;
mod jobs;
mod mounts;
mod names;
mod networks;
mod placement;
mod pods;
mod ports;
mod resources;
mod scope;
mod used;
mod volumes;

use std::collections::BTreeMap;

pub use build::Build;
pub(crate) use checks::read as read_checks;
pub(crate) use files::content_of;
pub use used::Places;
pub(crate) use verdict::Notes;
pub use verdict::{By, Cell, Note, Row, Verdict};

use crate::compose::project::Project;
use crate::model::{
    AppName, HostId, Intent, Origin, PullPolicy, Revision, ServiceName, WallSeconds,
};
use scope::Scope;

/// What a Revision says of where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    /// The host where the command ran; binds are on it.
    pub host: HostId,
    /// The verb.
    pub command: String,
    /// The time on that host's clock.
    pub at: WallSeconds,
}

/// A project as the cluster is to run it, and what was lost on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Translation {
    /// The desired state; sequence 0 and no parents, which the agent sets. With refusals it is
    /// incomplete and must not be submitted.
    pub revision: Revision,
    /// Images to build first. Each is in the Revision under its reference until
    /// [`Translation::set_built_image`] replaces it.
    pub builds: Vec<Build>,
    /// Keys that are approximated or ignored, and what else to know, in the order of the file.
    pub notes: Vec<Note>,
    /// Why the project must not be run; empty when it may.
    pub refusals: Vec<Note>,
}

impl Translation {
    /// Names the image that was built for a service. Nothing happens when there is no such service.
    pub fn set_built_image(&mut self, service: &str, reference: &str) {
        let name = ServiceName::new(service);
        let deployments = &mut self.revision.deployments;
        let deployment = deployments
            .get_mut(&name)
            .or_else(|| self.revision.jobs.get_mut(&name).map(|job| &mut job.deployment));
        if let Some(deployment) = deployment {
            let name = std::mem::replace(&mut deployment.container.image, reference.to_owned());
            // No registry has it.
            deployment.container.pull_policy = PullPolicy::Missing;
            let steps = deployment.container.hooks.pre_start.iter_mut();
            for step in steps.filter(|step| step.container.image == name) {
                step.container.image = reference.to_owned();
                step.container.pull_policy = PullPolicy::Missing;
            }
        }
    }
}

/// Translates the services that run.
pub fn translate(project: &Project, context: &Context) -> Translation {
    let mut notes = Notes::default();
    check::add_notes(project, &mut notes);
    let mut builds = Vec::new();
    let mut deployments = BTreeMap::new();
    for (key, service) in &project.services {
        let mut scope = Scope { project, section: "services", key, service, notes: &mut notes };
        builds.extend(build::convert(&mut scope));
        let deployment = deployment::convert(&mut scope);
        deployments.insert(ServiceName::new(key), deployment);
    }
    pods::align(&mut deployments);
    ports::refuse_conflicts(&deployments, &mut notes);
    let (jobs, more_builds) = jobs::convert(project, &mut notes);
    builds.extend(more_builds);
    networks::add_links(project, &mut deployments, &mut notes);
    let revision = Revision {
        app: AppName::new(&project.name),
        sequence: 0,
        parents: Vec::new(),
        intent: Intent::Run,
        networks: networks::joined(project, &deployments, &jobs, &mut notes),
        volumes: volumes::mounted(project, &deployments, &jobs),
        deployments,
        jobs,
        origin: Origin {
            host: context.host.clone(),
            command: context.command.clone(),
            at: context.at,
            by: None,
            asked: None,
        },
    };
    names::add_notes(project, &revision, &mut notes);
    addresses::check(project, &mut notes);
    let (notes, refusals) = notes.into_parts();
    Translation { revision, builds, notes, refusals }
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
