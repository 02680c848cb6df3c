//! How much CPU and memory a replica is given by what is measured (`x-autoscale.vertical`): what a file
//! allows, and what the Home made of it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Resources, WallSeconds};

/// `x-autoscale.vertical` of a service that says `apply: true`. What has no bounds stays as the file has
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vertical {
    /// Thousandths of a CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<Bounds>,
    /// Bytes of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bounds>,
    /// There is at most one change within this time, and less is given only when it would have sufficed
    /// for as long; milliseconds.
    pub window_ms: u64,
}

impl Vertical {
    /// The window where the file says nothing.
    pub const WINDOW: Duration = Duration::from_secs(300);
    /// The longest time between two looks.
    const LOOK: Duration = Duration::from_secs(15);

    /// The time that holds changes back.
    pub fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms)
    }

    /// Time between two looks: several within a window.
    pub fn interval(&self) -> Duration {
        (self.window() / 4).clamp(Duration::from_secs(1), Self::LOOK)
    }
}

/// What may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// The least.
    pub min: u64,
    /// The most.
    pub max: u64,
}

impl Bounds {
    /// An amount that is allowed.
    pub fn clamp(&self, amount: u64) -> u64 {
        amount.min(self.max).max(self.min.min(self.max))
    }
}

/// What one replica is given: its limits, and what is reserved for it. What is none is as in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Size {
    /// Thousandths of a CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u64>,
    /// Bytes of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}

impl Size {
    /// The limits of the file.
    pub fn of(resources: &Resources) -> Self {
        Self { cpu_millis: resources.cpu_limit_millis, memory: resources.memory_limit }
    }

    /// This one where it says something, else the other.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.or(other.cpu_millis),
            memory: self.memory.or(other.memory),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpus = self.cpu_millis.map(|millis| format!("{} CPUs", millis as f64 / 1000.0));
        let memory = self.memory.map(|bytes| {
            let mib = bytes as f64 / f64::from(1 << 20);
            format!("{} MiB", (mib * 10.0).round() / 10.0)
        });
        match (cpus, memory) {
            (Some(cpus), Some(memory)) => write!(f, "{cpus}, {memory}"),
            (Some(one), None) | (None, Some(one)) => f.write_str(&one),
            (None, None) => f.write_str("no limit"),
        }
    }
}

/// What the Home made of it for a Deployment: part of its Plan, so that hosts apply it and the next
/// Home goes on from there. That one sees for itself for how long less would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizing {
    /// What each replica is given.
    pub size: Size,
    /// The limits of the file when it began; with others it begins anew.
    pub began: Size,
    /// How long before the Plan was written it began or changed, in milliseconds.
    pub age_ms: u64,
    /// Why nothing can be decided now, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// The last decisions, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<SizeDecision>,
}

impl Sizing {
    /// Decisions that are kept.
    pub const DECISIONS_MAX: usize = 8;

    /// Whether both say the same, but for ages.
    pub fn is_same(&self, other: &Self) -> bool {
        let Self { size, began, age_ms: _, hold, decisions } = self;
        *size == other.size
            && *began == other.began
            && *hold == other.hold
            && *decisions == other.decisions
    }
}

/// Another size, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeDecision {
    /// When, by the clock of the Home.
    pub at: WallSeconds,
    /// What was given.
    pub from: Size,
    /// What is given.
    pub to: Size,
    /// Why, for people.
    pub reason: String,
}

/// What an engine holds a container to; none is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Thousandths of a CPU.
    pub cpu_millis: Option<u64>,
    /// Bytes of memory.
    pub memory: Option<u64>,
}

/// Other limits for a container that is there; what is none stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resize {
    /// Thousandths of a CPU.
    pub cpu_millis: Option<u64>,
    /// Memory and swap.
    pub memory: Option<MemoryLimit>,
}

/// A limit of memory, and what goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Bytes.
    pub limit: u64,
    /// Bytes of memory and swap together, never less than `limit`; -1 is as much swap as there is.
    pub with_swap: i64,
    /// Bytes that are its own when the host runs short, never more than `limit`; 0 is none.
    pub reserved: u64,
}
