//! How many replicas a service has by what is measured (`x-autoscale`): what a file asks for, what hosts
//! measured, and what the Home made of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Generation, ReplicaId, ServiceName, WallSeconds, stable_hash};

/// `x-autoscale` of a service. Defaults are those of Kubernetes' `HorizontalPodAutoscaler`
/// (`autoscaling/v2`), so that an export behaves alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Autoscale {
    /// Fewest replicas; 0 lets the service rest until a number from outside of it wakes it.
    pub min: u32,
    /// Most replicas.
    pub max: u32,
    /// What is looked at; of what they ask for, the most counts.
    pub rules: Vec<ScaleRule>,
    /// Time between two decisions, in milliseconds.
    pub interval_ms: u64,
    /// A number that is off its target by no more than this part changes nothing.
    pub tolerance: f64,
    /// How fast it grows.
    pub up: ScaleBehavior,
    /// How fast it shrinks.
    pub down: ScaleBehavior,
    /// The number that somebody asked for by hand last (`muster scale`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<AskedReplicas>,
}

impl Autoscale {
    /// Time between two decisions where the file says nothing: that of Kubernetes.
    pub const INTERVAL: Duration = Duration::from_secs(15);
    /// Tolerance where the file says nothing.
    pub const TOLERANCE: f64 = 0.1;

    /// Time between two decisions.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }

    /// A number of replicas that is allowed.
    pub fn clamp(&self, replicas: u32) -> u32 {
        replicas.min(self.max).max(self.min.min(self.max))
    }
}

/// A number asked for by hand; the rules go on from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedReplicas {
    /// How many.
    pub replicas: u32,
    /// Rises each time, so that the same number can be asked for again.
    pub number: u32,
}

/// A number that is looked at, and what it should be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScaleRule {
    /// Where the number comes from.
    pub metric: ScaleMetric,
    /// What it should be.
    pub target: ScaleTarget,
}

/// Where a number comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleMetric {
    /// CPUs that each replica takes.
    Cpu,
    /// Bytes of memory that each replica holds.
    Memory,
    /// New connections a second that all hosts hand out to the service.
    Connections,
    /// A number of a page in Prometheus' text format.
    Prometheus {
        /// The page.
        url: String,
        /// The metric's name.
        name: String,
        /// Labels that a sample must have.
        #[serde(default)]
        labels: BTreeMap<String, String>,
        /// What is made of several samples.
        #[serde(default)]
        aggregate: Aggregate,
    },
    /// A number of a JSON document.
    Json {
        /// The document.
        url: String,
        /// Where in it: `queue.length`, `queues.0.length`.
        path: String,
    },
    /// The first word that a command writes.
    Exec {
        /// The service in one of whose replicas it runs.
        service: ServiceName,
        /// The command and its arguments.
        command: Vec<String>,
    },
}

impl ScaleMetric {
    /// Tells one metric from others of the same service.
    pub fn key(&self) -> String {
        let json = serde_json::to_string(self).expect("it holds only strings and maps");
        format!("{:016x}", stable_hash(&[&json]))
    }

    /// Whether the number is there while the service has no replicas.
    pub fn is_from_outside(&self) -> bool {
        match self {
            Self::Cpu | Self::Memory | Self::Connections => false,
            Self::Prometheus { .. } | Self::Json { .. } | Self::Exec { .. } => true,
        }
    }
}

impl fmt::Display for ScaleMetric {
    /// What people call it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Memory => f.write_str("memory"),
            Self::Connections => f.write_str("connections"),
            Self::Prometheus { name, .. } => f.write_str(name),
            Self::Json { path, .. } => f.write_str(path),
            Self::Exec { command, .. } => {
                f.write_str(command.first().map_or("exec", String::as_str))
            }
        }
    }
}

/// What is made of several samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// All of them together.
    #[default]
    Sum,
    /// Their mean.
    Avg,
    /// The highest.
    Max,
    /// The lowest.
    Min,
}

/// What a number should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleTarget {
    /// Per cent of what each replica reserves, or else may take at most.
    Utilization(f64),
    /// So much for each replica: CPUs, bytes, connections a second, or whatever the number counts.
    PerReplica(f64),
}

/// How fast the number of replicas may change in one direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleBehavior {
    /// Of what the rules asked for within this time, the smallest change counts; milliseconds.
    pub window_ms: u64,
    /// At most so much; none means nothing holds it back.
    #[serde(default)]
    pub steps: Vec<ScaleStep>,
    /// Which of several steps counts.
    #[serde(default)]
    pub select: Select,
}

