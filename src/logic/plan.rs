//! What the Home of an App decides: which Replica runs where, at which Generation.
//!
//! A function of the view alone: the same view gives the same Plan on any host, and a view in which
//! everything is as wanted gives none. Never acts; never reads a clock. [`super::judge`] says which
//! spec is wanted, [`super::rollout`] replaces what runs another, [`super::pins`] keeps replicas with
//! their data.

mod depends;
mod first;
mod moves;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use self::first::FirstSteps;
use self::moves::forget_given_up;
use super::addresses::service_address;
use super::autoscale;
use super::gang::gang_of;
use super::judge::{Judged, judge};
use super::schedule::{self, Load, Ranking, Rejections, Request};
use super::targets::{Target, Targets, reserve_sizes, spec_of, targets};
use super::vertical::{carried_on, reserve};
use super::view::ClusterView;
use crate::model::{
    AppName, Assignment, Deployment, EndpointMode, Filter, GangState, Generation, HostId, Intent,
    Liveness, Moment, Phase, Plan, ReplicaId, Replicas, RestartPolicy, RevisionId, Rollout, Runs,
    Scaling, SealedRevision, ServiceAddress, ServiceName, Setback, Sizing, Stage, Waiting,
    WallSeconds,
};

/// While more than half of all hosts are gone, each live one starts at most so many of their
/// replicas at once; the next come when these are up. Together with [`Load::brake`] this keeps the
/// survivors alive (reliability: mass failure).
const BRAKE_STARTS: usize = 2;

/// What planning an App came to.
#[derive(Debug, Clone, Default)]
pub struct Decision {
    /// The next Plan; none when the one that counts stands.
    pub plan: Option<Plan>,
    /// After so long the answer may be another, although nothing else changed.
    pub again: Option<Duration>,
}

/// The next Plan of `app` towards `revision`; none when the one that counts stands.
pub fn plan(view: &ClusterView<'_>, app: &AppName, revision: &SealedRevision) -> Option<Plan> {
    decide(view, app, revision, load_of_others(view, Some(app))).plan
}

/// As [`plan`], for a caller that knows what hosts carry for other Apps, and that can come back.
pub fn decide(
    view: &ClusterView<'_>,
    app: &AppName,
    revision: &SealedRevision,
    load_of_others: Load,
) -> Decision {
    let previous = view.plans.get(app).copied();
    let rivals = rivals(view, app, previous);
    let Judged { rollouts, again } = judge(view, revision, previous, &rivals);
    let scalings = scalings(view, revision, previous);
    let sizes = sizes(view, revision, previous);
    let (mut wanted, mut formers) =
        (targets(view.state, revision, &rollouts, &scalings), formers(view, revision, &rollouts));
    // Companions go where their leaders go.
    for targets in [&mut wanted, &mut formers] {
        targets.retain(|service, _| revision.leader(service) == *service);
        reserve_sizes(targets, &sizes);
    }
    let mut planner = Planner::new(view, app, revision, (&wanted, &formers), load_of_others);
    (planner.rollouts, planner.scalings, planner.again) = (rollouts, scalings, again);
    (planner.sizes, planner.previous) = (sizes, previous);
    planner.take_in(rivals);
    match revision.intent {
        Intent::Run => {
            planner.keep();
            planner.keep_gangs();
            planner.wind_down();
            planner.pin_volumes();
            planner.update();
            planner.fill();
            planner.carry_out_runs();
            planner.drop_outgoing();
            planner.rebalance();
            planner.allocate_addresses();
        }
        Intent::Remove => {
            planner.wind_down();
            planner.forget_runs();
        }
        Intent::RemoveWithVolumes => {
            planner.wind_down();
            planner.forget_runs();
            planner.pins.clear();
        }
    }
    planner.keep_addresses();
    let (again, overruled) = (planner.again, !planner.rivals.is_empty());
    let next = planner.finish();
    let stands = !overruled && previous.is_some_and(|previous| same(previous, &next));
    Decision { plan: (!stands).then_some(next), again }
}

