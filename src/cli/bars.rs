//! Shows how the services of an App come up or are updated: on a terminal one moving line a service, else a
//! line for each step of each replica.

use std::collections::{BTreeMap, BTreeSet};

use indicatif::{ProgressBar, ProgressStyle};

use super::printer::{Paint, Printer};
use super::progress::{LINES, Progress};
use crate::api::{AppDetail, ReplicaView, RolloutView};
use crate::model::{Health, Phase, ServiceName, Stage};

/// The lines of the services of an App.
pub(super) struct Bars<'p> {
    printer: &'p Printer,
    /// Where nothing can move.
    plain: Progress<'p>,
    bars: BTreeMap<ServiceName, ProgressBar>,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    service: ServiceName,
    mark: Mark,
    ready: u32,
    wanted: u32,
    /// How it is, and why.
    words: String,
}

/// How a service stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Good,
    Bad,
    Moving,
}

impl<'p> Bars<'p> {
    /// No line yet.
    pub(super) fn new(printer: &'p Printer) -> Self {
        Self { printer, plain: Progress::new(printer), bars: BTreeMap::new() }
    }

    /// Shows the App as it is now.
    pub(super) fn update(&mut self, detail: &AppDetail) {
        if self.printer.can_move() {
            self.draw(&lines(detail));
        } else {
            self.plain.update(&detail.replicas);
        }
    }

    /// Makes the lines ordinary text, as they are now.
    pub(super) fn finish(self, last: Option<&AppDetail>) {
        if !self.printer.can_move() {
            return;
        }
        self.bars.values().for_each(ProgressBar::finish_and_clear);
        self.printer.clear();
        let lines = last.map(lines).unwrap_or_default();
        let width = longest(&lines);
        for Line { service, mark, ready, wanted, words } in &lines {
            let symbol = symbol(*mark).unwrap_or_else(|| "-".to_owned());
            let name = format!("{:width$}", service.as_str());
            self.printer.say(&format!("{symbol} {name}  {ready}/{wanted}  {words}"));
        }
    }

    fn draw(&mut self, lines: &[Line]) {
        let shown: BTreeSet<&ServiceName> = lines.iter().map(|line| &line.service).collect();
        self.bars.retain(|service, bar| {
            let stays = shown.contains(service);
            if !stays {
                bar.finish_and_clear();
            }
            stays
        });
        let width = longest(lines);
        for line in lines {
            let bar = self.bar(&line.service);
            let symbol = symbol(line.mark).map(|symbol| {
                // The bars do not take colours out by themselves.
                if self.printer.has_colours() {
                    symbol
                } else {
                    anstream::adapter::strip_str(&symbol).to_string()
                }
            });
            let head = symbol.as_deref().unwrap_or("{spinner}");
            let template = format!("{head} {{prefix}}  {{bar:12}} {{pos}}/{{len}}  {{wide_msg}}");
            let style = ProgressStyle::with_template(&template)
                .expect("no symbol has braces")
                .progress_chars("━╸─");
            bar.set_style(style);
            bar.set_prefix(format!("{:width$}", line.service.as_str()));
            bar.set_length(u64::from(line.wanted));
            bar.set_position(u64::from(line.ready));
            bar.set_message(line.words.clone());
            bar.tick();
        }
    }

    /// The line of a service; a new one goes where its name belongs.
    fn bar(&mut self, service: &ServiceName) -> ProgressBar {
        if let Some(bar) = self.bars.get(service) {
            return bar.clone();
        }
        let before = self.bars.range(..service).next_back().map(|(_, bar)| bar.clone());
        let bar = ProgressBar::new(0);
        let bar = match before {
            Some(before) => self.printer.bars().insert_after(&before, bar),
            None => self.printer.bars().insert(0, bar),
        };
        self.bars.insert(service.clone(), bar.clone());
        bar
    }
}

/// What stands before a service that moves no more.
fn symbol(mark: Mark) -> Option<String> {
    match mark {
        Mark::Good => Some(Paint::Green.on("✓")),
        Mark::Bad => Some(Paint::Red.on("✗")),
        Mark::Moving => None,
    }
}

