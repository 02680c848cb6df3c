//! How replicas are replaced, what became of it so far, and what people decided of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::RevisionId;

/// How replicas are replaced (`deploy.update_config`, `deploy.rollback_config`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UpdatePolicy {
    /// So many at a time; 0 means all at once.
    pub parallelism: u32,
    /// Pause between batches, in milliseconds.
    pub delay_ms: u64,
    /// Whether the new replica starts before the old one stops; `None` lets muster choose:
    /// start-first unless volumes or host-mode ports forbid two at once.
    pub start_first: Option<bool>,
    /// How long a new replica that is ready can still fail its rollout, in milliseconds; none means
    /// [`UpdatePolicy::MONITOR`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor_ms: Option<u64>,
    /// The part of the replicas that may fail.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub max_failure_ratio: f64,
    /// What happens when more than that fail.
    #[serde(default, skip_serializing_if = "FailureAction::is_rollback")]
    pub failure_action: FailureAction,
    /// So many are replaced, and the others once somebody promotes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// How long an old replica goes on with what it has begun, from when nobody sends to it any more
    /// until it is told to stop, in milliseconds; none means a moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_ms: Option<u64>,
}

impl UpdatePolicy {
    /// As long as Swarm watches.
    pub const MONITOR: Duration = Duration::from_secs(5);

    /// How long a new replica that is ready can still fail its rollout.
    pub fn monitor(&self) -> Duration {
        self.monitor_ms.map_or(Self::MONITOR, Duration::from_millis)
    }

    /// Pause between batches.
    pub fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms)
    }

    /// How the same Deployment goes back when nobody said: as it came, without pauses.
    #[must_use]
    pub fn back(&self) -> Self {
        Self {
            delay_ms: 0,
            max_failure_ratio: 0.0,
            failure_action: FailureAction::Pause,
            canary: None,
            ..*self
        }
    }
}

impl Default for UpdatePolicy {
    fn default() -> Self {
        Self {
            parallelism: 1,
            delay_ms: 0,
            start_first: None,
            monitor_ms: None,
            max_failure_ratio: 0.0,
            failure_action: FailureAction::Rollback,
            canary: None,
            drain_ms: None,
        }
    }
}

fn is_zero(ratio: &f64) -> bool {
    *ratio == 0.0
}

/// Compose Specification, `failure_action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureAction {
    /// The old spec comes back. muster's default, unlike Swarm's `pause`: what is half done at night
    /// is nobody's wish.
    #[default]
    Rollback,
    /// Nothing further is replaced until somebody decides.
    Pause,
    /// The others are replaced all the same.
    Continue,
}

impl FailureAction {
    /// Whether it is what a file means that says nothing of it.
    pub fn is_rollback(&self) -> bool {
        *self == Self::Rollback
    }
}

/// How many replicas try a new spec first (`x-rollout.canary`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Canary {
    /// So many.
    Count(u32),
    /// So many of a hundred, rounded up.
    Percent(u32),
}

impl Canary {
    /// How many that is of `total`; one at least.
    pub fn of(self, total: usize) -> usize {
        let count = match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => total.saturating_mul(percent as usize).div_ceil(100),
        };
        count.clamp(1, total.max(1))
    }
}

/// What somebody decided of a rollout (`muster rollout`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutOrder {
    /// The first ones run well: the others, too.
    Promote,
    /// Go on to the end, whatever fails.
    Force,
    /// Go back.
    Abort,
}

/// How the replacement of a Deployment's replicas by a new spec goes: kept in the Plan from the
/// first step until all have proved themselves, so that the next Home goes on from there. One that
/// was rolled back stays in the Plan until another spec, or another try, is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Hash of the spec that was asked for.
    pub spec_hash: String,
    /// Which try of it: [`Deployment::attempt`](super::Deployment::attempt).
    #[serde(default)]
    pub attempt: u32,
    /// What ran before, and is gone back to.
    pub from: Former,
    /// How far it is.
    pub stage: Stage,
    /// Replicas, by index, that were ready for as long as they are watched.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub passed: BTreeSet<u32>,
    /// Replicas, by index, that failed before that, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed: BTreeMap<u32, String>,
    /// Why it was paused or undone, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A spec that ran before, by the Revision that holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// The Revision.
    pub revision: RevisionId,
    /// Hash of the spec.
    pub spec_hash: String,
}

/// How far a rollout is. Of two Homes' opinions the later one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Replicas are being replaced.
    Rolling,
    /// The first ones run well; somebody has to promote or abort.
    Canary,
    /// Too many failed; somebody has to decide.
    Paused,
    /// Too many failed, or somebody aborted it: the old spec comes back.
    RollingBack,
    /// The old spec does not run any more either; somebody has to decide.
    RollbackPaused,
    /// The old spec runs again.
    RolledBack,
}

impl Stage {
    /// Whether the old spec is wanted.
    pub fn is_back(self) -> bool {
        match self {
            Self::RollingBack | Self::RollbackPaused | Self::RolledBack => true,
            Self::Rolling | Self::Canary | Self::Paused => false,
        }
    }

    /// Whether the cluster goes on by itself.
    pub fn is_moving(self) -> bool {
        match self {
            Self::Rolling | Self::RollingBack => true,
            Self::Canary | Self::Paused | Self::RollbackPaused | Self::RolledBack => false,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rolling => "rolling out",
            Self::Canary => "canary",
            Self::Paused => "paused",
            Self::RollingBack => "rolling back",
            Self::RollbackPaused => "rollback paused",
            Self::RolledBack => "rolled back",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_one_at_least_and_all_at_most() {
        let cases = [
            (Canary::Percent(10), 10, 1),
            (Canary::Percent(10), 11, 2),
            (Canary::Percent(0), 10, 1),
            (Canary::Percent(100), 4, 4),
            (Canary::Count(3), 2, 2),
            (Canary::Count(0), 2, 1),
            (Canary::Count(2), 5, 2),
        ];
        for (canary, total, expected) in cases {
            assert_eq!(canary.of(total), expected, "{canary:?} of {total}");
        }
    }

    #[test]
    fn row_44_a_policy_that_says_nothing_new_is_written_as_ever() {
        let text = serde_json::to_string(&UpdatePolicy::default()).unwrap();
        assert_eq!(text, r#"{"parallelism":1,"delay_ms":0,"start_first":null}"#);
        let back: UpdatePolicy = serde_json::from_str(&text).unwrap();
        assert_eq!(back, UpdatePolicy::default());
    }
}