/// Whether two Plans say the same; who made them, and when, does not matter.
fn same(a: &Plan, b: &Plan) -> bool {
    let Plan {
        app,
        number: _,
        home: _,
        revision,
        intent,
        assignments,
        addresses,
        waiting,
        pins,
        retired: _,
        seen: _,
        rollouts,
        undone,
        scalings,
        sizes,
        runs,
        gangs,
        setbacks,
        given_up,
        asked,
    } = a;
    let same_sizes = sizes.len() == b.sizes.len()
        && sizes.iter().zip(&b.sizes).all(|(a, b)| a.0 == b.0 && a.1.is_same(b.1));
    let same_scalings = scalings.len() == b.scalings.len()
        && scalings.iter().zip(&b.scalings).all(|(a, b)| a.0 == b.0 && a.1.is_same(b.1));
    *app == b.app
        && *revision == b.revision
        && *intent == b.intent
        && *assignments == b.assignments
        && *addresses == b.addresses
        && *waiting == b.waiting
        && *pins == b.pins
        && *rollouts == b.rollouts
        && *undone == b.undone
        && same_scalings
        && same_sizes
        && *runs == b.runs
        && *gangs == b.gangs
        && *setbacks == b.setbacks
        && *given_up == b.given_up
        && *asked == b.asked
}

/// How many replicas there are to be of what has rules: as the Home keeps it, or, for whoever only wants
/// to know what a Revision would change, as the last Plan has it.
fn scalings(
    view: &ClusterView<'_>,
    revision: &SealedRevision,
    previous: Option<&Plan>,
) -> BTreeMap<ServiceName, Scaling> {
    if let Some(kept) = view.scalings {
        return kept.clone();
    }
    let (moment, wall) = (Moment::default(), WallSeconds::default());
    let scalers = autoscale::with_rules(revision).map(|(service, rules, replicas)| {
        let before = previous.and_then(|plan| plan.scalings.get(service));
        let mut scaler = autoscale::scaler(rules, replicas, before, moment);
        scaler.heed(rules, (moment, wall));
        (service.clone(), scaler.scaling(moment))
    });
    scalers.collect()
}

/// What replicas are given: as the Home keeps it, or else as the last Plan has it.
fn sizes(
    view: &ClusterView<'_>,
    revision: &SealedRevision,
    previous: Option<&Plan>,
) -> BTreeMap<ServiceName, Sizing> {
    if revision.intent != Intent::Run {
        return BTreeMap::new();
    }
    let before = previous.map(|plan| &plan.sizes);
    view.sizes.cloned().unwrap_or_else(|| carried_on(revision, before.unwrap_or(&BTreeMap::new())))
}

/// Plans of other Homes that `previous` knew nothing of: made across a cut.
fn rivals<'a>(view: &ClusterView<'a>, app: &AppName, previous: Option<&'a Plan>) -> Vec<&'a Plan> {
    let Some(previous) = previous else { return Vec::new() };
    let is_unseen = |home: &HostId, plan: &Plan| {
        *home != previous.home && previous.seen.get(home).is_none_or(|n| *n < plan.number)
    };
    let unseen = view.plans_of(app).filter(|(home, plan)| is_unseen(home, plan));
    unseen.map(|(_, plan)| plan).collect()
}

/// The old specs of Deployments whose new ones have not proved themselves.
fn formers<'a>(
    view: &ClusterView<'a>,
    revision: &'a SealedRevision,
    rollouts: &BTreeMap<ServiceName, Rollout>,
) -> Targets<'a> {
    let forth = rollouts.iter().filter(|(_, rollout)| !rollout.stage.is_back());
    let back = forth.map(|(service, rollout)| {
        (service.clone(), Rollout { stage: Stage::RollingBack, ..rollout.clone() })
    });
    let back: BTreeMap<ServiceName, Rollout> = back.collect();
    let mut formers = targets(view.state, revision, &back, &BTreeMap::new());
    formers.retain(|service, _| back.contains_key(*service));
    formers
}

