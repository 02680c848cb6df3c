//! Evens out what runs once a host has joined or is back: one replica at a time for an App, started
//! there before it is stopped here, and never what has data, ends by itself, or is not well. Makes no
//! move that the next one would take back, so it comes to an end by itself.
//!
//! Two reasons count. A Deployment has at least two replicas more on one host, or on hosts alike in
//! what it is spread over, than it would have on another: each such move makes the sum of squares
//! smaller. Or one host has much less reserved than another: then only what is small beside that
//! difference moves, so that not even several Homes that move at once can turn it round.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::gang::gang_of;
use super::plan::Planner;
use super::schedule::{self, Ranking, Request};
use super::targets::Target;
use crate::model::{Assignment, Availability, HostId, Liveness, ReplicaId, Replicas, ServiceName};

/// Everything of the App has been ready for so long before something is moved, and again before the
/// next is: a host that has just come may go again.
const SETTLE: Duration = Duration::from_secs(60);
/// Thousandths of what a host has that another must have less reserved.
const GAP: u64 = 250;
/// What moves for that is at most this part of the difference.
const PART: u64 = 4;

/// A move.
struct Move<'a> {
    replica: ReplicaId,
    target: &'a Target<'a>,
    to: HostId,
}

impl<'a> Planner<'a> {
    /// Moves at most one replica, if nothing else goes on.
    pub(super) fn rebalance(&mut self) {
        if !self.is_calm() {
            return;
        }
        let Some(Move { replica, target, to }) = self.uneven().or_else(|| self.lopsided()) else {
            return;
        };
        let ready = self.assignments.values().filter(|assignment| !assignment.done);
        let ready = ready.map(|assignment| self.view.ready_for(assignment)).min();
        let left = SETTLE.saturating_sub(ready.unwrap_or(Duration::MAX));
        if !left.is_zero() {
            return self.look_again(left);
        }
        let Some(old) = self.assignments.remove(&replica) else { return };
        let deployment = &*target.deployment;
        self.load.remove(&old.host, &replica, deployment, &old.devices);
        self.load.hold(&old.host, &old.devices);
        self.put(&replica, target, to);
        self.outgoing.push(Assignment { outgoing: true, ..old });
    }

    /// Whether this App and the hosts are as they are to stay.
    fn is_calm(&self) -> bool {
        let moving = self.rollouts.values().any(|rollout| rollout.stage.is_moving());
        let hosts = self.view.hosts.iter();
        let mut doubtful = hosts.filter(|(id, host)| match host.liveness {
            Liveness::Alive => false,
            Liveness::Suspect => true,
            Liveness::Dead => !self.view.is_gone(id),
        });
        let unchanged = self.n_placed == 0 && self.rivals.is_empty() && self.stale.is_empty();
        unchanged
            && !moving
            && self.brake.is_none()
            && self.outgoing.is_empty()
            && self.waiting.is_empty()
            && doubtful.next().is_none()
            && self.assignments.values().all(|assignment| self.view.is_up(assignment))
    }

    /// Deployments of which replicas may be moved, with where they run.
    fn movable(&self) -> Vec<(&'a ServiceName, &'a Target<'a>)> {
        let targets = self.targets.iter().map(|(service, target)| (*service, target));
        let targets = targets.filter(|(service, target)| {
            matches!(target.deployment.replicas, Replicas::Count(1..))
                && !target.deployment.is_one_shot()
                && gang_of(&target.deployment).is_none()
                && !self.rollouts.contains_key(*service)
                && self.pins_of(target).is_empty()
                && !self.of_service(service).any(|assignment| assignment.done)
        });
        targets.collect()
    }

