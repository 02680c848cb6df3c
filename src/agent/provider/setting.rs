//! What people ask of the Provider, and what they see of it.

use crate::agent::audit::Changed;
use crate::agent::cluster::Cluster;
use crate::agent::handle::Agent;
use crate::api::{
    ApiError, Asker, Machines, ProviderChange, ProviderDecisionView, ProviderStepView, ProviderView,
};
use crate::docker::Engine;
use crate::logic::Want;
use crate::logic::core::{Core, Event};
use crate::logic::fleet::decider;
use crate::model::{Fleet, FleetStep, Provider, RowKey};

use super::call::usable;

#[async_trait::async_trait]
impl<E: Engine> Machines for Agent<E> {
    async fn provider(&self) -> Result<ProviderView, ApiError> {
        self.cluster()?.core.look(view).await
    }

    async fn set_provider(
        &self,
        asker: &Asker,
        change: ProviderChange,
    ) -> Result<ProviderView, ApiError> {
        let cluster = self.cluster()?;
        let what = match &change.command {
            Some(command) => format!("node provider set {command}"),
            None if change.off => "node provider off".to_owned(),
            None => "node provider set".to_owned(),
        };
        let result = self.take_provider(&cluster, change).await;
        self.note(&asker.by(), Changed { what, ..Changed::default() }, &result).await;
        result
    }
}

impl<E: Engine> Agent<E> {
    /// Writes it here and on the disk of another host.
    async fn take_provider(
        &self,
        cluster: &Cluster<E>,
        change: ProviderChange,
    ) -> Result<ProviderView, ApiError> {
        let provider = cluster.core.look(move |core| next_provider(core, &change)).await??;
        if let Some(command) = &provider.command {
            usable(command).map_err(|reason| {
                ApiError::user(reason)
                    .hint("install it, for root alone to write, on this host and on the others")
            })?;
        }
        let keep = cluster.core.keep(Event::Provider(provider)).await;
        keep.map_err(|error| {
            ApiError::cluster(format!("the provider was not stored: {error}"))
                .hint("see whether the disk of this host is full")
        })?;
        let written = cluster.core.look(|core| {
            let rows = vec![(core.me().clone(), RowKey::Provider)];
            core.state().supply(&Want { rows, revisions: Vec::new() })
        });
        self.copy(cluster, written.await?).await?;
        cluster.core.look(view).await
    }
}

/// What a change makes of what is there.
///
/// # Errors
///
/// When that contradicts itself.
fn next_provider(core: &Core, change: &ProviderChange) -> Result<Provider, ApiError> {
    let before = core.state().provider().cloned().unwrap_or_default();
    let millis = |seconds: Option<u64>, before| match seconds {
        Some(seconds) => seconds.saturating_mul(1000),
        None => before,
    };
    let next = Provider {
        number: before.number + 1,
        command: change.command.clone().or(before.command).filter(|_| !change.off),
        hosts_min: change.hosts_min.unwrap_or(before.hosts_min),
        hosts_max: change.hosts_max.unwrap_or(before.hosts_max),
        any_host: change.any_host.unwrap_or(before.any_host),
        pending_ms: millis(change.pending_seconds, before.pending_ms),
        empty_ms: millis(change.empty_seconds, before.empty_ms),
        pause_ms: millis(change.pause_seconds, before.pause_ms),
        join_ms: millis(change.join_seconds, before.join_ms),
        answer_ms: millis(change.answer_seconds, before.answer_ms),
    };
    next.check().map_err(|(words, hint)| ApiError::user(words).hint(hint))?;
    if next.command.is_none() && !change.off {
        return Err(ApiError::user("no program is set that would add hosts")
            .hint("name it: `muster node provider set /etc/muster/provider`"));
    }
    Ok(next)
}

fn view(core: &Core) -> ProviderView {
    let view = core.view();
    let provider = core.state().provider().cloned().unwrap_or_default();
    let fleet = core.state().fleet().cloned().unwrap_or_default();
    let decides = decider(&view, &provider, core.state().fleet());
    let has = |program: &Option<String>| program.is_some() && *program == provider.command;
    let lacking = view.hosts.values().filter(|host| !has(&host.facts.inventory.provider));
    let Provider {
        number: _,
        command,
        hosts_min,
        hosts_max,
        any_host,
        pending_ms,
        empty_ms,
        pause_ms,
        join_ms,
        answer_ms,
    } = &provider;
    let Fleet {
        number: _,
        by: _,
        setting: _,
        machines: _,
        step,
        open,
        failures,
        pause_ms: _,
        problem,
        unused: _,
        futile,
        decisions,
    } = fleet;
    let nobody = command.as_ref().filter(|_| decides.is_none()).map(|command| {
        format!("no live host has `{command}`, in the hands of root alone, so nothing is done")
    });
    ProviderView {
        command: command.clone(),
        hosts_min: *hosts_min,
        hosts_max: *hosts_max,
        any_host: *any_host,
        pending_seconds: pending_ms / 1000,
        empty_seconds: empty_ms / 1000,
        pause_seconds: pause_ms / 1000,
        join_seconds: join_ms / 1000,
        answer_seconds: answer_ms / 1000,
        hosts: u32::try_from(view.hosts.len()).unwrap_or(u32::MAX),
        decides: decides.map(|host| view.host_name(host)),
        lacking: lacking.map(|host| host.facts.name.clone()).collect(),
        step: step.map(|FleetStep { stage, machine, host, need: _, reason }| ProviderStepView {
            stage,
            machine,
            host: host.map(|host| view.host_name(&host)),
            reason,
        }),
        open: open.into_iter().collect(),
        failures,
        problem: nobody.or(problem),
        in_vain: futile.into_keys().collect(),
        decisions: decisions
            .into_iter()
            .map(|decision| ProviderDecisionView { at: decision.at.0, what: decision.what })
            .collect(),
    }
}
