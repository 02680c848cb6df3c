//! What the whole cluster wants or does: Rows of any host, of which one counts.

use super::State;
use crate::model::{Fact, Fleet, Provider, RowKey};

impl State {
    /// What people want of the Provider: highest number, then highest writer.
    pub fn provider(&self) -> Option<&Provider> {
        let all = self.rows.iter().filter_map(|(owner, owned)| {
            let fact = owned.rows.get(&RowKey::Provider)?.fact.as_ref()?;
            let Fact::Provider(provider) = fact else { return None };
            Some((provider.number, owner, provider))
        });
        all.max_by_key(|(number, owner, _)| (*number, *owner)).map(|(.., provider)| provider)
    }

    /// What was decided of hosts: highest number, then highest writer.
    pub fn fleet(&self) -> Option<&Fleet> {
        let all = self.rows.iter().filter_map(|(owner, owned)| {
            let fact = owned.rows.get(&RowKey::Fleet)?.fact.as_ref()?;
            let Fact::Fleet(fleet) = fact else { return None };
            Some((fleet.number, owner, fleet.as_ref()))
        });
        all.max_by_key(|(number, owner, _)| (*number, *owner)).map(|(.., fleet)| fleet)
    }
}
