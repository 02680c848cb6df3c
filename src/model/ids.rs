//! Identifiers. Each is a type of its own, so that one cannot stand where another belongs. They are
//! in every Row and every decision, so a copy shares its text.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps a text that is already known to be well formed.
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(Arc::from(text.as_ref()))
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(Self::new)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }
    };
}

string_id! {
    /// A host: the first 16 hexadecimal digits of the SHA-256 of its public key.
    HostId
}
string_id! {
    /// An App: the Compose project name, `[a-z0-9][a-z0-9_-]*`.
    AppName
}
string_id! {
    /// A Deployment and the Service in front of it: the key under `services:`.
    ServiceName
}
string_id! {
    /// A network of an App: the key under `networks:`.
    NetworkName
}
string_id! {
    /// A Revision: SHA-256 of its canonical JSON, in hexadecimal.
    RevisionId
}

impl RevisionId {
    /// The first 12 digits, as people see it.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

/// One numbered copy of a Deployment. Written `app/service/1`; numbers begin at 1, as in Compose.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReplicaId {
    /// The App.
    pub app: AppName,
    /// The Deployment.
    pub service: ServiceName,
    /// The copy, from 1. For a global Deployment: a number the Plan gave to the host.
    pub index: u32,
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.app, self.service, self.index)
    }
}

/// Rises by one each time a Replica is placed anew or changed; an older one is refused.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Keeps of each key the highest Generation that was seen.
    pub fn raise<K: Ord>(highest: &mut BTreeMap<K, Self>, key: K, seen: Self) {
        let known = highest.entry(key).or_default();
        *known = seen.max(*known);
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Lower-case hexadecimal SHA-256 of `bytes`.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number every host computes alike from some words; used for rendezvous order and for stable
/// choices of addresses. The words are length-prefixed, so that `["ab","c"]` and `["a","bc"]`
/// differ.
pub fn stable_hash<W: AsRef<[u8]>>(words: &[W]) -> u64 {
    let mut digest = Sha256::new();
    for word in words.iter().map(AsRef::as_ref) {
        digest.update((word.len() as u64).to_be_bytes());
        digest.update(word);
    }
    let bytes = digest.finalize();
    bytes.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}
