//! What follows from what is known: Plans, operations, Rows of our own, packets and names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::prepare::{Preparing, desired, known};
use super::{Core, Effect, Now};
use crate::logic::endpoints::network_intent;
use crate::logic::home::home;
use crate::logic::host::Known;
use crate::logic::names::name_table;
use crate::logic::plan::{Decision, decide, load_of_others};
use crate::logic::view::{ClusterView, Watched};
use crate::model::{
    AppName, Fact, HostFacts, Intent, Liveness, Moment, NetworkBlock, NetworkName, Record,
    ReplicaStatus, RowKey,
};

/// A Home that takes over from one that lives waits until it has heard no Plan of that one for so
/// long: the other may not know of it yet, and have its last Plan on the way.
const HANDOVER: Duration = Duration::from_millis(500);

impl Core {
    /// One round.
    pub(super) fn derive(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.watch_ready(now.moment);
        self.watch_moves(now.moment);
        self.watch_runs(now.moment);
        self.plan_mine(now, out);
        self.keep_fleet(now, out);
        self.take_back_requests(out);
        self.reconcile(now, out);
    }

    /// Notes since when each replica is ready.
    fn watch_ready(&mut self, now: Moment) {
        let mut before = std::mem::take(&mut self.watched.ready);
        let said = self.state.facts().filter(|(owner, ..)| {
            // As in `ClusterView::statuses`.
            self.membership.liveness(owner) != Liveness::Dead
        });
        for (_, _, fact) in said {
            let Fact::Replicas(statuses) = fact else { continue };
            for status in statuses.iter().filter(|status| status.ready) {
                let place = (status.replica.clone(), status.generation);
                let since = before.remove(&place).unwrap_or(now);
                self.watched.ready.insert(place, since);
            }
        }
    }

    /// Notes since when copies are on their way to other hosts, and since when some are not to go there.
    fn watch_moves(&mut self, now: Moment) {
        let before = std::mem::take(&mut self.watched);
        let mut after = Watched { ready: before.ready, ..Watched::default() };
        for plan in self.state.plans() {
            for (new, _) in plan.moves() {
                let place = (new.replica.clone(), new.generation);
                let since = before.moving.get(&place).copied().unwrap_or(now);
                after.moving.insert(place, since);
            }
            let all = plan.setbacks.iter().flat_map(|(service, hosts)| {
                hosts.iter().map(move |(host, setback)| (service, host, setback.times))
            });
            for (service, host, times) in all {
                let place = (plan.app.clone(), service.clone(), host.clone(), times);
                let since = before.set_back.get(&place).copied().unwrap_or(now);
                after.set_back.insert(place, since);
            }
        }
        self.watched = after;
    }

    /// Decides again by then at the latest.
    pub(super) fn plan_again_at(&mut self, at: Moment) {
        self.plan_again = Some(self.plan_again.map_or(at, |known| known.min(at)));
    }

    /// Plans the Apps this host is the Home of.
    fn plan_mine(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.plan_again = None;
        if !self.is_settled(now) || self.state.is_removed(&self.me) {
            return;
        }
        for app in self.my_apps() {
            let Some(revision) = self.state.winner(&app).cloned() else { continue };
            if let Some(until) = self.handover_ends(&app, now.moment) {
                self.plan_again_at(until);
                continue;
            }
            let (scalings, sizes) = self.scale(now, &app, &revision);
            let view = ClusterView::new(self.pool, &self.me, &self.state, &self.membership)
                .with_times(self.last, &self.watched)
                .with_scalings(&scalings, &sizes)
                .with_clock(now.wall, &self.announced_since);
            let load = load_of_others(&view, Some(&app));
            let Decision { plan, again } = decide(&view, &app, &revision, load);
            if let Some(again) = again.map(|again| now.moment + again) {
                self.plan_again_at(again);
            }
            if let Some(next) = plan {
                let row = self.state.write(RowKey::Plan(app), &Fact::Plan(Box::new(next)));
                self.write_row(row, out);
            }
        }
    }

    /// Until when this host waits for what the Home before it has yet to say.
    fn handover_ends(&self, app: &AppName, now: Moment) -> Option<Moment> {
        let before = &self.state.plan(app)?.home;
        if *before == self.me || self.membership.liveness(before) == Liveness::Dead {
            return None;
        }
        let until = *self.plans_heard.get(app)? + HANDOVER;
        (now < until).then_some(until)
    }

    /// The Apps this host is the Home of. Asked for at each event, and costly to find out.
    fn my_apps(&mut self) -> Vec<AppName> {
        let stamp = (self.membership.changes(), self.state.apps().count());
        if let Some((known, apps)) = &self.homes
            && *known == stamp
        {
            return apps.clone();
        }
        let live: Vec<_> = self.not_dead().chain([&self.me]).collect();
        let mine =
            self.state.apps().filter(|app| home(app, live.iter().copied()) == Some(&self.me));
        let mine: Vec<AppName> = mine.cloned().collect();
        self.homes = Some((stamp, mine.clone()));
        mine
    }

