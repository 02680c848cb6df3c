//! Volumes that outlive a pod: who uses which, what becomes a claim of its own, and how data gets
//! there.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::Draft;
use super::names;
use super::object::{
    Body, ClaimSource, ClaimSpec, Map, Metadata, Nfs, PersistentClaim, Resources, Volume,
    VolumeSpec,
};
use super::unit::{Task, Unit, Units};
use crate::compose::project::{MountType, Service, Volume as Declared, VolumeMount};

/// Images of databases: one writer, which expects its disk back. Their data is all theirs.
const DATABASES: &[&str] = &[
    "cassandra",
    "clickhouse",
    "clickhouse-server",
    "cockroach",
    "consul",
    "couchdb",
    "crate",
    "elasticsearch",
    "etcd",
    "influxdb",
    "kafka",
    "keydb",
    "loki",
    "mariadb",
    "meilisearch",
    "milvus",
    "minio",
    "mongo",
    "mongodb",
    "mssql",
    "mysql",
    "mysql-server",
    "nats",
    "neo4j",
    "opensearch",
    "percona",
    "pgvecto-rs",
    "pgvector",
    "postgis",
    "postgres",
    "postgresql",
    "prometheus",
    "qdrant",
    "questdb",
    "rabbitmq",
    "redis",
    "redis-stack",
    "redis-stack-server",
    "rethinkdb",
    "scylla",
    "server",
    "surrealdb",
    "timescaledb",
    "timescaledb-ha",
    "typesense",
    "valkey",
    "vault",
    "victoria-metrics",
    "weaviate",
    "zookeeper",
];

/// Who uses the volumes and folders of a project: the pods, by the keys of their leaders.
#[derive(Debug, Default)]
pub(super) struct Storage {
    users: BTreeMap<String, BTreeSet<String>>,
    /// Who has them in the place of users that a profile leaves out.
    beside: BTreeMap<String, BTreeSet<String>>,
    /// Volumes mounted by something of which there are several.
    several: BTreeSet<String>,
    /// Claims of folders by their path.
    binds: BTreeMap<String, String>,
    /// Volumes that workloads claim themselves.
    templates: BTreeSet<String>,
    /// What claims are for: the volume's key, or the folder.
    claims: BTreeMap<String, String>,
}

impl Storage {
    /// Looks at every mount.
    pub(super) fn of(units: &Units) -> Self {
        let mut storage = Self::default();
        for unit in units.iter() {
            let pods: Vec<&str> = if units.is_folded(&unit.key) {
                units.waiting_for_end(&unit.key).iter().map(|it| units.leader(&it.key)).collect()
            } else {
                vec![units.leader(&unit.key)]
            };
            for mount in &unit.service.volumes {
                let Some(source) = mount.source.as_ref() else { continue };
                if !matches!(mount.kind, MountType::Volume | MountType::Bind) {
                    continue;
                }
                let users = storage.users.entry(source.clone()).or_default();
                users.extend(pods.iter().map(|pod| (*pod).to_owned()));
                if units.is_beside(&unit.key) {
                    let beside = storage.beside.entry(source.clone()).or_default();
                    beside.insert(unit.key.clone());
                }
                let leader = units.get(units.leader(&unit.key)).unwrap_or(unit);
                if is_several(&leader.service) {
                    storage.several.insert(source.clone());
                }
            }
        }
        storage
    }

    /// Whether a claim may be written by one node at a time only.
    pub(super) fn is_single_writer(&self, claim: &str) -> bool {
        self.claims.get(claim).is_some_and(|source| !self.is_shared(source))
    }

    /// Whom a claim belongs to.
    fn owners(&self, source: &str) -> Vec<String> {
        let of = |map: &BTreeMap<String, BTreeSet<String>>| map.get(source).cloned();
        of(&self.users).into_iter().chain(of(&self.beside)).flatten().collect()
    }

    fn is_shared(&self, source: &str) -> bool {
        let is_used_twice = self.users.get(source).is_some_and(|users| users.len() > 1);
        is_used_twice || self.several.contains(source)
    }
}

/// Whether there can be more than one pod of it at a time.
pub(super) fn is_several(service: &Service) -> bool {
    is_global(service) || super::workload::replicas(service) > 1
}

/// Whether a pod of it runs on every node.
pub(super) fn is_global(service: &Service) -> bool {
    service.deploy.as_ref().is_some_and(|deploy| deploy.mode.as_deref() == Some("global"))
}

/// Whether the image is a database's.
pub(super) fn is_database(unit: &Unit) -> bool {
    let image = unit.service.image.as_deref().unwrap_or_default();
    let path = image.split(['@']).next().unwrap_or(image);
    let name = path.rsplit('/').next().unwrap_or(path);
    let name = name.split(':').next().unwrap_or(name).to_ascii_lowercase();
    // `server` is what Microsoft calls its database.
    DATABASES.contains(&name.as_str()) && (name != "server" || path.contains("mssql"))
}