fn longest(lines: &[Line]) -> usize {
    lines.iter().map(|line| line.service.as_str().chars().count()).max().unwrap_or_default()
}

/// A line for each service, and for those that are only there until their replicas are gone. When they are
/// too many, those that are well leave first.
fn lines(detail: &AppDetail) -> Vec<Line> {
    let mut replicas: BTreeMap<&ServiceName, Vec<&ReplicaView>> = BTreeMap::new();
    for one in &detail.replicas {
        replicas.entry(&one.replica.service).or_default().push(one);
    }
    let mut lines = Vec::new();
    for one in &detail.services {
        let mine = replicas.remove(&one.service).unwrap_or_default();
        let (mark, words) = state(&mine, one.rollout.as_ref(), one.ready >= one.wanted);
        let (service, ready, wanted) = (one.service.clone(), one.ready, one.wanted);
        lines.push(Line { service, mark, ready, wanted, words });
    }
    for (service, left) in replicas {
        let words = format!("leaves, {} left", left.len());
        lines.push(Line {
            service: service.clone(),
            mark: Mark::Moving,
            ready: 0,
            wanted: 0,
            words,
        });
    }
    if lines.len() > LINES {
        lines.sort_by_key(|line| line.mark == Mark::Good);
        lines.truncate(LINES);
    }
    lines.sort_by(|a, b| a.service.cmp(&b.service));
    lines
}

/// How a service is, in words: what has gone wrong comes first, then what is waited for.
fn state(replicas: &[&ReplicaView], rollout: Option<&RolloutView>, all: bool) -> (Mark, String) {
    let mut left: BTreeMap<Step, Vec<&ReplicaView>> = BTreeMap::new();
    for one in replicas {
        if let Some(step) = step(one) {
            left.entry(step).or_default().push(one);
        }
    }
    let first = left.first_key_value().map(|(step, those)| (*step, those[0], those.len()));
    let now = first.map(|(step, one, n)| step.words(one, n));
    let update = rollout.map(|rollout| update(rollout, now.is_none()));
    let words = match (update, now) {
        (Some(update), Some(now)) => format!("{update}, {now}"),
        (Some(update), None) => update,
        (None, Some(now)) => now,
        (None, None) if !all => "waiting".to_owned(),
        (None, None) => {
            let is_over = |one: &&ReplicaView| one.phase == Some(Phase::Completed);
            let is_over = !replicas.is_empty() && replicas.iter().all(is_over);
            let hosts: BTreeSet<&str> = replicas.iter().map(|one| one.host.as_str()).collect();
            let hosts: Vec<&str> = hosts.into_iter().filter(|host| !host.is_empty()).collect();
            let on =
                if hosts.is_empty() { String::new() } else { format!(" on {}", hosts.join(", ")) };
            format!("{}{on}", if is_over { "completed" } else { "ready" })
        }
    };
    let is_bad = first.is_some_and(|(step, ..)| step.is_bad())
        || rollout.is_some_and(|rollout| is_undone(rollout.stage));
    let mark = match (is_bad, first.is_some() || rollout.is_some() || !all) {
        (true, _) => Mark::Bad,
        (false, true) => Mark::Moving,
        (false, false) => Mark::Good,
    };
    (mark, words)
}

/// What keeps a replica from being as wanted; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Stuck,
    Failed,
    Restarting,
    Unhealthy,
    Pulling,
    Starting,
    Health,
    Pending,
    Waiting,
    Leaving,
}

fn step(one: &ReplicaView) -> Option<Step> {
    if one.stuck {
        return Some(Step::Stuck);
    }
    match one.phase {
        None => Some(Step::Waiting),
        Some(Phase::Failed) => Some(Step::Failed),
        Some(Phase::Backoff) => Some(Step::Restarting),
        Some(Phase::Completed) => None,
        Some(Phase::Stopping) => Some(Step::Leaving),
        Some(_) if !one.current => Some(Step::Leaving),
        Some(Phase::Pending) => Some(Step::Pending),
        Some(Phase::Pulling) => Some(Step::Pulling),
        Some(Phase::Starting) => Some(Step::Starting),
        Some(Phase::Running) if one.ready => None,
        Some(Phase::Running) if one.health == Health::Unhealthy => Some(Step::Unhealthy),
        Some(Phase::Running) => Some(Step::Health),
    }
}