/// What every host carries for the Apps other than `except`.
pub fn load_of_others(view: &ClusterView<'_>, except: Option<&AppName>) -> Load {
    let mut load = Load::default();
    for (app, plan) in &view.plans {
        if Some(*app) == except {
            continue;
        }
        for assignment in &plan.assignments {
            // A run that is over takes nothing.
            let is_over = plan.run(&assignment.replica).is_some_and(|run| run.state.is_over());
            let deployment = spec_of(view.state, plan, assignment).filter(|_| !is_over);
            if let Some(deployment) = deployment {
                let Assignment { host, replica, devices, .. } = assignment;
                let mut deployment = deployment;
                if plan.sizes.contains_key(&replica.service) {
                    let own = deployment.container.resources;
                    let size = plan.size(&replica.service);
                    reserve(deployment.to_mut(), [(&own, size)].into_iter());
                }
                load.add(host, replica, &deployment, devices);
            }
        }
    }
    load
}

/// What replicas of a spec wait for first, by its Revision, as far as it was asked.
type Unmet = BTreeMap<RevisionId, Option<Waiting>>;

pub(super) struct Planner<'a> {
    pub(super) view: &'a ClusterView<'a>,
    pub(super) app: &'a AppName,
    pub(super) revision: &'a SealedRevision,
    /// What is wanted of each Deployment.
    pub(super) targets: &'a Targets<'a>,
    /// What else some of their replicas run on with.
    pub(super) formers: &'a Targets<'a>,
    pub(super) rollouts: BTreeMap<ServiceName, Rollout>,
    scalings: BTreeMap<ServiceName, Scaling>,
    sizes: BTreeMap<ServiceName, Sizing>,
    pub(super) previous: Option<&'a Plan>,
    /// Plans of other Homes that the previous one knew nothing of: made across a cut.
    pub(super) rivals: Vec<&'a Plan>,
    pub(super) load: Load,
    /// The highest Generation of each replica that any Plan gave or any host has.
    pub(super) highest: BTreeMap<&'a ReplicaId, Generation>,
    pub(super) assignments: BTreeMap<ReplicaId, Assignment>,
    /// Replicas that are to be replaced although their spec is the one wanted.
    pub(super) stale: BTreeSet<ReplicaId>,
    /// Runs on until its successor is ready.
    pub(super) outgoing: Vec<Assignment>,
    addresses: Vec<ServiceAddress>,
    pub(super) waiting: BTreeMap<String, Waiting>,
    pub(super) pins: BTreeMap<String, HostId>,
    /// Replicas of gone hosts that may still be started; none without a mass failure.
    pub(super) brake: Option<usize>,
    /// How many replicas this Plan places.
    pub(super) n_placed: usize,
    /// The hosts for the Deployment that was placed last, which is the next one nearly always.
    pub(super) ranking: Option<((ServiceName, RevisionId), Ranking<'a>)>,
    pub(super) again: Option<Duration>,
    pub(super) runs: BTreeMap<ServiceName, Runs>,
    pub(super) gangs: BTreeMap<ServiceName, GangState>,
    setbacks: BTreeMap<ServiceName, BTreeMap<HostId, Setback>>,
    /// Generations above those that count, by Service and index: copies of moves that failed.
    given_up: BTreeMap<ServiceName, BTreeMap<u32, Generation>>,
    /// The last request of each host that was answered.
    pub(super) asked: BTreeMap<HostId, u64>,
}

