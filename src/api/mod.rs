//! The HTTP interface of an agent: one router, on a unix socket for the local command line and on
//! QUIC streams for operators elsewhere.
//!
//! The router turns requests into calls of [`Backend`] and answers in JSON. It decides nothing.
//!
//! Reading order: the types, the paths and line form they travel in ([`wire`]), the frames of what is typed,
//! shown and copied ([`console`]), who may ask what
//! ([`access`], `secrets`), the [`router`], the [`server`] that puts it on a socket and on streams,
//! [`scrape`] that tells Prometheus alone, and the [`client`] of the command line. [`fake`] stands in for an agent in tests.

pub mod access;
pub mod client;
pub mod console;
pub mod fake;
pub mod router;
pub mod scrape;
pub mod server;
pub mod wire;

mod copies;
mod networks;
mod operate;
mod paths;
mod secrets;
mod stats;
mod types;

pub use access::{Access, Asker};
pub use console::{AttachRequest, ExecRequest, Frame, Frames};
pub use copies::*;
pub use networks::*;
pub use operate::*;
pub use paths::*;
pub use stats::*;
pub use types::*;

pub use crate::model::Liveness;

use async_trait::async_trait;
use bytes::Bytes;

use crate::docker::{BoxStream, BuildImage};
use crate::model::{AppName, SealedRevision};
use crate::swarm::Caller;

/// What an agent can be asked to do about jobs.
#[async_trait]
pub trait Jobs: Send + Sync + 'static {
    /// Every job of an App with its runs, and what else was run of it.
    async fn jobs(&self, app: &AppName) -> Result<Vec<JobView>, ApiError>;
    /// Has a job, or one container of a service, run; returns once its Home has begun it.
    async fn start_run(&self, asker: &Asker, request: StartRun) -> Result<RunName, ApiError>;
    /// Ends a run, if it goes on, and forgets it with what it wrote.
    async fn forget_run(&self, asker: &Asker, request: ForgetRun) -> Result<RunName, ApiError>;
}

/// What an agent can be asked by somebody who wants to sit in front of a program. `input` is what is
/// typed; when it ends without having said so, whoever typed has gone.
#[async_trait]
pub trait Consoles: Send + Sync + 'static {
    /// Runs a command in a running container of a service, on whichever host that is; returns once it
    /// was begun.
    async fn exec(
        &self,
        asker: &Asker,
        request: ExecRequest,
        input: Frames,
    ) -> Result<Frames, ApiError>;
    /// Sits down in front of a run that has begun. `NotFound` when nobody can, any more.
    async fn attach(
        &self,
        asker: &Asker,
        request: AttachRequest,
        input: Frames,
    ) -> Result<Frames, ApiError>;
    /// Copies files out of a container of a service or into one, whether it runs or has ended. `input`
    /// is what goes in.
    async fn copy(
        &self,
        asker: &Asker,
        request: CopyRequest,
        input: Frames,
    ) -> Result<Frames, ApiError>;
}

/// What an agent can be asked to do about the command that adds hosts.
#[async_trait]
pub trait Machines: Send + Sync + 'static {
    /// What is set, what goes on, and what was decided.
    async fn provider(&self) -> Result<ProviderView, ApiError>;
    /// Sets or changes it: stores it durably on min(2, live) hosts.
    async fn set_provider(
        &self,
        asker: &Asker,
        change: ProviderChange,
    ) -> Result<ProviderView, ApiError>;
}

