//! Who is asked for names that are not ours: the resolvers that an asker has of its own, else those of
//! the server. Never decides what a name means.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use crate::forward::{ForwardError, ForwardOptions, Forwarder, without_loops};
use crate::zone::Zone;

/// All forwarders of one server. No lock is held across an await.
#[derive(Debug)]
pub(crate) struct Forwarders {
    common: Option<Arc<Forwarder>>,
    /// One for each list of resolvers that some asker has, with its own cache: what one of them says of
    /// a name is nothing to those who ask another one.
    own: RwLock<HashMap<Arc<[SocketAddr]>, Arc<Forwarder>>>,
    options: ForwardOptions,
    listen: Vec<SocketAddr>,
}

impl Forwarders {
    /// Forwards to `upstreams` what comes from askers without resolvers of their own; those that are one
    /// of `listen` are left out, as they would ask themselves for ever.
    pub(crate) fn new(
        upstreams: &[SocketAddr],
        options: ForwardOptions,
        listen: Vec<SocketAddr>,
    ) -> Result<Self, ForwardError> {
        let (upstreams, loops) = without_loops(upstreams, &listen);
        for upstream in loops {
            tracing::warn!(%upstream, "not forwarding to this server itself");
        }
        let common = match upstreams.is_empty() {
            true => None,
            false => Some(Arc::new(Forwarder::new(&upstreams, options.clone())?)),
        };
        Ok(Self { common, own: RwLock::default(), options, listen })
    }

    /// Gets ready for the askers of a zone; what no asker of it needs is forgotten.
    pub(crate) fn prepare(&self, zone: &Zone) {
        let wanted: HashSet<&Arc<[SocketAddr]>> = zone.upstreams().collect();
        let mut own = self.own.write().unwrap_or_else(PoisonError::into_inner);
        own.retain(|upstreams, _| wanted.contains(upstreams));
        for upstreams in wanted {
            if own.contains_key(upstreams) {
                continue;
            }
            let (asked, loops) = without_loops(upstreams, &self.listen);
            if !loops.is_empty() {
                tracing::debug!(?loops, "an asker names this server itself");
            }
            if asked.is_empty() {
                continue;
            }
            match Forwarder::new(&asked, self.options.clone()) {
                Ok(forwarder) => {
                    own.insert(upstreams.clone(), Arc::new(forwarder));
                }
                Err(error) => {
                    tracing::warn!(%error, ?asked, "an asker's own resolvers are not asked")
                }
            }
        }
    }

    /// Whether there are resolvers for everybody.
    pub(crate) fn has_common(&self) -> bool {
        self.common.is_some()
    }

    /// Whom to ask for `source`; none when nobody is.
    pub(crate) fn of(&self, zone: &Zone, source: IpAddr) -> Option<Arc<Forwarder>> {
        let own = zone.upstreams_of(source).and_then(|upstreams| {
            self.own.read().unwrap_or_else(PoisonError::into_inner).get(upstreams).cloned()
        });
        own.or_else(|| self.common.clone())
    }
}
