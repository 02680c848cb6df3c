//! How much CPU and memory a replica is given while it runs, where a file allows it
//! (`x-autoscale.vertical`). What is advised is what `peak` recommends and never less than what the
//! busiest replica takes now with something to spare; who takes nearly all it may is given half as much
//! again, since more cannot be seen of it. More is given at once, less when it would have sufficed for a
//! whole window; neither for less than a tenth, nor twice within a window.
//!
//! Never measures, and never touches a container: the Plan carries the size, and hosts hold their
//! containers to it.

mod limits;

use std::collections::BTreeMap;

pub use self::limits::{fits, reserve, resize, size_spec};
use super::autoscale::{of_service, peaks_of, told};
use super::peak::{SPARE, recommended};
use super::view::ClusterView;
use crate::model::{
    AppName, Bounds, Deployment, Life, Moment, Peak, Revision, ServiceName, Size, SizeDecision,
    Sizing, Vertical, WallSeconds,
};

/// A smaller part of what there is changes nothing.
const TOLERANCE: f64 = 0.1;
/// Who takes this part of its limit would take more if it might.
const PRESSED: f64 = 0.9;
/// What such a one is given, of what it has.
const STEP: f64 = 1.5;
/// Limits are whole hundredths of a CPU, as Docker has them,
const CPU_GRAIN: u64 = 10;
/// and whole MiB.
const MEMORY_GRAIN: u64 = 1 << 20;

/// Now, on both clocks: one decides, the other is shown.
type Now = (Moment, WallSeconds);

/// What is known of one resource, in the unit of its limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Need {
    /// What suffices, by what was seen for long, with something to spare.
    pub recommended: f64,
    /// What the busiest replica takes now.
    pub now: f64,
}

/// What is known of what replicas need.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Needs {
    /// Thousandths of a CPU.
    pub cpu_millis: Need,
    /// Bytes.
    pub memory: Need,
}

/// One Deployment, as its Home keeps it between two looks.
#[derive(Debug, Clone, PartialEq)]
pub struct Sizer {
    size: Size,
    began: Size,
    changed: Moment,
    less_cpu: Option<Less>,
    less_memory: Option<Less>,
    hold: Option<String>,
    decisions: Vec<SizeDecision>,
    /// When it is looked at again.
    next: Moment,
}

/// Since when less would do, and the most that was needed since.
type Less = (Moment, u64);

impl Sizer {
    /// One that begins with the limits of the file.
    pub fn new(began: Size, now: Moment) -> Self {
        Self {
            size: Size::default(),
            began,
            changed: now,
            less_cpu: None,
            less_memory: None,
            hold: None,
            decisions: Vec::new(),
            next: now,
        }
    }

    /// One that goes on from what a Plan has, or begins: other limits in the file are what somebody
    /// wants now.
    pub fn resume(began: Size, before: Option<&Sizing>, now: Moment) -> Self {
        let Some(before) = before.filter(|before| before.began == began) else {
            return Self::new(began, now);
        };
        let Sizing { size, began, age_ms, hold, decisions } = before.clone();
        let changed = Moment(now.0.saturating_sub(age_ms));
        Self { size, changed, hold, decisions, ..Self::new(began, now) }
    }

    /// When [`Sizer::decide`] is due.
    pub fn next(&self) -> Moment {
        self.next
    }

    /// The limits of the file that it began with.
    pub fn began(&self) -> Size {
        self.began
    }

    /// What the Plan says of it.
    pub fn sizing(&self, now: Moment) -> Sizing {
        Sizing {
            size: self.size,
            began: self.began,
            age_ms: u64::try_from(now.since(self.changed).as_millis()).unwrap_or(u64::MAX),
            hold: self.hold.clone(),
            decisions: self.decisions.clone(),
        }
    }

    /// Heeds at once what people changed: what may not be given any more, and other bounds.
    pub fn heed(&mut self, vertical: &Vertical, now: Now) {
        let within = |amount: Option<u64>, bounds: Option<Bounds>| {
            amount.zip(bounds).map(|(amount, bounds)| bounds.clamp(amount))
        };
        let to = Size {
            cpu_millis: within(self.size.cpu_millis, vertical.cpu_millis),
            memory: within(self.size.memory, vertical.memory),
        };
        if to != self.size {
            self.change(to, "`min` and `max` of the file are others".to_owned(), now);
        }
    }

    /// Decides by what is known, or notes why nothing is.
    pub fn decide(&mut self, vertical: &Vertical, known: Result<Needs, String>, now: Now) {
        self.heed(vertical, now);
        self.next = now.0 + vertical.interval();
        let needs = match known {
            Ok(needs) => needs,
            Err(reason) => {
                // Nobody knows whether less would do.
                (self.less_cpu, self.less_memory) = (None, None);
                self.hold = Some(reason);
                return;
            }
        };
        self.hold = None;
        let given = self.size.or(self.began);
        let window = vertical.window();
        let one = |need, grain, given, bounds: Option<Bounds>, less: &mut Option<Less>| {
            let aim = aim(need, grain, given, bounds?);
            step(given, aim, less, |since| now.0.since(since) >= window, now.0)
        };
        let cpu = one(
            needs.cpu_millis,
            CPU_GRAIN,
            given.cpu_millis,
            vertical.cpu_millis,
            &mut self.less_cpu,
        );
        let memory =
            one(needs.memory, MEMORY_GRAIN, given.memory, vertical.memory, &mut self.less_memory);
        if (cpu, memory) == (None, None) || now.0.since(self.changed) < window {
            return;
        }
        let why = [
            cpu.map(|_| needs.cpu_millis.words(|millis| Size { cpu_millis: millis, memory: None })),
            memory.map(|_| needs.memory.words(|bytes| Size { cpu_millis: None, memory: bytes })),
        ];
        let why: Vec<String> = why.into_iter().flatten().collect();
        let to = Size { cpu_millis: cpu, memory }.or(self.size);
        self.change(to, why.join("; "), now);
    }

