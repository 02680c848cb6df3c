//! A cluster elsewhere, as the context of an operator has it: which one is meant, and a connection
//! with whichever member answers.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::contexts::{Contexts, Kept};
use super::errors::{CliError, Kind};
use super::project;
use crate::api::RenewRequest;
use crate::api::client::{Client, ClientError, Connect, Duplex};
use crate::swarm::{Remote, RemoteError};
use crate::telemetry::chain;

/// Members are asked for anew when they were last asked for so long ago.
const REFRESH: Duration = Duration::from_secs(3600);
/// How long a command that is done may wait for that.
const REFRESH_LIMIT: Duration = Duration::from_secs(3);

/// Which agent is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// The one on this socket.
    Socket(PathBuf),
    /// A member of the cluster of this context.
    Context(String),
}

/// What was said of it, in one place.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    pub(super) socket: Option<PathBuf>,
    pub(super) context: Option<String>,
}

impl Said {
    /// What the environment says.
    pub(super) fn by_environment() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let socket = variable("MUSTER_SOCKET").map(PathBuf::from);
        Self { socket, context: variable("MUSTER_CONTEXT") }
    }
}

impl Choice {
    /// An option is nearer than the environment, and that nearer than what is in use; in each of
    /// them the socket wins.
    pub(super) fn of(options: Said, environment: Said, in_use: Option<String>) -> Option<Self> {
        [options, environment, Said { socket: None, context: in_use }].into_iter().find_map(
            |said| {
                let socket = said.socket.map(Self::Socket);
                socket.or(said.context.map(Self::Context))
            },
        )
    }
}

/// A context that is used by this command. Nothing is read before it is needed.
#[derive(Debug)]
pub(super) struct Elsewhere {
    contexts: Option<Contexts>,
    name: String,
    kept: OnceLock<Kept>,
    remote: Mutex<Option<Remote>>,
}

impl Elsewhere {
    pub(super) fn new(contexts: Option<Contexts>, name: String) -> Arc<Self> {
        Arc::new(Self { contexts, name, kept: OnceLock::new(), remote: Mutex::new(None) })
    }

    /// The context's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Ends the connection, if there is one.
    pub(super) async fn close(&self) {
        let remote = self.remote().take();
        if let Some(remote) = remote {
            remote.close().await;
        }
    }

    fn contexts(&self) -> Result<&Contexts, CliError> {
        self.contexts.as_ref().ok_or_else(|| CliError::user("there is no home to keep contexts in"))
    }

    fn kept(&self) -> Result<&Kept, CliError> {
        if let Some(kept) = self.kept.get() {
            return Ok(kept);
        }
        let kept = self.contexts()?.read(&self.name)?;
        Ok(self.kept.get_or_init(|| kept))
    }

    fn remote(&self) -> MutexGuard<'_, Option<Remote>> {
        // Nothing that panics runs under the lock.
        self.remote.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn away(&self, error: &RemoteError) -> ClientError {
        let name = &self.name;
        let again = format!(
            "ask for another invitation, made by `muster operator create NAME`; then \
             `muster context rm {name}` and `muster context add {name} TOKEN`"
        );
        let (hint, is_ours) = match error {
            RemoteError::Unreachable(_) => {
                let words = format!(
                    "see whether agents run there, and whether that UDP port is open on the way; \
                     `muster context show {name}` lists the members"
                );
                (Some(words), false)
            }
            RemoteError::Expired | RemoteError::Removed => (Some(again), true),
            RemoteError::Refused { .. } => (
                Some("see whether the same version of muster runs on both sides".to_owned()),
                false,
            ),
            RemoteError::Busy(_) => (Some("try again".to_owned()), false),
            RemoteError::Lost { .. } | RemoteError::Own(_) => (None, false),
        };
        ClientError::Away { way: self.way(), detail: chain(error), hint, is_ours }
    }

    fn way(&self) -> String {
        format!("context `{}`", self.name)
    }

    /// Asks for a new certificate and for where members are, when that is due and a member answered
    /// this command. What fails is tried again by the next command.
    pub(super) async fn refresh(self: &Arc<Self>) -> Result<(), CliError> {
        let Some(remote) = self.remote().clone() else { return Ok(()) };
        let kept = self.kept()?;
        let now = project::now();
        let certificate =
            kept.credentials.is_due(now) || remote.has_other_authority(&kept.credentials);
        if !certificate && now.0.abs_diff(kept.asked) < REFRESH.as_secs() {
            return Ok(());
        }
        let client = Client::elsewhere(Arc::clone(self) as Arc<dyn Connect>);
        let request = RenewRequest { certificate };
        let renewal = tokio::time::timeout(REFRESH_LIMIT, client.renew(&request)).await;
        let late = |_| CliError::cluster("the members were not told in time");
        let renewal = renewal.map_err(late)??;
        let credentials = match renewal.grant {
            Some(grant) => kept.credentials.renewed(grant).map_err(|error| {
                CliError::cluster(format!("the new certificate cannot be used: {error}"))
            })?,
            None => kept.credentials.clone(),
        };
        self.contexts()?.write(&self.name, &Kept::new(credentials, renewal.members, now.0))
    }
}

#[async_trait]
impl Connect for Elsewhere {
    fn agent(&self) -> String {
        match &*self.remote() {
            Some(remote) => format!("host `{}` of {}", remote.host(), self.way()),
            None => format!("the cluster of {}", self.way()),
        }
    }

    async fn connect(&self) -> Result<Box<dyn Duplex>, ClientError> {
        let live = self.remote().clone().filter(Remote::is_live);
        let remote = match live {
            Some(remote) => remote,
            None => {
                let kept = self.kept().map_err(|error| self.unusable(&error))?;
                let reached = Remote::reach(&kept.credentials, &kept.members).await;
                let remote = reached.map_err(|error| self.away(&error))?;
                *self.remote() = Some(remote.clone());
                remote
            }
        };
        let stream = remote.open().await.map_err(|error| self.away(&error))?;
        Ok(Box::new(stream))
    }

    fn end(&self) -> Option<ClientError> {
        let error = self.remote().as_ref()?.end()?;
        match error {
            // HTTP tells as much.
            RemoteError::Lost { .. } => None,
            error => Some(self.away(&error)),
        }
    }
}

impl Elsewhere {
    /// Why there is nothing to go by.
    fn unusable(&self, error: &CliError) -> ClientError {
        let hint = error.complaints.first().and_then(|complaint| complaint.hint.clone());
        let is_ours = error.kind == Kind::User;
        ClientError::Away { way: self.way(), detail: error.to_string(), hint, is_ours }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(options: [&str; 2], environment: [&str; 2], in_use: &str, expected: &str) {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let said = |[socket, context]: [&str; 2]| Said {
            socket: some(socket).map(PathBuf::from),
            context: some(context),
        };
        let choice = Choice::of(said(options), said(environment), some(in_use));
        let words = choice.map(|choice| match choice {
            Choice::Socket(socket) => socket.display().to_string(),
            Choice::Context(name) => name,
        });
        assert_eq!(words.unwrap_or_default(), expected);
    }

    #[test]
    fn what_is_nearest_says_which_agent_is_asked_and_the_socket_wins() {
        check(["", ""], ["", ""], "", "");
        check(["", ""], ["", ""], "used", "used");
        check(["", ""], ["", "env"], "used", "env");
        check(["", ""], ["/env", "env"], "used", "/env");
        check(["", "option"], ["/env", "env"], "used", "option");
        check(["/option", "option"], ["/env", "env"], "used", "/option");
        check(["/option", ""], ["", "env"], "used", "/option");
    }
}
