//! Finds out what happened by comparing what the core knows with what it knew before. Pure.

use std::collections::BTreeMap;

use crate::api::{Happening, HappeningKind};
use crate::logic::core::Core;
use crate::model::{
    AppName, AuthorityId, Availability, Fact, FleetDecision, Generation, Health, HostId,
    HostWanted, Liveness, Phase, Plan, ReplicaId, ReplicaStatus, RevisionId, Rollout, RowKey,
    ScaleDecision, Scaling, ServiceName, SizeDecision, Stage, WallSeconds,
};

/// Longest message, in characters: an engine's complaint can be long, and many are kept.
const MESSAGE_MAX: usize = 300;

/// What was known at the last look.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    /// State and membership then; none before the first look, which only learns.
    seen: Option<(u64, u64)>,
    hosts: BTreeMap<HostId, (Liveness, bool)>,
    replicas: BTreeMap<(ReplicaId, Generation), ReplicaStatus>,
    revisions: BTreeMap<AppName, RevisionId>,
    plans: BTreeMap<AppName, u64>,
    /// How far each update was, whoever decided it.
    stages: BTreeMap<(AppName, ServiceName), Stage>,
    /// The last decision of each service with rules, and why none can be made.
    scalings: BTreeMap<(AppName, ServiceName), (Option<ScaleDecision>, Option<String>)>,
    /// The last decision on what replicas of each service are given.
    sizes: BTreeMap<(AppName, ServiceName), Option<SizeDecision>>,
    /// How often copies of each service did not come up where they were to move.
    setbacks: BTreeMap<(AppName, ServiceName, HostId), u32>,
    wanted: BTreeMap<HostId, HostWanted>,
    authority: Option<AuthorityId>,
    /// What this host decided of hosts.
    fleet: Vec<FleetDecision>,
}

/// What happened, before it is put into words with time and host.
struct News {
    kind: HappeningKind,
    subject: String,
    app: Option<AppName>,
    message: String,
}

impl Watcher {
    /// What happened since the last look.
    pub(super) fn look(&mut self, core: &Core, wall: WallSeconds) -> Vec<Happening> {
        let stamp = (core.state().changes(), core.membership().changes());
        let before = self.seen.replace(stamp);
        if before == Some(stamp) {
            return Vec::new();
        }
        let mut news = Vec::new();
        if before.is_none_or(|(_, membership)| membership != stamp.1) {
            self.look_at_hosts(core, &mut news);
        }
        if before.is_none_or(|(state, _)| state != stamp.0) {
            self.look_at_revisions(core, &mut news);
            self.look_at_rows(core, &mut news);
            self.look_at_rollouts(core, &mut news);
            self.look_at_scalings(core, &mut news);
            self.look_at_setbacks(core, &mut news);
        }
        if before.is_none() {
            let name = core.facts().name.clone();
            let message = format!("the agent of `{name}` started");
            let kind = HappeningKind::AgentStarted;
            news = vec![News { kind, subject: name, app: None, message }];
        }
        let host = &core.facts().name;
        let told = news.into_iter().map(|News { kind, subject, app, message }| Happening {
            at: wall.0,
            host: host.clone(),
            kind,
            subject,
            app,
            message: message.chars().take(MESSAGE_MAX).collect(),
        });
        told.collect()
    }

    fn look_at_hosts(&mut self, core: &Core, news: &mut Vec<News>) {
        let members = core.membership().members().iter();
        let now: BTreeMap<HostId, (Liveness, bool)> =
            members.map(|(host, member)| (host.clone(), (member.liveness, member.gone))).collect();
        for (host, (liveness, gone)) in &now {
            if self.hosts.get(host) == Some(&(*liveness, *gone)) {
                continue;
            }
            let (kind, words) = match (liveness, gone) {
                (Liveness::Alive, _) => (HappeningKind::HostAlive, "is alive"),
                (Liveness::Suspect, _) => (HappeningKind::HostSuspect, "does not answer"),
                (Liveness::Dead, false) => (HappeningKind::HostDead, "is taken for dead"),
                (Liveness::Dead, true) => {
                    (HappeningKind::HostGone, "is gone: its replicas are placed elsewhere")
                }
            };
            let subject = core.view().host_name(host);
            let message = format!("host `{subject}` {words}");
            news.push(News { kind, subject, app: None, message });
        }
        self.hosts = now;
    }

