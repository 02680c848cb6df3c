//! Who may speak to whom: both sides show a certificate that the cluster's authority signed. No
//! system roots, no resumption, no early data; signatures are always checked.
//!
//! Dates are judged for hosts that nobody here knows yet. A member that is known and was not removed
//! is let in whatever the date: either its clock or ours is wrong, which is no reason to fall out of
//! the cluster, and it could renew its certificate at any time (it holds the authority's key). So
//! is everybody when our own clock is certainly wrong. Chain and removal are always judged.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use tokio::sync::watch;

use super::clock::{self, WallClock};
use super::identity::{Identity, ROLE_MEMBER, host_of_key};
use crate::model::{HostId, WallSeconds};

/// Between members.
pub(super) const ALPN_MEMBER: &[u8] = b"muster/1";
/// From a host that is not a member yet: one stream, one request.
pub(super) const ALPN_JOIN: &[u8] = b"muster-join/1";
/// The name a joining host asks for; it cannot know the issuer's id.
pub(super) const JOIN_NAME: &str = "join.muster";

/// What is known of hosts beside their certificates.
#[derive(Debug, Clone, Default)]
pub(super) struct Members {
    /// Members, whatever their dates.
    pub(super) known: BTreeSet<HostId>,
    /// Refused, though their certificates are good.
    pub(super) refused: BTreeSet<HostId>,
}

/// What this host shows: it changes when the certificate is renewed.
pub(super) type Shown = watch::Receiver<Arc<CertifiedKey>>;

/// All that TLS of this host stands on.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    pub(super) identity: Identity,
    pub(super) shown: Shown,
    pub(super) members: watch::Receiver<Members>,
    pub(super) clock: WallClock,
}

/// What `identity` shows to others.
pub(super) fn certified(identity: &Identity) -> Result<Arc<CertifiedKey>, Error> {
    let key = ring::sign::any_supported_type(&identity.private_key())?;
    Ok(Arc::new(CertifiedKey::new(identity.chain(), key)))
}

/// When a certificate begins and ends, in seconds since 1970.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Option<(u64, u64)> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
    let dates = parsed.validity();
    Some((seconds(dates.not_before), seconds(dates.not_after)))
}

/// The host whose certificate this is.
pub(super) fn host_of(certificate: &CertificateDer<'_>) -> Result<HostId, Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    Ok(host_of_key(&parsed.subject_public_key_info()))
}

/// The name under which a host is dialled, so that its certificate is checked against its id.
pub(super) fn name_of(host: &HostId) -> String {
    format!("{host}.muster")
}

/// TLS for connections that come in: from members, and from hosts that join.
pub(super) fn server(ground: &Ground) -> Result<rustls::ServerConfig, Error> {
    let verifier = MemberVerifier::new(ground)?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(Shows(ground.shown.clone())));
    config.time_provider = Arc::new(ground.clock.clone());
    config.alpn_protocols = vec![ALPN_MEMBER.to_vec(), ALPN_JOIN.to_vec()];
    // A resumed session would not ask whether the host is still welcome.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// TLS for dialling members.
pub(super) fn client(ground: &Ground) -> Result<rustls::ClientConfig, Error> {
    let verifier = MemberVerifier::new(ground)?;
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(Shows(ground.shown.clone())));
    config.time_provider = Arc::new(ground.clock.clone());
    config.alpn_protocols = vec![ALPN_MEMBER.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

/// TLS for a host that joins: it has no certificate and knows only the pin.
pub(super) fn joiner(verifier: Arc<PinVerifier>) -> Result<rustls::ClientConfig, Error> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_JOIN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    ring::default_provider().signature_verification_algorithms
}

/// Whether `signature` over `message` was made with this Ed25519 key.
pub(super) fn signed_by(public_key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    let algorithms = algorithms();
    let ed25519 = algorithms.mapping.iter().find(|(s, _)| *s == SignatureScheme::ED25519);
    ed25519.is_some_and(|(_, all)| {
        all.iter().any(|a| a.verify_signature(public_key, message, signature).is_ok())
    })
}

