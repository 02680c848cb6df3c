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
    current: Roots,
    /// Authorities before it, for these keys alone.
    former: Option<(Roots, Arc<BTreeSet<HostId>>)>,
}

/// Authorities, in the two forms that are asked.
#[derive(Debug, Clone)]
struct Roots {
    store: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
}

impl Roots {
    fn new(authorities: &[CertificateDer<'static>]) -> Result<Self, Error> {
        let mut store = RootCertStore::empty();
        for authority in authorities {
            store.add(authority.clone())?;
        }
        let store = Arc::new(store);
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&store), provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(Self { store, clients })
    }
}

impl Trust {
    /// Trust in this authority of `cluster`, and in `former` ones for the keys in `known`.
    pub(in crate::swarm) fn new(
        cluster: &str,
        authority: &CertificateDer<'static>,
        former: &[CertificateDer<'static>],
        known: BTreeSet<HostId>,
    ) -> Result<Self, Error> {
        let current = Roots::new(std::slice::from_ref(authority))?;
        let former = match former {
            [] => None,
            former => Some((Roots::new(former)?, Arc::new(known))),
        };
        Ok(Self { cluster: cluster.to_owned(), current, former })
    }

    /// Whether the authority vouches for a certificate, as `check` finds out; or a former one, where
    /// that still counts.
    fn vouches<T>(
        &self,
        certificate: &CertificateDer<'_>,
        check: impl Fn(&Roots) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let judged = check(&self.current);
        let Some((roots, known)) = self.former.as_ref().filter(|_| judged.is_err()) else {
            return judged;
        };
        let id = bearer_of(certificate, None)?.id;
        if known.contains(&id) { check(roots) } else { judged }
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
        let hints = trust.borrow().current.clients.root_hint_subjects().to_vec();
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
        trust.vouches(end_entity, |roots| {
            let roots = &roots.store;
            verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, at, all)
        })?;
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
        let verified = trust.vouches(end_entity, |roots| {
            roots.clients.verify_client_cert(end_entity, intermediates, at)
        })?;
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
