//! Settings and data: ConfigMaps, Secrets, volumes and claims on them.

use super::{Map, Metadata, Resources};

object! {
    /// Settings.
    ConfigMap {
        immutable: Option<bool>,
        data: Map,
        binary_data: Map,
    }
}

object! {
    /// Settings that nobody should see; `data` is in base64.
    Secret {
        #[serde(rename = "type")]
        kind: Option<String>,
        string_data: Map,
        data: Map,
    }
}

object! {
    /// A wish for a volume.
    ClaimSpec {
        access_modes: Vec<String>,
        storage_class_name: Option<String>,
        volume_name: Option<String>,
        resources: Resources,
    }
}

object! {
    /// The same inside a StatefulSet.
    PersistentClaim {
        metadata: Metadata,
        spec: ClaimSpec,
    }
}

object! {
    /// A volume that is there already.
    VolumeSpec {
        capacity: Map,
        access_modes: Vec<String>,
        persistent_volume_reclaim_policy: Option<String>,
        storage_class_name: Option<String>,
        mount_options: Vec<String>,
        nfs: Option<Nfs>,
    }
}

object! {
    /// A folder of a file server.
    Nfs {
        server: String,
        path: String,
    }
}
