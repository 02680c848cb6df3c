//! What is told of services with rules.

use super::text::{Kind, Text};
use crate::api::{ScalingView, ServiceView};
use crate::model::AppName;

/// Name, help and value.
type Gauge = (&'static str, &'static str, fn(&ScalingView) -> u32);

pub(super) fn write_scalings(text: &mut Text, services: &[(AppName, Vec<ServiceView>)]) {
    let scaled = |one: &'_ ServiceView| one.scaling.clone();
    let all: Vec<_> = services
        .iter()
        .flat_map(|(app, all)| all.iter().filter_map(move |one| Some((app, one, scaled(one)?))))
        .collect();
    if all.is_empty() {
        return;
    }
    let gauges: [Gauge; 3] = [
        ("muster_autoscale_min_replicas", "Fewest replicas of a service with rules.", |s| s.min),
        ("muster_autoscale_max_replicas", "Most replicas of a service with rules.", |s| s.max),
        (
            "muster_autoscale_held",
            "Whether what the rules of a service look at is missing, so that it stays as it is.",
            |s| u32::from(s.hold.is_some()),
        ),
    ];
    for (name, help, value) in gauges {
        let mut metric = text.metric(name, Kind::Gauge, help);
        for (app, one, scaling) in &all {
            let labels = [("app", app.as_str()), ("service", one.service.as_str())];
            metric.sample(&labels, value(scaling));
        }
    }
}
