//! How what goes on goes on: the answers of the Provider, machines that join, hosts that empty. Begins
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::sight::exceeds;
use super::{Ask, DRAIN_LIMIT, Deciding, Follow, PAUSE_FIRST, PAUSE_MOST, Reply, Verb};
use crate::model::{
    Availability, FleetStage, FleetStep, HostId, Liveness, RevisionId, ServiceNeed,
};

pub(super) fn place((name, need): (&String, &ServiceNeed)) -> (String, RevisionId) {
    (name.clone(), need.revision.clone())
}

impl Deciding<'_, '_> {
    /// What became of what was asked here.
    pub(super) fn take_answer(&mut self, reply: Reply) {
        let Some(step) = self.fleet.step.clone() else { return };
        let machine = step.machine.unwrap_or_default();
        match (step.stage, reply) {
            (FleetStage::Add, Reply::Accepted(_)) => {
                self.fleet.machines = self.fleet.machines.max(machine);
                self.fleet.open.insert(machine);
                self.keeper.step_since = self.now;
                self.fleet.step = Some(FleetStep { stage: FleetStage::Join, ..step });
            }
            (FleetStage::Remove, Reply::Accepted(_)) => self.given_back(&step),
            (FleetStage::List, Reply::Accepted(machines)) => self.forget_lost(&machines),
            (stage, Reply::Refused { reason, retry_after }) => {
                self.fail(format!("the provider refused: {reason}"), retry_after);
                self.keeper.kept = stage == FleetStage::Remove;
                // A host that was drained is tried again, or is wanted after all.
                if step.host.is_none() {
                    self.fleet.step = None;
                }
            }
            (FleetStage::Remove, Reply::Unclear(reason)) => self.fail(reason, None),
            (stage, Reply::Unclear(reason)) => {
                if stage == FleetStage::Add {
                    // Something may have been made. It is given back unless it joins.
                    self.fleet.machines = self.fleet.machines.max(machine);
                    self.fleet.open.insert(machine);
                }
                self.fleet.step = None;
                self.fail(reason, None);
            }
            // Nothing is asked then.
            (FleetStage::Join | FleetStage::Drain, Reply::Accepted(_)) => {}
        }
    }

    pub(super) fn go_on(&mut self) {
        let Some(step) = self.fleet.step.clone() else { return };
        match step.stage {
            FleetStage::Add => self.go_on_adding(&step),
            FleetStage::Join => self.go_on_joining(&step),
            FleetStage::Drain => self.go_on_draining(&step),
            FleetStage::Remove => self.go_on_removing(&step),
            FleetStage::List => self.ask(Verb::List, &step),
        }
    }

    fn go_on_adding(&mut self, step: &FleetStep) {
        if step.machine.is_some_and(|machine| self.sight.machines.contains_key(&machine)) {
            // Whoever asked before did not hear the answer.
            return self.go_on_joining(step);
        }
        self.ask(Verb::Add, step);
    }

    fn go_on_joining(&mut self, step: &FleetStep) {
        let machine = step.machine.unwrap_or_default();
        if let Some(host) = self.sight.machines.get(&machine).map(|host| (*host).clone())
            && let Some(view) = self.sight.host(&host)
            && view.liveness == Liveness::Alive
            && !view.facts.engine_version.is_empty()
        {
            let has = view.facts.capacity;
            let services = || step.need.iter().flat_map(|need| &need.services);
            let futile = services().filter(|(_, one)| exceeds(&one.reserves, &has));
            let futile: BTreeMap<String, RevisionId> = futile.map(place).collect();
            let name = self.sight.name(&host);
            self.fleet.machines = self.fleet.machines.max(machine);
            self.fleet.unused.insert(machine, services().map(place).collect());
            self.end(format!("`{name}` joined as machine {machine}"));
            return self.in_vain(futile, &format!("`{name}` is too small"));
        }
        let limit = Duration::from_millis(self.provider.join_ms);
        let until = self.keeper.step_since + limit;
        if self.now < until {
            return self.look_again(until);
        }
        self.fleet.step = None;
        let seconds = limit.as_secs();
        self.fail(format!("machine {machine} has not joined within {seconds} s"), None);
    }

    /// A machine like one that came is of no use to these services.
    pub(super) fn in_vain(&mut self, services: BTreeMap<String, RevisionId>, why: &str) {
        if services.is_empty() {
            return;
        }
        let names: Vec<&str> = services.keys().map(String::as_str).collect();
        let words = format!("{why} for {}: no other machine is asked for", names.join(", "));
        self.note(words.clone());
        self.fleet.problem = Some(words);
        self.fleet.futile.extend(services);
    }

