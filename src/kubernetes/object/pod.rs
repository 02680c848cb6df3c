//! Pods and what is in them.

use serde::Serialize;

use super::{LabelSelector, Map, Metadata};

object! {
    /// A pod as a workload makes it.
    PodTemplate {
        metadata: Metadata,
        spec: PodSpec,
    }
}

object! {
    /// What runs in a pod, and how.
    PodSpec {
        os: Option<Os>,
        restart_policy: Option<String>,
        automount_service_account_token: Option<bool>,
        enable_service_links: Option<bool>,
        hostname: Option<String>,
        subdomain: Option<String>,
        host_network: bool,
        #[serde(rename = "hostPID")]
        host_pid: bool,
        #[serde(rename = "hostIPC")]
        host_ipc: bool,
        host_users: Option<bool>,
        share_process_namespace: bool,
        dns_policy: Option<String>,
        dns_config: Option<DnsConfig>,
        host_aliases: Vec<HostAlias>,
        runtime_class_name: Option<String>,
        termination_grace_period_seconds: Option<u64>,
        node_selector: Map,
        affinity: Option<Affinity>,
        topology_spread_constraints: Vec<TopologySpread>,
        security_context: Option<PodSecurityContext>,
        init_containers: Vec<Container>,
        containers: Vec<Container>,
        volumes: Vec<Volume>,
    }
}

object! {
    /// The system a pod is for.
    Os {
        name: String,
    }
}

object! {
    /// Name servers.
    DnsConfig {
        nameservers: Vec<String>,
        searches: Vec<String>,
        options: Vec<NameValue>,
    }
}

object! {
    /// An option with an optional value.
    NameValue {
        name: String,
        value: Option<String>,
    }
}

object! {
    /// A line of /etc/hosts.
    HostAlias {
        ip: String,
        hostnames: Vec<String>,
    }
}

object! {
    /// What holds for all containers of a pod.
    PodSecurityContext {
        fs_group: Option<u64>,
        fs_group_change_policy: Option<String>,
        supplemental_groups: Vec<u64>,
        seccomp_profile: Option<Profile>,
        sysctls: Vec<NameValue>,
    }
}

object! {
    /// A seccomp or AppArmor profile.
    Profile {
        #[serde(rename = "type")]
        kind: String,
        localhost_profile: Option<String>,
    }
}

object! {
    /// What one container may do.
    SecurityContext {
        privileged: Option<bool>,
        run_as_user: Option<u64>,
        run_as_group: Option<u64>,
        run_as_non_root: Option<bool>,
        read_only_root_filesystem: Option<bool>,
        allow_privilege_escalation: Option<bool>,
        capabilities: Option<Capabilities>,
        seccomp_profile: Option<Profile>,
        app_armor_profile: Option<Profile>,
        se_linux_options: Option<SeLinux>,
    }
}

object! {
    /// Capabilities, without `CAP_`.
    Capabilities {
        add: Vec<String>,
        drop: Vec<String>,
    }
}

object! {
    /// SELinux labels.
    SeLinux {
        user: Option<String>,
        role: Option<String>,
        #[serde(rename = "type")]
        kind: Option<String>,
        level: Option<String>,
    }
}

object! {
    /// One container.
    Container {
        name: String,
        image: String,
        image_pull_policy: Option<String>,
        restart_policy: Option<String>,
        command: Option<Vec<String>>,
        args: Option<Vec<String>>,
        working_dir: Option<String>,
        stdin: bool,
        tty: bool,
        ports: Vec<ContainerPort>,
        env_from: Vec<EnvFrom>,
        env: Vec<EnvVar>,
        resources: Resources,
        startup_probe: Option<Probe>,
        readiness_probe: Option<Probe>,
        liveness_probe: Option<Probe>,
        lifecycle: Option<Lifecycle>,
        security_context: Option<SecurityContext>,
        volume_mounts: Vec<VolumeMount>,
    }
}

object! {
    /// A port a container listens on.
    ContainerPort {
        name: Option<String>,
        container_port: u16,
        host_port: Option<u16>,
        #[serde(rename = "hostIP")]
        host_ip: Option<String>,
        protocol: Option<String>,
    }
}

object! {
    /// Variables from all of a ConfigMap or Secret.
    EnvFrom {
        config_map_ref: Option<LocalName>,
        secret_ref: Option<LocalName>,
    }
}

