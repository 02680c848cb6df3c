//! The typed model of a loaded Compose project: merged, interpolated, in long form, validated.
//!
//! Serialising a [`Project`] to JSON gives nearly what `docker compose config --format json`
//! prints, and the same JSON can be read back ([`Project::from_canonical`]). Nothing here reads
//! files or decides anything; the loader fills it in.
//!
//! Every object has a field `other` for valid keys that have no field of their own and for `x-`
//! keys, so that nothing in a file is lost between the loader and whoever uses the model.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Keys without a field of their own, in the order of the file: name, canonical value.
pub type Other = IndexMap<String, Value>;

/// Whether a field has nothing to print.
fn absent<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Declares an object of the Specification: every field may be left out, a field that is empty is
/// not printed, and keys without a field are kept in `other`.
macro_rules! object {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde(skip_serializing_if = "crate::compose::project::absent")]
                pub $field: $type,
            )*
            /// Valid keys without a field here, and `x-` keys.
            #[serde(flatten)]
            pub other: crate::compose::project::Other,
        }
    };
}

mod build;
mod deploy;
mod service;
mod service_parts;
mod text;

pub use build::*;
pub use deploy::*;
pub use service::*;
pub use service_parts::*;
pub use text::{format_duration, parse_bytes, parse_duration};

/// A loaded Compose project.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Project {
    /// The project's name, `[a-z0-9][a-z0-9_-]*`.
    pub name: String,
    /// The services that are to run, by key, in the order of the file.
    pub services: IndexMap<String, Service>,
    /// Services left out because none of their profiles is active.
    #[serde(skip)]
    pub disabled_services: IndexMap<String, Service>,
    /// Networks by key; holds `default` when a service joins it.
    #[serde(skip_serializing_if = "absent")]
    pub networks: IndexMap<String, Network>,
    /// Named volumes by key.
    #[serde(skip_serializing_if = "absent")]
    pub volumes: IndexMap<String, Volume>,
    /// Configs by key.
    #[serde(skip_serializing_if = "absent")]
    pub configs: IndexMap<String, FileObject>,
    /// Secrets by key.
    #[serde(skip_serializing_if = "absent")]
    pub secrets: IndexMap<String, FileObject>,
    /// Models by key, canonical values.
    #[serde(skip_serializing_if = "absent")]
    pub models: Other,
    /// Jobs by key, canonical values.
    #[serde(skip_serializing_if = "absent")]
    pub jobs: Other,
    /// The project directory, absolute; relative paths were resolved against it.
    #[serde(skip)]
    pub working_dir: PathBuf,
    /// The files it was loaded from, absolute, in the order they were merged.
    #[serde(skip)]
    pub compose_files: Vec<PathBuf>,
    /// The variables it was interpolated with (process environment over `.env`); configs and
    /// secrets with `environment:` are read from here.
    #[serde(skip)]
    pub environment: BTreeMap<String, String>,
    /// `x-` keys of the top level.
    #[serde(flatten)]
    pub extensions: Other,
}

impl Project {
    /// Reads the canonical JSON form: long forms only, sizes as numbers or texts, durations as
    /// texts. A service's `name` and the fields that are not printed stay empty.
    ///
    /// # Errors
    /// The value is not canonical; the text says where.
    pub fn from_canonical(value: Value) -> Result<Self, serde_json::Error> {
        serde_json::from_value(value)
    }

    /// The services that run and those that do not.
    pub fn all_services(&self) -> impl Iterator<Item = (&String, &Service)> {
        self.services.iter().chain(&self.disabled_services)
    }

    /// What a service mounts: volumes and binds of the services that its `volumes_from` names, read-only
    /// where it says `ro`, and its own, which win where both have the same target. Memory file systems
    /// are nobody else's.
    pub fn mounts_of(&self, service: &Service) -> Vec<VolumeMount> {
        self.mounts_but(service, &mut BTreeSet::new())
    }

    /// The same without going again through those in `seen`.
    fn mounts_but<'a>(
        &'a self,
        service: &'a Service,
        seen: &mut BTreeSet<&'a str>,
    ) -> Vec<VolumeMount> {
        let mut mounts: Vec<VolumeMount> = Vec::new();
        for text in &service.volumes_from {
            let (name, mode) = text.split_once(':').unwrap_or((text, "rw"));
            let Some((name, other)) = self.services.get_key_value(name) else { continue };
            if !seen.insert(name) {
                continue;
            }
            let theirs = self.mounts_but(other, seen);
            for mut mount in theirs {
                let is_there = mounts.iter().any(|before| before.target == mount.target);
                if mount.kind != MountType::Tmpfs && !is_there {
                    mount.read_only |= mode == "ro";
                    mounts.push(mount);
                }
            }
        }
        mounts.retain(|mount| service.volumes.iter().all(|own| own.target != mount.target));
        mounts.extend(service.volumes.iter().cloned());
        mounts
    }
}

object! {
    /// A network, top-level `networks`.
    pub struct Network {
        /// Name in Docker: `<project>_<key>` unless the file says otherwise.
        pub name: String,
        /// Network driver.
        pub driver: Option<String>,
        /// Options of the driver.
        pub driver_opts: BTreeMap<String, String>,
        /// Addresses.
        pub ipam: Option<Ipam>,
        /// Made by somebody else.
        pub external: bool,
        /// No way out.
        pub internal: bool,
        /// Containers outside the project may join.
        pub attachable: bool,
        /// Labels.
        pub labels: BTreeMap<String, String>,
        /// IPv4 on or off.
        pub enable_ipv4: Option<bool>,
        /// IPv6 on or off.
        pub enable_ipv6: Option<bool>,
    }
}

object! {
    /// Addresses of a network, `ipam`.
    pub struct Ipam {
        /// IPAM driver.
        pub driver: Option<String>,
        /// Pools.
        pub config: Vec<IpamPool>,
        /// Options of the driver.
        pub options: BTreeMap<String, String>,
    }
}

object! {
    /// One pool of addresses.
    pub struct IpamPool {
        /// In CIDR form.
        pub subnet: Option<String>,
        /// The gateway's address.
        pub gateway: Option<String>,
        /// The part containers get addresses from.
        pub ip_range: Option<String>,
        /// Reserved addresses by host name.
        pub aux_addresses: BTreeMap<String, String>,
    }
}

object! {
    /// A named volume, top-level `volumes`.
    pub struct Volume {
        /// Name in Docker: `<project>_<key>` unless the file says otherwise.
        pub name: String,
        /// Volume driver.
        pub driver: Option<String>,
        /// Options of the driver.
        pub driver_opts: BTreeMap<String, String>,
        /// Made by somebody else.
        pub external: bool,
        /// Labels.
        pub labels: BTreeMap<String, String>,
    }
}

object! {
    /// A config or a secret, top-level `configs` and `secrets`.
    pub struct FileObject {
        /// Name in an engine that keeps such objects.
        pub name: String,
        /// Absolute path of the file that holds the content.
        pub file: Option<String>,
        /// Variable that holds the content.
        pub environment: Option<String>,
        /// The content itself; only of a config.
        pub content: Option<String>,
        /// Made by somebody else.
        pub external: bool,
        /// Labels.
        pub labels: BTreeMap<String, String>,
        /// Driver of a secret.
        pub driver: Option<String>,
        /// Options of that driver.
        pub driver_opts: BTreeMap<String, String>,
        /// Template engine the content runs through.
        pub template_driver: Option<String>,
    }
}

#[cfg(test)]
mod tests;
