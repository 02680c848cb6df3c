//! Who may speak to whom: both sides show a certificate that the cluster's authority signed. No
//! system roots, no resumption, no early data; signatures are always checked.
//!
//! Dates: a certificate that begins in the future is accepted, because then this host's clock or
//! the issuer's is wrong, and neither is a reason to fall out of the cluster (a board without a
//! battery boots in 1970). One that has ended is refused.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use tokio::sync::watch;

use super::identity::{Identity, ROLE_MEMBER, host_of_key};
use crate::model::HostId;

/// Between members.
pub(super) const ALPN_MEMBER: &[u8] = b"muster/1";
/// From a host that is not a member yet: one stream, one request.
pub(super) const ALPN_JOIN: &[u8] = b"muster-join/1";
/// The name a joining host asks for; it cannot know the issuer's id.
pub(super) const JOIN_NAME: &str = "join.muster";

/// Hosts that are refused though their certificates are good.
pub(super) type Refused = watch::Receiver<BTreeSet<HostId>>;

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
pub(super) fn server(identity: &Identity, refused: Refused) -> Result<rustls::ServerConfig, Error> {
    let verifier = MemberVerifier::new(identity, refused)?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(identity.chain(), identity.private_key())?;
    config.alpn_protocols = vec![ALPN_MEMBER.to_vec(), ALPN_JOIN.to_vec()];
    // A resumed session would not ask whether the host is still welcome.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// TLS for dialling members.
pub(super) fn client(identity: &Identity, refused: Refused) -> Result<rustls::ClientConfig, Error> {
    let verifier = MemberVerifier::new(identity, refused)?;
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(identity.chain(), identity.private_key())?;
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

/// Accepts members of this cluster, in both directions.
#[derive(Debug)]
struct MemberVerifier {
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
    cluster: String,
    refused: Refused,
}

impl MemberVerifier {
    fn new(identity: &Identity, refused: Refused) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(identity.authority().clone())?;
        let roots = Arc::new(roots);
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(Self { roots, clients, cluster: identity.cluster().to_owned(), refused })
    }

    /// What the authority's signature does not say: that it is a member, of this cluster, and
    /// welcome.
    fn welcome(&self, certificate: &CertificateDer<'_>) -> Result<HostId, Error> {
        let host = member(certificate, Some(&self.cluster))?;
        if self.refused.borrow().contains(&host) {
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
        let at = tolerant(end_entity, now)?;
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
        let at = tolerant(end_entity, now)?;
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
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        use sha2::Digest as _;
        let pinned = |shown: &&CertificateDer<'_>| sha2::Sha256::digest(shown)[..] == self.pin;
        let Some(authority) = intermediates.iter().find(pinned) else {
            self.other.store(true, Ordering::Relaxed);
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let at = tolerant(end_entity, now)?;
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

/// The time at which a certificate is judged: now, but not before it begins.
fn tolerant(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<UnixTime, Error> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|_| bad())?;
    let begins = u64::try_from(parsed.validity().not_before.timestamp()).unwrap_or(0);
    if begins <= now.as_secs() {
        return Ok(now);
    }
    tracing::warn!("a host's certificate begins in the future: the clocks of the hosts differ");
    Ok(UnixTime::since_unix_epoch(Duration::from_secs(begins)))
}
