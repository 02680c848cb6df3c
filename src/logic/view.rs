//! The cluster as one host sees it at one moment: what planning and naming read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::Ipv4Net;

use super::membership::Membership;
use super::state::State;
use crate::model::{
    AppName, Assignment, Availability, Fact, Generation, Health, HostFacts, HostId, HostWanted,
    Liveness, Moment, Phase, Plan, RESOURCE_LABEL, ReplicaId, ReplicaStatus, RowKey, RunRequest,
    Scaling, ServiceName, Sizing, WallSeconds, declared_resource,
};

/// A host as others see it.
#[derive(Debug, Clone, Copy)]
pub struct HostView<'a> {
    /// What it says of itself.
    pub facts: &'a HostFacts,
    /// What we think of it.
    pub liveness: Liveness,
    /// What people want of it, if anybody has said.
    pub wanted: Option<&'a HostWanted>,
}

impl<'a> HostView<'a> {
    /// Whether it takes replicas.
    pub fn availability(&self) -> Availability {
        self.wanted.map_or(self.facts.availability, |wanted| wanted.availability)
    }

    /// Its generic resources by kind: what its engine was told of, and what its labels declare,
    /// which counts more.
    pub fn resources(&self) -> BTreeMap<&'a str, u64> {
        let told = self.facts.inventory.resources.iter();
        let mut all: BTreeMap<&str, u64> = told.map(|(kind, n)| (kind.as_str(), *n)).collect();
        let labels = self.labels().range(RESOURCE_LABEL.to_owned()..);
        let labels = labels.take_while(|(key, _)| key.starts_with(RESOURCE_LABEL));
        // What declares nothing was not let in; one that came otherwise is a label like others.
        all.extend(labels.filter_map(|(key, value)| declared_resource(key, value).ok()?));
        all
    }

    /// Its labels.
    pub fn labels(&self) -> &'a BTreeMap<String, String> {
        self.wanted.and_then(|wanted| wanted.labels.as_ref()).unwrap_or(&self.facts.labels)
    }
}

/// Since when each replica is ready without a break, as this host saw it.
pub type ReadySince = BTreeMap<(ReplicaId, Generation), Moment>;

/// Since when each copy that moved is on its way, as this host saw it.
pub type MovingSince = BTreeMap<(ReplicaId, Generation), Moment>;

/// Since when a Service is known to have had so many setbacks on a host, as this host saw it.
pub type SetBackSince = BTreeMap<(AppName, ServiceName, HostId, u32), Moment>;

/// What this host has watched of replicas.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    /// Since when they are ready.
    pub ready: ReadySince,
    /// Since when they are on their way.
    pub moving: MovingSince,
    /// Since when they are not to move somewhere.
    pub set_back: SetBackSince,
}

/// Since when each run is announced and not begun, and each gang waits for room, as this host saw it.
pub type AnnouncedSince = BTreeMap<ReplicaId, Moment>;

type Place<'a> = (&'a ReplicaId, Generation, &'a HostId);