object! {
    /// An object of the same namespace.
    LocalName {
        name: String,
    }
}

object! {
    /// A variable.
    EnvVar {
        name: String,
        value: Option<String>,
        value_from: Option<EnvSource>,
    }
}

object! {
    /// Where a value comes from.
    EnvSource {
        secret_key_ref: Option<KeyRef>,
    }
}

object! {
    /// A key of an object.
    KeyRef {
        name: String,
        key: String,
    }
}

object! {
    /// Requests and limits.
    Resources {
        requests: Map,
        limits: Map,
    }
}

object! {
    /// How a container is asked whether it is well.
    Probe {
        exec: Option<Exec>,
        http_get: Option<HttpGet>,
        tcp_socket: Option<TcpSocket>,
        period_seconds: Option<u64>,
        timeout_seconds: Option<u64>,
        failure_threshold: Option<u64>,
    }
}

object! {
    /// A command in the container.
    Exec {
        command: Vec<String>,
    }
}

object! {
    /// A question over HTTP.
    HttpGet {
        path: String,
        port: u16,
        scheme: Option<String>,
        http_headers: Vec<Header>,
    }
}

object! {
    /// A header; both fields are needed.
    Header {
        name: String,
        value: String,
    }
}

object! {
    /// Whether a port can be connected to.
    TcpSocket {
        port: u16,
    }
}

object! {
    /// What is done after the start and before the end.
    Lifecycle {
        post_start: Option<Hook>,
        pre_stop: Option<Hook>,
        stop_signal: Option<String>,
    }
}

object! {
    /// One such thing.
    Hook {
        exec: Option<Exec>,
    }
}

object! {
    /// Where a volume appears.
    VolumeMount {
        name: String,
        mount_path: String,
        sub_path: Option<String>,
        read_only: bool,
        mount_propagation: Option<String>,
    }
}

object! {
    /// A volume of a pod.
    Volume {
        name: String,
        persistent_volume_claim: Option<ClaimSource>,
        config_map: Option<ConfigMapSource>,
        secret: Option<SecretSource>,
        empty_dir: Option<EmptyDir>,
        host_path: Option<HostPath>,
        image: Option<ImageSource>,
    }
}

object! {
    /// A claim.
    ClaimSource {
        claim_name: String,
    }
}

object! {
    /// Files of a ConfigMap.
    ConfigMapSource {
        name: String,
        default_mode: Option<u32>,
        items: Vec<KeyToPath>,
    }
}

object! {
    /// Files of a Secret.
    SecretSource {
        secret_name: String,
        default_mode: Option<u32>,
        items: Vec<KeyToPath>,
    }
}

object! {
    /// Where a key is a file.
    KeyToPath {
        key: String,
        path: String,
        mode: Option<u32>,
    }
}

object! {
    /// A folder that ends with the pod.
    EmptyDir {
        medium: Option<String>,
        size_limit: Option<String>,
    }
}

object! {
    /// A file of the node.
    HostPath {
        path: String,
        #[serde(rename = "type")]
        kind: Option<String>,
    }
}

object! {
    /// The files of an image.
    ImageSource {
        reference: String,
        pull_policy: Option<String>,
    }
}

object! {
    /// Where pods go.
    Affinity {
        node_affinity: Option<NodeAffinity>,
        pod_anti_affinity: Option<PodAntiAffinity>,
    }
}

object! {
    /// Which nodes.
    NodeAffinity {
        #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
        required: Option<NodeSelector>,
    }
}

object! {
    /// One of the terms must hold.
    NodeSelector {
        node_selector_terms: Vec<NodeTerm>,
    }
}

object! {
    /// All must hold.
    NodeTerm {
        match_expressions: Vec<NodeRule>,
    }
}

object! {
    /// A rule on a label of the node.
    NodeRule {
        key: String,
        operator: String,
        values: Vec<String>,
    }
}

object! {
    /// Not beside these pods.
    PodAntiAffinity {
        #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
        required: Vec<PodTerm>,
    }
}

object! {
    /// Pods, and what "beside" means.
    PodTerm {
        label_selector: LabelSelector,
        topology_key: String,
    }
}

/// How evenly pods are spread.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TopologySpread {
    pub(crate) max_skew: u32,
    pub(crate) topology_key: String,
    pub(crate) when_unsatisfiable: String,
    pub(crate) label_selector: LabelSelector,
}
