//! The other side of an invitation: a person on a machine that is no host asks the issuer of a token
//! for a certificate. The same protocol as joining, with a question of its own: an issuer that does
//! not know it says so, and gives nobody more than asked for.

use std::net::SocketAddr;

use bytes::Bytes;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::{Answer, Granted, JoinError, Proof, connect, converse};
use crate::model::HostId;
use crate::swarm::identity::{Credentials, HostKey};
use crate::swarm::token::Token;

/// Form of the question; [`super::VERSION`] is a host's, and all that an older issuer knows.
pub(super) const OPERATOR_VERSION: u32 = 2;

/// The question. Name and role are those of the invitation: there is nothing to ask for.
#[derive(Serialize, Deserialize)]
pub(super) struct Enrolment {
    pub(super) version: u32,
    #[serde(flatten)]
    pub(super) proof: Proof,
}

/// Somebody who was let in.
#[derive(Debug, Clone)]
pub struct Enrolled {
    /// Key and certificates; not on disk yet.
    pub credentials: Credentials,
    /// Who let it in.
    pub issuer: HostId,
    /// Where the issuer listens.
    pub issuer_address: SocketAddr,
    /// What the issuer's agent said.
    pub welcome: Bytes,
}

/// Makes a key and has it certified by the issuer of `token`. Writes nothing to disk.
///
/// # Errors
///
/// See [`JoinError`].
pub async fn enrol(token: &Token) -> Result<Enrolled, JoinError> {
    let key = HostKey::make()?;
    let (connection, address) = connect(token).await?;
    let question = Proof::make(&connection, token, &key).map(|proof| {
        let question = Enrolment { version: OPERATOR_VERSION, proof };
        serde_json::to_vec(&question).expect("strings and numbers")
    });
    match converse(&connection, address, question).await? {
        Answer::Granted(granted) => judge(token, key, address, *granted),
        Answer::Version(_) => {
            let reason = "its muster is older and knows no operators".to_owned();
            Err(JoinError::Unable { address, reason })
        }
        other => Err(other.refusal(address)),
    }
}

fn judge(
    token: &Token,
    key: HostKey,
    address: SocketAddr,
    granted: Granted,
) -> Result<Enrolled, JoinError> {
    use sha2::Digest as _;
    let broken = |reason: String| JoinError::Broken { address, reason };
    let Granted { grant, issuer, welcome } = granted;
    let credentials = Credentials::new(key, grant).map_err(|error| broken(error.to_string()))?;
    if sha2::Sha256::digest(credentials.authority())[..] != token.pin {
        return Err(broken("its authority is not the one of the token".to_owned()));
    }
    let welcome = BASE64.decode(welcome.as_bytes()).map_err(|e| broken(e.to_string()))?;
    Ok(Enrolled { credentials, issuer, issuer_address: address, welcome: Bytes::from(welcome) })
}
