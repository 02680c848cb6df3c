//! How services with rules are scaled, for those who look. Pure.

use super::{of_service, unknown_app};
use crate::api::{
    ApiError, AutoscaleView, RecommendedView, ScaleDecisionView, ScaleRuleView, ScalingView,
};
use crate::logic::autoscale::{
    Basis, Reading, advise, aim, amount, peaks, readings, target_words, with_rules,
};
use crate::logic::core::Core;
use crate::logic::peak::recommended;
use crate::model::{
    AppName, Autoscale, Peak, Plan, Revision, ScaleDecision, ScaleRule, Scaling, ServiceName,
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
        }
    };
    Ok(with_rules(revision).map(one).collect())
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
