//! What the whole cluster wants or does: Rows of any host, of which one counts.

use std::collections::BTreeMap;

use super::State;
use crate::model::{AppName, Fact, Fleet, Plan, Provider, RowKey};

impl State {
    /// The Plan that counts of each App, as [`State::plan`] has it: one walk for all of them.
    pub fn plans(&self) -> impl Iterator<Item = &Plan> {
        let mut all: BTreeMap<&AppName, &Plan> = BTreeMap::new();
        for (_, key, fact) in self.facts() {
            if let (RowKey::Plan(app), Fact::Plan(plan)) = (key, fact)
                && self.revisions.contains_key(app)
                // Rows are walked in order of their owners, so an equal number goes to the higher owner.
                && all.get(app).is_none_or(|known| known.number <= plan.number)
            {
                all.insert(app, plan);
            }
        }
        all.into_values()
    }

    /// What people want of the Provider.
    pub fn provider(&self) -> Option<&Provider> {
        self.register(&RowKey::Provider, |fact| match fact {
            Fact::Provider(provider) => Some((provider.number, provider)),
            _ => None,
        })
    }

    /// What was decided of hosts.
    pub fn fleet(&self) -> Option<&Fleet> {
        self.register(&RowKey::Fleet, |fact| match fact {
            Fact::Fleet(fleet) => Some((fleet.number, fleet.as_ref())),
            _ => None,
        })
    }

    /// The body that counts: highest number, then highest writer.
    fn register<'s, T>(
        &'s self,
        key: &RowKey,
        read: impl Fn(&'s Fact) -> Option<(u64, &'s T)>,
    ) -> Option<&'s T> {
        let all = self.rows.iter().filter_map(|(owner, owned)| {
            let (number, body) = read(owned.rows.get(key)?.fact.as_ref()?)?;
            Some((number, owner, body))
        });
        all.max_by_key(|(number, owner, _)| (*number, *owner)).map(|(.., body)| body)
    }
}
