//! Who a host is: an Ed25519 key made on the host, and a certificate for it from the cluster's own
//! authority.
//!
//! Every member holds the authority's key: any member can admit a host, and the first one may die.
//! It travels only inside a join, to a host whose token proved it was invited, and to members when a
//! new one takes its place. A host's certificate
//! is valid for thirty days and the host renews it by itself at half of that: it holds the
//! authority's key, so asking somebody else would prove nothing. Membership ends by [refusing a
//! host](super::Transport::set_refused), not by a date.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData, SigningKey};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use super::clock;
use super::private::write_private;
use super::tls::Trust;
use crate::model::{HostId, WallSeconds, sha256_hex};

mod authority;
mod credentials;
mod succession;

use authority::{Authority, BACKDATED, PublicKey, Subject};
pub use credentials::{Credentials, Grant};
pub use succession::Succession;

/// The file in the data directory. One file, so that a crash leaves all of it or nothing.
const FILE: &str = "identity.json";
/// Form of the file; a higher one is refused. The second is written when the authority is not the
/// first one of its cluster.
const FORMAT: u32 = 2;
/// How long a host's certificate is valid; renewed at half of it.
pub(super) const HOST_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// What a member's certificate says under `OU`; nothing else may speak `muster/1`. An operator's
/// says its role there.
pub(super) const ROLE_MEMBER: &str = "member";
/// Where an operator's certificate has its name: `name` of X.520.
pub(super) const NAME: &[u64] = &[2, 5, 4, 41];

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file could not be read or written. Nothing was changed, or the old file is still there.
    #[error("cannot {doing} `{path}`")]
    File {
        /// `read` or `write`.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The file holds something else.
    #[error("`{path}` does not hold an identity")]
    Broken {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A newer muster wrote it.
    #[error("`{path}` was written by a newer muster (form {format}, this one knows {FORMAT})")]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its form.
        format: u32,
    },
    /// The host already has one; it was left as it is.
    #[error("this host already has an identity in `{path}`")]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// A key or certificate could not be made or used.
    #[error("cannot make or use a key or certificate")]
    Crypto(#[from] rcgen::Error),
}

impl IdentityError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::File { .. } => Some("see whether the data directory exists and is writable"),
            Self::Broken { .. } => {
                Some("restore the file from a backup, or remove it and let the host join again")
            }
            Self::Newer { .. } => Some("run the newer muster on this host"),
            Self::Exists { .. } => Some("the host belongs to a cluster: see `muster nodes`"),
            Self::Crypto(_) => None,
        }
    }
}

/// The identity of this host. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    inner: Arc<Inner>,
}

struct Inner {
    host: HostId,
    cluster: String,
    key: KeyPair,
    certificate: CertificateDer<'static>,
    authority: Authority,
}

/// The file's form.
#[derive(Serialize, Deserialize)]
struct Kept {
    format: u32,
    key: String,
    #[serde(flatten)]
    admission: Admission,
}

