//! What an operator has on a machine that is no member: a key that was made there and never leaves,
//! a certificate for it, and the certificate of the cluster's authority. Never the authority's key.

use std::fmt;
use std::time::Duration;

use data_encoding::BASE64;
use rcgen::PublicKeyData;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};

use super::authority::{PublicKey, Subject};
use super::{HostKey, Identity, IdentityError, read_key};
use crate::model::{HostId, Role, WallSeconds};
use crate::swarm::tls::{self, Bearer, Standing};

/// How long an operator's certificate is good. Renewed at half of it; once it is over, only another
/// invitation helps: an operator who was not there for so long may have left.
const LIFE: Duration = Duration::from_secs(90 * 24 * 3600);

type Unusable = Box<dyn std::error::Error + Send + Sync>;

/// What somebody is given who was invited to work on the cluster from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    certificate: String,
    authority_certificate: String,
}

impl Identity {
    /// Lets the holder of this Ed25519 key work on the cluster, as of `now`.
    ///
    /// # Errors
    ///
    /// When the certificate cannot be made.
    pub fn grant(
        &self,
        public_key: [u8; 32],
        name: &str,
        role: Role,
        now: WallSeconds,
    ) -> Result<Grant, IdentityError> {
        let cluster = self.cluster();
        let subject = Subject { cluster, role: role.as_str(), name: Some(name), life: LIFE };
        let authority = &self.inner.authority;
        let certificate = authority.sign(&PublicKey(public_key), &subject, now)?;
        Ok(Grant {
            certificate: BASE64.encode(&certificate),
            authority_certificate: BASE64.encode(&authority.certificate),
        })
    }
}

/// The form in a file.
#[derive(Serialize, Deserialize)]
struct Kept {
    key: String,
    #[serde(flatten)]
    grant: Grant,
}

/// An operator's key and certificates. Whoever has them is the operator.
#[derive(Serialize, Deserialize)]
#[serde(try_from = "Kept", into = "Kept")]
pub struct Credentials {
    key: HostKey,
    grant: Grant,
    certificate: CertificateDer<'static>,
    authority: CertificateDer<'static>,
    id: HostId,
    name: String,
    role: Role,
    cluster: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays out of logs.
        f.debug_struct("Credentials")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl Clone for Credentials {
    fn clone(&self) -> Self {
        let key = self.key.copy().expect("it was read before");
        Self::new(key, self.grant.clone()).expect("it was made of the same before")
    }
}

impl TryFrom<Kept> for Credentials {
    type Error = Unusable;

    fn try_from(kept: Kept) -> Result<Self, Unusable> {
        Self::new(HostKey(read_key(&kept.key)?), kept.grant)
    }
}

impl From<Credentials> for Kept {
    fn from(credentials: Credentials) -> Self {
        let key = BASE64.encode(credentials.key.0.serialized_der());
        Self { key, grant: credentials.grant }
    }
}

impl Credentials {
    /// What `key` became by a grant.
    pub(in crate::swarm) fn new(key: HostKey, grant: Grant) -> Result<Self, Unusable> {
        let certificate = CertificateDer::from(BASE64.decode(grant.certificate.as_bytes())?);
        let authority = BASE64.decode(grant.authority_certificate.as_bytes())?.into();
        let Bearer { id, standing, public_key } = tls::bearer_of(&certificate, None)?;
        let Standing::Operator { role, name } = standing else {
            return Err("the certificate is not an operator's".into());
        };
        if public_key != *key.0.der_bytes() {
            return Err("the certificate belongs to another key".into());
        }
        let cluster = tls::cluster_of(&certificate)?;
        Ok(Self { key, grant, certificate, authority, id, name, role, cluster })
    }

    /// The same operator with another certificate.
    ///
    /// # Errors
    ///
    /// When the grant is for another key, or cannot be read.
    pub fn renewed(&self, grant: Grant) -> Result<Self, Unusable> {
        Self::new(self.key.copy()?, grant)
    }

    /// Whether it is time to ask for another certificate.
    pub fn is_due(&self, now: WallSeconds) -> bool {
        tls::validity(&self.certificate)
            .is_none_or(|(begins, ends)| now.0 >= begins + ends.saturating_sub(begins) / 2)
    }

    /// When the certificate ends.
    pub fn ends(&self) -> WallSeconds {
        WallSeconds(tls::validity(&self.certificate).map_or(0, |(_, ends)| ends))
    }

    /// The id of the key.
    pub fn id(&self) -> &HostId {
        &self.id
    }

    /// The name it was let in under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it may do.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The cluster it is of.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The authority's certificate.
    pub(in crate::swarm) fn authority(&self) -> &CertificateDer<'static> {
        &self.authority
    }

    /// What it shows to members.
    pub(in crate::swarm) fn certified(&self) -> Result<CertifiedKey, rustls::Error> {
        tls::certified_key(&self.key.private_key(), vec![self.certificate.clone()])
    }
}
