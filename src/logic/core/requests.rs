//! What people ask this host to have run: told to the Home, and taken back once that has answered.
//! Never begins a run.

use super::{Core, Effect};
use crate::logic::gang::WHOLE;
use crate::logic::view::AnnouncedSince;
use crate::model::{AppName, Fact, GangStage, Moment, ReplicaId, RowKey, RunRequest, RunState};

impl Core {
    /// The number of the next request here for an App: above all that any Plan has answered, so that a
    /// host whose disk was lost is not taken for one that repeats itself.
    pub fn next_request(&self, app: &AppName) -> u64 {
        let answered = self.state.plan(app).and_then(|plan| plan.asked.get(&self.me)).copied();
        let waiting = self.requests_here(app).into_iter().map(|request| request.number).max();
        answered.max(waiting).unwrap_or_default() + 1
    }

    pub(super) fn ask_for(&mut self, app: AppName, request: RunRequest, out: &mut Vec<Effect>) {
        let mut all = self.requests_here(&app);
        all.push(request);
        self.say(RowKey::Asked(app), &Fact::Asked(all), out);
    }

    fn requests_here(&self, app: &AppName) -> Vec<RunRequest> {
        let mut facts = self.state.facts_of(&self.me);
        let found = facts.find_map(|(key, fact)| match (key, fact) {
            (RowKey::Asked(of), Fact::Asked(requests)) if of == app => Some(requests.clone()),
            (_, _) => None,
        });
        found.unwrap_or_default()
    }

    /// Takes back what was answered.
    pub(super) fn take_back_requests(&mut self, out: &mut Vec<Effect>) {
        let answered = |app: &AppName| {
            let plan = self.state.plan(app)?;
            plan.asked.get(&self.me).copied()
        };
        let mine = self.state.facts_of(&self.me).filter_map(|(key, fact)| match (key, fact) {
            (RowKey::Asked(app), Fact::Asked(requests)) => Some((app, requests)),
            (_, _) => None,
        });
        let left: Vec<(AppName, Vec<RunRequest>)> = mine
            .filter_map(|(app, requests)| {
                let answered = answered(app)?;
                let left: Vec<RunRequest> =
                    requests.iter().filter(|one| one.number > answered).cloned().collect();
                (left.len() < requests.len()).then(|| (app.clone(), left))
            })
            .collect();
        for (app, left) in left {
            let key = RowKey::Asked(app);
            let row = match left.is_empty() {
                true => self.state.withdraw(key),
                false => self.state.write(key, &Fact::Asked(left)),
            };
            self.write_row(row, out);
        }
    }

    /// Notes since when each run is announced, and each gang waits.
    pub(super) fn watch_runs(&mut self, now: Moment) {
        let before = std::mem::take(&mut self.announced_since);
        let mut after = AnnouncedSince::new();
        for app in self.state.apps() {
            let Some(plan) = self.state.plan(app) else { continue };
            let announced = plan.runs.iter().flat_map(|(name, runs)| {
                let all = runs.runs.iter();
                let all = all.filter(|(_, run)| run.state == RunState::Announced);
                all.map(move |(index, _)| (name, *index))
            });
            let gangs = plan.gangs.iter().filter(|(_, gang)| gang.stage == GangStage::Waiting);
            for (name, index) in announced.chain(gangs.map(|(name, _)| (name, WHOLE))) {
                let replica = ReplicaId { app: app.clone(), service: name.clone(), index };
                let since = before.get(&replica).copied().unwrap_or(now);
                after.insert(replica, since);
            }
        }
        self.announced_since = after;
    }
}
