//! What is known of each rule's number: from what hosts say that they measured, and of which replicas.
//! Never measures anything itself.

use std::collections::BTreeMap;

use super::Reading;
use crate::logic::view::ClusterView;
use crate::model::{
    AppName, Assignment, Autoscale, Fact, Fetched, HostId, Liveness, Measured, MeasuredReplica,
    Peak, Plan, Resources, RowKey, ScaleMetric, ScaleRule, ScaleTarget, ServiceName,
};

/// What hosts say is rounded to less than this part of its target, so that it is said again only when
/// it has moved, and never by as much as the tolerance of a rule.
const PARTS: f64 = 20.0;

/// What is 100 % of a replica: what it reserves, or else what it may take at most.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Basis {
    /// CPUs.
    pub cpus: Option<f64>,
    /// Bytes of memory.
    pub memory: Option<f64>,
}

impl Basis {
    /// Of these limits and reservations.
    pub fn of(resources: &Resources) -> Self {
        let some = |amount: u64| Some(amount).filter(|amount| *amount > 0);
        let cpus = some(resources.cpu_reserved_millis).or(resources.cpu_limit_millis);
        let memory = some(resources.memory_reserved).or(resources.memory_limit);
        Self {
            cpus: cpus.map(|millis| millis as f64 / 1000.0),
            memory: memory.map(|bytes| bytes as f64),
        }
    }

    /// What a rule aims at in the unit that is measured; none where it needs what is not there.
    pub fn aim(&self, rule: &ScaleRule) -> Option<f64> {
        let whole = match rule.metric {
            ScaleMetric::Cpu => self.cpus,
            ScaleMetric::Memory => self.memory,
            ScaleMetric::Connections
            | ScaleMetric::Prometheus { .. }
            | ScaleMetric::Json { .. }
            | ScaleMetric::Exec { .. } => None,
        };
        match rule.target {
            ScaleTarget::PerReplica(aim) => Some(aim),
            ScaleTarget::Utilization(percent) => Some(whole? * percent / 100.0),
        }
    }
}

/// A number as it is told to others, by what it should be. One that is no amount stays as it is.
pub fn rounded(value: f64, aim: f64) -> f64 {
    let step = aim / PARTS;
    if !value.is_finite() || !step.is_normal() || step <= 0.0 {
        return value;
    }
    // Powers of ten, so that what is told is short.
    let digits = step.log10().floor().clamp(-12.0, 12.0) as i32;
    if digits < 0 {
        let parts = 10_f64.powi(-digits);
        return (value * parts).round() / parts;
    }
    let whole = 10_f64.powi(digits);
    (value / whole).round() * whole
}

/// The replicas of a service that traffic may be sent to, by index.
pub fn serving<'p>(
    view: &ClusterView<'_>,
    plan: &'p Plan,
    service: &ServiceName,
) -> Vec<&'p Assignment> {
    let mine = of_service(Some(plan), service);
    let mut mine: Vec<_> = mine.filter(|assignment| view.serves(assignment)).collect();
    mine.sort_by_key(|assignment| assignment.replica.index);
    mine
}

/// The replicas of a service, but for those on their way out or at their end.
pub(in crate::logic) fn of_service<'p>(
    plan: Option<&'p Plan>,
    service: &ServiceName,
) -> impl Iterator<Item = &'p Assignment> + use<'p> {
    let all = plan.map(|plan| plan.of_service(service)).unwrap_or_default();
    all.iter().filter(|a| !a.outgoing && !a.done)
}

/// What is known of each of its rules now.
pub fn readings(
    view: &ClusterView<'_>,
    app: &AppName,
    service: &ServiceName,
    rules: &Autoscale,
    basis: Basis,
) -> Vec<Reading> {
    let known = Known { view, app, service, basis, told: told(view, app) };
    rules.rules.iter().map(|rule| known.reading(rule)).collect()
}

/// What sufficed for a replica of a service, as live hosts say.
pub fn peaks(view: &ClusterView<'_>, app: &AppName, service: &ServiceName) -> Vec<Peak> {
    peaks_of(&told(view, app), service)
}