impl ScaleBehavior {
    /// Growing where the file says nothing: at once, by 4 or to the double in 15 s.
    pub fn up() -> Self {
        let per_ms = 15_000;
        let four = ScaleStep { size: StepSize::Replicas(4), per_ms };
        let double = ScaleStep { size: StepSize::Percent(100), per_ms };
        Self { window_ms: 0, steps: vec![four, double], select: Select::Max }
    }

    /// Shrinking where the file says nothing: to the most that was asked for in 5 minutes.
    pub fn down() -> Self {
        Self { window_ms: 300_000, steps: Vec::new(), select: Select::Max }
    }

    /// How long the smallest change is looked for.
    pub fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms)
    }
}

/// At most so much in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleStep {
    /// How much.
    pub size: StepSize,
    /// Milliseconds.
    pub per_ms: u64,
}

/// How much the number of replicas may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepSize {
    /// By so many.
    Replicas(u32),
    /// By so many of a hundred of what there were.
    Percent(u32),
}

/// Which of several steps counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// The largest.
    #[default]
    Max,
    /// The smallest.
    Min,
    /// None: it never changes in this direction.
    Disabled,
}

/// What one host measured for the rules of an App. It says it as long as it measures: what it cannot
/// measure any more is not in it, so that nobody goes on with an old number.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Measured {
    /// Its replicas.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<MeasuredReplica>,
    /// New connections a second that it handed out, by service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub connections: BTreeMap<ServiceName, f64>,
    /// Numbers that it fetched, by service and [`ScaleMetric::key`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub numbers: BTreeMap<ServiceName, BTreeMap<String, Fetched>>,
    /// What sufficed for a replica, by service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub peaks: BTreeMap<ServiceName, Peak>,
}

impl Measured {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        let Self { replicas, connections, numbers, peaks } = self;
        replicas.is_empty() && connections.is_empty() && numbers.is_empty() && peaks.is_empty()
    }
}

/// What suffices for a replica.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// CPUs.
    pub cpus: f64,
    /// Bytes of memory.
    pub memory: f64,
}

/// One replica.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasuredReplica {
    /// Which.
    pub replica: ReplicaId,
    /// Of which Generation.
    pub generation: Generation,
    /// CPUs it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Bytes of memory it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<f64>,
}

/// What became of fetching a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fetched {
    /// The number.
    Number(f64),
    /// Why there is none, for people.
    Failed(String),
}

impl Fetched {
    /// A number. What is none cannot be told to others either: JSON has no word for it.
    pub fn of(number: f64) -> Self {
        if number.is_finite() {
            return Self::Number(number);
        }
        Self::Failed(format!("it is `{number}`, which is no amount"))
    }
}

/// What the Home made of the rules of a Deployment: part of its Plan, so that the next Home goes on
/// from there. Ages are those when the Plan was written; another Home counts on from them, so that
/// whatever holds a change back does so for longer at most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// How many replicas there are to be.
    pub target: u32,
    /// The [`AskedReplicas::number`] that was heeded last.
    #[serde(default)]
    pub asked: u32,
    /// What was advised lately, most first: it goes down to none below the first that is young enough.
    #[serde(default)]
    pub highest: Vec<Advised>,
    /// The same, least first, for growing.
    #[serde(default)]
    pub lowest: Vec<Advised>,
    /// How the target changed within the time of the longest step.
    #[serde(default)]
    pub changes: Vec<TargetChange>,
    /// Why nothing can be decided now, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// The last decisions, newest last.
    #[serde(default)]
    pub decisions: Vec<ScaleDecision>,
}

impl Scaling {
    /// Decisions that are kept.
    pub const DECISIONS_MAX: usize = 8;

    /// Whether both say the same, but for ages.
    pub fn is_same(&self, other: &Self) -> bool {
        let Self { target, asked, highest, lowest, changes, hold, decisions } = self;
        let advice = |all: &[Advised]| all.iter().map(|one| one.replicas).collect::<Vec<_>>();
        let by = |all: &[TargetChange]| all.iter().map(|one| one.by).collect::<Vec<_>>();
        *target == other.target
            && *asked == other.asked
            && advice(highest) == advice(&other.highest)
            && advice(lowest) == advice(&other.lowest)
            && by(changes) == by(&other.changes)
            && *hold == other.hold
            && *decisions == other.decisions
    }
}

/// A number of replicas that the rules asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advised {
    /// How many.
    pub replicas: u32,
    /// How long ago, in milliseconds.
    pub age_ms: u64,
}

/// A change of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetChange {
    /// By how many.
    pub by: i64,
    /// How long ago, in milliseconds.
    pub age_ms: u64,
}

/// Another number of replicas, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleDecision {
    /// When, by the clock of the Home.
    pub at: WallSeconds,
    /// How many there were to be.
    pub from: u32,
    /// How many there are to be.
    pub to: u32,
    /// Why, for people.
    pub reason: String,
}
