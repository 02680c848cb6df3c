//! How many replicas a service with rules is to have. The model is Kubernetes'
//! `HorizontalPodAutoscaler` (`autoscaling/v2`): of several rules the most counts, a number near its target
//! changes nothing, what was asked for within a window damps changes, steps limit them. Unlike there, a
//! number that is missing counts as "as many as there are" for the windows, so that nothing shrinks at
//! once when it is back, and a number that somebody asks for by hand stays for the window.
//!
//! Never measures, and never starts or stops a replica: `readings` says what is known of each rule,
//! `advice` what it asks for, and the Plan carries the target.

mod advice;
mod readings;
mod window;

use std::time::Duration;

pub use self::advice::{Reading, advise, aim, amount, target_words, words};
pub use self::readings::{Basis, peaks, readings, rounded, serving};
pub(super) use self::readings::{of_service, peaks_of, told};
use self::window::Window;
use crate::model::{
    Autoscale, Moment, Replicas, Revision, ScaleBehavior, ScaleDecision, ScaleRule, Scaling,
    Select, ServiceName, StepSize, TargetChange, WallSeconds,
};

/// One Deployment with rules, as its Home keeps it between two decisions.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaler {
    target: u32,
    asked: u32,
    /// Holds back shrinking.
    highest: Window,
    /// Holds back growing.
    lowest: Window,
    /// Changes of the target, oldest first, as long as a step may ask for them.
    changes: Vec<(Moment, i64)>,
    hold: Option<String>,
    decisions: Vec<ScaleDecision>,
    /// When it is decided again.
    next: Moment,
}

/// Now, on both clocks: one decides, the other is shown.
type Now = (Moment, WallSeconds);

impl Scaler {
    /// One that begins with so many replicas.
    pub fn new(rules: &Autoscale, replicas: u32, now: Moment) -> Self {
        let target = rules.clamp(replicas);
        let mut scaler = Self {
            target,
            asked: rules.asked.map_or(0, |asked| asked.number),
            highest: Window::highest(),
            lowest: Window::lowest(),
            changes: Vec::new(),
            hold: None,
            decisions: Vec::new(),
            next: now + rules.interval(),
        };
        scaler.highest.restart(now, target);
        scaler.lowest.restart(now, target);
        scaler
    }

    /// One that goes on from what the Home before wrote. Rows of other hosts come first.
    pub fn resume(rules: &Autoscale, scaling: &Scaling, now: Moment) -> Self {
        let Scaling { target, asked, highest, lowest, changes, hold, decisions } = scaling;
        let since = |age_ms: u64| Moment(now.0.saturating_sub(age_ms));
        Self {
            target: *target,
            asked: *asked,
            highest: Window::highest().with(highest, now),
            lowest: Window::lowest().with(lowest, now),
            changes: changes.iter().map(|one| (since(one.age_ms), one.by)).collect(),
            hold: hold.clone(),
            decisions: decisions.clone(),
            next: now + rules.interval(),
        }
    }

    /// How many replicas there are to be.
    pub fn target(&self) -> u32 {
        self.target
    }

    /// When [`Scaler::decide`] is due.
    pub fn next(&self) -> Moment {
        self.next
    }

    /// Why nothing could be decided last, for people.
    pub fn hold(&self) -> Option<&str> {
        self.hold.as_deref()
    }

