//! Connections of operators: each stream is a connection of the API. Reads none of it; the agent
//! serves it, and decides what an operator may do.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::Connection;

use super::connection::{BUSY, REFUSED};
use super::endpoint;
use super::stream::CallStream;
use super::tls::{Bearer, Standing};
use super::transport::{Incoming, Shared};
use crate::model::{HostId, Role};

/// Connections of all operators. Beyond, they are told to try again.
const CONNECTIONS_MAX: usize = 64;
/// Connections of one: a person has a few terminals, a script that went wrong has many.
const CONNECTIONS_OF_ONE_MAX: usize = 16;

/// Who calls, by the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The id of the key.
    pub id: HostId,
    /// The Ed25519 key.
    pub public_key: [u8; 32],
    /// The name it was let in under.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// From where.
    pub address: SocketAddr,
}

impl Shared {
    /// Hands on what an operator opens, until the connection ends. TLS has checked the certificate.
    pub(super) async fn serve_operator(&self, connection: Connection, bearer: Bearer) {
        let Bearer { id, public_key, standing } = bearer;
        let Standing::Operator { role, name } = standing else { return };
        if !self.people.take(&id, &connection, CONNECTIONS_MAX, CONNECTIONS_OF_ONE_MAX) {
            connection.close(BUSY, b"too many connections");
            return;
        }
        // Only now: whoever refuses it from here on closes what was taken in.
        if self.is_refused(&id) {
            connection.close(REFUSED, b"removed from the cluster");
            return;
        }
        endpoint::widen_for_operator(&connection);
        while let Ok((send, receive)) = connection.accept_bi().await {
            let seen = connection.remote_address();
            let address = SocketAddr::new(seen.ip().to_canonical(), seen.port());
            let caller = Caller { id: id.clone(), public_key, name: name.clone(), role, address };
            let stream = CallStream::new(send, receive, Arc::new(()));
            // It fails only when the agent stops; dropping the stream then breaks it off.
            let _ = self.hand_in(Incoming::Call { caller, stream }).await;
        }
        self.people.forget(&connection);
    }
}

#[cfg(test)]
mod tests;