    /// A replica of a Deployment that has two more where it is than it would have elsewhere.
    fn uneven(&mut self) -> Option<Move<'a>> {
        let live = self.view.hosts.values().filter(|host| host.liveness == Liveness::Alive);
        let n_live = live.count();
        for (service, target) in self.movable() {
            let deployment = &*target.deployment;
            // The last one on each host, and how many there are.
            let mut on: BTreeMap<HostId, (u32, ReplicaId)> = BTreeMap::new();
            for assignment in self.of_service(service) {
                let replica = assignment.replica.clone();
                let one = on.entry(assignment.host.clone()).or_insert((0, replica.clone()));
                *one = (one.0 + 1, replica);
            }
            let counts = || on.values().map(|(count, _)| *count);
            let most = counts().max().unwrap_or_default();
            let is_even = most < 2 || on.len() == n_live && counts().all(|n| n + 1 >= most);
            if is_even && deployment.placement.spread.is_empty() {
                continue;
            }
            let Some((_, first)) = on.values().next() else { continue };
            let mut ranking = Ranking::new(self.view, first, deployment, &self.load);
            let by_evenness = |(host, _): &(&HostId, _)| ranking.evenness(host);
            let Some((from, (_, replica))) = on.iter().max_by_key(by_evenness) else { continue };
            let devices = self.assignments.get(replica).map(|a| a.devices.clone());
            let devices = devices.unwrap_or_default();
            self.load.remove(from, replica, deployment, &devices);
            self.load.hold(from, &devices);
            let best = ranking.best(self.view, deployment, &self.load, None);
            let best = best.filter(|best| ranking.evenness(best) < ranking.evenness(from));
            self.load.release(from, &devices);
            self.load.add(from, replica, deployment, &devices);
            let best = best.filter(|best| !self.is_shunned(service, best));
            if let Some(to) = best.filter(|best| self.may_take_more(best)) {
                return Some(Move { replica: replica.clone(), target, to: to.clone() });
            }
        }
        None
    }

    /// A small replica of a host that has much more reserved than the one that has least.
    fn lopsided(&mut self) -> Option<Move<'a>> {
        let hosts = self.view.hosts.keys().filter(|host| self.may_take_more(host));
        let to = hosts.min_by_key(|host| (self.share(host), **host)).copied()?;
        let least = self.share(to);
        let crowded: BTreeSet<&HostId> = self
            .view
            .hosts
            .keys()
            .copied()
            .filter(|host| self.share(host) >= least.saturating_add(GAP))
            .collect();
        if crowded.is_empty() {
            return None;
        }
        for (service, target) in self.movable() {
            if self.is_shunned(service, to) {
                continue;
            }
            let deployment = &*target.deployment;
            for assignment in self.of_service(service).filter(|a| crowded.contains(&a.host)) {
                let gap = self.share(&assignment.host).saturating_sub(least);
                let sizes = [&assignment.host, to].map(|host| self.share_of(host, target));
                let is_small = sizes.iter().all(|size| size.saturating_mul(PART) <= gap);
                // What reserves nothing changes nothing.
                if !is_small || sizes[0] == 0 || !deployment.placement.spread.is_empty() {
                    continue;
                }
                let replica = &assignment.replica;
                let of = |host| self.load.of_service(host, replica);
                let request = Request { replica, deployment, pinned: None, current: None };
                let view = &self.view.hosts[to];
                if of(to) < of(&assignment.host) && schedule::fits(request, to, view, &self.load) {
                    return Some(Move { replica: replica.clone(), target, to: to.clone() });
                }
            }
        }
        None
    }

    /// Whether a host is to be given what runs elsewhere.
    fn may_take_more(&self, host: &HostId) -> bool {
        self.view.hosts.get(host).is_some_and(|view| {
            view.liveness == Liveness::Alive
                && view.availability() == Availability::Active
                && !view.facts.engine_version.is_empty()
                && !view.facts.disk_full
                && !schedule::is_strained(view)
        })
    }

    /// Thousandths of a host's CPU or memory that are reserved, whichever is more.
    fn share(&self, host: &HostId) -> u64 {
        let Some(view) = self.view.hosts.get(host) else { return 0 };
        let (all, reserved) = (view.facts.capacity, self.load.reserved(host));
        let cpu = thousandths(reserved.cpu_millis, all.cpu_millis);
        cpu.max(thousandths(reserved.memory, all.memory))
    }

    /// The same of what one replica reserves.
    fn share_of(&self, host: &HostId, target: &Target<'_>) -> u64 {
        let Some(view) = self.view.hosts.get(host) else { return 0 };
        let (all, wanted) = (view.facts.capacity, &target.deployment.container.resources);
        let cpu = thousandths(wanted.cpu_reserved_millis, all.cpu_millis);
        cpu.max(thousandths(wanted.memory_reserved, all.memory))
    }
}

fn thousandths(part: u64, all: u64) -> u64 {
    part.saturating_mul(1000) / all.max(1)
}

#[cfg(test)]
mod tests;
