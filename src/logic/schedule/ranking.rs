//! The hosts that replicas of one Deployment may go to, best first. Kept from one replica to the
//! next, so that placing many takes little longer for each: only hosts whose load has changed are
//! looked at again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::load::service_key;
use super::{Load, Rejections, Request, attribute, is_strained, reject};
use crate::logic::home::weight;
use crate::logic::view::{ClusterView, HostView};
use crate::model::{Availability, Deployment, HostId, Liveness, ReplicaId};

/// How good a host is within its group; lower is better, compared from the first field on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Replicas of the same Deployment on the host.
    same: u32,
    /// Not where the replica runs now. Of all hosts but one.
    elsewhere: bool,
    /// It is strained by what really runs there.
    strained: bool,
    /// All replicas on the host.
    all: u32,
    /// Quarters of it that are in use.
    busy: u8,
    /// Thousandths of the memory that are reserved.
    memory: u64,
    /// Breaks ties alike on every host, yet differently for each Deployment.
    tie: Reverse<u64>,
}

/// What counts before [`Rank`]; lower is better.
type Before = (bool, Vec<u32>);

/// Hosts that are alike as far as spreading goes.
#[derive(Debug, Default)]
struct Group<'a> {
    /// Their disks are full: what they lack, they cannot take in. Or copies did not come up there.
    last: bool,
    /// What they are for each label to spread over.
    values: Vec<Option<String>>,
    /// Those that fit.
    best: BTreeSet<(Rank, &'a HostId)>,
}

/// A live host.
#[derive(Debug)]
struct Place {
    group: usize,
    /// None while some filter rejects it.
    rank: Option<Rank>,
    tie: u64,
}

/// Hosts by how good they are for replicas of one Deployment that nothing pins.
#[derive(Debug)]
pub struct Ranking<'a> {
    service: String,
    groups: Vec<Group<'a>>,
    places: BTreeMap<&'a HostId, Place>,
    /// Replicas of the Deployment that are on hosts, as far as seen.
    counted: BTreeMap<&'a HostId, u32>,
    /// The same by what each label to spread over says of those hosts.
    spread: Vec<BTreeMap<Option<String>, u32>>,
    /// How many changes of the load were seen.
    seen: usize,
    /// Why no host fitted, and after how many changes.
    refusal: Option<(usize, Rejections)>,
}

/// What a host is for each label to spread over.
fn values(deployment: &Deployment, host: &HostId, view: &HostView<'_>) -> Vec<Option<String>> {
    let labels = deployment.placement.spread.iter();
    labels.map(|label| attribute(label, host, view).map(str::to_owned)).collect()
}

impl<'a> Ranking<'a> {
    /// Ranks the hosts of `view` for replicas like this one.
    pub fn new(
        view: &ClusterView<'a>,
        replica: &ReplicaId,
        deployment: &Deployment,
        load: &Load,
    ) -> Self {
        let labels = &deployment.placement.spread;
        let mut ranking = Self {
            service: service_key(replica),
            groups: Vec::new(),
            places: BTreeMap::new(),
            counted: BTreeMap::new(),
            spread: vec![BTreeMap::new(); labels.len()],
            seen: load.n_changes(),
            refusal: None,
        };
        let mut known: BTreeMap<(bool, Vec<Option<String>>), usize> = BTreeMap::new();
        for (&host, host_view) in &view.hosts {
            // Without labels to spread over all are alike.
            let values = values(deployment, host, host_view);
            let is_last = host_view.facts.disk_full || load.shuns_for(&ranking.service, host);
            let kind = (is_last, values);
            ranking.count(host, &kind.1, load);
            if host_view.liveness != Liveness::Alive {
                continue;
            }
            let group = *known.entry(kind).or_insert_with_key(|(last, values)| {
                let (last, values, best) = (*last, values.clone(), BTreeSet::new());
                ranking.groups.push(Group { last, values, best });
                ranking.groups.len() - 1
            });
            let tie = weight(&ranking.service, host);
            ranking.places.insert(host, Place { group, rank: None, tie });
            ranking.rank(host, host_view, deployment, load);
        }
        ranking
    }