impl<'a> Planner<'a> {
    fn new(
        view: &'a ClusterView<'a>,
        app: &'a AppName,
        revision: &'a SealedRevision,
        (targets, formers): (&'a Targets<'a>, &'a Targets<'a>),
        mut load: Load,
    ) -> Self {
        let brake = starts_left(view);
        load.brake = brake.is_some();
        Self {
            view,
            app,
            revision,
            targets,
            formers,
            rollouts: BTreeMap::new(),
            scalings: BTreeMap::new(),
            sizes: BTreeMap::new(),
            previous: None,
            rivals: Vec::new(),
            load,
            highest: BTreeMap::new(),
            assignments: BTreeMap::new(),
            stale: BTreeSet::new(),
            outgoing: Vec::new(),
            addresses: Vec::new(),
            waiting: BTreeMap::new(),
            pins: BTreeMap::new(),
            brake,
            n_placed: 0,
            ranking: None,
            again: None,
            runs: BTreeMap::new(),
            gangs: BTreeMap::new(),
            setbacks: BTreeMap::new(),
            given_up: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    /// What was planned before, here and across a cut, and what hosts have.
    fn take_in(&mut self, rivals: Vec<&'a Plan>) {
        for plan in self.previous.into_iter().chain(rivals.iter().copied()) {
            for assignment in &plan.assignments {
                Generation::raise(&mut self.highest, &assignment.replica, assignment.generation);
                let given_up = plan.given_up.get(&assignment.replica.service);
                if let Some(given_up) = given_up.and_then(|all| all.get(&assignment.replica.index))
                {
                    Generation::raise(&mut self.highest, &assignment.replica, *given_up);
                }
            }
            for (volume, host) in plan.pins.iter().filter(|(_, h)| !self.view.state.is_removed(h)) {
                self.pins.entry(volume.clone()).or_insert_with(|| host.clone());
            }
        }
        let statuses = self.view.statuses().filter(|(_, status)| status.replica.app == *self.app);
        for (_, status) in statuses {
            Generation::raise(&mut self.highest, &status.replica, status.generation);
        }
        self.rivals = rivals;
        self.take_in_runs();
    }

    /// Keeps what runs where it may go on running.
    fn keep(&mut self) {
        self.recall_setbacks();
        let stays = self.give_up_moves();
        for assignment in self.previous.map(|plan| plan.assignments.as_slice()).unwrap_or_default()
        {
            let service = &assignment.replica.service;
            let Some(target) = self.targets.get(service) else { continue };
            if gang_of(&target.deployment).is_some() {
                continue;
            }
            if let Replicas::Count(count) = target.deployment.replicas
                && assignment.replica.index > count
            {
                continue;
            }
            let stays = stays.contains(&assignment.replica);
            if stays && !assignment.outgoing {
                // The copy that did not come up.
                continue;
            }
            if assignment.outgoing && !stays {
                if self.view.liveness(&assignment.host) != Liveness::Dead {
                    self.load.hold(&assignment.host, &assignment.devices);
                    self.outgoing.push(assignment.clone());
                }
                continue;
            }
            let back = assignment.outgoing.then(|| assignment.clone());
            let back = back.map(|back| Assignment { outgoing: false, ..back });
            let assignment = back.as_ref().unwrap_or(assignment);
            let mut kept = self.settle_conflict(assignment, target);
            self.note_end(&mut kept, target);
            if self.must_leave(&kept, target) {
                continue;
            }
            if target.spec_hash == kept.spec_hash {
                kept.revision = target.revision.id().clone();
            }
            // A Plan of an older Home gave it none.
            let requests = &target.deployment.container.device_requests;
            if target.spec_hash == kept.spec_hash && requests.len() != kept.devices.len() {
                self.stale.insert(kept.replica.clone());
            }
            self.load.add(&kept.host, &kept.replica, &target.deployment, &kept.devices);
            self.assignments.insert(kept.replica.clone(), kept);
        }
    }

    /// Notes that a replica has ended for good, so that it does not run again whatever becomes of its
    /// host; and that somebody wants another try.
    fn note_end(&mut self, kept: &mut Assignment, target: &Target<'_>) {
        if target.deployment.restart == RestartPolicy::Always {
            (kept.done, kept.failed) = (false, false);
            return;
        }
        let last = self.view.last_status(kept);
        kept.done |= last.is_some_and(|status| status.phase == Phase::Completed);
        let failed = last.is_some_and(|status| {
            status.phase == Phase::Failed && status.exit_code.is_some_and(|code| code != 0)
        });
        kept.failed |= failed && target.deployment.is_one_shot();
        let own = self.view.state.revision(self.app, &kept.revision);
        let own = own.and_then(|own| own.deployments.get(&kept.replica.service));
        if kept.failed && own.is_some_and(|own| own.attempt < target.deployment.attempt) {
            kept.failed = false;
            self.stale.insert(kept.replica.clone());
        }
    }

    /// What counts for a replica when the other side of a cut, or its host, is at a Generation above
    /// ours: theirs when it is what we want, else it is replaced at a Generation above both.
    fn settle_conflict(&mut self, ours: &Assignment, target: &Target<'_>) -> Assignment {
        let theirs = self
            .rivals
            .iter()
            .flat_map(|plan| &plan.assignments)
            .filter(|theirs| theirs.replica == ours.replica && !theirs.outgoing)
            .max_by_key(|theirs| theirs.generation);
        let highest = self.highest.get(&ours.replica).copied().unwrap_or_default();
        if let Some(theirs) = theirs.filter(|theirs| theirs.generation > ours.generation) {
            let wanted = target.spec_hash == theirs.spec_hash;
            let there = self.view.liveness(&theirs.host) != Liveness::Dead;
            let data = self.pins_of(target).iter().all(|(_, host)| *host == theirs.host);
            if wanted && there && data && theirs.generation >= highest {
                return theirs.clone();
            }
        }
        let clash = theirs.is_some_and(|theirs| {
            theirs.generation == ours.generation
                && theirs.host == ours.host
                && theirs.spec_hash != ours.spec_hash
        });
        if highest > ours.generation.max(self.given_up_of(&ours.replica)) || clash {
            self.stale.insert(ours.replica.clone());
        }
        ours.clone()
    }

    /// Whether a replica has to go from its host at once: the host is gone, and nothing holds the
    /// replica there. From a host that is not to have it any more it goes as in an update.
    fn must_leave(&mut self, assignment: &Assignment, target: &Target<'_>) -> bool {
        let deployment = &target.deployment;
        let host = self.view.hosts.get(&assignment.host);
        // A one-shot that ended is not run again because its host died. One on each host has no
        // other host to have ended on.
        if assignment.is_over() {
            return deployment.replicas == Replicas::Global && host.is_none();
        }
        let dead = self.view.liveness(&assignment.host) == Liveness::Dead;
        let unfit = |host| schedule::unfit(deployment, &assignment.host, host).is_some();
        let unwanted = host.is_some_and(unfit);
        let cramped = !dead && !unwanted && self.is_better_off(assignment, deployment);
        if !dead && !unwanted && !cramped {
            return false;
        }
        if deployment.replicas == Replicas::Global {
            return unwanted || self.view.is_gone(&assignment.host);
        }
        if let Some((data, _)) = self.pins_of(target).into_iter().next() {
            if dead {
                let host = self.view.host_name(&assignment.host);
                let waiting = Waiting::DataOnDeadHost { data, host };
                self.waiting.insert(assignment.replica.to_string(), waiting);
            }
            return false;
        }
        if (unwanted || cramped) && !dead {
            self.stale.insert(assignment.replica.clone());
        }
        dead && self.view.is_gone(&assignment.host)
    }

    /// Whether a replica does not come up on a host whose disk is full, or another program has its
    /// port there, and another host would do.
    fn is_better_off(&self, assignment: &Assignment, deployment: &Deployment) -> bool {
        let host = self.view.hosts.get(&assignment.host);
        let full = host.is_some_and(|host| host.facts.disk_full);
        let lost = host.is_some_and(|host| schedule::lost_port(deployment, host).is_some());
        let fails = self.view.status(assignment).is_some_and(|status| {
            status.failures > 0 && !matches!(status.phase, Phase::Running | Phase::Completed)
        });
        let request = Request {
            replica: &assignment.replica,
            deployment,
            pinned: None,
            current: Some(&assignment.host),
        };
        (full && fails || lost) && schedule::has_room_elsewhere(request, self.view, &self.load)
    }

    /// Places what is missing.
    fn fill(&mut self) {
        for (service, target) in self.targets {
            if let Some((_, size)) = gang_of(&target.deployment) {
                self.fill_gang(service, target, size);
                continue;
            }
            match target.deployment.replicas {
                Replicas::Count(count) => {
                    let there: BTreeSet<u32> =
                        self.of_service(service).map(|a| a.replica.index).collect();
                    let missing = (1..=count).filter(|index| !there.contains(index));
                    let mut unmet = Unmet::default();
                    for index in missing {
                        let replica = self.replica(service, index);
                        let target = self.target_for(&replica).unwrap_or(target);
                        self.place_when_allowed(&replica, target, &mut unmet);
                    }
                }
                Replicas::Global => self.fill_global(service),
            }
        }
    }

    fn place_when_allowed(
        &mut self,
        replica: &ReplicaId,
        target: &'a Target<'a>,
        unmet: &mut Unmet,
    ) {
        // What ran before does not wait again: its dependency may be what died with its host.
        let ran_before = self.highest.contains_key(replica);
        if !ran_before {
            // Alike for all of one spec, and there may be thousands.
            let unmet = unmet.entry(target.revision.id().clone());
            if let Some(waiting) =
                unmet.or_insert_with(|| self.unmet(&target.deployment.depends_on, None))
            {
                self.waiting.insert(replica.to_string(), waiting.clone());
                return;
            }
        }
        if let Some(left) = self.brake {
            let braked = self.previous.and_then(|plan| plan.waiting.get(&replica.to_string()));
            let braked = matches!(braked, Some(Waiting::MassFailure { .. }));
            if left == 0 && (ran_before || braked) {
                self.waiting.insert(replica.to_string(), mass_failure(self.view));
                return;
            }
            self.brake = Some(left.saturating_sub(1));
        }
        self.assign(replica, target, None);
    }

    fn fill_global(&mut self, service: &ServiceName) {
        let covered: BTreeSet<HostId> =
            self.of_service(service).map(|assignment| assignment.host.clone()).collect();
        let mut taken: BTreeSet<u32> =
            self.of_service(service).map(|assignment| assignment.replica.index).collect();
        let mut indices = 1..;
        let hosts: Vec<HostId> = self.view.hosts.keys().map(|host| (*host).clone()).collect();
        for host in hosts.iter().filter(|host| !covered.contains(*host)) {
            if self.view.liveness(host) != Liveness::Alive {
                continue;
            }
            let index = indices.find(|index| !taken.contains(index)).unwrap_or(1);
            let replica = self.replica(service, index);
            let Some(target) = self.target_for(&replica) else { return };
            let deployment = &target.deployment;
            let view = &self.view.hosts[host];
            let request =
                Request { replica: &replica, deployment, pinned: None, current: Some(host) };
            if !schedule::fits(request, host, view, &self.load) {
                indices = index..;
                continue;
            }
            if let Some(waiting) = self.unmet(&deployment.depends_on, None) {
                self.waiting.insert(replica.to_string(), waiting);
                return;
            }
            if self.first_steps(&replica, target) == FirstSteps::Wait {
                self.waiting.insert(replica.to_string(), first::waiting(service));
                return;
            }
            taken.insert(index);
            self.put(&replica, target, host.clone());
        }
    }

    /// Places one replica, or notes why it cannot be. Returns whether it was placed.
    pub(super) fn assign(
        &mut self,
        replica: &ReplicaId,
        target: &Target<'_>,
        current: Option<&HostId>,
    ) -> bool {
        let deployment = &*target.deployment;
        if self.first_steps(replica, target) == FirstSteps::Wait {
            self.waiting.insert(replica.to_string(), first::waiting(&replica.service));
            return false;
        }
        let mut pins = match (deployment.replicas, current) {
            // One on each host: it is replaced where it is, with the data it has there.
            (Replicas::Global, Some(host)) => vec![(String::new(), host.clone())],
            (Replicas::Global, None) => Vec::new(),
            (Replicas::Count(_), _) => self.pins_of(target),
        };
        pins.dedup_by(|a, b| a.1 == b.1);
        if let [(data, host)] = pins.as_slice()
            && self.view.liveness(host) != Liveness::Alive
        {
            let waiting =
                Waiting::DataOnDeadHost { data: data.clone(), host: self.view.host_name(host) };
            self.waiting.insert(replica.to_string(), waiting);
            return false;
        }
        let placed = if pins.len() > 1 {
            // Its data is on more than one host, and every host lacks some of it.
            Err(Rejections::everywhere(Filter::Data, self.view))
        } else {
            let pinned = pins.first().map(|(_, host)| host);
            let request = Request { replica, deployment, pinned, current };
            match pinned {
                Some(_) => schedule::place(request, self.view, &self.load),
                None => self.place(request, target.revision.id()),
            }
        };
        match placed {
            Ok(host) => {
                self.put(replica, target, host.clone());
                true
            }
            Err(rejections) => {
                self.waiting.insert(replica.to_string(), rejections.into());
                false
            }
        }
    }

    /// The best host for what nothing pins.
    fn place(
        &mut self,
        request: Request<'_>,
        revision: &RevisionId,
    ) -> Result<&'a HostId, Rejections> {
        let Request { replica, deployment, current, .. } = request;
        let is_it = |(service, of): &(ServiceName, RevisionId)| {
            *service == replica.service && of == revision
        };
        let (_, ranking) = match &mut self.ranking {
            Some(known) if is_it(&known.0) => known,
            other => {
                let ranking = Ranking::new(self.view, replica, deployment, &self.load);
                other.insert(((replica.service.clone(), revision.clone()), ranking))
            }
        };
        let best = ranking.best(self.view, deployment, &self.load, current);
        best.ok_or_else(|| ranking.rejections(request, self.view, &self.load))
    }

    /// The assignments of one Service, but for those on their way out.
    pub(super) fn of_service(&self, service: &ServiceName) -> impl Iterator<Item = &Assignment> {
        let first = ReplicaId { app: self.app.clone(), service: service.clone(), index: 0 };
        let service = service.clone();
        let from = self.assignments.range(first..).map(|(_, assignment)| assignment);
        from.take_while(move |assignment| assignment.replica.service == service)
    }

    /// Gives a replica to a host that fits.
    pub(super) fn put(&mut self, replica: &ReplicaId, target: &Target<'_>, host: HostId) {
        self.n_placed += 1;
        let deployment = &*target.deployment;
        let view = self.view.hosts.get(&host);
        let devices = view.and_then(|view| self.load.grant(&host, deployment, view));
        let devices = devices.unwrap_or_default();
        self.load.add(&host, replica, deployment, &devices);
        let assignment = Assignment {
            replica: replica.clone(),
            host,
            generation: self.next_generation(target, replica),
            revision: target.revision.id().clone(),
            spec_hash: target.spec_hash.to_owned(),
            outgoing: false,
            done: false,
            devices,
            leads: self.first_steps(replica, target) == FirstSteps::Lead,
            follows: self.follows(&target.deployment),
            failed: false,
        };
        self.assignments.insert(replica.clone(), assignment);
    }

    /// Above everything any Plan gave, any host has, or any replica that is gone had.
    fn next_generation(&self, target: &Target<'_>, replica: &ReplicaId) -> Generation {
        // Companions get the same one.
        let companions = target.revision.companions(&replica.service).iter();
        let companions = companions.map(|service| self.replica(service, replica.index));
        let all = companions
            .map(|companion| self.highest.get(&companion))
            .chain([self.highest.get(replica)]);
        let highest = all.flatten().copied().max().unwrap_or_default();
        let plans = self.previous.into_iter().chain(self.rivals.iter().copied());
        let retired = plans.map(|plan| plan.retired).max().unwrap_or_default();
        highest.max(retired).next()
    }

    pub(super) fn replica(&self, service: &ServiceName, index: u32) -> ReplicaId {
        ReplicaId { app: self.app.clone(), service: service.clone(), index }
    }

    /// Every Service has one address on each of its networks, for as long as the App lives.
    fn allocate_addresses(&mut self) {
        let mut used: BTreeSet<Ipv4Addr> = BTreeSet::new();
        // Two Apps made on two sides of a cut may have got the same address: the first by name
        // keeps it.
        let mut lost: BTreeSet<Ipv4Addr> = BTreeSet::new();
        for (app, plan) in &self.view.plans {
            let addresses = plan.addresses.iter().map(|address| address.address);
            used.extend(addresses.clone());
            if *app < self.app {
                lost.extend(addresses);
            }
        }
        let before = self.previous.map(|plan| plan.addresses.as_slice()).unwrap_or_default();
        for (service, target) in self.targets {
            if target.deployment.endpoint_mode == EndpointMode::Dnsrr {
                continue;
            }
            for network in target.deployment.networks.keys() {
                let known = before.iter().find(|a| a.service == **service && a.network == *network);
                if let Some(known) = known.filter(|known| !lost.contains(&known.address)) {
                    self.addresses.push(known.clone());
                    continue;
                }
                let words = [self.app.as_str(), network.as_str(), service.as_str()];
                if let Some(address) = service_address(self.view.pool, &words, &used) {
                    used.insert(address);
                    self.addresses.push(ServiceAddress {
                        network: network.clone(),
                        service: (*service).clone(),
                        address,
                    });
                }
            }
        }
    }

    /// The addresses of Services that go, for as long as some replica of theirs is kept.
    fn keep_addresses(&mut self) {
        let before = self.previous.map(|plan| plan.addresses.as_slice()).unwrap_or_default();
        let kept = before.iter().filter(|address| {
            let service = &address.service;
            self.is_removed(service) && self.of_service(service).next().is_some()
        });
        let kept: Vec<ServiceAddress> = kept.cloned().collect();
        self.addresses.extend(kept);
    }

    /// What was rolled back of each Revision, for `muster history`.
    fn undone(&self) -> BTreeMap<RevisionId, String> {
        let before = self.previous.iter().flat_map(|plan| &plan.undone);
        let is_kept = |id: &RevisionId| self.view.state.revision(self.app, id).is_some();
        let mut undone: BTreeMap<RevisionId, String> = before
            .filter(|(id, _)| is_kept(id))
            .map(|(id, words)| (id.clone(), words.clone()))
            .collect();
        let back = self.rollouts.iter().filter(|(_, rollout)| rollout.stage.is_back());
        let words: Vec<String> = back
            .map(|(service, rollout)| {
                format!("`{service}`: {}", rollout.reason.as_deref().unwrap_or("it failed"))
            })
            .collect();
        if !words.is_empty() {
            undone.insert(self.revision.id().clone(), words.join("; "));
        }
        undone
    }

    fn finish(mut self) -> Plan {
        let companions = self.companions();
        let plans = || self.previous.into_iter().chain(self.rivals.iter().copied());
        let mut seen = self.previous.map(|plan| plan.seen.clone()).unwrap_or_default();
        for (home, plan) in self.view.plans_of(self.app) {
            let number = seen.entry(home.clone()).or_default();
            *number = plan.number.max(*number);
        }
        let highest = seen.values().copied().max().unwrap_or_default();
        let before = plans().flat_map(|plan| &plan.assignments);
        let beside: BTreeSet<&ReplicaId> =
            companions.iter().map(|companion| &companion.replica).collect();
        let is_there = |a: &Assignment| {
            self.assignments.contains_key(&a.replica) || beside.contains(&a.replica)
        };
        let left = before.filter(|a| !is_there(a));
        let left = left.map(|a| a.generation.max(self.given_up_of(&a.replica)));
        let retired = plans().map(|plan| plan.retired).chain(left).max().unwrap_or_default();
        let undone = self.undone();
        let mut assignments: Vec<Assignment> = self.assignments.into_values().collect();
        assignments.extend(self.outgoing);
        assignments.extend(companions);
        assignments.sort_by(|a, b| (&a.replica, a.generation).cmp(&(&b.replica, b.generation)));
        forget_given_up(&mut self.given_up, &assignments);
        Plan {
            app: self.app.clone(),
            number: highest.saturating_add(1),
            home: self.view.me.clone(),
            revision: self.revision.id().clone(),
            intent: self.revision.intent,
            assignments,
            addresses: self.addresses,
            waiting: self.waiting,
            pins: self.pins,
            retired,
            seen,
            rollouts: self.rollouts,
            undone,
            scalings: self.scalings,
            sizes: self.sizes,
            runs: self.runs,
            gangs: self.gangs,
            setbacks: self.setbacks,
            given_up: self.given_up,
            asked: self.asked,
        }
    }
}

/// Hosts that are dead, and all hosts.
fn hosts(view: &ClusterView<'_>) -> (usize, usize) {
    let dead = view.hosts.values().filter(|host| host.liveness == Liveness::Dead).count();
    (dead, view.hosts.len())
}

fn mass_failure(view: &ClusterView<'_>) -> Waiting {
    let (dead, known) = hosts(view);
    Waiting::MassFailure { dead: dead as u32, known: known as u32 }
}

/// How many replicas the survivors of a mass failure may start now; none without one.
fn starts_left(view: &ClusterView<'_>) -> Option<usize> {
    let (dead, known) = hosts(view);
    if dead * 2 <= known {
        return None;
    }
    let assignments = view.plans.values().flat_map(|plan| &plan.assignments);
    let starting = assignments
        .filter(|a| !a.outgoing && view.liveness(&a.host) != Liveness::Dead && !view.is_up(a));
    Some(((known - dead) * BRAKE_STARTS).saturating_sub(starting.count()))
}

#[cfg(test)]
mod tests;
