//! The cluster's authority and what it signs. Looks at no clock and keeps nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, PublicKeyData,
};
use rustls::pki_types::CertificateDer;

use super::{HOST_LIFE, NAME, ROLE_MEMBER, host_of_key};
use crate::model::{AuthorityId, HostId, WallSeconds, sha256_hex};

/// Certificates begin this long before they are made: clocks of hosts differ.
pub(super) const BACKDATED: Duration = Duration::from_secs(24 * 3600);
/// How long the authority's certificate is valid. Nobody looks: it is trusted by name, not by date.
const AUTHORITY_LIFE: Duration = Duration::from_secs(40 * 365 * 24 * 3600);
/// Former authorities that are kept: a host that was away for longer must join again.
pub(super) const FORMER_MAX: usize = 16;
/// Subject of every authority. The issuer in a host's certificate must equal it for ever.
const AUTHORITY_NAME: &str = "muster cluster authority";

/// The cluster's authority: whoever holds its key admits hosts.
pub(super) struct Authority {
    pub(super) key: KeyPair,
    /// Signed by itself.
    pub(super) certificate: CertificateDer<'static>,
    /// From 1; one more than the one it took the place of.
    pub(super) number: u64,
    /// Its certificate signed by the one before, then that one's by the one before it: whoever knows
    /// only an older one comes to believe this one by them.
    pub(super) crosses: Vec<CertificateDer<'static>>,
    /// Those before it, the newest first. What they signed is good for keys in `known` alone.
    pub(super) former: Vec<CertificateDer<'static>>,
    /// Hosts and operators that were there when it took their place.
    pub(super) known: BTreeSet<HostId>,
}

/// What a certificate says of its bearer, beside the id.
pub(super) struct Subject<'a> {
    pub(super) cluster: &'a str,
    pub(super) role: &'a str,
    /// The name of an operator.
    pub(super) name: Option<&'a str>,
    pub(super) life: Duration,
}

impl<'a> Subject<'a> {
    /// A host.
    pub(super) fn member(cluster: &'a str) -> Self {
        Self { cluster, role: ROLE_MEMBER, name: None, life: HOST_LIFE }
    }
}

/// Somebody's Ed25519 key.
pub(super) struct PublicKey(pub(super) [u8; 32]);

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl Authority {
    pub(super) fn make(now: WallSeconds) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mut params = Self::params();
        set_validity(&mut params, now, AUTHORITY_LIFE);
        let certificate = params.self_signed(&key)?.der().clone();
        let (crosses, former, known) = (Vec::new(), Vec::new(), BTreeSet::new());
        Ok(Self { key, certificate, number: 1, crosses, former, known })
    }

    /// The one that takes its place. What this one signed stays good for `known` alone.
    pub(super) fn successor(
        &self,
        known: BTreeSet<HostId>,
        now: WallSeconds,
    ) -> Result<Self, rcgen::Error> {
        let made = Self::make(now)?;
        let mut params = Self::params();
        // The one after this one is signed by it.
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        set_validity(&mut params, now, AUTHORITY_LIFE);
        let issuer = Issuer::new(Self::params(), &self.key);
        let cross = params.signed_by(&made.key, &issuer)?.der().clone();
        let before = |first: CertificateDer<'static>, rest: &[CertificateDer<'static>]| {
            std::iter::once(first).chain(rest.iter().cloned()).take(FORMER_MAX).collect()
        };
        Ok(Self {
            number: self.number + 1,
            crosses: before(cross, &self.crosses),
            former: before(self.certificate.clone(), &self.former),
            known,
            ..made
        })
    }

    /// Which one it is.
    pub(super) fn id(&self) -> AuthorityId {
        AuthorityId { number: self.number, fingerprint: sha256_hex(&self.certificate) }
    }

    fn params() -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, AUTHORITY_NAME);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params
    }

    /// A certificate: the id of its bearer by this key, and what `subject` says.
    pub(super) fn sign(
        &self,
        key: &impl PublicKeyData,
        subject: &Subject<'_>,
        now: WallSeconds,
    ) -> Result<CertificateDer<'static>, rcgen::Error> {
        let Subject { cluster, role, name, life } = *subject;
        let host = host_of_key(&key.subject_public_key_info());
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, host.as_str());
        params.distinguished_name.push(DnType::OrganizationName, cluster);
        params.distinguished_name.push(DnType::OrganizationalUnitName, role);
        if let Some(name) = name {
            params.distinguished_name.push(DnType::CustomDnType(NAME.to_vec()), name);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        // An operator never answers anybody.
        if role == ROLE_MEMBER {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        set_validity(&mut params, now, life);
        let issuer = Issuer::new(Self::params(), &self.key);
        Ok(params.signed_by(key, &issuer)?.der().clone())
    }
}

fn set_validity(params: &mut CertificateParams, now: WallSeconds, life: Duration) {
    let now = Duration::from_secs(now.0);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATED);
    params.not_after = epoch + now + life;
}
