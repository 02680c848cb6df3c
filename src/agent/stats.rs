//! What an App takes, as all live hosts tell it. Asks and adds up; measures nothing itself.

use std::collections::BTreeMap;

use super::cluster::Cluster;
use super::handle::Agent;
use super::rpc::{Answer, Request};
use super::submit::{ASK, alive};
use super::views;
use crate::api::{
    ApiError, AppDetail, AppStats, HostStats, ReplicaStats, ServiceStats, SilentHost,
};
use crate::docker::Engine;
use crate::logic::core::Core;
use crate::model::{AppName, HostId, ReplicaId};

impl<E: Engine> Agent<E> {
    /// What an App takes on all live hosts.
    ///
    /// # Errors
    ///
    /// When there is no such App.
    pub(super) async fn merged_stats(
        &self,
        cluster: &Cluster<E>,
        app: &AppName,
    ) -> Result<AppStats, ApiError> {
        let (name, wall) = (app.clone(), cluster.core.now().wall);
        let look = move |core: &Core| -> Result<_, ApiError> {
            Ok((views::app(core, &name, wall)?, others(core)))
        };
        let (detail, hosts) = cluster.core.look(look).await??;
        let request = &Request::Stats(app.clone());
        let asked = hosts.into_iter().map(|(name, host)| async move {
            (name, self.ask(cluster, &host, request, ASK).await)
        });
        let (here, there) = tokio::join!(
            self.stats_here(cluster, Some(app)),
            futures_util::future::join_all(asked)
        );
        let (mut told, mut silent) = (vec![here], Vec::new());
        for (host, answer) in there {
            match answer {
                Ok(Answer::Stats(stats)) => told.push(*stats),
                Ok(_) => {
                    let reason = "it gave another answer than asked for".to_owned();
                    silent.push(SilentHost { host, reason });
                }
                Err(error) => {
                    silent.push(SilentHost { host, reason: ApiError::from(error).message });
                }
            }
        }
        Ok(merge(detail, told, silent))
    }

    /// What it takes on this host, measured now.
    pub(super) async fn stats_here(
        &self,
        cluster: &Cluster<E>,
        app: Option<&AppName>,
    ) -> HostStats {
        cluster.measures.refresh().await;
        cluster.measures.of(app, &cluster.settings.name)
    }
}

/// The names and ids of the other live hosts.
pub(super) fn others(core: &Core) -> Vec<(String, HostId)> {
    let view = core.view();
    let hosts = alive(core).into_iter().filter(|host| host != core.me());
    hosts.map(|host| (view.host_name(&host), host)).collect()
}

/// Adds up what hosts told of an App.
pub(super) fn merge(detail: AppDetail, told: Vec<HostStats>, silent: Vec<SilentHost>) -> AppStats {
    let mut endpoints: BTreeMap<ReplicaId, u64> = BTreeMap::new();
    let (mut replicas, mut services) = (Vec::new(), Vec::new());
    for HostStats { replicas: of_host, services: to, endpoints: given } in told {
        replicas.extend(of_host);
        services.extend(to);
        for (replica, connections) in given {
            *endpoints.entry(replica).or_default() += connections;
        }
    }
    for one in &mut replicas {
        one.connections = endpoints.get(&one.replica).copied().unwrap_or_default();
    }
    replicas.sort_by(|a, b| (&a.replica, &a.host).cmp(&(&b.replica, &b.host)));
    let summaries = detail.services.iter().map(|service| {
        let mine: Vec<&ReplicaStats> =
            replicas.iter().filter(|one| one.replica.service == service.service).collect();
        let to: Vec<_> = services.iter().filter(|to| to.service == service.service).collect();
        let sum = |value: fn(&ReplicaStats) -> Option<f64>| -> f64 {
            total(mine.iter().filter_map(|one| value(one)))
        };
        ServiceStats {
            service: service.service.clone(),
            ready: service.ready,
            wanted: service.wanted,
            measured: u32::try_from(mine.len()).unwrap_or(u32::MAX),
            cpus: sum(|one| one.cpus),
            memory: mine.iter().map(|one| one.usage.memory).sum(),
            received_per_second: sum(|one| one.received_per_second),
            sent_per_second: sum(|one| one.sent_per_second),
            connections: to.iter().map(|to| to.connections).sum(),
            connections_per_second: total(to.iter().filter_map(|to| to.per_second)),
        }
    });
    let services = summaries.collect();
    AppStats { app: detail.summary.app, services, replicas, silent }
}

/// The sum; of nothing it is 0, where `sum` has -0.
fn total(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{AppSummary, HandedOutTo, ServiceView};
    use crate::model::{Intent, RevisionId, Usage};

    fn detail() -> AppDetail {
        let summary = AppSummary {
            app: "shop".into(),
            revision: RevisionId::new("r1"),
            sequence: 1,
            intent: Intent::Run,
            wanted: 2,
            ready: 2,
            conflicts: Vec::new(),
            home: None,
        };
        let service = ServiceView {
            service: "web".into(),
            addresses: BTreeMap::new(),
            ports: Vec::new(),
            ready: 2,
            wanted: 2,
            completed: 0,
            rollout: None,
            scaling: None,
        };
        let replicas = Vec::new();
        AppDetail {
            summary,
            replicas,
            services: vec![service],
            settled: true,
            watched_ms: None,
            failed: false,
        }
    }

    /// A host with one replica, which takes half a CPU once it was measured twice.
    fn host(name: &str, index: u32, twice: bool, given: &[(u32, u64)]) -> HostStats {
        let replica = |index| ReplicaId { app: "shop".into(), service: "web".into(), index };
        let one = ReplicaStats {
            replica: replica(index),
            host: name.to_owned(),
            container: format!("shop-web-{index}"),
            usage: Usage { memory: 100, ..Usage::default() },
            cpus: twice.then_some(0.5),
            received_per_second: twice.then_some(10.0),
            sent_per_second: twice.then_some(20.0),
            connections: 0,
        };
        let to = HandedOutTo {
            app: "shop".into(),
            service: "web".into(),
            by_port: true,
            connections: given.iter().map(|(_, n)| n).sum(),
            per_second: twice.then_some(3.0),
        };
        let endpoints = given.iter().map(|(index, n)| (replica(*index), *n)).collect();
        HostStats { replicas: vec![one], services: vec![to], endpoints }
    }

    #[test]
    fn every_host_counts_what_it_handed_out_wherever_it_went() {
        let told =
            vec![host("beta", 2, true, &[(1, 5), (2, 7)]), host("alpha", 1, true, &[(1, 1)])];
        let stats = merge(detail(), told, Vec::new());
        let shown: Vec<_> =
            stats.replicas.iter().map(|one| (&*one.host, one.connections)).collect();
        assert_eq!(shown, [("alpha", 6), ("beta", 7)]);
        let web = &stats.services[0];
        assert_eq!((web.connections, web.connections_per_second), (13, 6.0));
        assert_eq!((web.measured, web.cpus, web.memory), (2, 1.0, 200));
        assert_eq!((web.received_per_second, web.sent_per_second), (20.0, 40.0));
    }

    #[test]
    fn what_was_measured_once_has_no_rate_and_silence_is_told() {
        let silent = SilentHost { host: "beta".to_owned(), reason: "gone".to_owned() };
        let stats = merge(detail(), vec![host("alpha", 1, false, &[])], vec![silent.clone()]);
        assert_eq!(format!("{:.1}", stats.services[0].cpus), "0.0");
        assert_eq!(stats.replicas[0].cpus, None);
        assert_eq!(stats.silent, [silent]);
    }
}