    /// A Revision is told of where it was taken.
    fn look_at_revisions(&mut self, core: &Core, news: &mut Vec<News>) {
        let state = core.state();
        let mut now = BTreeMap::new();
        for app in state.apps() {
            let Some(revision) = state.winner(app) else { continue };
            let id = revision.id();
            if self.revisions.get(app) != Some(id) && revision.origin.host == *core.me() {
                let (verb, short) = (&revision.origin.command, id.short());
                let sequence = revision.sequence;
                let message = format!("app `{app}` has revision {sequence} ({short}): `{verb}`");
                let kind = HappeningKind::RevisionTaken;
                news.push(News { kind, subject: app.to_string(), app: Some(app.clone()), message });
            }
            now.insert(app.clone(), id.clone());
        }
        self.revisions = now;
    }

    /// How updates go; told of by the Home, which decides it.
    fn look_at_rollouts(&mut self, core: &Core, news: &mut Vec<News>) {
        let mut now = BTreeMap::new();
        for plan in core.state().plans() {
            for (service, rollout) in &plan.rollouts {
                let place = (plan.app.clone(), service.clone());
                let before = self.stages.remove(&place);
                if before != Some(rollout.stage) && plan.home == *core.me() {
                    news.push(rolled(&plan.app, service, rollout));
                }
                now.insert(place, rollout.stage);
            }
            let over = self.stages.iter().filter(|((app, _), _)| *app == plan.app);
            for ((app, service), stage) in over {
                if plan.home == *core.me() && *stage == Stage::Rolling {
                    let message = format!("service `{service}` of app `{app}` is updated");
                    news.push(of_service(HappeningKind::RolloutDone, app, service, message));
                }
            }
        }
        self.stages = now;
    }

    /// How services with rules are scaled; told of by the Home, which decides it.
    fn look_at_scalings(&mut self, core: &Core, news: &mut Vec<News>) {
        let (mut now, mut sizes) = (BTreeMap::new(), BTreeMap::new());
        for plan in core.state().plans() {
            for (service, sizing) in &plan.sizes {
                let place = (plan.app.clone(), service.clone());
                let last = sizing.decisions.last().cloned();
                let before = self.sizes.remove(&place).flatten();
                if let Some(made) = last.as_ref().filter(|_| plan.home == *core.me())
                    && before.as_ref() != Some(made)
                {
                    news.push(sized(&plan.app, service, made));
                }
                sizes.insert(place, last);
            }
            for (service, scaling) in &plan.scalings {
                let place = (plan.app.clone(), service.clone());
                let last = (scaling.decisions.last().cloned(), scaling.hold.clone());
                let before = self.scalings.remove(&place);
                if plan.home == *core.me() {
                    scaled(&plan.app, service, before, scaling, news);
                }
                now.insert(place, last);
            }
        }
        (self.scalings, self.sizes) = (now, sizes);
    }

    /// Moves that came to nothing; told of by the Home, which gave them up.
    fn look_at_setbacks(&mut self, core: &Core, news: &mut Vec<News>) {
        let mut now = BTreeMap::new();
        for plan in core.state().plans() {
            let all = plan.setbacks.iter();
            for (service, host, setback) in all
                .flat_map(|(s, hosts)| hosts.iter().map(move |(host, setback)| (s, host, setback)))
            {
                let place = (plan.app.clone(), service.clone(), host.clone());
                let before = self.setbacks.get(&place).copied().unwrap_or_default();
                if setback.times > before && plan.home == *core.me() {
                    let (app, service, index) = (plan.app.clone(), service.clone(), setback.index);
                    let replica = ReplicaId { app, service, index };
                    let (host, why) = (core.view().host_name(host), &setback.reason);
                    let message = format!(
                        "`{replica}` stays where it is: on `{host}`, where it was to move, it {why}"
                    );
                    news.push(of_replica(HappeningKind::ReplicaFailed, &replica, message));
                }
                now.insert(place, setback.times);
            }
        }
        self.setbacks = now;
    }

