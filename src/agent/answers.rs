//! Answers what other members ask, unless they speak for somebody else.

use super::audit::Changed;
use super::cluster::Cluster;
use super::handle::Agent;
use super::peers;
use super::rpc::{Answer, Request};
use crate::api::{ApiError, Submitted};
use crate::docker::Engine;
use crate::logic::Delta;
use crate::logic::core::Event;
use crate::model::HostId;
use crate::network;
use crate::swarm::By;

impl<E: Engine> Agent<E> {
    /// Answers what another member asks.
    pub(super) async fn answer(
        &self,
        cluster: &Cluster<E>,
        from: HostId,
        request: Request,
    ) -> Answer {
        if let Some(refusal) = foreign(&from, &request) {
            tracing::warn!(%from, %refusal, "request refused");
            let changed = Changed { what: request.name().to_owned(), ..Changed::default() };
            self.note(&By::host(&from), changed, &Err::<(), _>(refusal.clone())).await;
            return Answer::Refused(refusal);
        }
        match request {
            Request::Submit(request) => {
                submitted(self.submit_here(cluster, &By::host(&from), *request).await)
            }
            Request::SubmitFor(by, request) => {
                submitted(self.submit_here(cluster, &by.via(&from), *request).await)
            }
            Request::Store(delta) => keep(cluster, *delta).await,
            Request::CheckPorts(ports) => Answer::PortsTaken(cluster.ports_taken(&ports)),
            Request::CheckAddresses(addresses) => {
                Answer::AddressesHeld(network::addresses_held(&addresses))
            }
            Request::CheckImage(reference) => {
                // So that all others hear of it as well.
                cluster.observer.refresh().await;
                Answer::ImageHere(self.has_image(&reference).await)
            }
            Request::Clock => Answer::Clock(peers::wall_millis()),
            Request::Authority(succession) => self.adopt(cluster, &from, *succession).await,
            Request::Stats(app) => {
                Answer::Stats(Box::new(self.stats_here(cluster, Some(&app)).await))
            }
            Request::Paths => match self.look_at_paths(cluster).await {
                Ok(found) => Answer::Paths(Box::new(found)),
                Err(error) => Answer::Refused(error),
            },
        }
    }
}

/// Why a host may not ask this: it speaks for another one than its certificate is of.
fn foreign(from: &HostId, request: &Request) -> Option<ApiError> {
    let owner = match request {
        // The origin of a Revision is where its files are, not who asks.
        Request::Store(delta) => delta.rows.iter().map(|row| &row.owner).find(|of| *of != from)?,
        // A question changes nothing.
        Request::Submit(_)
        | Request::SubmitFor(..)
        | Request::CheckPorts(_)
        | Request::CheckAddresses(_)
        | Request::CheckImage(_)
        | Request::Authority(_)
        | Request::Stats(_)
        | Request::Paths
        | Request::Clock => return None,
    };
    Some(ApiError::user(format!("host `{from}` may not write a row of host `{owner}`")))
}

fn submitted(result: Result<Submitted, ApiError>) -> Answer {
    match result {
        Ok(submitted) => Answer::Submitted(submitted),
        Err(error) => Answer::Refused(error),
    }
}

/// Takes in what another host says must be kept.
async fn keep<E: Engine>(cluster: &Cluster<E>, delta: Delta) -> Answer {
    match cluster.core.keep(Event::Learned(Box::new(delta))).await {
        Ok(()) => Answer::Stored,
        Err(error) => Answer::Refused(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Row, RowBody, RowKey, Version};

    #[test]
    fn row_36_a_host_stores_only_rows_of_its_own() {
        let row = Row {
            owner: "h1".into(),
            key: RowKey::Removed("h3".into()),
            version: Version::default(),
            body: RowBody::of(&true),
        };
        let delta = Delta { rows: vec![row], revisions: Vec::new() };
        let request = Request::Store(Box::new(delta));
        assert_eq!(foreign(&"h1".into(), &request), None);
        let refusal = foreign(&"h2".into(), &request).expect("it is of another host");
        assert_eq!(refusal.message, "host `h2` may not write a row of host `h1`");
        assert_eq!(foreign(&"h2".into(), &Request::CheckPorts(Vec::new())), None);
    }
}
