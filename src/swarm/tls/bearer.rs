//! What a certificate of the cluster says of its bearer. Does not judge whether it is good.

use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error};
use x509_parser::oid_registry::Oid;
use x509_parser::x509::AttributeTypeAndValue;

use crate::model::{HostId, Role};
use crate::swarm::identity::{NAME, ROLE_MEMBER, host_of_key};

/// Whom a certificate is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::swarm) struct Bearer {
    /// By the key.
    pub(in crate::swarm) id: HostId,
    /// The Ed25519 key.
    pub(in crate::swarm) public_key: [u8; 32],
    /// What it is in the cluster.
    pub(in crate::swarm) standing: Standing,
}

/// What somebody is in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::swarm) enum Standing {
    /// A host.
    Member,
    /// A person on a machine that is no host.
    Operator {
        /// What it may do.
        role: Role,
        /// The name it was let in under.
        name: String,
    },
}

/// When a certificate begins and ends, in seconds since 1970.
pub(in crate::swarm) fn validity(certificate: &CertificateDer<'_>) -> Option<(u64, u64)> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
    let dates = parsed.validity();
    Some((seconds(dates.not_before), seconds(dates.not_after)))
}

/// Whose certificate this is, by the key.
pub(in crate::swarm) fn host_of(certificate: &CertificateDer<'_>) -> Result<HostId, Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    Ok(host_of_key(&parsed.subject_public_key_info()))
}

/// What a certificate says: its subject must name the bearer, a standing that we know and, when
/// given, the cluster.
pub(in crate::swarm) fn bearer_of(
    certificate: &CertificateDer<'_>,
    cluster: Option<&str>,
) -> Result<Bearer, Error> {
    let id = host_of(certificate)?;
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|_| bad())?;
    let subject = parsed.subject();
    let named = one(subject.iter_common_name()) == Some(id.as_str());
    let inside = cluster.is_none_or(|c| one(subject.iter_organization()) == Some(c));
    let key = parsed.public_key().subject_public_key.data.as_ref().try_into();
    let standing = match one(subject.iter_organizational_unit()) {
        Some(ROLE_MEMBER) => Some(Standing::Member),
        Some(word) => {
            let name = Oid::from(NAME).ok().and_then(|oid| one(subject.iter_by_oid(&oid)));
            let role = Role::ALL.into_iter().find(|role| role.as_str() == word);
            let operator = role.zip(name);
            operator.map(|(role, name)| Standing::Operator { role, name: name.to_owned() })
        }
        None => None,
    };
    match (standing, key) {
        (Some(standing), Ok(public_key)) if named && inside => {
            Ok(Bearer { id, public_key, standing })
        }
        (_, _) => Err(Error::InvalidCertificate(CertificateError::InvalidPurpose)),
    }
}

/// The cluster that a certificate names.
pub(in crate::swarm) fn cluster_of(certificate: &CertificateDer<'_>) -> Result<String, Error> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|_| bad())?;
    let cluster = one(parsed.subject().iter_organization()).map(str::to_owned);
    cluster.ok_or(Error::InvalidCertificate(CertificateError::InvalidPurpose))
}

/// The text of an attribute that is there once.
fn one<'a>(mut found: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> Option<&'a str> {
    let value = found.next()?.as_str().ok()?;
    found.next().is_none().then_some(value)
}

pub(super) fn bad() -> Error {
    Error::InvalidCertificate(CertificateError::BadEncoding)
}
