//! What every host finds out about its ways to the others when somebody wants to know. Sends a few
//! packets; changes nothing.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};

use super::cluster::Cluster;
use super::handle::Agent;
use super::peers::tunnel;
use super::question;
use super::rpc::{Answer, Request};
use crate::api::{
    ApiError, Found, HostPaths, NetworkReport, PathReport, ResolverReport, RoundTrips,
};
use crate::docker::Engine;
use crate::logic::addresses::resolver_address;
use crate::logic::core::Core;
use crate::model::{HostId, Liveness};
use crate::network::{self, Probed};
use crate::overlay::Tunnels;

/// Hosts whose ways are looked at a time. Each takes a thread, for two seconds where nothing answers.
const AT_ONCE: usize = 16;
/// Who may have this host try its ways at a time; others wait. Anybody may ask.
pub(super) const TRIES: usize = 2;
/// Questions to an agent.
const QUESTIONS: u16 = 3;
/// The longest wait for the answer to one.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest wait for what another host found out: sixteen rounds of silence and more.
const OTHERS: Duration = Duration::from_secs(30);

/// Another host to look at.
#[derive(Debug, Clone)]
struct Target {
    host: HostId,
    name: String,
    pool_address: Ipv4Addr,
}

impl<E: Engine> Agent<E> {
    /// What all hosts find out, each about its own ways. Those that are dead are not asked.
    ///
    /// # Errors
    ///
    /// When the agent is stopping.
    pub(super) async fn look_at_network(
        &self,
        cluster: &Cluster<E>,
    ) -> Result<NetworkReport, ApiError> {
        let mut hosts = cluster.core.look(hosts).await?;
        let asked = hosts.iter().map(|(id, report)| async move {
            if *id == cluster.host {
                return self.look_at_paths(cluster).await.map_err(|error| error.message);
            }
            if report.liveness == Liveness::Dead {
                return Err("it is taken for dead, and was not asked".to_owned());
            }
            match self.ask(cluster, id, &Request::Paths, OTHERS).await {
                Ok(Answer::Paths(found)) => Ok(*found),
                Ok(_) => Err("it gave another answer than asked for".to_owned()),
                Err(error) => Err(ApiError::from(error).message),
            }
        });
        let found = futures_util::future::join_all(asked).await;
        for ((_, report), found) in hosts.iter_mut().zip(found) {
            match found {
                Ok(found) => report.found = Some(found),
                Err(error) => report.error = Some(error),
            }
        }
        let mut hosts: Vec<HostPaths> = hosts.into_iter().map(|(_, report)| report).collect();
        hosts.sort_by(|a, b| a.host.cmp(&b.host));
        Ok(NetworkReport { overlay: cluster.settings.overlay, hosts })
    }

    /// What this host finds out.
    pub(super) async fn look_at_paths(&self, cluster: &Cluster<E>) -> Result<Found, ApiError> {
        // The semaphore is never closed.
        let _turn = cluster.tries.acquire().await;
        let targets = cluster.core.look(targets).await?;
        let paths = stream::iter(targets).map(|target| self.look_at_path(cluster, target));
        let paths = paths.buffer_unordered(AT_ONCE).collect::<Vec<_>>();
        let (mut paths, resolver) = tokio::join!(paths, self.look_at_resolver(cluster));
        paths.sort_by(|a, b| a.to.cmp(&b.to));
        Ok(Found { paths, resolver })
    }

    /// How this host's resolver answers.
    pub(super) async fn look_at_resolver(&self, cluster: &Cluster<E>) -> ResolverReport {
        question::report(resolver_address(cluster.settings.slice)).await
    }

    async fn look_at_path(&self, cluster: &Cluster<E>, target: Target) -> PathReport {
        let from = resolver_address(cluster.settings.slice);
        let to = target.pool_address;
        let probe = async { tokio::task::spawn_blocking(move || network::probe(from, to)).await };
        let (probed, (agent, agent_error)) =
            tokio::join!(probe, self.question_agent(cluster, &target.host));
        let (probed, error) = match probed {
            Ok(Ok(probed)) => (probed, None),
            Ok(Err(error)) => (Probed::default(), Some(error.to_string())),
            Err(error) => (Probed::default(), Some(error.to_string())),
        };
        let states = cluster.tunnels.as_ref().map(Tunnels::states).unwrap_or_default();
        let state = states.iter().find(|state| state.host == target.host);
        PathReport {
            to: target.name,
            agent,
            agent_error,
            packets: round_trips(probed.sent, &probed.times),
            packets_error: error.or(probed.unsent),
            mtu: probed.mtu,
            tunnel: state.map(tunnel),
        }
    }

    async fn question_agent(
        &self,
        cluster: &Cluster<E>,
        host: &HostId,
    ) -> (RoundTrips, Option<String>) {
        let mut times = Vec::new();
        for _ in 0..QUESTIONS {
            let begun = Instant::now();
            match self.ask(cluster, host, &Request::Clock, PATIENCE).await {
                Ok(_) => times.push(begun.elapsed()),
                // Another wait would tell no more.
                Err(error) => {
                    let error = ApiError::from(error).message;
                    return (round_trips(QUESTIONS, &times), Some(error));
                }
            }
        }
        (round_trips(QUESTIONS, &times), None)
    }
}

/// Every known host, which has told nothing yet.
fn hosts(core: &Core) -> Vec<(HostId, HostPaths)> {
    let view = core.view();
    let all = view.hosts.iter().map(|(id, host)| {
        let report = HostPaths {
            host: host.facts.name.clone(),
            address: host.facts.address,
            liveness: host.liveness,
            found: None,
            error: None,
        };
        ((*id).clone(), report)
    });
    all.collect()
}

fn targets(core: &Core) -> Vec<Target> {
    let view = core.view();
    let others = view.hosts.iter().filter(|(id, _)| **id != core.me());
    let others = others.map(|(id, host)| Target {
        host: (*id).clone(),
        name: host.facts.name.clone(),
        pool_address: resolver_address(host.facts.slice),
    });
    others.collect()
}

fn round_trips(sent: u16, times: &[Duration]) -> RoundTrips {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let n = u32::try_from(times.len()).unwrap_or(u32::MAX);
    RoundTrips {
        sent,
        answered: u16::try_from(times.len()).unwrap_or(u16::MAX),
        min_us: times.iter().min().copied().map(micros),
        avg_us: (n > 0).then(|| micros(times.iter().sum::<Duration>() / n.max(1))),
        max_us: times.iter().max().copied().map(micros),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_are_summed_up() {
        let times = [3, 1, 5].map(Duration::from_millis);
        let found = round_trips(4, &times);
        assert_eq!((found.sent, found.answered), (4, 3));
        let times = (found.min_us, found.avg_us, found.max_us);
        assert_eq!(times, (Some(1_000), Some(3_000), Some(5_000)));
        let silence = round_trips(4, &[]);
        assert_eq!((silence.answered, silence.min_us, silence.avg_us), (0, None, None));
    }
}
