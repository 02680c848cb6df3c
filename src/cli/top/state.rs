//! What `muster top` shows, and what keys change of it. Pure: never asks anybody, never draws.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::api::{AppStats, Node, ReplicaStats, ServiceStats};
use crate::model::{AppName, Liveness, ServiceName};

/// Rows that a page key goes over.
const PAGE: usize = 10;

/// What everybody said at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Each App.
    pub(super) stats: Vec<AppStats>,
    /// Each host.
    pub(super) nodes: Vec<Node>,
}

/// A key that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Enter,
    Escape,
    Backspace,
    Letter(char),
    /// Ctrl-C.
    Quit,
}

/// A column of both tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Name,
    /// Ready replicas of a service, the host of a replica.
    Place,
    Cpu,
    Memory,
    Connections,
    Received,
    Sent,
}

impl Column {
    pub(super) const ALL: [Self; 7] = [
        Self::Name,
        Self::Place,
        Self::Cpu,
        Self::Memory,
        Self::Connections,
        Self::Received,
        Self::Sent,
    ];

    /// What is much is looked for first, but for names.
    fn descends(self) -> bool {
        match self {
            Self::Name | Self::Place => false,
            Self::Cpu | Self::Memory | Self::Connections | Self::Received | Self::Sent => true,
        }
    }
}

/// Which service.
pub(super) type Place = (AppName, ServiceName);

/// One row of either table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) service: Place,
    /// `web`, `web/1`; with the App's name where there are several.
    pub(super) name: String,
    /// `2/3`, or the host's name.
    pub(super) place: String,
    /// Less is ready than should be.
    pub(super) is_short: bool,
    /// CPUs; none until it was measured twice.
    pub(super) cpus: Option<f64>,
    /// Bytes.
    pub(super) memory: u64,
    /// The most it may hold, of a replica.
    pub(super) memory_limit: Option<u64>,
    /// Connections a second of a service, all of a replica.
    pub(super) connections: f64,
    /// Bytes a second.
    pub(super) received: f64,
    pub(super) sent: f64,
}

impl Row {
    /// How much of what a column shows; of names, how much CPU.
    pub(super) fn amount(&self, column: Column) -> f64 {
        match column {
            Column::Name | Column::Place | Column::Cpu => self.cpus.unwrap_or_default(),
            Column::Memory => self.memory as f64,
            Column::Connections => self.connections,
            Column::Received => self.received,
            Column::Sent => self.sent,
        }
    }
}

/// One host.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) liveness: Liveness,
    pub(super) replicas: usize,
    /// What its replicas take, of what it has; CPUs and bytes.
    pub(super) cpus: (f64, f64),
    pub(super) memory: (u64, u64),
}

/// All that is shown.
#[derive(Debug, Clone)]
pub(super) struct State {
    seen: Seen,
    /// Whether colours are wanted.
    pub(super) coloured: bool,
    pub(super) sort: Column,
    pub(super) reversed: bool,
    /// The service whose replicas are shown.
    pub(super) open: Option<Place>,
    /// The name of the selected row: it stays selected when the order changes.
    selected: Option<String>,
    pub(super) filter: String,
    /// A filter is being typed.
    pub(super) typing: bool,
    /// Why what is shown is old.
    pub(super) trouble: Option<String>,
}

impl State {
    pub(super) fn new(coloured: bool) -> Self {
        Self {
            seen: Seen::default(),
            coloured,
            sort: Column::Cpu,
            reversed: false,
            open: None,
            selected: None,
            filter: String::new(),
            typing: false,
            trouble: None,
        }
    }

    /// Takes in what everybody says now.
    pub(super) fn see(&mut self, seen: Seen) {
        self.trouble = None;
        self.seen = seen;
        let is_there = |(app, service): &Place| {
            let of_app = self.seen.stats.iter().filter(|one| one.app == *app);
            of_app.flat_map(|one| &one.services).any(|one| one.service == *service)
        };
        if self.open.as_ref().is_some_and(|place| !is_there(place)) {
            self.open = None;
        }
    }

    /// What was seen last stays, and this says why it is old.
    pub(super) fn trouble(&mut self, why: String) {
        self.trouble = Some(why);
    }

    /// Does what a key means. Returns whether to go on.
    pub(super) fn handle(&mut self, key: Key) -> bool {
        match key {
            Key::Quit => return false,
            Key::Letter(letter) if self.typing => self.filter.push(letter),
            Key::Backspace if self.typing => drop(self.filter.pop()),
            Key::Enter if self.typing => self.typing = false,
            Key::Escape if self.typing => (self.typing, self.filter) = (false, String::new()),
            Key::Letter('q') => return false,
            Key::Letter('/') => self.typing = true,
            Key::Letter('r') => self.reversed = !self.reversed,
            Key::Up | Key::Letter('k') => self.select(-1),
            Key::Down | Key::Letter('j') => self.select(1),
            Key::PageUp => self.select(-(PAGE as isize)),
            Key::PageDown => self.select(PAGE as isize),
            Key::Left => self.sort_by(-1),
            Key::Right => self.sort_by(1),
            Key::Enter => self.open_selected(),
            Key::Escape => self.back(),
            Key::Letter(_) | Key::Backspace => {}
        }
        true
    }