    /// What the Plan says of it.
    pub fn scaling(&self, now: Moment) -> Scaling {
        let age = |at: Moment| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX);
        let changes = self.changes.iter();
        Scaling {
            target: self.target,
            asked: self.asked,
            highest: self.highest.advised(now),
            lowest: self.lowest.advised(now),
            changes: changes.map(|(at, by)| TargetChange { by: *by, age_ms: age(*at) }).collect(),
            hold: self.hold.clone(),
            decisions: self.decisions.clone(),
        }
    }

    /// Heeds at once what people changed: a number asked for by hand, and other bounds.
    pub fn heed(&mut self, rules: &Autoscale, now: Now) {
        if let Some(asked) = rules.asked.filter(|asked| asked.number > self.asked) {
            self.asked = asked.number;
            let to = rules.clamp(asked.replicas);
            self.change(to, "asked for with `muster scale`".to_owned(), now);
            self.highest.restart(now.0, to);
            self.lowest.restart(now.0, to);
        }
        let to = rules.clamp(self.target);
        if to != self.target {
            let (min, max) = (rules.min, rules.max);
            self.change(to, format!("`min` is {min} and `max` is {max}"), now);
        }
    }

    /// Decides by what is known of each rule, in their order.
    pub fn decide(&mut self, rules: &Autoscale, readings: &[Reading], now: Now) {
        self.heed(rules, now);
        self.next = now.0 + rules.interval();
        let current = self.target;
        let (wanted, why) = match self.wanted(rules, readings) {
            Ok((wanted, why)) => {
                self.hold = None;
                (rules.clamp(wanted), why)
            }
            Err(reason) => {
                self.hold = Some(reason);
                (current, String::new())
            }
        };
        let least = self.lowest.push(now.0, wanted, rules.up.window());
        let most = self.highest.push(now.0, wanted, rules.down.window());
        let steady = current.max(least).min(most);
        self.forget(rules, now.0);
        let to = match steady {
            up if up > current => up.min(self.limit_up(&rules.up, now.0)).max(current),
            down if down < current => down.max(self.limit_down(&rules.down, now.0)).min(current),
            _ => current,
        };
        let to = rules.clamp(to);
        if to != current {
            let limited = if to == steady { String::new() } else { format!(", {to} in this step") };
            self.change(to, format!("{why}: {steady} are needed{limited}"), now);
            self.changes.push((now.0, i64::from(to) - i64::from(current)));
        }
    }

    /// The most that the rules ask for, and why. When some cannot say, the others may only ask for more.
    fn wanted(&self, rules: &Autoscale, readings: &[Reading]) -> Result<(u32, String), String> {
        let mut most: Option<(u32, &ScaleRule, &Reading)> = None;
        let mut missing = None;
        // A service at rest has nothing to look at but what is outside of it.
        let at_rest = self.target == 0;
        let all = rules.rules.iter().zip(readings);
        for (rule, reading) in all.filter(|(r, _)| !at_rest || r.metric.is_from_outside()) {
            match advise(rule, reading, self.target, rules.tolerance) {
                Ok(replicas) if most.is_none_or(|(known, ..)| replicas > known) => {
                    most = Some((replicas, rule, reading));
                }
                Ok(_) => {}
                Err(reason) => missing = missing.or(Some(reason)),
            }
        }
        match (most, missing) {
            (Some((replicas, ..)), Some(reason)) if replicas < self.target => Err(reason),
            (Some((replicas, rule, reading)), _) => Ok((replicas, words(rule, reading))),
            (None, Some(reason)) => Err(reason),
            (None, None) => Err("there is nothing to look at".to_owned()),
        }
    }

    fn change(&mut self, to: u32, reason: String, (_, at): Now) {
        let from = std::mem::replace(&mut self.target, to);
        if from != to {
            self.decisions.push(ScaleDecision { at, from, to, reason });
            let too_many = self.decisions.len().saturating_sub(Scaling::DECISIONS_MAX);
            self.decisions.drain(..too_many);
        }
    }

    /// Forgets changes that no step asks for any more.
    fn forget(&mut self, rules: &Autoscale, now: Moment) {
        let steps = rules.up.steps.iter().chain(&rules.down.steps);
        let longest = Duration::from_millis(steps.map(|step| step.per_ms).max().unwrap_or(0));
        self.changes.retain(|(at, _)| now.since(*at) < longest);
    }

    /// How many there were at the beginning of the last `per_ms`.
    fn before(&self, now: Moment, per_ms: u64) -> i64 {
        let changes = self.changes.iter();
        let within = changes.filter(|(at, _)| now.since(*at) < Duration::from_millis(per_ms));
        i64::from(self.target) - within.map(|(_, by)| by).sum::<i64>()
    }

    fn limit_up(&self, behavior: &ScaleBehavior, now: Moment) -> u32 {
        let limits = behavior.steps.iter().map(|step| {
            let before = self.before(now, step.per_ms).max(0);
            match step.size {
                StepSize::Replicas(n) => before + i64::from(n),
                // The double of nothing would never wake it.
                StepSize::Percent(p) => {
                    let more = before.saturating_mul(i64::from(p));
                    before + (more + 99).div_euclid(100).max(i64::from(before == 0))
                }
            }
        });
        let limit = match behavior.select {
            Select::Disabled => Some(i64::from(self.target)),
            Select::Max => limits.max(),
            Select::Min => limits.min(),
        };
        limit.map_or(u32::MAX, |limit| u32::try_from(limit.max(0)).unwrap_or(u32::MAX))
    }

    fn limit_down(&self, behavior: &ScaleBehavior, now: Moment) -> u32 {
        let limits = behavior.steps.iter().map(|step| {
            let before = self.before(now, step.per_ms).max(0);
            match step.size {
                StepSize::Replicas(n) => before - i64::from(n),
                StepSize::Percent(p) => before.saturating_mul(100 - i64::from(p.min(100))) / 100,
            }
        });
        let limit = match behavior.select {
            Select::Disabled => Some(i64::from(self.target)),
            Select::Max => limits.min(),
            Select::Min => limits.max(),
        };
        limit.map_or(0, |limit| u32::try_from(limit.max(0)).unwrap_or(u32::MAX))
    }
}

/// The services of a Revision that have rules, and how many replicas the file has them begin with.
pub fn with_rules(revision: &Revision) -> impl Iterator<Item = (&ServiceName, &Autoscale, u32)> {
    // Companions have as many replicas as those they join.
    let own = revision.deployments.iter().filter(|(_, deployment)| deployment.joins.is_none());
    own.filter_map(|(service, deployment)| {
        let rules = deployment.autoscale.as_ref()?;
        match deployment.replicas {
            Replicas::Count(replicas) => Some((service, rules, replicas)),
            Replicas::Global => None,
        }
    })
}

/// One that goes on from what the last Plan has, or begins.
pub fn scaler(rules: &Autoscale, replicas: u32, before: Option<&Scaling>, now: Moment) -> Scaler {
    match before {
        Some(before) => Scaler::resume(rules, before, now),
        None => Scaler::new(rules, replicas, now),
    }
}

#[cfg(test)]
mod tests;
