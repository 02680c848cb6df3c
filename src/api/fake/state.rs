//! What the fake backend knows. Does nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use crate::api::{
    ApiError, Asker, AttachRequest, CopyRequest, ExecRequest, Happening, HostChange, LogLine,
    OperatorView, ProviderView, Refusal, RolloutView, RunView, StartRun, SubmitRequest,
};
use crate::docker::BuildImage;
use crate::docker::fake::FakeTree;
use crate::model::{AppName, SealedRevision, ServiceName};

/// What the fake knows; tests read and set it.
#[derive(Debug, Default)]
pub struct FakeState {
    /// Whether the host belongs to a cluster.
    pub in_cluster: bool,
    /// Apps: the Revision, and how often it was looked at since.
    pub apps: BTreeMap<AppName, (SealedRevision, usize)>,
    /// Every Revision that was taken, oldest first.
    pub history: Vec<SealedRevision>,
    /// How the updates of services go.
    pub rollouts: BTreeMap<ServiceName, RolloutView>,
    /// Runs by the name their replicas have, newest first; each is over once it was looked at.
    pub runs: BTreeMap<ServiceName, Vec<RunView>>,
    /// Every run that was asked for, oldest first.
    pub started: Vec<StartRun>,
    /// Every command that was run in a container, oldest first.
    pub executed: Vec<ExecRequest>,
    /// Every step of a copy, oldest first.
    pub copied: Vec<CopyRequest>,
    /// The files of every container.
    pub files: Arc<Mutex<FakeTree>>,
    /// Every run that somebody sat down in front of.
    pub attached: Vec<AttachRequest>,
    /// Nobody can sit down in front of a run.
    pub unattended: bool,
    /// Every submit, oldest first.
    pub submitted: Vec<SubmitRequest>,
    /// Images that some host has.
    pub images: BTreeSet<String>,
    /// Every build and the size of its context.
    pub builds: Vec<(BuildImage, usize)>,
    /// What `logs` gives; an error ends it.
    pub logs: Vec<Result<LogLine, ApiError>>,
    /// What `events` gives.
    pub happenings: Vec<Happening>,
    /// What `plan` refuses with.
    pub refusals: Vec<Refusal>,
    /// Every change of a host, oldest first.
    pub host_changes: Vec<HostChange>,
    /// How often somebody looked at a host: one replica leaves it at each look.
    pub host_looks: usize,
    /// Where its audit log was altered.
    pub altered: Option<String>,
    /// Hosts that were removed, by name.
    pub removed: BTreeSet<String>,
    /// How often the authority was rotated.
    pub rotations: u64,
    /// Operators, oldest first.
    pub operators: Vec<OperatorView>,
    /// The command that adds hosts.
    pub provider: ProviderView,
    /// How often somebody asked what an App takes.
    pub measured: u64,
    /// Who was refused what.
    pub refused: Vec<(Asker, String)>,
    /// Who changed something, call by call.
    pub askers: Vec<Asker>,
    /// What the next call of any kind answers with, in place of its answer.
    pub next_error: Option<ApiError>,
}