    /// The rows of the table, in order.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = match &self.open {
            None => self.services(),
            Some(place) => self.replicas(place),
        };
        let wanted = self.filter.to_lowercase();
        let is_wanted = |text: &str| text.to_lowercase().contains(&wanted);
        rows.retain(|row| is_wanted(&row.name) || self.open.is_some() && is_wanted(&row.place));
        let flips = self.sort.descends() != self.reversed;
        rows.sort_by(|a, b| {
            let order = compare(self.sort, a, b);
            let order = if flips { order.reverse() } else { order };
            order.then_with(|| a.name.cmp(&b.name))
        });
        rows
    }

    /// Which row is selected.
    pub(super) fn position(&self, rows: &[Row]) -> usize {
        let selected = self.selected.as_ref();
        selected.and_then(|name| rows.iter().position(|row| row.name == *name)).unwrap_or(0)
    }

    /// The hosts by name.
    pub(super) fn hosts(&self) -> Vec<Host> {
        let mut taken: BTreeMap<&str, (usize, f64, u64)> = BTreeMap::new();
        for one in self.seen.stats.iter().flat_map(|one| &one.replicas) {
            let host = taken.entry(one.host.as_str()).or_default();
            host.0 += 1;
            host.1 += one.cpus.unwrap_or_default();
            host.2 = host.2.saturating_add(one.usage.memory);
        }
        let one = |node: &Node| {
            let name = node.name.as_str();
            let (replicas, cpus, memory) = taken.get(name).copied().unwrap_or_default();
            Host {
                name: node.name.clone(),
                liveness: node.liveness,
                replicas,
                cpus: (cpus, node.capacity.cpu_millis as f64 / 1000.0),
                memory: (memory, node.capacity.memory),
            }
        };
        let mut hosts: Vec<Host> = self.seen.nodes.iter().map(one).collect();
        hosts.sort_by(|a, b| a.name.cmp(&b.name));
        hosts
    }

    /// Hosts that did not tell what runs there.
    pub(super) fn silent(&self) -> Vec<String> {
        let all = self.seen.stats.iter().flat_map(|one| &one.silent);
        let mut names: Vec<String> = all.map(|one| one.host.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// How many Apps and services there are, ready replicas and wanted ones.
    pub(super) fn totals(&self) -> [usize; 4] {
        let services = || self.seen.stats.iter().flat_map(|one| &one.services);
        let sum = |of: fn(&ServiceStats) -> u32| services().map(|one| of(one) as usize).sum();
        let n_services = services().count();
        [self.seen.stats.len(), n_services, sum(|one| one.ready), sum(|one| one.wanted)]
    }

    fn services(&self) -> Vec<Row> {
        let several = self.seen.stats.len() > 1;
        let all = self.seen.stats.iter().flat_map(|app| {
            app.services.iter().map(move |one| service_row(&app.app, one, several))
        });
        all.collect()
    }

    fn replicas(&self, (app, service): &Place) -> Vec<Row> {
        let of_app = self.seen.stats.iter().filter(|one| one.app == *app);
        let all = of_app.flat_map(|one| &one.replicas);
        all.filter(|one| one.replica.service == *service).map(replica_row).collect()
    }

    fn select(&mut self, by: isize) {
        let rows = self.rows();
        let last = rows.len().saturating_sub(1);
        let to = self.position(&rows).saturating_add_signed(by).min(last);
        self.selected = rows.get(to).map(|row| row.name.clone());
    }

    fn sort_by(&mut self, by: isize) {
        let all = Column::ALL;
        let now = all.iter().position(|column| *column == self.sort).unwrap_or(0);
        self.sort = all[now.saturating_add_signed(by).min(all.len() - 1)];
        self.reversed = false;
    }

    fn open_selected(&mut self) {
        if self.open.is_none() {
            let rows = self.rows();
            self.open = rows.get(self.position(&rows)).map(|row| row.service.clone());
            if self.open.is_some() {
                (self.selected, self.filter) = (None, String::new());
            }
        }
    }

    /// One step back: from a filter, from replicas to their service.
    fn back(&mut self) {
        if !self.filter.is_empty() {
            self.filter.clear();
        } else if let Some(place) = self.open.take() {
            let row = self.rows().into_iter().find(|row| row.service == place);
            self.selected = row.map(|row| row.name);
        }
    }
}

fn compare(column: Column, a: &Row, b: &Row) -> Ordering {
    match column {
        Column::Name => a.name.cmp(&b.name),
        Column::Place => a.place.cmp(&b.place),
        Column::Cpu => {
            let cpus = |row: &Row| row.cpus.unwrap_or(-1.0);
            cpus(a).total_cmp(&cpus(b))
        }
        Column::Memory => a.memory.cmp(&b.memory),
        Column::Connections => a.connections.total_cmp(&b.connections),
        Column::Received => a.received.total_cmp(&b.received),
        Column::Sent => a.sent.total_cmp(&b.sent),
    }
}

fn service_row(app: &AppName, one: &ServiceStats, several: bool) -> Row {
    let service = &one.service;
    Row {
        service: (app.clone(), service.clone()),
        name: if several { format!("{app}/{service}") } else { service.to_string() },
        place: format!("{}/{}", one.ready, one.wanted),
        is_short: one.ready < one.wanted,
        cpus: (one.measured > 0).then_some(one.cpus),
        memory: one.memory,
        memory_limit: None,
        connections: one.connections_per_second,
        received: one.received_per_second,
        sent: one.sent_per_second,
    }
}

fn replica_row(one: &ReplicaStats) -> Row {
    let replica = &one.replica;
    Row {
        service: (replica.app.clone(), replica.service.clone()),
        name: format!("{}/{}", replica.service, replica.index),
        place: one.host.clone(),
        is_short: false,
        cpus: one.cpus,
        memory: one.usage.memory,
        memory_limit: Some(one.usage.memory_limit).filter(|limit| *limit > 0),
        connections: one.connections as f64,
        received: one.received_per_second.unwrap_or_default(),
        sent: one.sent_per_second.unwrap_or_default(),
    }
}
