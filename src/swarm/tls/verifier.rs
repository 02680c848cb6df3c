//! Judges certificates: of whoever calls, of whom we call, and of the issuer of a token.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use tokio::sync::watch;

use super::bearer::{Bearer, Standing, bad, bearer_of, validity};
use super::{Ground, algorithms, name_of, provider};
use crate::model::{HostId, WallSeconds};
use crate::swarm::clock;

/// What is known of hosts and operators beside their certificates.
#[derive(Debug, Clone, Default)]
pub(in crate::swarm) struct Members {
    /// Members, whatever their dates.
    pub(in crate::swarm) known: BTreeSet<HostId>,
    /// Refused, though their certificates are good; operators too.
    pub(in crate::swarm) refused: BTreeSet<HostId>,
}

/// Whose signature counts.
#[derive(Debug, Clone)]
pub(in crate::swarm) struct Trust {
    cluster: String,
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
}

impl Trust {
    /// Trust in this authority of `cluster` alone.
    pub(in crate::swarm) fn new(
        cluster: &str,
        authority: &CertificateDer<'static>,
    ) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone())?;
        let roots = Arc::new(roots);
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(Self { cluster: cluster.to_owned(), roots, clients })
    }
}

/// Accepts whoever is of this cluster: when we call, members alone.
#[derive(Debug)]
pub(super) struct MemberVerifier {
    trust: watch::Receiver<Trust>,
    members: watch::Receiver<Members>,
    /// What callers are told of whose certificates we take. The same for every authority.
    hints: Vec<DistinguishedName>,
}

impl MemberVerifier {
    pub(super) fn new(ground: &Ground) -> Self {
        let Ground { trust, shown: _, members, clock: _ } = ground;
        let hints = trust.borrow().clients.root_hint_subjects().to_vec();
        Self { trust: trust.clone(), members: members.clone(), hints }
    }

    /// The time at which a certificate is judged; its own when its dates do not matter.
    fn time(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<UnixTime, Error> {
        let (begins, ends) = validity(certificate).ok_or_else(bad)?;
        let Bearer { id, standing, public_key: _ } = bearer_of(certificate, None)?;
        let time = clock::known(WallSeconds(now.as_secs()));
        if time.is_some_and(|now| begins <= now.0 && now.0 <= ends) {
            return Ok(now);
        }
        let is_known = standing == Standing::Member && self.members.borrow().known.contains(&id);
        if time.is_some() && !is_known {
            return Ok(now);
        }
        tracing::warn!(
            %id, now = now.as_secs(), begins, ends,
            "the dates of a certificate are not of this time: its bearer's clock or ours is wrong"
        );
        Ok(UnixTime::since_unix_epoch(Duration::from_secs(begins)))
    }

    /// What the authority's signature does not say: that the bearer is of this cluster, and welcome.
    fn welcome(&self, certificate: &CertificateDer<'_>, cluster: &str) -> Result<Bearer, Error> {
        let bearer = bearer_of(certificate, Some(cluster))?;
        if self.members.borrow().refused.contains(&bearer.id) {
            return Err(Error::InvalidCertificate(CertificateError::Revoked));
        }
        Ok(bearer)
    }
}

impl ServerCertVerifier for MemberVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let trust = self.trust.borrow().clone();
        let at = self.time(end_entity, now)?;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let all = algorithms().all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &trust.roots, intermediates, at, all)?;
        let Bearer { id, standing, public_key: _ } = self.welcome(end_entity, &trust.cluster)?;
        let right = match server_name {
            ServerName::DnsName(name) => name.as_ref() == name_of(&id),
            // `ServerName` is open to additions; whatever it is, it is no host's name.
            _ => false,
        };
        if standing != Standing::Member {
            return Err(Error::InvalidCertificate(CertificateError::InvalidPurpose));
        }
        if !right {
            return Err(Error::General(format!("another host answers there: `{id}`")));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

impl ClientCertVerifier for MemberVerifier {
    /// A host that joins has no certificate. TLS does not tell which protocol is spoken before it
    /// asks for one, so [`super::protocol`] says afterwards what each may speak.
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let trust = self.trust.borrow().clone();
        let at = self.time(end_entity, now)?;
        let verified = trust.clients.verify_client_cert(end_entity, intermediates, at)?;
        self.welcome(end_entity, &trust.cluster)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

/// Accepts a member of the cluster whose authority has the pinned hash.
#[derive(Debug)]
pub(in crate::swarm) struct PinVerifier {
    pin: [u8; 32],
    /// Somebody answered whose authority is another one.
    other: AtomicBool,
}

impl PinVerifier {
    pub(in crate::swarm) fn new(pin: [u8; 32]) -> Self {
        Self { pin, other: AtomicBool::new(false) }
    }

    /// Whether a host of another cluster answered.
    pub(in crate::swarm) fn met_another_cluster(&self) -> bool {
        self.other.load(Ordering::Relaxed)
    }
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        use sha2::Digest as _;
        let pinned = |shown: &&CertificateDer<'_>| sha2::Sha256::digest(shown)[..] == self.pin;
        let Some(authority) = intermediates.iter().find(pinned) else {
            self.other.store(true, Ordering::Relaxed);
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        // The token proves more than a date, and a host that joins may not know the time.
        let (begins, _) = validity(end_entity).ok_or_else(bad)?;
        let at = UnixTime::since_unix_epoch(Duration::from_secs(begins));
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], at, algorithms().all)?;
        match bearer_of(end_entity, None)?.standing {
            Standing::Member => Ok(ServerCertVerified::assertion()),
            Standing::Operator { .. } => {
                Err(Error::InvalidCertificate(CertificateError::InvalidPurpose))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}