impl Step {
    fn is_bad(self) -> bool {
        match self {
            Self::Stuck | Self::Failed | Self::Restarting => true,
            Self::Unhealthy
            | Self::Pulling
            | Self::Starting
            | Self::Health
            | Self::Pending
            | Self::Waiting
            | Self::Leaving => false,
        }
    }

    /// Of one of so many replicas that are so.
    fn words(self, one: &ReplicaView, n: usize) -> String {
        let count = if n > 1 { format!("{n} ") } else { String::new() };
        let words = match self {
            Self::Stuck => format!("{count}stuck"),
            Self::Failed => format!("{count}failed"),
            Self::Restarting => format!("{count}starting again"),
            Self::Unhealthy => format!("{count}unhealthy"),
            Self::Pulling => format!("{count}pulling {}", one.image),
            Self::Starting => format!("{count}starting"),
            Self::Health => format!("{count}waiting for health"),
            Self::Pending => format!("{count}waiting for the host"),
            Self::Leaving => return format!("{n} old to leave"),
            Self::Waiting => match &one.reason {
                Some(reason) => return reason.clone(),
                None => format!("{count}waiting"),
            },
        };
        match &one.reason {
            Some(reason) => format!("{words}: {reason}"),
            None => words,
        }
    }
}

/// How an update goes; `is_calm` says that nothing moves now.
fn update(rollout: &RolloutView, is_calm: bool) -> String {
    let RolloutView { stage, from: _, updated, total, failed: _, reason } = rollout;
    let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    match stage {
        Stage::Rolling if is_calm && updated == total => {
            format!("rolling {updated}/{total}, being watched")
        }
        Stage::Rolling => format!("rolling {updated}/{total}"),
        Stage::Canary => format!("canary {updated}/{total}"),
        Stage::Paused => format!("paused at {updated}/{total}{why}"),
        Stage::RollingBack => format!("rolling back{why}"),
        Stage::RollbackPaused => format!("rolled back no further{why}"),
        Stage::RolledBack => format!("rolled back{why}"),
    }
}

