//! The command that adds hosts, of the fake agent: keeps what is set, and never adds one.

use async_trait::async_trait;

use super::FakeBackend;
use crate::api::{ApiError, Asker, Machines, ProviderChange, ProviderView};

#[async_trait]
impl Machines for FakeBackend {
    async fn provider(&self) -> Result<ProviderView, ApiError> {
        Ok(self.ready()?.provider.clone())
    }

    async fn set_provider(
        &self,
        asker: &Asker,
        change: ProviderChange,
    ) -> Result<ProviderView, ApiError> {
        let mut state = self.ready()?;
        state.askers.push(asker.clone());
        let before = state.provider.clone();
        state.provider = ProviderView {
            command: change.command.or(before.command).filter(|_| !change.off),
            hosts_min: change.hosts_min.unwrap_or(before.hosts_min),
            hosts_max: change.hosts_max.unwrap_or(before.hosts_max),
            any_host: change.any_host.unwrap_or(before.any_host),
            pending_seconds: change.pending_seconds.unwrap_or(before.pending_seconds),
            empty_seconds: change.empty_seconds.unwrap_or(before.empty_seconds),
            pause_seconds: change.pause_seconds.unwrap_or(before.pause_seconds),
            join_seconds: change.join_seconds.unwrap_or(before.join_seconds),
            answer_seconds: change.answer_seconds.unwrap_or(before.answer_seconds),
            ..before
        };
        Ok(state.provider.clone())
    }
}
