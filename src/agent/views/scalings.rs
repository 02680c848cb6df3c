//! How services with rules are scaled, for those who look. Pure.

use super::{of_service, unknown_app};
use crate::api::{
    ApiError, AutoscaleView, RecommendedView, ScaleDecisionView, ScaleRuleView, ScalingView,
    SizeDecisionView, SizeProblem, SizeView, VerticalView,
};
use crate::logic::autoscale::{
    Basis, Reading, advise, aim, amount, peaks, readings, target_words, with_rules,
};
use crate::logic::core::Core;
use crate::logic::peak::recommended;
use crate::logic::vertical::with_sizes;
use crate::logic::view::ClusterView;
use crate::model::{
    AppName, Autoscale, Bounds, Peak, Plan, Revision, ScaleDecision, ScaleRule, Scaling,
    ServiceName, Size, SizeDecision, Vertical,
};

/// Every service of an App that has rules.
///
/// # Errors
///
/// When there is no such App.
pub fn autoscale(core: &Core, app: &AppName) -> Result<Vec<AutoscaleView>, ApiError> {
    let revision = core.state().winner(app).ok_or_else(|| unknown_app(app))?;
    let view = core.view();
    let plan = view.plans.get(app).copied();
    let vertical = |service: &ServiceName| {
        let vertical = revision.deployments.get(service)?.vertical?;
        Some(sized(&view, revision, plan, service, &vertical))
    };
    let one = |(service, rules, replicas): (&ServiceName, &Autoscale, u32)| {
        let scaling = plan.and_then(|plan| plan.scalings.get(service));
        let target = scaling.map_or(rules.clamp(replicas), |scaling| scaling.target);
        let basis = Basis::of(&revision.deployments[service].container.resources);
        let known = readings(&view, app, service, rules, basis);
        let both = rules.rules.iter().zip(&known);
        let ready = of_service(plan, service).filter(|assignment| view.is_up(assignment)).count();
        AutoscaleView {
            service: service.clone(),
            ready: ready as u32,
            target,
            min: rules.min,
            max: rules.max,
            interval_seconds: rules.interval().as_secs_f64(),
            rules: both.map(|(rule, reading)| shown(rules, rule, reading, target)).collect(),
            recommended: recommended(peaks(&view, app, service).iter()).map(reserved),
            hold: scaling.and_then(|scaling| scaling.hold.clone()),
            decisions: scaling.map(newest_first).unwrap_or_default(),
            vertical: vertical(service),
        }
    };
    let mut all: Vec<AutoscaleView> = with_rules(revision).map(one).collect();
    // Those that only what is given to a replica changes of.
    for (service, ..) in with_sizes(revision) {
        if all.iter().any(|known| known.service == *service) {
            continue;
        }
        let mine: Vec<_> = of_service(plan, service).collect();
        let n = mine.len() as u32;
        all.push(AutoscaleView {
            service: service.clone(),
            ready: mine.iter().filter(|assignment| view.is_up(assignment)).count() as u32,
            target: n,
            min: n,
            max: n,
            interval_seconds: 0.0,
            rules: Vec::new(),
            recommended: recommended(peaks(&view, app, service).iter()).map(reserved),
            hold: None,
            decisions: Vec::new(),
            vertical: vertical(service),
        });
    }
    all.sort_by(|a, b| a.service.cmp(&b.service));
    Ok(all)
}

/// What replicas of a service are given, and where they are not.
fn sized(
    view: &ClusterView<'_>,
    revision: &Revision,
    plan: Option<&Plan>,
    service: &ServiceName,
    vertical: &Vertical,
) -> VerticalView {
    let sizing = plan.and_then(|plan| plan.sizes.get(service));
    let began = Size::of(&revision.deployments[service].container.resources);
    let given = sizing.map(|sizing| sizing.size).unwrap_or_default();
    let bound = |one: fn(&Bounds) -> u64| {
        let (cpu_millis, memory) = (vertical.cpu_millis, vertical.memory);
        size_view(Size {
            cpu_millis: cpu_millis.as_ref().map(one),
            memory: memory.as_ref().map(one),
        })
    };
    let problems = of_service(plan, service).filter_map(|assignment| {
        let reason = view.status(assignment)?.not_resized.clone()?;
        let host = view.host_name(&assignment.host);
        Some(SizeProblem { replica: assignment.replica.clone(), host, reason })
    });
    let decisions = sizing.iter().flat_map(|sizing| sizing.decisions.iter().rev());
    VerticalView {
        size: size_view(given.or(began)),
        min: bound(|bounds| bounds.min),
        max: bound(|bounds| bounds.max),
        window_seconds: vertical.window().as_secs_f64(),
        hold: sizing.and_then(|sizing| sizing.hold.clone()),
        problems: problems.collect(),
        decisions: decisions
            .map(|SizeDecision { at, from, to, reason }| SizeDecisionView {
                at: at.0,
                from: size_view(*from),
                to: size_view(*to),
                reason: reason.clone(),
            })
            .collect(),
    }
}

fn size_view(Size { cpu_millis, memory }: Size) -> SizeView {
    SizeView { cpus: cpu_millis.map(|millis| millis as f64 / 1_000.0), memory }
}

fn shown(rules: &Autoscale, rule: &ScaleRule, reading: &Reading, target: u32) -> ScaleRuleView {
    let advice = advise(rule, reading, target, rules.tolerance);
    // At rest there is nothing to look at but what is outside of the service.
    let at_rest = target == 0 && !rule.metric.is_from_outside();
    let value = reading.value().filter(|value| value.is_finite());
    ScaleRuleView {
        metric: rule.metric.to_string(),
        value,
        aim: aim(rule),
        shown: value.map_or_else(|| "-".to_owned(), |value| amount(rule, value)),
        target: target_words(rule),
        wants: advice.as_ref().ok().copied(),
        problem: advice.err().filter(|_| !at_rest),
    }
}

fn reserved(Peak { cpus, memory }: Peak) -> RecommendedView {
    // Thousandths and MiB, rounded up, as files have them.
    let cpus = (cpus * 1_000.0).ceil() / 1_000.0;
    RecommendedView { cpus, memory: (memory / f64::from(1 << 20)).ceil() as u64 * (1 << 20) }
}

fn newest_first(scaling: &Scaling) -> Vec<ScaleDecisionView> {
    scaling.decisions.iter().rev().map(decision).collect()
}

fn decision(made: &ScaleDecision) -> ScaleDecisionView {
    let ScaleDecision { at, from, to, reason } = made;
    ScaleDecisionView { at: at.0, from: *from, to: *to, reason: reason.clone() }
}

/// What `ps` says of a service.
pub(super) fn scaling(
    revision: &Revision,
    plan: Option<&Plan>,
    service: &ServiceName,
) -> Option<ScalingView> {
    let rules = revision.deployments.get(service)?.autoscale.as_ref()?;
    let scaling = plan.and_then(|plan| plan.scalings.get(service));
    Some(ScalingView {
        min: rules.min,
        max: rules.max,
        hold: scaling.and_then(|scaling| scaling.hold.clone()),
        last: scaling.and_then(|scaling| scaling.decisions.last()).map(decision),
    })
}