    /// Brings this host to what the Plans give it.
    fn reconcile(&mut self, now: Now, out: &mut Vec<Effect>) {
        if !self.observed {
            // A host whose engine has never answered is there all the same.
            let is_told = self.state.facts_of(&self.me).any(|(key, _)| *key == RowKey::Host);
            if !is_told && !self.state.is_removed(&self.me) {
                self.write_facts(out);
            }
            return;
        }
        self.free_blocks(out);
        let settled = self.is_settled(now);
        let removed = self.state.is_removed(&self.me);
        let machine = &mut self.machine;
        let view = ClusterView::new(self.pool, &self.me, &self.state, &self.membership);
        let desired = if removed { Vec::new() } else { desired(&view) };
        if settled {
            let mut known = known(&view);
            for (app, known) in &mut known {
                let live = self.membership.members().iter();
                let live = live.filter(|(_, m)| m.liveness == Liveness::Alive);
                let live = live.map(|(host, _)| host).chain([&self.me]);
                known.applied = self.acknowledgements.lowest(app, live);
            }
            if removed {
                // Whatever it was, it is not ours to run any more: containers go, then their
                // networks. What is in volumes stays.
                let seen = machine.seen();
                let containers = seen.containers.iter().chain(&seen.steps);
                let apps = containers.map(|container| &container.replica.app);
                let apps = apps.chain(seen.networks.iter().map(|(_, app)| app));
                let gone = Known { intent: Intent::Remove, ..Known::default() };
                known = apps.map(|app| (app.clone(), gone.clone())).collect();
            }
            let mut preparing =
                Preparing { view: &view, slice: self.facts.slice, blocks: &mut self.blocks, out };
            let operations =
                machine.reconcile(now.moment, &desired, &known, &mut |desired, step| {
                    preparing.prepare(desired, step)
                });
            out.extend(operations.into_iter().map(|(id, what)| Effect::Execute(id, what)));
        }
        let statuses = machine.statuses(now.wall, &desired);
        if !removed {
            self.write_statuses(statuses, out);
        }
    }

    fn write_statuses(
        &mut self,
        statuses: BTreeMap<AppName, Vec<ReplicaStatus>>,
        out: &mut Vec<Effect>,
    ) {
        let told = self.state.apps_told_of();
        for app in told.into_iter().filter(|app| !statuses.contains_key(app)) {
            let row = self.state.withdraw(RowKey::Replicas(app));
            self.write_row(row, out);
        }
        for (app, statuses) in statuses {
            let row = self.state.write(RowKey::Replicas(app), &Fact::Replicas(statuses));
            self.write_row(row, out);
        }
        self.write_facts(out);
    }

    fn write_facts(&mut self, out: &mut Vec<Effect>) {
        let blocks = self.blocks.iter().map(|((app, network), subnet)| NetworkBlock {
            app: app.clone(),
            network: network.clone(),
            subnet: *subnet,
        });
        let mut facts = HostFacts { blocks: blocks.collect(), ..self.facts.clone() };
        facts.inventory.provider.clone_from(&self.provides);
        let row = self.state.write(RowKey::Host, &Fact::Host(Box::new(facts)));
        self.write_row(row, out);
    }

    /// Blocks of Apps that are gone from here can be given again.
    fn free_blocks(&mut self, out: &mut Vec<Effect>) {
        let seen = self.machine.seen();
        let gone: Vec<(AppName, NetworkName)> = self
            .blocks
            .keys()
            .filter(|(app, _)| {
                let going = self.state.winner(app).is_none_or(|r| r.intent != Intent::Run);
                going && !seen.networks.iter().any(|(_, owner)| owner == app)
            })
            .cloned()
            .collect();
        for (app, network) in gone {
            self.blocks.remove(&(app.clone(), network.clone()));
            let record = Record::ForgetBlock { app, network };
            out.push(Effect::Persist { record, durable: false });
        }
    }

    /// Tells the kernel and the resolver what follows, when it differs from what they were told.
    pub(super) fn publish(&mut self, out: &mut Vec<Effect>) {
        let view = ClusterView::new(self.pool, &self.me, &self.state, &self.membership);
        let network = network_intent(&view, self.facts.slice);
        let names = Arc::new(name_table(&view));
        if self.network.as_ref() != Some(&network) {
            self.network = Some(network.clone());
            out.push(Effect::Network(network));
        }
        if self.names.as_ref() != Some(&names) {
            self.names = Some(names.clone());
            out.push(Effect::Names(names));
        }
        if !self.membership.members().keys().eq(&self.members) {
            self.members = self.membership.members().keys().cloned().collect();
            out.push(Effect::Know(self.members.clone()));
        }
        if self.refused != *self.state.removed() {
            self.refused = self.state.removed().clone();
            out.push(Effect::Refuse(self.refused.clone()));
        }
    }
}
