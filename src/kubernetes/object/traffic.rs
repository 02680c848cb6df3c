//! How pods are reached: Services, Ingresses, NetworkPolicies.

use super::{LabelSelector, Map};

object! {
    /// A name and address in front of pods.
    ServiceSpec {
        #[serde(rename = "type")]
        kind: Option<String>,
        #[serde(rename = "clusterIP")]
        cluster_ip: Option<String>,
        publish_not_ready_addresses: Option<bool>,
        selector: Map,
        ports: Vec<ServicePort>,
    }
}

object! {
    /// A port of it.
    ServicePort {
        name: Option<String>,
        port: u16,
        target_port: Option<u16>,
        protocol: Option<String>,
        app_protocol: Option<String>,
    }
}

object! {
    /// Which requests from outside go where.
    IngressSpec {
        ingress_class_name: Option<String>,
        tls: Vec<IngressTls>,
        rules: Vec<IngressRule>,
    }
}

object! {
    /// Hosts with a certificate.
    IngressTls {
        hosts: Vec<String>,
        secret_name: Option<String>,
    }
}

object! {
    /// The paths of a host.
    IngressRule {
        host: Option<String>,
        http: IngressPaths,
    }
}

object! {
    /// Paths.
    IngressPaths {
        paths: Vec<IngressPath>,
    }
}

object! {
    /// A path and where it leads.
    IngressPath {
        path: String,
        path_type: String,
        backend: Backend,
    }
}

object! {
    /// A Service.
    Backend {
        service: BackendService,
    }
}

object! {
    /// A port of a Service.
    BackendService {
        name: String,
        port: BackendPort,
    }
}

object! {
    /// By number.
    BackendPort {
        number: u16,
    }
}

object! {
    /// Which requests at a Gateway go where.
    RouteSpec {
        parent_refs: Vec<ParentRef>,
        hostnames: Vec<String>,
        rules: Vec<RouteRule>,
    }
}

object! {
    /// A Gateway.
    ParentRef {
        namespace: Option<String>,
        name: String,
        section_name: Option<String>,
    }
}

object! {
    /// Paths, and where they lead.
    RouteRule {
        matches: Vec<RouteMatch>,
        backend_refs: Vec<RouteBackend>,
    }
}

object! {
    /// Requests.
    RouteMatch {
        path: RoutePath,
    }
}

object! {
    /// Where their path begins.
    RoutePath {
        #[serde(rename = "type")]
        kind: String,
        value: String,
    }
}

object! {
    /// A port of a Service.
    RouteBackend {
        name: String,
        port: u16,
    }
}

object! {
    /// Who may speak with pods.
    PolicySpec {
        pod_selector: LabelSelector,
        policy_types: Vec<String>,
        ingress: Vec<PolicyIngress>,
        egress: Vec<PolicyEgress>,
    }
}

object! {
    /// Who may call.
    PolicyIngress {
        from: Vec<Peer>,
        ports: Vec<PolicyPort>,
    }
}

object! {
    /// Who may be called.
    PolicyEgress {
        to: Vec<Peer>,
        ports: Vec<PolicyPort>,
    }
}

object! {
    /// Pods.
    Peer {
        pod_selector: Option<LabelSelector>,
        namespace_selector: Option<LabelSelector>,
    }
}

object! {
    /// A port.
    PolicyPort {
        port: u16,
        protocol: Option<String>,
    }
}