/// The volumes that a StatefulSet of these units claims itself; none means it is no StatefulSet.
pub(super) fn templates(draft: &mut Draft<'_>, units: &[&Unit]) -> Vec<String> {
    let Some(leader) = units.first() else { return Vec::new() };
    let is_one = leader.task == Task::Keep && !is_global(&leader.service);
    if !is_one || !is_database(leader) {
        return Vec::new();
    }
    let mut keys = Vec::new();
    for mount in units.iter().flat_map(|unit| &unit.service.volumes) {
        let Some(key) = mount.source.as_ref().filter(|_| mount.kind == MountType::Volume) else {
            continue;
        };
        let plain = draft
            .project
            .volumes
            .get(key)
            .is_some_and(|volume| !volume.external && nfs(volume).is_none());
        let users = draft.storage.users.get(key).map_or(0, BTreeSet::len);
        if plain && users == 1 && !keys.contains(key) {
            keys.push(key.clone());
            draft.storage.templates.insert(key.clone());
        }
    }
    keys
}

/// The claims that stand in a StatefulSet.
pub(super) fn claim_templates(
    draft: &Draft<'_>,
    keys: &[String],
    unit: &str,
) -> Vec<PersistentClaim> {
    let claim = |key: &String| PersistentClaim {
        metadata: Metadata {
            name: names::label(key),
            labels: super::draft::selector(&draft.instance(), unit),
            ..Metadata::default()
        },
        spec: claim_spec(draft, key, &["ReadWriteOnce"]),
    };
    keys.iter().map(claim).collect()
}

fn claim_spec(draft: &Draft<'_>, key: &str, modes: &[&str]) -> ClaimSpec {
    let size = draft.project.volumes.get(key).and_then(|volume| {
        let given = volume.driver_opts.get("size")?;
        crate::compose::project::parse_bytes(given).map(super::quantity::bytes)
    });
    let size = size.unwrap_or_else(|| draft.options.volume_size.clone());
    ClaimSpec {
        access_modes: modes.iter().map(|mode| (*mode).to_owned()).collect(),
        storage_class_name: draft.options.storage_class.clone(),
        volume_name: None,
        resources: Resources {
            requests: [("storage".to_owned(), size)].into(),
            limits: Map::new(),
        },
    }
}

/// A named volume in a pod.
pub(super) fn volume(draft: &mut Draft<'_>, key: &str) -> Volume {
    let claim_name = claim_name(draft, key);
    Volume { persistent_volume_claim: Some(ClaimSource { claim_name }), ..Volume::default() }
}

fn claim_name(draft: &mut Draft<'_>, key: &str) -> String {
    let external = draft.project.volumes.get(key).filter(|volume| volume.external);
    let Some(external) = external else {
        let name = draft.names.of("Claim", key);
        draft.storage.claims.insert(name.clone(), key.to_owned());
        return name;
    };
    let name = names::label(&external.name);
    draft.storage.claims.insert(name.clone(), key.to_owned());
    let expected = format!("PersistentVolumeClaim/{name}");
    if !draft.expected.contains(&expected) {
        draft.expected.push(expected);
    }
    name
}

/// Makes the claims that no workload makes itself.
pub(super) fn add_claims(draft: &mut Draft<'_>, units: &Units) {
    let users: Vec<(String, BTreeSet<String>)> =
        draft.storage.users.iter().map(|(key, users)| (key.clone(), users.clone())).collect();
    for (key, users) in users {
        let Some(declared) = draft.project.volumes.get(&key).cloned() else { continue };
        if declared.external || draft.storage.templates.contains(&key) || !is_named(units, &key) {
            continue;
        }
        let mode = mode(draft, &key, &format!("volumes.{key}"), &users);
        let name = draft.names.of("Claim", &key);
        let mut spec = claim_spec(draft, &key, &[mode]);
        let owners = draft.storage.owners(&key);
        let path = format!("volumes.{key}");
        if let Some((nfs, options)) = nfs(&declared) {
            add_nfs(draft, &owners, (&name, &path), (nfs, options), &mut spec);
        }
        note_options(draft, &key, &declared);
        draft.add_at(owners, &name.clone(), &name, Body::PersistentVolumeClaim { spec }, path);
        set_labels(draft, &declared);
    }
}

/// Options that a storage class would have to know.
fn note_options(draft: &mut Draft<'_>, key: &str, declared: &Declared) {
    let is_nfs = nfs(declared).is_some();
    let others = declared.driver_opts.keys().filter(|name| {
        *name != "size" && !(is_nfs && matches!(name.as_str(), "type" | "device" | "o"))
    });
    let others: Vec<String> = others.cloned().collect();
    if !others.is_empty() {
        let reason = match declared.driver_opts.get("device") {
            Some(device) if !is_nfs => format!("`{device}` of a machine becomes an empty claim"),
            Some(_) | None => {
                format!("a claim has no such options: {}", super::draft::list(&others))
            }
        };
        let (path, verdict) =
            (format!("volumes.{key}.driver_opts"), crate::translate::Verdict::Ignored);
        draft.notes.add(path, verdict, reason, "use a storage class that has them");
    }
}