    /// What this host wrote.
    fn look_at_rows(&mut self, core: &Core, news: &mut Vec<News>) {
        let mut replicas = BTreeMap::new();
        // What is asked for comes before the Plan, and what follows from that after it.
        let (mut planned, mut followed) = (Vec::new(), Vec::new());
        for (key, fact) in core.state().facts_of(core.me()) {
            match (key, fact) {
                (RowKey::Plan(app), Fact::Plan(plan)) => {
                    if self.plans.insert(app.clone(), plan.number) != Some(plan.number) {
                        planned.push(plan_made(app, plan));
                    }
                }
                (RowKey::Wanted(host), Fact::Wanted(wanted)) => {
                    if self.wanted.get(host) != Some(wanted) {
                        self.wanted.insert(host.clone(), wanted.clone());
                        news.push(asked(core.view().host_name(host), wanted));
                    }
                }
                (RowKey::Fleet, Fact::Fleet(fleet)) => {
                    let told = std::mem::replace(&mut self.fleet, fleet.decisions.clone());
                    let fresh = fleet.decisions.iter().filter(|one| !told.contains(one));
                    news.extend(fresh.map(|FleetDecision { at: _, what }| News {
                        kind: HappeningKind::FleetDecided,
                        subject: "provider".to_owned(),
                        app: None,
                        message: format!("provider: {what}"),
                    }));
                }
                (RowKey::Host, Fact::Host(facts)) if facts.authority != self.authority => {
                    self.authority.clone_from(&facts.authority);
                    if let Some(AuthorityId { number, .. }) = &facts.authority {
                        let (kind, subject) = (HappeningKind::AuthorityChanged, facts.name.clone());
                        let message = format!("`{subject}` goes by authority {number}");
                        news.push(News { kind, subject, app: None, message });
                    }
                }
                (_, Fact::Replicas(statuses)) => {
                    for status in statuses {
                        let place = (status.replica.clone(), status.generation);
                        changed(core, self.replicas.get(&place), status, &mut followed);
                        replicas.insert(place, status.clone());
                    }
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
        news.append(&mut planned);
        news.append(&mut followed);
        for (replica, generation) in self.replicas.keys() {
            if !replicas.contains_key(&(replica.clone(), *generation)) {
                let message = format!("`{replica}` is gone from here");
                news.push(of_replica(HappeningKind::ReplicaGone, replica, message));
            }
        }
        self.replicas = replicas;
    }
}

fn of_replica(kind: HappeningKind, replica: &ReplicaId, message: String) -> News {
    News { kind, subject: replica.to_string(), app: Some(replica.app.clone()), message }
}

fn of_service(kind: HappeningKind, app: &AppName, service: &ServiceName, message: String) -> News {
    News { kind, subject: format!("{app}/{service}"), app: Some(app.clone()), message }
}

fn rolled(app: &AppName, service: &ServiceName, rollout: &Rollout) -> News {
    let why = rollout.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let (kind, words) = match rollout.stage {
        Stage::Rolling => (HappeningKind::RolloutBegan, "is being updated"),
        Stage::Canary => (HappeningKind::RolloutWaits, "waits with its canary to be promoted"),
        Stage::Paused => (HappeningKind::RolloutPaused, "is updated no further"),
        Stage::RollingBack => (HappeningKind::RollbackBegan, "is being rolled back"),
        Stage::RollbackPaused => (HappeningKind::RolloutPaused, "is rolled back no further"),
        Stage::RolledBack => (HappeningKind::RolledBack, "was rolled back"),
    };
    of_service(kind, app, service, format!("service `{service}` of app `{app}` {words}{why}"))
}

fn scaled(
    app: &AppName,
    service: &ServiceName,
    before: Option<(Option<ScaleDecision>, Option<String>)>,
    now: &Scaling,
    news: &mut Vec<News>,
) {
    let (decided, held) = before.unwrap_or_default();
    if let Some(last) = now.decisions.last().filter(|last| Some(*last) != decided.as_ref()) {
        let ScaleDecision { at: _, from, to, reason } = last;
        let message = format!(
            "service `{service}` of app `{app}` goes from {from} to {to} replicas: {reason}"
        );
        news.push(of_service(HappeningKind::Scaled, app, service, message));
    }
    if let Some(reason) = now.hold.as_ref().filter(|_| held.is_none()) {
        let target = now.target;
        let message =
            format!("service `{service}` of app `{app}` stays at {target} replicas: {reason}");
        news.push(of_service(HappeningKind::ScalingHeld, app, service, message));
    }
}

fn sized(app: &AppName, service: &ServiceName, made: &SizeDecision) -> News {
    let SizeDecision { at: _, from, to, reason } = made;
    let message = format!(
        "replicas of service `{service}` of app `{app}` are given {to} in place of {from}: {reason}"
    );
    of_service(HappeningKind::Resized, app, service, message)
}

fn plan_made(app: &AppName, plan: &Plan) -> News {
    let hosts: std::collections::BTreeSet<&HostId> =
        plan.assignments.iter().map(|assignment| &assignment.host).collect();
    let (number, replicas) = (plan.number, plan.assignments.len());
    let waiting = match plan.waiting.len() {
        0 => String::new(),
        count => format!(", {count} waiting"),
    };
    let hosts = hosts.len();
    let message =
        format!("plan {number} of app `{app}`: replicas {replicas}, hosts {hosts}{waiting}");
    let kind = HappeningKind::PlanMade;
    News { kind, subject: app.to_string(), app: Some(app.clone()), message }
}

fn asked(host: String, wanted: &HostWanted) -> News {
    let words = match wanted.availability {
        Availability::Drain => "drained",
        Availability::Active => "active",
    };
    let labels = wanted.labels.iter().flatten();
    let labels: Vec<String> = labels.map(|(key, value)| format!("{key}={value}")).collect();
    let labels = match labels.as_slice() {
        [] => "no labels".to_owned(),
        labels => format!("labels {}", labels.join(" ")),
    };
    let message = format!("host `{host}` is to be {words}, with {labels}");
    News { kind: HappeningKind::HostChanged, subject: host, app: None, message }
}

/// What a replica's status tells that the one before did not.
fn changed(core: &Core, before: Option<&ReplicaStatus>, now: &ReplicaStatus, news: &mut Vec<News>) {
    let replica = &now.replica;
    let why = now.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let mut tell = |kind, words: String| {
        news.push(of_replica(kind, replica, format!("`{replica}` {words}")));
    };
    let was_ready = before.is_some_and(|before| before.ready);
    let restarts = before.map_or(0, |before| before.restarts);
    if before.map(|before| before.phase) != Some(now.phase) || restarts != now.restarts {
        match now.phase {
            Phase::Pending => {}
            Phase::Pulling => {
                tell(
                    HappeningKind::ReplicaPulling,
                    format!("gets its image{}", image(core, replica)),
                );
            }
            Phase::Starting => {
                let pulled = before.is_some_and(|before| before.phase == Phase::Pulling);
                let words =
                    if pulled { "has its image and is started" } else { "is being started" };
                tell(HappeningKind::ReplicaStarting, words.to_owned());
            }
            Phase::Running if now.restarts > 0 => {
                let words = format!("runs again, restarted {} times", now.restarts);
                tell(HappeningKind::ReplicaRunning, words);
            }
            Phase::Running => tell(HappeningKind::ReplicaRunning, "runs".to_owned()),
            Phase::Stopping => tell(HappeningKind::ReplicaStopping, "is being stopped".to_owned()),
            Phase::Completed => tell(HappeningKind::ReplicaCompleted, "completed".to_owned()),
            Phase::Failed => tell(HappeningKind::ReplicaFailed, format!("failed{why}")),
            Phase::Backoff => {
                tell(HappeningKind::ReplicaRestarting, format!("ended, and starts again{why}"));
            }
        }
    }
    let refused = before.and_then(|before| before.not_resized.as_ref());
    if let Some(why) = now.not_resized.as_ref().filter(|why| refused != Some(why)) {
        tell(HappeningKind::NotResized, format!("keeps its limits: {why}"));
    }
    if now.ready && !was_ready {
        let words = if now.health == Health::Healthy { "is healthy" } else { "is ready" };
        tell(HappeningKind::ReplicaReady, words.to_owned());
    }
    if was_ready && !now.ready && now.phase == Phase::Running {
        tell(HappeningKind::ReplicaUnready, format!("is not ready{why}"));
    }
}

/// ` nginx:1.27`; nothing when the App is gone.
fn image(core: &Core, replica: &ReplicaId) -> String {
    let revision = core.state().winner(&replica.app);
    let deployment = revision.and_then(|revision| revision.deployment(&replica.service));
    deployment.map(|d| format!(" {}", d.container.image)).unwrap_or_default()
}
