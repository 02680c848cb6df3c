//! Who may speak to whom: both sides show a certificate that the cluster's authority signed. No
//! system roots, no resumption, no early data; signatures are always checked.
//!
//! Dates are judged for hosts that nobody here knows yet. A member that is known and was not removed
//! is let in whatever the date: either its clock or ours is wrong, which is no reason to fall out of
//! the cluster, and it could renew its certificate at any time (it holds the authority's key). So
//! is everybody when our own clock is certainly wrong. Chain and removal are always judged, and so
//! are the dates of operators, who hold nothing but their certificate.
//!
//! Reading order: [`bearer`] reads certificates, [`verifier`] judges them, [`protocol`] says who may
//! speak what.

mod bearer;
mod verifier;

use std::sync::Arc;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, SignatureScheme};
use tokio::sync::watch;

use super::clock::WallClock;
use super::identity::Identity;
use crate::model::HostId;

pub(super) use bearer::{Bearer, Standing, bearer_of, cluster_of, host_of, validity};
use verifier::MemberVerifier;
pub(super) use verifier::{Members, PinVerifier, Trust};

/// Between members.
pub(super) const ALPN_MEMBER: &[u8] = b"muster/1";
/// From whoever has a token and no certificate yet: one stream, one request.
pub(super) const ALPN_JOIN: &[u8] = b"muster-join/1";
/// From operators: the API, one request a stream.
pub(super) const ALPN_API: &[u8] = b"muster-api/1";
/// Between members: packets of containers ([`super::tunnel`]).
pub(super) const ALPN_TUNNEL: &[u8] = b"muster-tunnel/1";
/// The name a joining host asks for; it cannot know the issuer's id.
pub(super) const JOIN_NAME: &str = "join.muster";

/// What a connection that came in is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Messages and requests of another member.
    Member(HostId),
    /// Packets of another member's containers.
    Tunnel(HostId),
    /// Requests of an operator.
    Api(Bearer),
    /// Somebody who has a token.
    Join,
}

/// What may be spoken with this certificate; none when that is not for its bearer. TLS has checked
/// the certificate, if there is one, but cannot know for what: this is the only place that does.
pub(super) fn protocol(alpn: Option<&[u8]>, bearer: Option<Bearer>) -> Option<Protocol> {
    match (alpn?, bearer) {
        (ALPN_JOIN, _) => Some(Protocol::Join),
        (ALPN_MEMBER, Some(Bearer { id, standing: Standing::Member, .. })) => {
            Some(Protocol::Member(id))
        }
        (ALPN_TUNNEL, Some(Bearer { id, standing: Standing::Member, .. })) => {
            Some(Protocol::Tunnel(id))
        }
        (ALPN_API, Some(bearer @ Bearer { standing: Standing::Operator { .. }, .. })) => {
            Some(Protocol::Api(bearer))
        }
        // A member has nothing to ask there, and an operator is no host.
        (_, _) => None,
    }
}

/// What this host shows: it changes when the certificate is renewed.
pub(super) type Shown = watch::Receiver<Arc<CertifiedKey>>;

/// All that TLS of this host stands on.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    pub(super) trust: watch::Receiver<Trust>,
    pub(super) shown: Shown,
    pub(super) members: watch::Receiver<Members>,
    pub(super) clock: WallClock,
}

/// What `identity` shows to others.
pub(super) fn certified(identity: &Identity) -> Result<Arc<CertifiedKey>, Error> {
    Ok(Arc::new(certified_key(&identity.private_key(), identity.chain())?))
}

/// A key with its certificates.
pub(super) fn certified_key(
    key: &PrivateKeyDer<'static>,
    chain: Vec<CertificateDer<'static>>,
) -> Result<CertifiedKey, Error> {
    Ok(CertifiedKey::new(chain, ring::sign::any_supported_type(key)?))
}

/// The name under which a host is dialled, so that its certificate is checked against its id.
pub(super) fn name_of(host: &HostId) -> String {
    format!("{host}.muster")
}

/// TLS for connections that come in: from members, from operators, and from whoever has a token.
pub(super) fn server(ground: &Ground) -> Result<rustls::ServerConfig, Error> {
    server_of(ground, &[ALPN_MEMBER, ALPN_JOIN, ALPN_API])
}

/// TLS for tunnels that come in.
pub(super) fn tunnel_server(ground: &Ground) -> Result<rustls::ServerConfig, Error> {
    server_of(ground, &[ALPN_TUNNEL])
}

fn server_of(ground: &Ground, protocols: &[&[u8]]) -> Result<rustls::ServerConfig, Error> {
    let verifier = MemberVerifier::new(ground);
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(Shows(ground.shown.clone())));
    config.time_provider = Arc::new(ground.clock.clone());
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    // A resumed session would not ask whether the host is still welcome.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// TLS for dialling members, as another member ([`ALPN_MEMBER`], [`ALPN_TUNNEL`]) or as an operator
/// ([`ALPN_API`]).
pub(super) fn client(ground: &Ground, alpn: &[u8]) -> Result<rustls::ClientConfig, Error> {
    let verifier = MemberVerifier::new(ground);
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(Shows(ground.shown.clone())));
    config.time_provider = Arc::new(ground.clock.clone());
    config.alpn_protocols = vec![alpn.to_vec()];
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

#[cfg(test)]
mod tests;