fn is_undone(stage: Stage) -> bool {
    match stage {
        Stage::Rolling | Stage::Canary => false,
        Stage::Paused | Stage::RollingBack | Stage::RollbackPaused | Stage::RolledBack => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{AppSummary, ServiceView};
    use crate::model::{Intent, ReplicaId};

    fn replica(index: u32, phase: Option<Phase>) -> ReplicaView {
        ReplicaView {
            replica: ReplicaId { app: "shop".into(), service: "web".into(), index },
            host: format!("h{index}"),
            phase,
            health: Health::None,
            ready: phase == Some(Phase::Running),
            current: true,
            image: "nginx:1".to_owned(),
            addresses: Default::default(),
            restarts: 0,
            container: None,
            age_seconds: 0,
            reason: None,
            stuck: false,
        }
    }

    fn because(mut one: ReplicaView, reason: &str) -> ReplicaView {
        one.reason = Some(reason.to_owned());
        one
    }

    fn sick(index: u32, health: Health) -> ReplicaView {
        ReplicaView { health, ready: false, ..replica(index, Some(Phase::Running)) }
    }

    fn old(index: u32) -> ReplicaView {
        ReplicaView { current: false, ..replica(index, Some(Phase::Running)) }
    }

    fn detail(replicas: Vec<ReplicaView>, rollout: Option<(Stage, u32, &str)>) -> AppDetail {
        let is_well = |one: &&ReplicaView| one.current && one.ready;
        let ready = replicas.iter().filter(is_well).count() as u32;
        let over = replicas.iter().filter(|one| one.phase == Some(Phase::Completed)).count();
        let service = ServiceView {
            service: "web".into(),
            addresses: Default::default(),
            ports: Vec::new(),
            ready: ready + over as u32,
            wanted: 3,
            completed: over as u32,
            rollout: rollout.map(|(stage, updated, reason)| RolloutView {
                stage,
                from: Some(1),
                updated,
                total: 3,
                failed: 0,
                reason: Some(reason.to_owned()).filter(|reason| !reason.is_empty()),
            }),
            scaling: None,
        };
        let summary = AppSummary {
            app: "shop".into(),
            revision: "r".into(),
            sequence: 1,
            intent: Intent::Run,
            wanted: 3,
            ready,
            conflicts: Vec::new(),
            home: None,
        };
        AppDetail {
            summary,
            replicas,
            services: vec![service],
            settled: false,
            failed: false,
            watched_ms: None,
        }
    }

    #[track_caller]
    fn check(
        replicas: &[ReplicaView],
        rollout: Option<(Stage, u32, &str)>,
        mark: Mark,
        words: &str,
    ) {
        let lines = lines(&detail(replicas.to_vec(), rollout));
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!((line.mark, line.words.as_str()), (mark, words), "{line:?}");
        assert_eq!(line.wanted, 3);
    }

    #[test]
    fn a_service_says_what_its_replicas_wait_for_the_worst_first() {
        let runs = |index| replica(index, Some(Phase::Running));
        let pulls = |index| replica(index, Some(Phase::Pulling));
        check(&[runs(1), runs(2), runs(3)], None, Mark::Good, "ready on h1, h2, h3");
        check(&[runs(1), pulls(2), pulls(3)], None, Mark::Moving, "2 pulling nginx:1");
        let starts = replica(3, Some(Phase::Starting));
        check(&[runs(1), pulls(2), starts.clone()], None, Mark::Moving, "pulling nginx:1");
        check(&[runs(1), runs(2), starts], None, Mark::Moving, "starting");
        let waits = because(sick(3, Health::Starting), "nothing answers");
        let words = "waiting for health: nothing answers";
        check(&[runs(1), runs(2), waits], None, Mark::Moving, words);
        let ill = sick(3, Health::Unhealthy);
        check(&[runs(1), runs(2), ill], None, Mark::Moving, "unhealthy");
        let again = because(replica(3, Some(Phase::Backoff)), "exited with code 1");
        let words = "starting again: exited with code 1";
        check(&[runs(1), pulls(2), again], None, Mark::Bad, words);
        let stuck = because(ReplicaView { stuck: true, ..replica(3, None) }, "no host fits");
        check(&[runs(1), pulls(2), stuck], None, Mark::Bad, "stuck: no host fits");
        let waits = because(replica(3, None), "waits until `db` is healthy");
        check(&[runs(1), runs(2), waits], None, Mark::Moving, "waits until `db` is healthy");
        let over = |index| replica(index, Some(Phase::Completed));
        check(&[over(1), over(2), over(3)], None, Mark::Good, "completed on h1, h2, h3");
        check(&[], None, Mark::Moving, "waiting");
    }

    #[test]
    fn an_update_says_how_far_it_is_and_how_it_ended() {
        let runs = |index| replica(index, Some(Phase::Running));
        let rolling = |updated| Some((Stage::Rolling, updated, ""));
        let mixed = [runs(1), sick(2, Health::Starting), old(2), old(3)];
        check(&mixed, rolling(2), Mark::Moving, "rolling 2/3, waiting for health");
        check(&[runs(1), old(2), old(3)], rolling(1), Mark::Moving, "rolling 1/3, 2 old to leave");
        let all = [runs(1), runs(2), runs(3)];
        check(&all, rolling(3), Mark::Moving, "rolling 3/3, being watched");
        let back = Some((Stage::RolledBack, 0, "`web/1` exited with code 1"));
        check(&all, back, Mark::Bad, "rolled back: `web/1` exited with code 1");
        check(&all, Some((Stage::Paused, 1, "")), Mark::Bad, "paused at 1/3");
        check(&all, Some((Stage::Canary, 1, "")), Mark::Moving, "canary 1/3");
    }

    #[test]
    fn what_is_not_wanted_any_more_is_shown_until_it_is_gone() {
        let mut detail = detail(vec![replica(1, Some(Phase::Stopping))], None);
        detail.services.clear();
        let lines = lines(&detail);
        assert_eq!(lines.len(), 1);
        assert_eq!((lines[0].wanted, lines[0].words.as_str()), (0, "leaves, 1 left"));
    }
}
