//! Whether hosts are added or given back: asks `logic::fleet`, and writes and tells what it says. Decides
//! nothing.

use super::{Core, Effect, Now};
use crate::logic::fleet::{Follow, Outcome};
use crate::logic::view::ClusterView;
use crate::model::{Availability, Fact, HostId, HostWanted, RowKey};

impl Core {
    pub(super) fn keep_fleet(&mut self, now: Now, out: &mut Vec<Effect>) {
        if !self.is_settled(now) || self.state.is_removed(&self.me) {
            return;
        }
        let Some(provider) = self.state.provider() else { return };
        let view = ClusterView::new(self.pool, &self.me, &self.state, &self.membership);
        let both = (now.moment, now.wall);
        let outcome = self.keeper.look(&view, provider, self.state.fleet(), both);
        let Outcome { fleet, follow, again } = outcome;
        if let Some(again) = again {
            self.plan_again_at(again);
        }
        if let Some(fleet) = fleet {
            self.say(RowKey::Fleet, &Fact::Fleet(Box::new(fleet)), out);
        }
        for one in follow {
            match one {
                Follow::Ask(ask) => out.push(Effect::Provide(ask)),
                Follow::Want(host, availability) => self.want(host, availability, out),
                Follow::Remove(host) => {
                    self.say(RowKey::Removed(host.clone()), &Fact::Removed, out);
                    self.forget(&host, out);
                }
            }
        }
    }

    /// Asks something of a host, as people do.
    fn want(&mut self, host: HostId, availability: Availability, out: &mut Vec<Effect>) {
        let view = self.view();
        let Some(found) = view.hosts.get(&host) else { return };
        let number = found.wanted.map_or(0, |wanted| wanted.number) + 1;
        let labels = found.wanted.and_then(|wanted| wanted.labels.clone());
        let wanted = HostWanted { number, availability, labels };
        self.say(RowKey::Wanted(host), &Fact::Wanted(wanted), out);
    }
}