/// The cluster as one host sees it.
#[derive(Debug)]
pub struct ClusterView<'a> {
    /// All addresses of the cluster.
    pub pool: Ipv4Net,
    /// Who looks.
    pub me: &'a HostId,
    /// Every host that said what it is.
    pub hosts: BTreeMap<&'a HostId, HostView<'a>>,
    /// The Plan of each App that counts.
    pub plans: BTreeMap<&'a AppName, &'a Plan>,
    /// Every Plan of each App, by Home; two of them can come from two sides of a cut.
    all_plans: BTreeMap<&'a AppName, BTreeMap<&'a HostId, &'a Plan>>,
    /// What hosts say of their replicas; those of dead hosts are left out.
    statuses: BTreeMap<Place<'a>, &'a ReplicaStatus>,
    /// What dead hosts said last.
    last_words: BTreeMap<Place<'a>, &'a ReplicaStatus>,
    /// Dead for so long that their replicas are placed elsewhere.
    gone: BTreeSet<&'a HostId>,
    times: Option<(Moment, &'a Watched)>,
    /// What the Home decided of the App at hand now; none when somebody else looks.
    pub(super) scalings: Option<&'a BTreeMap<ServiceName, Scaling>>,
    /// The same of what replicas are given.
    pub(super) sizes: Option<&'a BTreeMap<ServiceName, Sizing>>,
    /// What people ask to be run of each App, by the host they asked.
    requests: BTreeMap<&'a AppName, Vec<(&'a HostId, &'a Vec<RunRequest>)>>,
    clock: Option<(WallSeconds, &'a AnnouncedSince)>,
    /// Rows and Revisions.
    pub state: &'a State,
}

impl<'a> ClusterView<'a> {
    /// The view of `me`.
    pub fn new(
        pool: Ipv4Net,
        me: &'a HostId,
        state: &'a State,
        membership: &'a Membership,
    ) -> Self {
        let mut view = Self {
            pool,
            me,
            hosts: BTreeMap::new(),
            plans: BTreeMap::new(),
            all_plans: BTreeMap::new(),
            statuses: BTreeMap::new(),
            last_words: BTreeMap::new(),
            gone: BTreeSet::new(),
            times: None,
            scalings: None,
            sizes: None,
            requests: BTreeMap::new(),
            clock: None,
            state,
        };
        let mut wanted: BTreeMap<&HostId, &HostWanted> = BTreeMap::new();
        for (owner, key, fact) in state.facts() {
            let liveness = membership.liveness(owner);
            match (key, fact) {
                (RowKey::Host, Fact::Host(facts)) => {
                    if liveness == Liveness::Dead && membership.is_gone(owner) {
                        view.gone.insert(owner);
                    }
                    view.hosts.insert(owner, HostView { facts, liveness, wanted: None });
                }
                (_, Fact::Replicas(statuses)) => {
                    let dead = liveness == Liveness::Dead;
                    let into = if dead { &mut view.last_words } else { &mut view.statuses };
                    for status in statuses {
                        into.insert((&status.replica, status.generation, owner), status);
                    }
                }
                (RowKey::Plan(app), Fact::Plan(plan)) => {
                    view.all_plans.entry(app).or_default().insert(owner, plan);
                    let known = view.plans.get(app);
                    // Rows are walked in order of their owners, so an equal number goes to the
                    // higher owner, as in `State::plan`.
                    if known.is_none_or(|known| known.number <= plan.number) {
                        view.plans.insert(app, plan);
                    }
                }
                (RowKey::Wanted(host), Fact::Wanted(asked)) => {
                    // As with Plans: an equal number goes to the higher owner.
                    if wanted.get(host).is_none_or(|known| known.number <= asked.number) {
                        wanted.insert(host, asked);
                    }
                }
                (RowKey::Asked(app), Fact::Asked(requests)) => {
                    view.requests.entry(app).or_default().push((owner, requests));
                }
                (
                    _,
                    Fact::Host(_)
                    | Fact::Plan(_)
                    | Fact::Removed
                    | Fact::Wanted(_)
                    | Fact::Operator(_)
                    | Fact::Measured(_)
                    | Fact::Asked(_)
                    | Fact::Provider(_)
                    | Fact::Fleet(_),
                ) => {}
            }
        }
        for (host, asked) in wanted {
            if let Some(host) = view.hosts.get_mut(host) {
                host.wanted = Some(asked);
            }
        }
        view
    }

    /// The same view by somebody who has watched since when replicas are ready. Without, whatever
    /// is ready counts as ready for ever.
    #[must_use]
    pub fn with_times(mut self, now: Moment, watched: &'a Watched) -> Self {
        self.times = Some((now, watched));
        self
    }

    /// The same by the Home of an App, which decides how many replicas services with rules have.
    #[must_use]
    pub fn with_scalings(
        mut self,
        scalings: &'a BTreeMap<ServiceName, Scaling>,
        sizes: &'a BTreeMap<ServiceName, Sizing>,
    ) -> Self {
        (self.scalings, self.sizes) = (Some(scalings), Some(sizes));
        self
    }

    /// The same view by somebody whose wall clock may start jobs, and who has watched since when runs
    /// are announced. Without, nothing is due, and whatever is announced is known everywhere.
    #[must_use]
    pub fn with_clock(mut self, wall: WallSeconds, announced: &'a AnnouncedSince) -> Self {
        self.clock = Some((wall, announced));
        self
    }

    /// What the wall clock says, where it may start jobs.
    pub fn wall(&self) -> Option<WallSeconds> {
        self.clock.map(|(wall, _)| wall)
    }

    /// For how long a run has been announced.
    pub fn announced_for(&self, replica: &ReplicaId) -> Duration {
        self.watched_for(replica).unwrap_or(Duration::MAX)
    }

    /// For how long a gang has waited for room, as far as was watched.
    pub fn waited_for(&self, gang: &ReplicaId) -> Duration {
        self.watched_for(gang).unwrap_or(Duration::ZERO)
    }

    /// For how long it was seen to wait; none for whoever has not watched.
    fn watched_for(&self, waiting: &ReplicaId) -> Option<Duration> {
        let ((now, _), (_, since)) = (self.times?, self.clock?);
        Some(since.get(waiting).map_or(Duration::ZERO, |since| now.since(*since)))
    }

    /// What people ask to be run of an App, by the host they asked, then in their order.
    pub fn requests(&self, app: &AppName) -> impl Iterator<Item = (&'a HostId, &'a RunRequest)> {
        let hosts = self.requests.get(app).into_iter().flatten();
        hosts.flat_map(|(host, requests)| requests.iter().map(move |request| (*host, request)))
    }

    /// What we think of a host.
    pub fn liveness(&self, host: &HostId) -> Liveness {
        self.hosts.get(host).map_or(Liveness::Dead, |view| view.liveness)
    }

    /// Whether a host is dead for so long that its replicas are placed elsewhere.
    pub fn is_gone(&self, host: &HostId) -> bool {
        self.gone.contains(host) || !self.hosts.contains_key(host)
    }

    /// The name people use for a host.
    pub fn host_name(&self, host: &HostId) -> String {
        self.hosts.get(host).map_or_else(|| host.to_string(), |view| view.facts.name.clone())
    }

    /// What the host of an assignment says of it; none while it has said nothing of this
    /// Generation, or when it is dead.
    pub fn status(&self, assignment: &Assignment) -> Option<&'a ReplicaStatus> {
        self.statuses.get(&place(assignment)).copied()
    }

    /// As [`ClusterView::status`], but of a dead host what it said last.
    pub fn last_status(&self, assignment: &Assignment) -> Option<&'a ReplicaStatus> {
        self.status(assignment).or_else(|| self.last_words.get(&place(assignment)).copied())
    }

    /// Every status of live hosts: who says it, what.
    pub fn statuses(&self) -> impl Iterator<Item = (&'a HostId, &'a ReplicaStatus)> {
        self.statuses.iter().map(|((_, _, host), status)| (*host, *status))
    }

    /// Every Plan ever made for an App, the latest of each Home.
    pub fn plans_of(&self, app: &AppName) -> impl Iterator<Item = (&'a HostId, &'a Plan)> {
        let plans = self.all_plans.get(app).into_iter().flatten();
        plans.map(|(home, plan)| (*home, *plan))
    }

    /// Ready, or done for good, and its companions as well.
    pub fn is_up(&self, assignment: &Assignment) -> bool {
        let is_up = |one: &Assignment| {
            let status = self.status(one);
            one.done || status.is_some_and(|s| s.ready || s.phase == Phase::Completed)
        };
        is_up(assignment) && self.companions(assignment).all(|companion| is_up(&companion))
    }

    /// For how long an assignment has been ready without a break.
    pub fn ready_for(&self, assignment: &Assignment) -> Duration {
        let Some((now, watched)) = self.times else { return Duration::MAX };
        let since = watched.ready.get(&(assignment.replica.clone(), assignment.generation));
        since.map_or(Duration::ZERO, |since| now.since(*since))
    }

    /// For how long a copy that moved has been on its way, as far as was watched.
    pub fn moving_for(&self, assignment: &Assignment) -> Duration {
        let place = (assignment.replica.clone(), assignment.generation);
        let since = self.times.and_then(|(now, watched)| Some((now, watched.moving.get(&place)?)));
        since.map_or(Duration::ZERO, |(now, since)| now.since(*since))
    }

    /// For how long a Service has had so many setbacks on a host, as far as was watched.
    pub fn set_back_for(
        &self,
        app: &AppName,
        service: &ServiceName,
        host: &HostId,
        times: u32,
    ) -> Duration {
        let place = (app.clone(), service.clone(), host.clone(), times);
        let since =
            self.times.and_then(|(now, watched)| Some((now, watched.set_back.get(&place)?)));
        since.map_or(Duration::ZERO, |(now, since)| now.since(*since))
    }

    /// Whether traffic may be sent to an assignment: its host is alive, not merely suspected, and
    /// says that it is ready. Which of a pod's containers listens on a port nobody knows: all must
    /// have come up once. One that fails later does not take the others' ports along.
    pub fn serves(&self, assignment: &Assignment) -> bool {
        let came_up = |companion: Assignment| self.status(&companion).is_some_and(came_up);
        self.liveness(&assignment.host) == Liveness::Alive
            && self.status(assignment).is_some_and(|status| status.ready)
            && self.companions(assignment).all(came_up)
    }
}

/// Whether a copy is up, or was, or had its chance.
fn came_up(status: &ReplicaStatus) -> bool {
    let begins = match status.phase {
        Phase::Pending | Phase::Pulling | Phase::Starting => true,
        Phase::Running => status.health == Health::Starting,
        Phase::Backoff | Phase::Failed | Phase::Completed | Phase::Stopping => false,
    };
    !begins || status.restarts > 0 || status.failures > 0
}

fn place(assignment: &Assignment) -> Place<'_> {
    (&assignment.replica, assignment.generation, &assignment.host)
}