    fn change(&mut self, to: Size, reason: String, (moment, at): Now) {
        let from = self.size.or(self.began);
        (self.size, self.changed) = (to, moment);
        (self.less_cpu, self.less_memory) = (None, None);
        self.decisions.push(SizeDecision { at, from, to: to.or(self.began), reason });
        let too_many = self.decisions.len().saturating_sub(Sizing::DECISIONS_MAX);
        self.decisions.drain(..too_many);
    }
}

impl Need {
    fn words(&self, size: impl Fn(Option<u64>) -> Size) -> String {
        let amount = |amount: f64| size(Some(amount as u64));
        format!(
            "the busiest takes {}, {} are recommended",
            amount(self.now),
            amount(self.recommended)
        )
    }
}

/// What to give, within bounds. A number that is none is nothing, and one that is absurd is the most.
fn aim(need: Need, grain: u64, given: Option<u64>, bounds: Bounds) -> u64 {
    let Need { recommended, now } = need;
    let is_pressed = |given: &u64| now >= *given as f64 * PRESSED;
    let pressed = given.filter(is_pressed).map_or(0.0, |given| given as f64 * STEP);
    let needed = recommended.max(now * SPARE).max(pressed).ceil() as u64;
    bounds.clamp(needed.div_ceil(grain).saturating_mul(grain))
}

/// What is given next, if it is something else; notes since when less would do.
fn step(
    given: Option<u64>,
    aim: u64,
    less: &mut Option<Less>,
    is_long: impl Fn(Moment) -> bool,
    now: Moment,
) -> Option<u64> {
    if let Some(given) = given.filter(|given| aim >= *given) {
        *less = None;
        return is_other(given, aim).then_some(aim);
    }
    if given.is_some_and(|given| !is_other(given, aim)) {
        *less = None;
        return None;
    }
    let (since, most) = less.map_or((now, aim), |(since, most)| (since, most.max(aim)));
    *less = Some((since, most));
    is_long(since).then_some(most)
}

fn is_other(given: u64, aim: u64) -> bool {
    aim != given && given.abs_diff(aim) as f64 >= given as f64 * TOLERANCE
}

/// The services of a Revision whose replicas may be given another size.
pub fn with_sizes(
    revision: &Revision,
) -> impl Iterator<Item = (&ServiceName, &Vertical, &Deployment)> {
    let lasting = revision.deployments.iter().filter(|(_, d)| d.life == Life::Endless);
    lasting.filter_map(|(service, deployment)| {
        Some((service, deployment.vertical.as_ref()?, deployment))
    })
}

/// What a Plan made by this one would have for a Revision, where nobody decides anew.
pub fn carried_on(
    revision: &Revision,
    before: &BTreeMap<ServiceName, Sizing>,
) -> BTreeMap<ServiceName, Sizing> {
    let (moment, wall) = (Moment::default(), WallSeconds::default());
    let all = with_sizes(revision).map(|(service, vertical, deployment)| {
        let began = Size::of(&deployment.container.resources);
        let mut sizer = Sizer::resume(began, before.get(service), moment);
        sizer.heed(vertical, (moment, wall));
        (service.clone(), sizer.sizing(moment))
    });
    all.collect()
}

/// What replicas of a service need, as hosts say.
///
/// # Errors
///
/// Why that is not known, for people.
pub fn needs(
    view: &ClusterView<'_>,
    app: &AppName,
    service: &ServiceName,
) -> Result<Needs, String> {
    let told = told(view, app);
    let mut now = Peak { cpus: 0.0, memory: 0.0 };
    let mut n_ready = 0;
    for assignment in of_service(view.plans.get(app).copied(), service) {
        if !view.status(assignment).is_some_and(|status| status.ready) {
            continue;
        }
        n_ready += 1;
        let by_host = told.get(&assignment.host);
        let measured = by_host.and_then(|told| {
            let all = told.replicas.iter();
            let mut mine = all.filter(|one| one.replica == assignment.replica);
            mine.find(|one| one.generation == assignment.generation)
        });
        let both = measured.and_then(|one| one.cpus.zip(one.memory));
        let Some((cpus, memory)) = both.filter(|(cpus, memory)| is_amount(*cpus, *memory)) else {
            let index = assignment.replica.index;
            return Err(format!("`{service}/{index}` has not been measured"));
        };
        now = Peak { cpus: now.cpus.max(cpus), memory: now.memory.max(memory) };
    }
    if n_ready == 0 {
        return Err("no replica of it is ready".to_owned());
    }
    let peaks = peaks_of(&told, service);
    let peak = recommended(peaks.iter()).filter(|peak| is_amount(peak.cpus, peak.memory));
    let Some(peak) = peak else {
        return Err("too little was seen of it".to_owned());
    };
    Ok(Needs {
        cpu_millis: Need { recommended: peak.cpus * 1000.0, now: now.cpus * 1000.0 },
        memory: Need { recommended: peak.memory, now: now.memory },
    })
}

fn is_amount(cpus: f64, memory: f64) -> bool {
    [cpus, memory].iter().all(|amount| amount.is_finite() && *amount >= 0.0)
}

#[cfg(test)]
mod tests;