/// What an agent can be asked to do. The agent's handle implements it; tests use a fake.
#[async_trait]
pub trait Backend: Jobs + Machines + Consoles {
    /// Who this is and whether it belongs to a cluster.
    async fn status(&self) -> Result<Status, ApiError>;
    /// Makes a cluster of this host.
    async fn init(&self, request: InitRequest) -> Result<Status, ApiError>;
    /// Adds this host to the cluster that the token was issued by.
    async fn join(&self, request: JoinRequest) -> Result<Status, ApiError>;
    /// Issues a join token.
    async fn create_token(&self, asker: &Asker, request: TokenRequest) -> Result<Token, ApiError>;
    /// Everybody who may work on the cluster from elsewhere.
    async fn operators(&self) -> Result<Vec<OperatorView>, ApiError>;
    /// Issues an invitation.
    async fn create_operator(
        &self,
        asker: &Asker,
        request: OperatorRequest,
    ) -> Result<OperatorToken, ApiError>;
    /// Refuses an operator everywhere from now on.
    async fn remove_operator(
        &self,
        asker: &Asker,
        request: RemoveOperatorRequest,
    ) -> Result<OperatorRemoved, ApiError>;
    /// The cluster's authority, and who has it.
    async fn authority(&self) -> Result<Authority, ApiError>;
    /// Makes a new authority and hands it to all members.
    async fn rotate_authority(&self, asker: &Asker) -> Result<Authority, ApiError>;
    /// Gives an operator a new certificate for the same key, and tells where members are.
    async fn renew(&self, caller: &Caller, request: RenewRequest) -> Result<Renewal, ApiError>;
    /// Notes that somebody asked for what it may not have.
    async fn note_refused(&self, asker: &Asker, what: &str, error: &ApiError);
    /// Every known host.
    async fn nodes(&self) -> Result<Vec<Node>, ApiError>;
    /// What this host finds out about each other one when it asks it now.
    async fn peers(&self) -> Result<Vec<PeerReport>, ApiError>;
    /// What every live host finds out about its ways to the others when it tries them now.
    async fn network_report(&self) -> Result<NetworkReport, ApiError>;
    /// How this host's resolver answers now.
    async fn resolver(&self) -> Result<ResolverReport, ApiError>;
    /// What an App takes, and who is asked how often, over all hosts.
    async fn stats(&self, app: &AppName) -> Result<AppStats, ApiError>;
    /// How the services of an App are scaled that have rules for it.
    async fn autoscale(&self, app: &AppName) -> Result<Vec<AutoscaleView>, ApiError>;
    /// What this agent knows in numbers, as Prometheus reads them.
    async fn metrics(&self) -> Result<String, ApiError>;
    /// Every network of every App that runs.
    async fn networks(&self) -> Result<Vec<NetworkView>, ApiError>;
    /// One host, by name or id, with what runs there.
    async fn host(&self, host: &str) -> Result<HostDetail, ApiError>;
    /// What this change of a host would do. Changes nothing.
    async fn plan_host(&self, change: HostChange) -> Result<HostPlan, ApiError>;
    /// Drains or labels a host: stores it durably on min(2, live) hosts. It may be down.
    async fn change_host(&self, asker: &Asker, change: HostChange)
    -> Result<HostChanged, ApiError>;
    /// Removes a host from the cluster for good, or says what that would change.
    async fn remove_node(&self, asker: &Asker, request: RemoveRequest)
    -> Result<Removal, ApiError>;
    /// The newest lines of this host's audit log.
    async fn audit(&self, limit: usize) -> Result<AuditLog, ApiError>;
    /// Every App.
    async fn apps(&self) -> Result<Vec<AppSummary>, ApiError>;
    /// One App with its replicas, addresses and what waits.
    async fn app(&self, app: &AppName) -> Result<AppDetail, ApiError>;
    /// The Revision an App runs.
    async fn revision(&self, app: &AppName) -> Result<SealedRevision, ApiError>;
    /// Every Revision of an App that is kept, newest first.
    async fn history(&self, app: &AppName) -> Result<Vec<RevisionView>, ApiError>;
    /// One of them: by its sequence, the first digits of its id, or `previous` for the one that
    /// `muster rollback` goes back to.
    async fn revision_at(&self, app: &AppName, which: &str) -> Result<SealedRevision, ApiError>;
    /// What differs between two of them, named alike.
    async fn diff(&self, app: &AppName, from: &str, to: &str) -> Result<Vec<Difference>, ApiError>;
    /// What submitting this Revision would change, with or without another try of what was rolled
    /// back. Changes nothing.
    async fn plan(&self, revision: SealedRevision, retry: bool) -> Result<PlanPreview, ApiError>;
    /// Makes this the App's Revision: sets its parents and sequence, plans, stores it durably on
    /// min(2, live) hosts.
    async fn submit(&self, asker: &Asker, request: SubmitRequest) -> Result<Submitted, ApiError>;
    /// The container output of an App, merged over all hosts.
    async fn logs(
        &self,
        query: LogsQuery,
    ) -> Result<BoxStream<Result<LogLine, ApiError>>, ApiError>;
    /// What happened on all hosts, oldest first, and with `follow` what happens.
    async fn events(
        &self,
        query: EventsQuery,
    ) -> Result<BoxStream<Result<Happening, ApiError>>, ApiError>;
    /// Builds an image on this host.
    async fn build(
        &self,
        asker: &Asker,
        build: BuildImage,
        context: BoxStream<Bytes>,
    ) -> Result<BoxStream<Result<String, ApiError>>, ApiError>;
    /// Whether this host has an image or can be given one.
    async fn image_known(&self, reference: &str) -> Result<ImageKnown, ApiError>;
}

#[cfg(test)]
mod tests;
