//! The objects of Kubernetes that an export makes, with Kubernetes' own names. Only data: nothing
//! here decides, and nothing knows Compose.
//!
//! These are our own structs. The whole API as a crate would be a hundred kinds of which we write
//! seventeen, and it would not let us choose the order of the keys, which is the order people read.
//! That no field is misspelt is checked against the published schemas by `make export-check`.

use std::collections::BTreeMap;

use serde::Serialize;

/// Whether a field has nothing to print.
pub(super) fn absent<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Declares an object: every field may be left out, one that is empty is not printed.
macro_rules! object {
    (
        $(#[$meta:meta])*
        $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
        #[serde(rename_all = "camelCase")]
        pub(crate) struct $name {
            $(
                $(#[$field_meta])*
                #[serde(skip_serializing_if = "crate::kubernetes::object::absent")]
                pub(crate) $field: $type,
            )*
        }
    };
}

mod pod;
mod settings;
mod traffic;
mod workload;

pub(super) use pod::*;
pub(super) use settings::*;
pub(super) use traffic::*;
pub(super) use workload::*;

/// Keys and values, sorted.
pub(super) type Map = BTreeMap<String, String>;

object! {
    /// What names an object.
    Metadata {
        name: String,
        namespace: Option<String>,
        labels: Map,
        annotations: Map,
    }
}

object! {
    /// Which pods are meant.
    LabelSelector {
        match_labels: Map,
    }
}

/// What an object says beside its name. Each variant is a kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Body {
    Namespace {},
    ConfigMap(ConfigMap),
    Secret(Secret),
    PersistentVolume { spec: VolumeSpec },
    PersistentVolumeClaim { spec: ClaimSpec },
    Service { spec: ServiceSpec },
    Deployment { spec: Box<DeploymentSpec> },
    StatefulSet { spec: Box<StatefulSetSpec> },
    DaemonSet { spec: Box<DaemonSetSpec> },
    Job { spec: Box<JobSpec> },
    CronJob { spec: Box<CronJobSpec> },
    PodDisruptionBudget { spec: DisruptionSpec },
    HorizontalPodAutoscaler { spec: AutoscalerSpec },
    VerticalPodAutoscaler { spec: VerticalSpec },
    Ingress { spec: IngressSpec },
    HttpRoute { spec: RouteSpec },
    NetworkPolicy { spec: PolicySpec },
}

impl Body {
    /// The group and version, and the kind.
    pub(super) fn kind(&self) -> (&'static str, &'static str) {
        match self {
            Self::Namespace {} => ("v1", "Namespace"),
            Self::ConfigMap(_) => ("v1", "ConfigMap"),
            Self::Secret(_) => ("v1", "Secret"),
            Self::PersistentVolume { .. } => ("v1", "PersistentVolume"),
            Self::PersistentVolumeClaim { .. } => ("v1", "PersistentVolumeClaim"),
            Self::Service { .. } => ("v1", "Service"),
            Self::Deployment { .. } => ("apps/v1", "Deployment"),
            Self::StatefulSet { .. } => ("apps/v1", "StatefulSet"),
            Self::DaemonSet { .. } => ("apps/v1", "DaemonSet"),
            Self::Job { .. } => ("batch/v1", "Job"),
            Self::CronJob { .. } => ("batch/v1", "CronJob"),
            Self::PodDisruptionBudget { .. } => ("policy/v1", "PodDisruptionBudget"),
            Self::HorizontalPodAutoscaler { .. } => ("autoscaling/v2", "HorizontalPodAutoscaler"),
            Self::VerticalPodAutoscaler { .. } => {
                ("autoscaling.k8s.io/v1", "VerticalPodAutoscaler")
            }
            Self::Ingress { .. } => ("networking.k8s.io/v1", "Ingress"),
            Self::HttpRoute { .. } => ("gateway.networking.k8s.io/v1", "HTTPRoute"),
            Self::NetworkPolicy { .. } => ("networking.k8s.io/v1", "NetworkPolicy"),
        }
    }

    /// The pods a workload makes.
    pub(super) fn template(&self) -> Option<&PodTemplate> {
        match self {
            Self::Deployment { spec } => Some(&spec.template),
            Self::StatefulSet { spec } => Some(&spec.template),
            Self::DaemonSet { spec } => Some(&spec.template),
            Self::Job { spec } => Some(&spec.template),
            Self::CronJob { spec } => Some(&spec.job_template.spec.template),
            Self::Namespace {}
            | Self::ConfigMap(_)
            | Self::Secret(_)
            | Self::PersistentVolume { .. }
            | Self::PersistentVolumeClaim { .. }
            | Self::Service { .. }
            | Self::PodDisruptionBudget { .. }
            | Self::HorizontalPodAutoscaler { .. }
            | Self::VerticalPodAutoscaler { .. }
            | Self::Ingress { .. }
            | Self::HttpRoute { .. }
            | Self::NetworkPolicy { .. } => None,
        }
    }

    /// The same, to be changed. What makes pods is listed in [`Self::template`].
    pub(super) fn template_mut(&mut self) -> Option<&mut PodTemplate> {
        match self {
            Self::Deployment { spec } => Some(&mut spec.template),
            Self::StatefulSet { spec } => Some(&mut spec.template),
            Self::DaemonSet { spec } => Some(&mut spec.template),
            Self::Job { spec } => Some(&mut spec.template),
            Self::CronJob { spec } => Some(&mut spec.job_template.spec.template),
            _ => None,
        }
    }
}

/// A whole object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Object {
    pub(super) metadata: Metadata,
    pub(super) body: Body,
}

impl Serialize for Object {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Whole<'a> {
            api_version: &'static str,
            kind: &'static str,
            metadata: &'a Metadata,
            #[serde(flatten)]
            body: &'a Body,
        }
        let (api_version, kind) = self.body.kind();
        Whole { api_version, kind, metadata: &self.metadata, body: &self.body }
            .serialize(serializer)
    }
}