fn is_named(units: &Units, key: &str) -> bool {
    let is_it = |mount: &VolumeMount| {
        mount.kind == MountType::Volume && mount.source.as_deref() == Some(key)
    };
    units.iter().any(|unit| unit.service.volumes.iter().any(is_it))
}

/// Labels of the volume, as annotations where they are no labels.
fn set_labels(draft: &mut Draft<'_>, declared: &Declared) {
    let Some(entry) = draft.entries.last_mut() else { return };
    for (key, value) in &declared.labels {
        if names::is_label_key(key) {
            entry.object.metadata.annotations.insert(key.clone(), value.clone());
        }
    }
}

fn mode(draft: &mut Draft<'_>, source: &str, path: &str, users: &BTreeSet<String>) -> &'static str {
    if !draft.storage.is_shared(source) {
        return "ReadWriteOnce";
    }
    let users: Vec<String> = users.iter().cloned().collect();
    let reason = format!(
        "several pods mount it ({}), so it needs a storage class that can `ReadWriteMany`",
        super::draft::list(&users)
    );
    let verdict = crate::translate::Verdict::Approximated;
    draft.notes.add(path.to_owned(), verdict, reason, "name one with `--storage-class`");
    "ReadWriteMany"
}

/// Whether a volume's files are on a file server, which pods mount as well.
pub(super) fn is_elsewhere(volume: &Declared) -> bool {
    nfs(volume).is_some()
}

/// The server and folder of a volume on NFS, and the other options.
fn nfs(volume: &Declared) -> Option<(Nfs, Vec<String>)> {
    let kind = volume.driver_opts.get("type")?;
    if !kind.starts_with("nfs") {
        return None;
    }
    let path = volume.driver_opts.get("device")?.trim_start_matches(':').to_owned();
    let options = volume.driver_opts.get("o").map_or("", String::as_str);
    let (mut server, mut others) = (None, Vec::new());
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("addr", address)) => server = Some(address.to_owned()),
            _ if matches!(option, "rw" | "ro") => {}
            _ => others.push(option.to_owned()),
        }
    }
    if kind == "nfs4" && !others.iter().any(|option| option.contains("vers=")) {
        others.push("nfsvers=4".to_owned());
    }
    Some((Nfs { server: server?, path }, others))
}

fn add_nfs(
    draft: &mut Draft<'_>,
    owners: &[String],
    (name, path): (&str, &str),
    (nfs, mount_options): (Nfs, Vec<String>),
    claim: &mut ClaimSpec,
) {
    // Volumes belong to the whole cluster.
    let volume = names::label(&format!("{}-{name}", draft.project.name));
    let spec = VolumeSpec {
        capacity: claim.resources.requests.clone(),
        access_modes: claim.access_modes.clone(),
        persistent_volume_reclaim_policy: Some("Retain".to_owned()),
        storage_class_name: None,
        mount_options,
        nfs: Some(nfs),
    };
    // No class, or the default one would make a volume of its own.
    claim.storage_class_name = Some(String::new());
    claim.volume_name = Some(volume.clone());
    let body = Body::PersistentVolume { spec };
    draft.add_at(owners.to_vec(), name, &volume, body, path.to_owned());
    if let Some(entry) = draft.entries.last_mut() {
        entry.object.metadata.namespace = None;
    }
}

/// The claim of a folder of data: one for all that bind it.
pub(super) fn bind_claim(draft: &mut Draft<'_>, unit: &Unit, source: &str) -> String {
    if let Some(name) = draft.storage.binds.get(source) {
        return name.clone();
    }
    let last = source.trim_end_matches('/').rsplit('/').next().unwrap_or(source);
    let last = if last.is_empty() { "data" } else { last };
    let name = draft.names.of("Claim", &format!("{}-{last}", unit.name));
    draft.storage.binds.insert(source.to_owned(), name.clone());
    draft.storage.claims.insert(name.clone(), source.to_owned());
    let users = draft.storage.users.get(source).cloned().unwrap_or_default();
    let path = format!("{}.volumes", unit.path);
    let mode = mode(draft, source, &path, &users);
    let spec = claim_spec(draft, "", &[mode]);
    let owners = draft.storage.owners(source);
    draft.add_at(owners, &unit.name.clone(), &name, Body::PersistentVolumeClaim { spec }, path);
    let source = draft.shown(source);
    draft.comment(format!(
        "Was the folder {source}. It is empty at first: MIGRATION.md says how to"
    ));
    draft.comment("fill it.");
    name
}
