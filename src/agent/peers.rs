//! What this host finds out about the others when somebody wants to know what is wrong.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::cluster::Cluster;
use super::handle::Agent;
use super::rpc::{Answer, Request};
use super::submit::ASK;
use crate::api::{ApiError, PeerReport, TunnelReport};
use crate::docker::Engine;
use crate::logic::core::Core;
use crate::model::HostId;
use crate::overlay::{PeerState, Tunnels};

/// Milliseconds since 1970.
pub(super) fn wall_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl<E: Engine> Agent<E> {
    /// Asks every other host, all at once.
    pub(super) async fn look_at_peers(
        &self,
        cluster: &Cluster<E>,
    ) -> Result<Vec<PeerReport>, ApiError> {
        let states = cluster.tunnels.as_ref().map(Tunnels::states);
        let mut others = cluster.core.look(others).await?;
        for (host, report) in &mut others {
            let state = states.as_ref().and_then(|all| all.iter().find(|one| one.host == *host));
            report.tunnel = state.map(tunnel);
        }
        let asked = others.into_iter().map(|(id, report)| self.report(cluster, id, report));
        Ok(futures_util::future::join_all(asked).await)
    }

    async fn report(
        &self,
        cluster: &Cluster<E>,
        host: HostId,
        mut report: PeerReport,
    ) -> PeerReport {
        // The first answer may have to wait for the connection.
        let _ = self.ask(cluster, &host, &Request::Clock, ASK).await;
        let (sent, begun) = (wall_millis(), Instant::now());
        match self.ask(cluster, &host, &Request::Clock, ASK).await {
            Ok(Answer::Clock(theirs)) => {
                let took = begun.elapsed();
                let ours = sent + u64::try_from(took.as_millis() / 2).unwrap_or_default();
                report.skew_ms = Some(theirs.cast_signed().saturating_sub(ours.cast_signed()));
                report.round_trip_us = u64::try_from(took.as_micros()).ok();
                report.mtu = cluster.transport.mtu(&host);
            }
            Ok(_) => report.error = Some("it gave another answer than asked for".to_owned()),
            Err(error) => report.error = Some(ApiError::from(error).message),
        }
        report
    }
}

/// Every other host, not asked yet.
fn others(core: &Core) -> Vec<(HostId, PeerReport)> {
    let view = core.view();
    let others = view.hosts.iter().filter(|(id, _)| **id != core.me());
    let others = others.map(|(id, host)| {
        let report = PeerReport {
            name: host.facts.name.clone(),
            address: core.membership().address(id).unwrap_or(host.facts.address),
            liveness: host.liveness,
            round_trip_us: None,
            skew_ms: None,
            mtu: None,
            error: None,
            tunnel: None,
        };
        ((*id).clone(), report)
    });
    others.collect()
}

/// The tunnel to another host, as the API shows it.
pub(super) fn tunnel(state: &PeerState) -> TunnelReport {
    let counts = state.counts;
    let (sent, lost) = state.sent_and_lost;
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    TunnelReport {
        open: state.open,
        packet_max: state.packet_max as u64,
        round_trip_us: state.round_trip.map(micros),
        sent,
        lost,
        carried_out: (counts.sent, counts.sent_bytes),
        carried_in: (counts.received, counts.received_bytes),
        dropped: counts.no_tunnel + counts.full + counts.too_large,
        refused: counts.foreign,
    }
}