    /// The best host for a replica that runs on `current`, if anywhere.
    pub fn best(
        &mut self,
        view: &ClusterView<'a>,
        deployment: &Deployment,
        load: &Load,
        current: Option<&HostId>,
    ) -> Option<&'a HostId> {
        self.catch_up(view, deployment, load);
        let others = self.groups.iter().filter_map(|group| {
            let mut hosts = group.best.iter();
            let (rank, host) = hosts.find(|(_, host)| Some(*host) != current)?;
            Some((self.before(group), rank.clone(), *host))
        });
        let stays = current.and_then(|current| {
            let (host, place) = self.places.get_key_value(current)?;
            let rank = Rank { elsewhere: false, ..place.rank.clone()? };
            Some((self.before(&self.groups[place.group]), rank, *host))
        });
        others.chain(stays).min().map(|(.., host)| host)
    }

    /// How many replicas there are already on hosts like this one, by each label to spread over, and
    /// on it itself; fewer is better.
    pub fn evenness(&self, host: &HostId) -> Option<(Vec<u32>, u32)> {
        let (_, counts) = self.before(&self.groups[self.places.get(host)?.group]);
        Some((counts, self.counted.get(host).copied().unwrap_or_default()))
    }

    /// Why no host fits.
    pub fn rejections(
        &mut self,
        request: Request<'_>,
        view: &ClusterView<'a>,
        load: &Load,
    ) -> Rejections {
        let now = load.n_changes();
        match &self.refusal {
            Some((then, rejections)) if *then == now => rejections.clone(),
            Some(_) | None => {
                let rejections = Rejections::of(request, view, load);
                self.refusal = Some((now, rejections.clone()));
                rejections
            }
        }
    }

    /// Looks again at hosts whose load has changed.
    fn catch_up(&mut self, view: &ClusterView<'a>, deployment: &Deployment, load: &Load) {
        let changed: BTreeSet<&HostId> = load.changes_since(self.seen).iter().collect();
        self.seen = load.n_changes();
        for host in changed {
            let Some((&host, host_view)) = view.hosts.get_key_value(host) else { continue };
            let values = values(deployment, host, host_view);
            self.count(host, &values, load);
            self.rank(host, host_view, deployment, load);
        }
    }

    /// Counts the replicas of the Deployment on a host anew.
    fn count(&mut self, host: &'a HostId, values: &[Option<String>], load: &Load) {
        let now = load.on(host).of_service(&self.service);
        let before = self.counted.insert(host, now).unwrap_or_default();
        for (counts, value) in self.spread.iter_mut().zip(values) {
            let count = counts.entry(value.clone()).or_default();
            *count = (*count + now).saturating_sub(before);
        }
    }

    fn rank(
        &mut self,
        host: &'a HostId,
        view: &HostView<'_>,
        deployment: &Deployment,
        load: &Load,
    ) {
        let Some(place) = self.places.get_mut(host) else { return };
        let best = &mut self.groups[place.group].best;
        if let Some(rank) = place.rank.take() {
            best.remove(&(rank, host));
        }
        let is_drained = view.availability() == Availability::Drain;
        if is_drained || reject((deployment, &self.service), host, view, load).is_some() {
            return;
        }
        let carried = load.on(host);
        let memory = view.facts.capacity.memory.max(1);
        let rank = Rank {
            same: carried.of_service(&self.service),
            elsewhere: true,
            strained: is_strained(view),
            all: carried.replicas,
            busy: view.facts.inventory.busy,
            memory: carried.reserved.memory.saturating_mul(1000) / memory,
            tie: Reverse(place.tie),
        };
        best.insert((rank.clone(), host));
        place.rank = Some(rank);
    }

    fn before(&self, group: &Group<'_>) -> Before {
        let counts = self.spread.iter().zip(&group.values);
        let counts = counts.map(|(counts, value)| counts.get(value).copied().unwrap_or_default());
        (group.last, counts.collect())
    }
}