    fn go_on_draining(&mut self, step: &FleetStep) {
        let Some(host) = &step.host else { return self.fleet.step = None };
        let name = self.sight.name(host);
        let Some(view) = self.sight.host(host) else {
            return self.end(format!("`{name}` was removed by somebody"));
        };
        // Just asked for; the view does not have it yet.
        let asked_now = self.follow.iter().any(|f| matches!(f, Follow::Want(of, _) if of == host));
        if view.availability() == Availability::Active && !asked_now {
            return self.end(format!("`{name}` was made active by somebody and stays"));
        }
        if view.liveness == Liveness::Dead {
            self.follow.push(Follow::Want(host.clone(), Availability::Active));
            self.fleet.step = None;
            return self.fail(format!("`{name}` died while it was drained"), None);
        }
        if !self.sight.pending.is_empty() {
            self.follow.push(Follow::Want(host.clone(), Availability::Active));
            return self.end(format!("`{name}` is wanted after all and stays"));
        }
        if !asked_now && self.sight.has_left(host) {
            self.keeper.step_since = self.now;
            let step = FleetStep { stage: FleetStage::Remove, ..step.clone() };
            self.fleet.step = Some(step.clone());
            return self.go_on_removing(&step);
        }
        let until = self.keeper.step_since + DRAIN_LIMIT;
        if self.now < until {
            return self.look_again(until);
        }
        self.follow.push(Follow::Want(host.clone(), Availability::Active));
        self.fleet.step = None;
        let seconds = DRAIN_LIMIT.as_secs();
        self.fail(format!("`{name}` did not become empty within {seconds} s"), None);
    }

    fn go_on_removing(&mut self, step: &FleetStep) {
        if self.keeper.asked.is_none() {
            if let Some(host) = &step.host {
                let name = self.sight.name(host);
                let view = self.sight.host(host);
                if view.is_none() {
                    return self.end(format!("`{name}` was removed by somebody"));
                }
                if view.is_some_and(|view| view.availability() == Availability::Active) {
                    return self.end(format!("`{name}` was made active by somebody and stays"));
                }
                if self.keeper.kept && !self.sight.pending.is_empty() {
                    self.follow.push(Follow::Want(host.clone(), Availability::Active));
                    return self.end(format!("`{name}` is wanted after all and stays"));
                }
            } else if step.machine.is_some_and(|one| self.sight.machines.contains_key(&one)) {
                return self.end("it joined after all".to_owned());
            }
        }
        self.ask(Verb::Remove, step);
    }

    fn given_back(&mut self, step: &FleetStep) {
        if let Some(machine) = step.machine {
            self.fleet.open.remove(&machine);
        }
        let Some(host) = &step.host else {
            // That nothing came of it counts on, or it would be tried without a pause for ever.
            let machine = step.machine.unwrap_or_default();
            self.note(format!("machine {machine} was given back"));
            self.fleet.step = None;
            self.keeper.pause_until = self.now + pause_after(self.fleet.failures);
            return self.look_again(self.keeper.pause_until);
        };
        self.follow.push(Follow::Remove(host.clone()));
        self.end(format!("`{}` was given back", self.sight.name(host)));
        let unused = step.machine.and_then(|machine| self.fleet.unused.remove(&machine));
        self.in_vain(unused.unwrap_or_default(), "it was of no use");
    }

    /// Dead hosts that the Provider does not have any more are nobody's.
    fn forget_lost(&mut self, there: &BTreeSet<u64>) {
        self.fleet.step = None;
        let lost = self.sight.dead.iter().filter(|(machine, _)| !there.contains(machine));
        let lost: Vec<HostId> = lost.map(|(_, host)| (*host).clone()).collect();
        for host in lost {
            let name = self.sight.name(&host);
            self.note(format!("`{name}` is dead, and the provider does not have it any more"));
            self.follow.push(Follow::Remove(host));
        }
    }

    /// Has the program run, unless that goes on or is not due yet.
    fn ask(&mut self, verb: Verb, step: &FleetStep) {
        if self.keeper.asked.is_some() || self.must_wait() {
            return;
        }
        let Some(command) = self.provider.command.clone() else { return };
        let ask = Ask {
            verb,
            machine: step.machine,
            host: step.host.as_ref().map(|host| (host.clone(), self.sight.name(host))),
            need: step.need.clone(),
            reason: step.reason.clone(),
            command,
            limit: Duration::from_millis(self.provider.answer_ms),
            join_within: Duration::from_millis(self.provider.join_ms),
        };
        self.keeper.asked = Some(ask.clone());
        self.follow.push(Follow::Ask(Box::new(ask)));
    }

    /// What went on is over, and all is well.
    fn end(&mut self, what: String) {
        self.note(what);
        self.fleet.step = None;
        (self.fleet.failures, self.fleet.problem) = (0, None);
        self.keeper.pause_until = self.now + Duration::from_millis(self.provider.pause_ms);
        self.look_again(self.keeper.pause_until);
    }

    /// It came to nothing. The next try waits, the longer the more there were.
    fn fail(&mut self, why: String, retry_after: Option<Duration>) {
        self.fleet.failures = self.fleet.failures.saturating_add(1);
        let pause = pause_after(self.fleet.failures).max(retry_after.unwrap_or_default());
        self.keeper.pause_until = self.now + pause.min(PAUSE_MOST);
        self.look_again(self.keeper.pause_until);
        self.note(why.clone());
        self.fleet.problem = Some(why);
    }
}

/// The pause after so many failures in a row.
fn pause_after(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(10);
    (PAUSE_FIRST * 2_u32.pow(doublings)).min(PAUSE_MOST)
}
