//! Moves that come to nothing: a copy that was started on another host, beside the one that serves,
//! and does not come up there. It is given up, its replica stays where it serves, and for a while
//! nothing of its Service moves to that host. Never gives up what is an update: see [`super::judge`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Planner;
use crate::logic::judge::failure;
use crate::logic::targets::Target;
use crate::model::{
    Assignment, Generation, HostId, Liveness, ReplicaId, ServiceName, Setback, Waiting,
};

/// A copy that has not come up by then is given up, whatever it says: as long as Kubernetes lets a
/// Deployment be without progress.
const MOVE_MAX: Duration = Duration::from_secs(600);

impl<'a> Planner<'a> {
    /// Takes over what is known of moves that failed. What runs there now, is of another spec, or was to
    /// go to a host that is not there any more, has no setback.
    pub(super) fn recall_setbacks(&mut self) {
        let Some(previous) = self.previous else { return };
        for (service, hosts) in &previous.setbacks {
            let Some(target) = self.targets.get(service) else { continue };
            let runs_on = |host: &HostId| {
                let mut there = previous.of_service(service).iter();
                there.any(|a| a.host == *host && !a.outgoing && self.view.is_up(a))
            };
            let mut kept = hosts.clone();
            kept.retain(|host, setback| {
                let is_there = self.view.hosts.contains_key(host);
                is_there && setback.spec_hash == target.spec_hash && !runs_on(host)
            });
            if !kept.is_empty() {
                self.setbacks.insert(service.clone(), kept);
            }
        }
        self.given_up = previous.given_up.clone();
    }

    /// Gives up the copies of moves that failed. Returns their replicas.
    pub(super) fn give_up_moves(&mut self) -> BTreeSet<&'a ReplicaId> {
        let mut given_up = BTreeSet::new();
        for (new, old) in self.previous.into_iter().flat_map(|plan| plan.moves()) {
            let is_alone = self.previous.is_some_and(|p| p.of_replica(&new.replica).len() == 2);
            let serves = self.view.serves(old) && self.targets.contains_key(&new.replica.service);
            if !is_alone || !serves || self.view.is_up(new) {
                continue;
            }
            let Some(reason) = self.why_failed(new) else { continue };
            let companions: Vec<Assignment> = self.view.companions(new).collect();
            for one in companions.iter().chain([new]) {
                let of_service = self.given_up.entry(one.replica.service.clone()).or_default();
                of_service.insert(one.replica.index, one.generation);
            }
            let hosts = self.setbacks.entry(new.replica.service.clone()).or_default();
            let before = hosts.get(&new.host).map_or(0, |setback| setback.times);
            let setback = Setback {
                index: new.replica.index,
                spec_hash: new.spec_hash.clone(),
                times: before.saturating_add(1),
                reason,
            };
            hosts.insert(new.host.clone(), setback);
            given_up.insert(&new.replica);
        }
        self.shun();
        given_up
    }

    /// Why a copy that moved, or one beside it, has failed; none while it may still come up.
    fn why_failed(&mut self, new: &Assignment) -> Option<String> {
        // What a dead host does not do is no setback: its replicas are placed elsewhere anyway.
        if self.view.liveness(&new.host) == Liveness::Dead {
            return None;
        }
        let companions = self.view.companions(new);
        let statuses: Vec<_> = companions.filter_map(|one| self.view.status(&one)).collect();
        let mut statuses = self.view.status(new).into_iter().chain(statuses);
        if let Some(reason) = statuses.find_map(failure) {
            return Some(reason);
        }
        let left = MOVE_MAX.saturating_sub(self.view.moving_for(new));
        if left.is_zero() {
            return Some(format!("was not ready after {} min", MOVE_MAX.as_secs() / 60));
        }
        self.look_again(left);
        None
    }

    /// Makes hosts with a setback the last choice, for as long as its pause is.
    fn shun(&mut self) {
        let mut soonest: Option<Duration> = None;
        for (service, hosts) in &self.setbacks {
            for (host, setback) in hosts {
                let since = self.view.set_back_for(self.app, service, host, setback.times);
                let left = setback.pause().saturating_sub(since);
                if left.is_zero() {
                    continue;
                }
                self.load.shun(&self.replica(service, 0), host);
                soonest = Some(soonest.map_or(left, |soonest| soonest.min(left)));
            }
        }
        if let Some(left) = soonest {
            self.look_again(left);
        }
    }

    /// Whether nothing of a Service is to move to a host now.
    pub(in crate::logic) fn is_shunned(&self, service: &ServiceName, host: &HostId) -> bool {
        self.load.shuns(&self.replica(service, 0), host)
    }

    /// Takes a replica off the host that it was just given, when it runs well elsewhere and copies of it
    /// did not come up on that host. Returns whether it did.
    pub(in crate::logic) fn is_not_to_move(
        &mut self,
        old: &Assignment,
        target: &Target<'_>,
    ) -> bool {
        let Some(new) = self.assignments.get(&old.replica) else { return false };
        let service = &old.replica.service;
        let is_move = new.spec_hash == old.spec_hash && new.host != old.host;
        if !is_move || !self.is_shunned(service, &new.host) {
            return false;
        }
        let new = new.clone();
        let setback = self.setbacks.get(service).and_then(|hosts| hosts.get(&new.host));
        let reason = setback.map(|setback| setback.reason.clone()).unwrap_or_default();
        let host = self.view.host_name(&new.host);
        self.load.remove(&new.host, &new.replica, &target.deployment, &new.devices);
        self.assignments.remove(&new.replica);
        let waiting = Waiting::DidNotComeUp { host, reason };
        self.waiting.insert(old.replica.to_string(), waiting);
        true
    }

    /// The Generation of a replica that was given up, if it is above what counts.
    pub(super) fn given_up_of(&self, replica: &ReplicaId) -> Generation {
        let of_service = self.given_up.get(&replica.service);
        let generation = of_service.and_then(|of_service| of_service.get(&replica.index));
        generation.copied().unwrap_or_default()
    }
}

/// Forgets Generations that were given up once their replicas have later ones, or are gone.
pub(super) fn forget_given_up(
    given_up: &mut BTreeMap<ServiceName, BTreeMap<u32, Generation>>,
    there: &[Assignment],
) {
    let now = |service: &ServiceName, index: u32| {
        let mut mine = there.iter().filter(|a| !a.outgoing);
        mine.find(|a| a.replica.service == *service && a.replica.index == index)
    };
    for (service, of_service) in given_up.iter_mut() {
        of_service.retain(|index, generation| {
            now(service, *index).is_some_and(|a| a.generation < *generation)
        });
    }
    given_up.retain(|_, of_service| !of_service.is_empty());
}
