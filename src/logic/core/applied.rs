//! Whether an endpoint that left is gone everywhere: a host that is about to stop a container asks
//! all others to say when their kernels go by the Plan without it. Never stops anything itself, and
//! never waits for ever: [`super::super::host`] has the limit.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::{Core, Effect, Now};
use crate::logic::host::ASK_AGAIN;
use crate::logic::{Applied, Message};
use crate::model::{AppName, HostId, Moment};

/// What was asked and answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Acknowledgements {
    /// The highest Plan of each App that each host goes by, as far as it said.
    told: BTreeMap<AppName, BTreeMap<HostId, u64>>,
    /// What others wait for.
    wanted: BTreeMap<(AppName, HostId), (u64, SocketAddr)>,
    /// What the others were asked for last, and when that was.
    asked: BTreeMap<AppName, (u64, Moment)>,
    /// Rises with every answer.
    changes: u64,
}

impl Acknowledgements {
    /// A number that rises with every answer.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    fn note(&mut self, app: &AppName, host: &HostId, plan: u64) -> bool {
        let told = self.told.entry(app.clone()).or_default().entry(host.clone()).or_default();
        let is_news = *told < plan;
        *told = plan.max(*told);
        self.changes += u64::from(is_news);
        is_news
    }

    /// The highest Plan of an App that all of `hosts` go by; 0 when one of them has not said.
    pub(super) fn lowest<'h>(&self, app: &AppName, hosts: impl Iterator<Item = &'h HostId>) -> u64 {
        // Most Apps have nothing to leave, and nobody has said a word about them.
        let Some(told) = self.told.get(app) else { return 0 };
        let of = |host: &HostId| told.get(host).copied().unwrap_or_default();
        hosts.map(of).min().unwrap_or_default()
    }
}

impl Core {
    /// A host says which Plan its kernel goes by.
    pub(super) fn handle_applied(&mut self, from: &HostId, applied: &Applied) {
        // Of an App that nothing leaves here, the number is of no use.
        if self.machine.leaving().contains_key(&applied.app) {
            self.acknowledgements.note(&applied.app, from, applied.plan);
        }
    }

    /// A host wants to be told when our kernel goes by a Plan.
    pub(super) fn handle_ask_applied(&mut self, from: &HostId, address: SocketAddr, of: Applied) {
        self.acknowledgements.wanted.insert((of.app, from.clone()), (of.plan, address));
    }

    /// Whether the kernel is as it was last told to be.
    fn is_in_place(&self) -> bool {
        self.network.is_some() && self.network == self.in_place
    }

    /// Notes what our own kernel goes by. Returns whether that is news to somebody here.
    pub(super) fn note_own(&mut self) -> bool {
        let leaving = self.machine.leaving();
        if leaving.is_empty() || !self.is_in_place() {
            return false;
        }
        let mut is_news = false;
        for app in leaving.into_keys() {
            let plan = self.state.plan(&app).map_or(0, |plan| plan.number);
            is_news |= self.acknowledgements.note(&app, &self.me, plan);
        }
        is_news
    }

    /// Asks all others for what containers that leave wait for.
    pub(super) fn ask_applied(&mut self, now: Now, out: &mut Vec<Effect>) {
        let leaving = self.machine.leaving();
        self.acknowledgements.told.retain(|app, _| leaving.contains_key(app));
        self.acknowledgements.asked.retain(|app, _| leaving.contains_key(app));
        for (app, plan) in leaving {
            let asked = self.acknowledgements.asked.get(&app);
            if asked.is_some_and(|(n, at)| *n >= plan && now.moment < *at + ASK_AGAIN) {
                continue;
            }
            let told = self.acknowledgements.told.get(&app);
            let has =
                |host: &HostId| told.and_then(|told| told.get(host)).is_some_and(|n| *n >= plan);
            let silent: Vec<HostId> = self.alive().filter(|host| !has(host)).cloned().collect();
            for host in silent {
                let of = Applied { app: app.clone(), plan };
                self.send(&host, Message::AskApplied(of), out);
            }
            self.acknowledgements.asked.insert(app, (plan, now.moment));
        }
    }

    /// Tells whoever waits for it that our kernel goes by a Plan.
    pub(super) fn answer_applied(&mut self, out: &mut Vec<Effect>) {
        if self.acknowledgements.wanted.is_empty() || !self.is_in_place() {
            return;
        }
        let wanted = std::mem::take(&mut self.acknowledgements.wanted);
        for ((app, host), (plan, address)) in wanted {
            match self.state.plan(&app).map(|ours| ours.number) {
                Some(ours) if ours >= plan => {
                    let message = Message::Applied(Applied { app, plan: ours });
                    out.push(Effect::Send { to: host, address, message });
                }
                Some(_) | None => {
                    self.acknowledgements.wanted.insert((app, host), (plan, address));
                }
            }
        }
    }
}