/// What a joining host is given, beside what the agent adds.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Admission {
    certificate: String,
    #[serde(flatten)]
    succession: Succession,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys stay out of logs.
        f.debug_struct("Identity")
            .field("host", &self.inner.host)
            .field("cluster", &self.inner.cluster)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Makes a new cluster with this host as its first member, as of `now`. Not on disk yet.
    ///
    /// # Errors
    ///
    /// When no key can be made.
    pub fn make(now: WallSeconds) -> Result<Self, IdentityError> {
        let authority = Authority::make(now)?;
        let key = HostKey::make()?;
        let cluster = cluster_of(&authority.certificate);
        let certificate = authority.sign(&key.0, &Subject::member(&cluster), now)?;
        Ok(Self::assemble(key, certificate, cluster, authority))
    }

    /// Reads the identity of this host; none when it belongs to no cluster.
    ///
    /// # Errors
    ///
    /// When there is a file that cannot be used.
    pub fn load(dir: &Path) -> Result<Option<Self>, IdentityError> {
        let path = dir.join(FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(IdentityError::File { doing: "read", path, cause }),
        };
        let broken = |cause: Box<dyn std::error::Error + Send + Sync>| IdentityError::Broken {
            path: path.clone(),
            cause,
        };
        let format: Format = serde_json::from_slice(&text).map_err(|e| broken(e.into()))?;
        if format.format > FORMAT {
            return Err(IdentityError::Newer { path, format: format.format });
        }
        let kept: Kept = serde_json::from_slice(&text).map_err(|e| broken(e.into()))?;
        let key = read_key(&kept.key).map_err(&broken)?;
        Self::admitted(HostKey(key), &kept.admission).map(Some).map_err(broken)
    }

    /// Writes the identity to `dir`, readable by its owner alone, and waits for the disk. From then
    /// on the host is a member.
    ///
    /// # Errors
    ///
    /// `Exists` when there is one; `File` when it cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), IdentityError> {
        let path = dir.join(FILE);
        if path.exists() {
            return Err(IdentityError::Exists { path });
        }
        self.replace(dir)
    }

    /// Writes the identity over the one that is there: the same host with another certificate.
    ///
    /// # Errors
    ///
    /// `File` when it cannot be written; the old one is still there then.
    pub fn replace(&self, dir: &Path) -> Result<(), IdentityError> {
        let path = dir.join(FILE);
        let key = BASE64.encode(self.inner.key.serialized_der());
        // An older muster would take the cluster for another one.
        let format = if self.inner.authority.number == 1 { 1 } else { FORMAT };
        let kept = Kept { format, key, admission: self.kept() };
        let text = serde_json::to_vec_pretty(&kept).expect("the form holds only strings");
        std::fs::create_dir_all(dir)
            .and_then(|()| write_private(&path.with_extension("new"), &path, &text))
            .map_err(|cause| IdentityError::File { doing: "write", path, cause })
    }

    /// Takes the identity from `dir`, if there is one: from then on the host is no member.
    ///
    /// # Errors
    ///
    /// When the file cannot be removed.
    pub fn forget(dir: &Path) -> std::io::Result<()> {
        match std::fs::remove_file(dir.join(FILE)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// This host.
    pub fn host(&self) -> &HostId {
        &self.inner.host
    }

    /// The cluster: the first 16 hexadecimal digits of the SHA-256 of its first authority's certificate.
    pub fn cluster(&self) -> &str {
        &self.inner.cluster
    }

    /// SHA-256 of the authority's certificate; a join token carries it.
    pub(super) fn pin(&self) -> [u8; 32] {
        digest(&self.inner.authority.certificate)
    }

    /// Whose signatures count.
    pub(super) fn trust(&self) -> Result<Trust, rustls::Error> {
        let Authority { certificate, former, known, .. } = &self.inner.authority;
        Trust::new(&self.inner.cluster, certificate, former, known.clone())
    }

    /// What this host shows others: its certificate, the authority's, and those that lead to it from
    /// the authorities before.
    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        let Authority { certificate, crosses, .. } = &self.inner.authority;
        let shown = [&self.inner.certificate, certificate].into_iter().chain(crosses);
        shown.cloned().collect()
    }

    /// This host's key, for TLS.
    pub(super) fn private_key(&self) -> PrivateKeyDer<'static> {
        private(&self.inner.key)
    }

    /// A secret that is the same at each start and that nobody else can compute.
    pub(super) fn derived_secret(&self, purpose: &str) -> [u8; 32] {
        let mut bytes = purpose.as_bytes().to_vec();
        bytes.push(0);
        bytes.extend_from_slice(self.inner.key.serialized_der());
        digest(&bytes)
    }

    /// The same host with a new certificate, when half of the old one's life is over or its dates
    /// are not of this time; none when it is good, or when the time is not known.
    ///
    /// # Errors
    ///
    /// When the certificate cannot be made.
    pub fn renewed(&self, now: WallSeconds) -> Result<Option<Self>, IdentityError> {
        let Some(now) = clock::known(now) else { return Ok(None) };
        let inner = &self.inner;
        let due = super::tls::validity(&inner.certificate).is_none_or(|(begins, ends)| {
            let life = ends.saturating_sub(begins);
            let longest = (HOST_LIFE + BACKDATED).as_secs();
            now.0 < begins || now.0 >= begins + life / 2 || life > longest
        });
        if !due {
            return Ok(None);
        }
        let subject = Subject::member(&inner.cluster);
        let certificate = inner.authority.sign(&inner.key, &subject, now)?;
        let again = Admission { certificate: BASE64.encode(&certificate), ..self.kept() };
        let key = HostKey(read_key(&BASE64.encode(inner.key.serialized_der())).map_err(own)?);
        Ok(Some(Self::admitted(key, &again).map_err(own)?))
    }

    /// Makes a host with this Ed25519 key a member, as of `now`. The certificate names nothing the host asked
    /// for, only its key.
    pub(super) fn admit(
        &self,
        public_key: [u8; 32],
        now: WallSeconds,
    ) -> Result<Admission, IdentityError> {
        let subject = Subject::member(&self.inner.cluster);
        let certificate = self.inner.authority.sign(&PublicKey(public_key), &subject, now)?;
        Ok(Admission { certificate: BASE64.encode(&certificate), ..self.kept() })
    }

    fn kept(&self) -> Admission {
        let certificate = BASE64.encode(&self.inner.certificate);
        Admission { certificate, succession: self.succession() }
    }

    /// What `key` became by an admission, or was kept as.
    pub(super) fn admitted(
        key: HostKey,
        admission: &Admission,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let certificate = CertificateDer::from(BASE64.decode(admission.certificate.as_bytes())?);
        let (cluster, authority) = admission.succession.read()?;
        let identity = Self::assemble(key, certificate, cluster, authority);
        identity.agrees()?;
        Ok(identity)
    }

    fn assemble(
        key: HostKey,
        certificate: CertificateDer<'static>,
        cluster: String,
        authority: Authority,
    ) -> Self {
        let host = key.host();
        Self { inner: Arc::new(Inner { host, cluster, key: key.0, certificate, authority }) }
    }

    /// Whether the keys belong to the certificates.
    fn agrees(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let inner = &self.inner;
        if super::tls::host_of(&inner.certificate)? != inner.host {
            return Err("the certificate belongs to another key".into());
        }
        let authority = rustls::server::ParsedCertificate::try_from(&inner.authority.certificate)?;
        if *authority.subject_public_key_info() != *inner.authority.key.subject_public_key_info() {
            return Err("the authority's certificate belongs to another key".into());
        }
        Ok(())
    }
}

