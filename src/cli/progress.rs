//! Shows how replicas come up or go: one moving line a replica on a terminal, else a line for each
//! step of each replica.

use std::collections::{BTreeMap, BTreeSet};

use indicatif::{ProgressBar, ProgressStyle};

use super::printer::{Paint, Printer};
use super::show;
use crate::api::ReplicaView;
use crate::model::Phase;

/// More moving lines than this do not fit a usual terminal; those that are ready leave first.
pub(super) const LINES: usize = 20;

/// A replica may be there twice: the one that goes and its successor.
type Key = (String, bool);

type Name = fn(&ReplicaView) -> String;

/// The lines of some replicas.
pub(super) struct Progress<'p> {
    printer: &'p Printer,
    /// How a replica is called.
    name: Name,
    /// By replica, on a terminal.
    bars: BTreeMap<Key, ProgressBar>,
    /// What was last said of each.
    said: BTreeMap<Key, String>,
}

/// How a replica stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Good,
    Bad,
    Moving,
}

impl<'p> Progress<'p> {
    /// No line yet; replicas will all be of one App.
    pub(super) fn new(printer: &'p Printer) -> Self {
        Self::named(printer, show::replica_name)
    }

    /// No line yet; replicas may be of several Apps.
    pub(super) fn of_many_apps(printer: &'p Printer) -> Self {
        Self::named(printer, |one| one.replica.to_string())
    }

    fn named(printer: &'p Printer, name: Name) -> Self {
        Self { printer, name, bars: BTreeMap::new(), said: BTreeMap::new() }
    }

    /// Shows the replicas as they are now.
    pub(super) fn update(&mut self, replicas: &[ReplicaView]) {
        if self.printer.can_move() {
            self.draw(replicas);
        } else {
            self.say_changes(replicas);
        }
    }

    /// Makes the lines ordinary text, as they are now.
    pub(super) fn finish(self, last: Option<&[ReplicaView]>) {
        if !self.printer.can_move() {
            return;
        }
        for bar in self.bars.values() {
            bar.finish_and_clear();
        }
        self.printer.clear();
        let Some(replicas) = last else { return };
        let shown = self.choose(replicas);
        for replica in &shown {
            let (symbol, line) = (symbol(replica), self.line(replica, &shown));
            self.printer.say(&format!("{} {line}", symbol.unwrap_or_else(|| "-".to_owned())));
        }
    }

    fn draw(&mut self, replicas: &[ReplicaView]) {
        let shown = self.choose(replicas);
        let keys: BTreeSet<Key> = shown.iter().map(|replica| self.key(replica)).collect();
        self.bars.retain(|key, bar| {
            let stays = keys.contains(key);
            if !stays {
                bar.finish_and_clear();
            }
            stays
        });
        for replica in &shown {
            let bar = self.bar(self.key(replica));
            match symbol(replica) {
                Some(symbol) => {
                    // The bars do not take colours out by themselves.
                    let plain = !self.printer.has_colours();
                    let prefix = if plain { strip(&symbol) } else { symbol };
                    bar.set_style(style("{prefix} {wide_msg}"));
                    bar.set_prefix(prefix);
                }
                None => bar.set_style(style("{spinner} {wide_msg}")),
            }
            bar.set_message(self.line(replica, &shown));
            bar.tick();
        }
    }

    /// The line of a replica; a new one goes where its name belongs.
    fn bar(&mut self, key: Key) -> ProgressBar {
        if let Some(bar) = self.bars.get(&key) {
            return bar.clone();
        }
        let before = self.bars.range(..key.clone()).next_back().map(|(_, bar)| bar.clone());
        let bar = ProgressBar::new_spinner();
        let bar = match before {
            Some(before) => self.printer.bars().insert_after(&before, bar),
            None => self.printer.bars().insert(0, bar),
        };
        self.bars.insert(key, bar.clone());
        bar
    }

    fn say_changes(&mut self, replicas: &[ReplicaView]) {
        for replica in replicas {
            let words = words(replica);
            if self.said.get(&self.key(replica)) == Some(&words) {
                continue;
            }
            let name = (self.name)(replica);
            let host = match replica.host.as_str() {
                "" => String::new(),
                host => format!(" on {host}"),
            };
            self.printer.say(&format!("{name}{host}: {words}"));
            self.said.insert(self.key(replica), words);
        }
        let now: BTreeSet<Key> = replicas.iter().map(|replica| self.key(replica)).collect();
        let gone: Vec<Key> = self.said.keys().filter(|key| !now.contains(*key)).cloned().collect();
        for key in gone {
            let still = replicas.iter().any(|replica| (self.name)(replica) == key.0);
            if !still {
                self.printer.say(&format!("{}: gone", key.0));
            }
            self.said.remove(&key);
        }
    }

    /// Name, host and state, in columns that all of `shown` fit.
    fn line(&self, replica: &ReplicaView, shown: &[&ReplicaView]) -> String {
        let longest = |text: &dyn Fn(&ReplicaView) -> String| {
            shown.iter().map(|one| text(one).chars().count()).max().unwrap_or_default()
        };
        let (name, host) = ((self.name)(replica), show::or_dash(&replica.host));
        let name_width = longest(&self.name);
        let host_width = longest(&|one| show::or_dash(&one.host));
        format!("{name:<name_width$}  {host:<host_width$}  {}", words(replica))
    }

    fn key(&self, replica: &ReplicaView) -> Key {
        ((self.name)(replica), replica.current)
    }

    /// All, or when they are too many, first those that are not ready.
    fn choose<'r>(&self, replicas: &'r [ReplicaView]) -> Vec<&'r ReplicaView> {
        let mut chosen: Vec<&ReplicaView> = replicas.iter().collect();
        if chosen.len() > LINES {
            // Stable, so that lines do not jump.
            chosen.sort_by_key(|replica| mark(replica) == Mark::Good);
            chosen.truncate(LINES);
            chosen.sort_by_key(|replica| self.key(replica));
        }
        chosen
    }
}

/// What stands before a replica that moves no more.
fn symbol(replica: &ReplicaView) -> Option<String> {
    match mark(replica) {
        Mark::Good => Some(Paint::Green.on("✓")),
        Mark::Bad => Some(Paint::Red.on("✗")),
        Mark::Moving => None,
    }
}

fn strip(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are constants")
}

fn mark(replica: &ReplicaView) -> Mark {
    match replica.phase {
        Some(Phase::Failed | Phase::Backoff) => Mark::Bad,
        Some(Phase::Completed) => Mark::Good,
        Some(Phase::Running) if replica.ready && replica.current => Mark::Good,
        Some(
            Phase::Running | Phase::Pending | Phase::Pulling | Phase::Starting | Phase::Stopping,
        )
        | None => Mark::Moving,
    }
}

/// How a replica is and why.
pub(super) fn words(replica: &ReplicaView) -> String {
    let mut words = show::phase(replica);
    if replica.phase == Some(Phase::Pulling) {
        words = format!("{words} {}", replica.image);
    }
    if !replica.current && replica.ready {
        words.push_str(", on its way out");
    }
    match &replica.reason {
        Some(reason) if replica.phase.is_none() => reason.clone(),
        Some(reason) => format!("{words}: {reason}"),
        None => words,
    }
}
