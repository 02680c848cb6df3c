//! What makes pods, and what watches over them.

use serde::Serialize;

use super::{LabelSelector, Map, Metadata, PersistentClaim, PodTemplate};

object! {
    /// Pods that are alike.
    DeploymentSpec {
        replicas: Option<u32>,
        min_ready_seconds: Option<u64>,
        progress_deadline_seconds: Option<u64>,
        strategy: Option<Strategy>,
        selector: LabelSelector,
        template: PodTemplate,
    }
}

object! {
    /// How pods are replaced.
    Strategy {
        #[serde(rename = "type")]
        kind: String,
        rolling_update: Option<RollingUpdate>,
    }
}

object! {
    /// How many at a time.
    RollingUpdate {
        max_surge: Option<Amount>,
        max_unavailable: Option<Amount>,
    }
}

/// A number, or a part of all.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Amount {
    Count(u32),
    Percent(&'static str),
}

object! {
    /// Pods with a number each, and data of their own.
    StatefulSetSpec {
        service_name: String,
        replicas: Option<u32>,
        min_ready_seconds: Option<u64>,
        update_strategy: Option<Strategy>,
        selector: LabelSelector,
        template: PodTemplate,
        volume_claim_templates: Vec<PersistentClaim>,
    }
}

object! {
    /// A pod on every node.
    DaemonSetSpec {
        min_ready_seconds: Option<u64>,
        update_strategy: Option<Strategy>,
        selector: LabelSelector,
        template: PodTemplate,
    }
}

object! {
    /// Pods that run to their end.
    JobSpec {
        backoff_limit: Option<u32>,
        completions: Option<u32>,
        parallelism: Option<u32>,
        template: PodTemplate,
    }
}

object! {
    /// Jobs by the clock.
    CronJobSpec {
        schedule: String,
        time_zone: Option<String>,
        concurrency_policy: Option<String>,
        starting_deadline_seconds: Option<u64>,
        suspend: Option<bool>,
        job_template: JobTemplate,
    }
}

object! {
    /// A job as the clock makes it.
    JobTemplate {
        metadata: Metadata,
        spec: JobSpec,
    }
}

object! {
    /// How many pods may be taken away at once.
    DisruptionSpec {
        max_unavailable: Option<u32>,
        selector: LabelSelector,
    }
}

object! {
    /// How many pods there are, by what they use.
    AutoscalerSpec {
        scale_target_ref: Target,
        min_replicas: Option<u32>,
        max_replicas: u32,
        metrics: Vec<Metric>,
    }
}

object! {
    /// How much each pod requests, by what it uses.
    VerticalSpec {
        target_ref: Target,
        update_policy: UpdatePolicy,
        resource_policy: ResourcePolicy,
    }
}

object! {
    /// When requests are changed.
    UpdatePolicy {
        update_mode: String,
        min_replicas: Option<u32>,
    }
}

object! {
    /// Of which containers.
    ResourcePolicy {
        container_policies: Vec<ContainerPolicy>,
    }
}

object! {
    /// Within which bounds.
    ContainerPolicy {
        container_name: String,
        controlled_resources: Vec<String>,
        controlled_values: String,
        min_allowed: Map,
        max_allowed: Map,
    }
}

object! {
    /// What is scaled.
    Target {
        api_version: String,
        kind: String,
        name: String,
    }
}

object! {
    /// What is looked at.
    Metric {
        #[serde(rename = "type")]
        kind: String,
        resource: ResourceMetric,
    }
}

object! {
    /// The use of a resource.
    ResourceMetric {
        name: String,
        target: MetricTarget,
    }
}

object! {
    /// The use that is wanted, as a part of the request.
    MetricTarget {
        #[serde(rename = "type")]
        kind: String,
        average_utilization: Option<u32>,
    }
}