/// The form alone, read before the rest.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// The key of a host that is not a member yet.
pub(super) struct HostKey(KeyPair);

impl HostKey {
    pub(super) fn make() -> Result<Self, IdentityError> {
        Ok(Self(KeyPair::generate_for(&PKCS_ED25519)?))
    }

    /// The public key, 32 bytes.
    pub(super) fn public(&self) -> &[u8] {
        self.0.der_bytes()
    }

    pub(super) fn host(&self) -> HostId {
        host_of_key(&self.0.subject_public_key_info())
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, IdentityError> {
        Ok(self.0.sign(message)?)
    }

    /// For TLS.
    fn private_key(&self) -> PrivateKeyDer<'static> {
        private(&self.0)
    }

    fn copy(&self) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(read_key(&BASE64.encode(self.0.serialized_der()))?))
    }
}

/// The id of the host whose SubjectPublicKeyInfo this is.
pub(super) fn host_of_key(info: &[u8]) -> HostId {
    HostId::new(&sha256_hex(info)[..16])
}

/// The id of the cluster whose first authority has this certificate.
fn cluster_of(authority: &CertificateDer<'_>) -> String {
    sha256_hex(authority)[..16].to_owned()
}

/// The id of the host with this Ed25519 key.
pub(super) fn host_of_public(public_key: [u8; 32]) -> HostId {
    host_of_key(&PublicKey(public_key).subject_public_key_info())
}

fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(key.serialized_der().to_vec()).into()
}

/// What cannot go wrong with an identity that was read before.
fn own(error: Box<dyn std::error::Error + Send + Sync>) -> IdentityError {
    tracing::error!(error, "bug: this host's own key cannot be used");
    IdentityError::Crypto(rcgen::Error::CouldNotParseKeyPair)
}

fn read_key(text: &str) -> Result<KeyPair, Box<dyn std::error::Error + Send + Sync>> {
    let der = BASE64.decode(text.as_bytes())?;
    let der = PrivatePkcs8KeyDer::from(der);
    Ok(KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ED25519)?)
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests;