/// The same by what they say.
pub(in crate::logic) fn peaks_of(
    told: &BTreeMap<&HostId, &Measured>,
    service: &ServiceName,
) -> Vec<Peak> {
    told.values().filter_map(|measured| measured.peaks.get(service).copied()).collect()
}

/// What live hosts say of an App.
pub(in crate::logic) fn told<'v>(
    view: &ClusterView<'v>,
    app: &AppName,
) -> BTreeMap<&'v HostId, &'v Measured> {
    let facts = view.state.facts().filter_map(|(owner, key, fact)| match (key, fact) {
        (RowKey::Measured(of), Fact::Measured(measured)) if of == app => Some((owner, measured)),
        (_, _) => None,
    });
    facts.filter(|(owner, _)| view.liveness(owner) != Liveness::Dead).collect()
}

struct Known<'k, 'v> {
    view: &'k ClusterView<'v>,
    app: &'k AppName,
    service: &'k ServiceName,
    basis: Basis,
    told: BTreeMap<&'v HostId, &'v Measured>,
}

impl Known<'_, '_> {
    fn reading(&self, rule: &ScaleRule) -> Reading {
        match &rule.metric {
            ScaleMetric::Cpu => self.each(rule, self.basis.cpus, |one| one.cpus),
            ScaleMetric::Memory => self.each(rule, self.basis.memory, |one| one.memory),
            ScaleMetric::Connections => self.connections(),
            ScaleMetric::Prometheus { .. }
            | ScaleMetric::Json { .. }
            | ScaleMetric::Exec { .. } => self.fetched(&rule.metric),
        }
    }

    fn each(
        &self,
        rule: &ScaleRule,
        whole: Option<f64>,
        part: fn(&MeasuredReplica) -> Option<f64>,
    ) -> Reading {
        let unit = match (rule.target, whole) {
            (ScaleTarget::PerReplica(_), _) => 1.0,
            (ScaleTarget::Utilization(_), Some(whole)) => whole / 100.0,
            (ScaleTarget::Utilization(_), None) => {
                return Reading::Missing("nothing of it is reserved".to_owned());
            }
        };
        let (mut values, mut unready, mut missing) = (Vec::new(), 0, 0);
        let plan = self.view.plans.get(self.app).copied();
        for assignment in of_service(plan, self.service) {
            if !self.view.status(assignment).is_some_and(|status| status.ready) {
                unready += 1;
                continue;
            }
            let is_it = |one: &&MeasuredReplica| {
                one.replica == assignment.replica && one.generation == assignment.generation
            };
            let told = self.told.get(&assignment.host);
            let told = told.and_then(|measured| measured.replicas.iter().find(is_it));
            match told.and_then(part) {
                Some(value) => values.push(value / unit),
                None => missing += 1,
            }
        }
        Reading::Each { values, unready, missing }
    }

    /// Every host that may hand out connections has to have counted.
    fn connections(&self) -> Reading {
        let alive = self.view.hosts.iter().filter(|(_, h)| h.liveness == Liveness::Alive);
        let mut total = 0.0;
        for (host, _) in alive {
            let counted = self.told.get(host).and_then(|told| told.connections.get(self.service));
            match counted {
                Some(connections) => total += connections,
                None => {
                    let name = self.view.host_name(host);
                    return Reading::Missing(format!("`{name}` has not counted"));
                }
            }
        }
        Reading::Total(total)
    }

    /// This host's own word comes first, then that of whoever has a number.
    fn fetched(&self, metric: &ScaleMetric) -> Reading {
        let key = metric.key();
        let of = |measured: &&Measured| measured.numbers.get(self.service)?.get(&key).cloned();
        let own = self.told.get(self.view.me).and_then(of);
        let mut others: Vec<Fetched> = self.told.values().filter_map(of).collect();
        others.sort_by_key(|fetched| matches!(fetched, Fetched::Failed(_)));
        match own.or_else(|| others.into_iter().next()) {
            Some(Fetched::Number(number)) => Reading::Total(number),
            Some(Fetched::Failed(reason)) => Reading::Missing(reason),
            None => Reading::Missing("nobody has fetched it yet".to_owned()),
        }
    }
}