/// Shows this host's certificate, the newest one.
#[derive(Debug)]
struct Shows(Shown);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.borrow()))
    }
}

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.borrow()))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Accepts members of this cluster, in both directions.
#[derive(Debug)]
struct MemberVerifier {
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
    cluster: String,
    members: watch::Receiver<Members>,
}

impl MemberVerifier {
    fn new(ground: &Ground) -> Result<Self, Error> {
        let Ground { identity, shown: _, members, clock: _ } = ground;
        let mut roots = RootCertStore::empty();
        roots.add(identity.authority().clone())?;
        let roots = Arc::new(roots);
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        let (cluster, members) = (identity.cluster().to_owned(), members.clone());
        Ok(Self { roots, clients, cluster, members })
    }

    /// The time at which a certificate is judged; its own when its dates do not matter.
    fn time(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<UnixTime, Error> {
        let (begins, ends) = validity(certificate).ok_or_else(bad)?;
        let host = host_of(certificate)?;
        let time = clock::known(WallSeconds(now.as_secs()));
        if time.is_some_and(|now| begins <= now.0 && now.0 <= ends) {
            return Ok(now);
        }
        if time.is_some() && !self.members.borrow().known.contains(&host) {
            return Ok(now);
        }
        tracing::warn!(
            %host, now = now.as_secs(), begins, ends,
            "the dates of a host's certificate are not of this time: its clock or ours is wrong"
        );
        Ok(UnixTime::since_unix_epoch(Duration::from_secs(begins)))
    }

    /// What the authority's signature does not say: that it is a member, of this cluster, and
    /// welcome.
    fn welcome(&self, certificate: &CertificateDer<'_>) -> Result<HostId, Error> {
        let host = member(certificate, Some(&self.cluster))?;
        if self.members.borrow().refused.contains(&host) {
            return Err(Error::InvalidCertificate(CertificateError::Revoked));
        }
        Ok(host)
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
        let at = self.time(end_entity, now)?;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let all = algorithms().all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, at, all)?;
        let host = self.welcome(end_entity)?;
        let right = match server_name {
            ServerName::DnsName(name) => name.as_ref() == name_of(&host),
            // `ServerName` is open to additions; whatever it is, it is no host's name.
            _ => false,
        };
        if !right {
            return Err(Error::General(format!("another host answers there: `{host}`")));
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
    /// asks for one, so [`super::transport`] refuses members without a certificate.
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let at = self.time(end_entity, now)?;
        let verified = self.clients.verify_client_cert(end_entity, intermediates, at)?;
        self.welcome(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.clients.supported_verify_schemes()
    }
}

/// Accepts a member of the cluster whose authority has the pinned hash.
#[derive(Debug)]
pub(super) struct PinVerifier {
    pin: [u8; 32],
    /// Somebody answered whose authority is another one.
    other: AtomicBool,
}

impl PinVerifier {
    pub(super) fn new(pin: [u8; 32]) -> Self {
        Self { pin, other: AtomicBool::new(false) }
    }

    /// Whether a host of another cluster answered.
    pub(super) fn met_another_cluster(&self) -> bool {
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
        member(end_entity, None)?;
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

/// The host of a member's certificate: its subject must name the host, the role and, when given,
/// the cluster.
fn member(certificate: &CertificateDer<'_>, cluster: Option<&str>) -> Result<HostId, Error> {
    let host = host_of(certificate)?;
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|_| bad())?;
    let subject = parsed.subject();
    let one = |found: Option<&x509_parser::x509::AttributeTypeAndValue<'_>>, wanted: &str| {
        found.and_then(|value| value.as_str().ok()) == Some(wanted)
    };
    let named = one(subject.iter_common_name().next(), host.as_str());
    let role = one(subject.iter_organizational_unit().next(), ROLE_MEMBER);
    let inside = cluster.is_none_or(|c| one(subject.iter_organization().next(), c));
    if named && role && inside {
        Ok(host)
    } else {
        Err(Error::InvalidCertificate(CertificateError::InvalidPurpose))
    }
}

fn bad() -> Error {
    Error::InvalidCertificate(CertificateError::BadEncoding)
}
