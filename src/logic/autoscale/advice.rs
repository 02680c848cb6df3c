//! What one rule asks for: the arithmetic of Kubernetes' `HorizontalPodAutoscaler`
//! (`autoscaling/v2`, "Algorithm details" of its documentation). Never remembers anything.

use crate::model::{ScaleMetric, ScaleRule, ScaleTarget};

/// What a division leaves over by rounding asks for no further replica.
const NOISE: f64 = 1e-9;

/// What is known of a rule's number now.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// A number of each replica, in per cent where that is aimed at.
    Each {
        /// Of those that are ready.
        values: Vec<f64>,
        /// Replicas that are not ready yet.
        unready: u32,
        /// Replicas that are ready, and of which nothing is known.
        missing: u32,
    },
    /// One number for all replicas.
    Total(f64),
    /// None, and why, for people.
    Missing(String),
}

impl Reading {
    /// The mean of replicas, or the number of all; none when it is missing.
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Each { values, .. } if values.is_empty() => None,
            Self::Each { values, .. } => Some(mean(values)),
            Self::Total(value) => Some(*value),
            Self::Missing(_) => None,
        }
    }
}

/// What the number should be for each replica.
pub fn aim(rule: &ScaleRule) -> f64 {
    match rule.target {
        ScaleTarget::Utilization(aim) | ScaleTarget::PerReplica(aim) => aim,
    }
}

/// How many replicas a rule asks for, when there are to be `current` of them now.
///
/// # Errors
///
/// Why it cannot say, for people.
pub fn advise(
    rule: &ScaleRule,
    reading: &Reading,
    current: u32,
    tolerance: f64,
) -> Result<u32, String> {
    let (metric, aim) = (&rule.metric, aim(rule));
    if !(aim.is_finite() && aim > 0.0) {
        return Err(format!("`{metric}` has no target"));
    }
    match reading {
        Reading::Missing(reason) => Err(format!("`{metric}` is missing: {reason}")),
        Reading::Total(value) => {
            check(metric, *value)?;
            let needed = ceil(value / aim);
            let ratio = value / (aim * f64::from(current));
            Ok(if current > 0 && is_near(ratio, tolerance) { current } else { needed })
        }
        Reading::Each { values, unready, missing } => {
            values.iter().try_for_each(|value| check(metric, *value))?;
            if values.is_empty() {
                let words = match (unready, missing) {
                    (0, 0) => "there is no replica",
                    (_, 0) => "no replica is ready",
                    (_, 1..) => "no replica was measured",
                };
                return Err(format!("`{metric}` is missing: {words}"));
            }
            Ok(of_each(values, *unready, *missing, aim, current, tolerance))
        }
    }
}

/// Replicas that nothing is known of count as idle when more are asked for, and as what is aimed at when
/// fewer are: so a guess never makes a change larger.
fn of_each(
    values: &[f64],
    unready: u32,
    missing: u32,
    aim: f64,
    current: u32,
    tolerance: f64,
) -> u32 {
    let ratio = mean(values) / aim;
    let grows = ratio > 1.0;
    if missing == 0 && !(unready > 0 && grows) {
        let known = values.len() as f64;
        return if is_near(ratio, tolerance) { current } else { ceil(ratio * known) };
    }
    let guessed = if grows { 0.0 } else { aim * f64::from(missing) };
    let idle = if grows { unready } else { 0 };
    let all = values.len() as f64 + f64::from(missing) + f64::from(idle);
    let filled = (values.iter().sum::<f64>() + guessed) / all / aim;
    let turned = grows != (filled > 1.0);
    let needed = ceil(filled * all);
    let wrong_way = (grows && needed < current) || (!grows && needed > current);
    if is_near(filled, tolerance) || turned || wrong_way { current } else { needed }
}

/// # Errors
///
/// For what no replica can be counted by.
fn check(metric: &ScaleMetric, value: f64) -> Result<(), String> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(format!("`{metric}` is `{value}`, which is no amount"))
}

fn is_near(ratio: f64, tolerance: f64) -> bool {
    (1.0 - ratio).abs() <= tolerance
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Rounds up. More than a number of replicas can be is the most that it can be.
fn ceil(value: f64) -> u32 {
    (value - NOISE).ceil().max(0.0) as u32
}

/// A rule's number beside what it should be, for people: `cpu` is 91 %, the target is 70 %.
pub fn words(rule: &ScaleRule, reading: &Reading) -> String {
    let metric = &rule.metric;
    let Some(value) = reading.value() else { return format!("`{metric}` is missing") };
    format!("`{metric}` is {}, the target is {}", amount(rule, value), target_words(rule))
}

/// What a rule's number should be, for people.
pub fn target_words(rule: &ScaleRule) -> String {
    match rule.target {
        ScaleTarget::Utilization(aim) => amount(rule, aim),
        ScaleTarget::PerReplica(aim) => format!("{} for each replica", amount(rule, aim)),
    }
}

/// A number in the unit of its rule, for people.
pub fn amount(rule: &ScaleRule, value: f64) -> String {
    match (&rule.target, &rule.metric) {
        (ScaleTarget::Utilization(_), _) => format!("{} %", number(value)),
        (ScaleTarget::PerReplica(_), ScaleMetric::Memory) => {
            format!("{} MiB", number(value / f64::from(1 << 20)))
        }
        (ScaleTarget::PerReplica(_), ScaleMetric::Connections) => format!("{}/s", number(value)),
        (ScaleTarget::PerReplica(_), _) => number(value),
    }
}

/// As many digits as tell something.
fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        1.0.. => trimmed(format!("{value:.1}")),
        _ => trimmed(format!("{value:.3}")),
    }
}

fn trimmed(text: String) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
