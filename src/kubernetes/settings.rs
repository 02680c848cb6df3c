//! What holds for a whole pod: its namespaces, name servers, hosts, hostname, time to end.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::draft::Draft;
use super::names;
use super::object::{HostAlias, NameValue, Os, PodSpec};
use super::pod::Pod;
use super::unit::{Unit, shared};

/// The API takes this many name servers, one of which is the cluster's.
const NAME_SERVERS_MAX: usize = 2;

/// Sets what the units of a pod say of it.
pub(super) fn set(draft: &mut Draft<'_>, units: &[&Unit], spec: &mut PodSpec, pod: &mut Pod) {
    for (index, unit) in units.iter().enumerate() {
        namespaces(draft, unit, spec);
        hosts(draft, unit, spec);
        name_servers(draft, unit, spec);
        runtime(draft, unit, spec);
        let grace = unit
            .service
            .stop_grace_period
            .map(|time| time.as_secs() + u64::from(time.subsec_nanos() > 0));
        spec.termination_grace_period_seconds = spec.termination_grace_period_seconds.max(grace);
        if index == 0 {
            hostname(draft, unit, spec);
        }
        if unit.service.volumes_from.iter().any(|text| text.starts_with("container:")) {
            let reason = "containers outside the project are not on Kubernetes";
            draft.lost(unit, "volumes_from", reason, "");
        }
        networks(draft, unit, pod);
    }
    let has_signal = |it: &super::object::Container| {
        it.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.stop_signal.is_some())
    };
    if spec.containers.iter().any(has_signal) {
        // The API takes a signal only where it knows the system it is for.
        spec.os = Some(Os { name: "linux".to_owned() });
    }
    if spec.host_network {
        spec.dns_policy = Some("ClusterFirstWithHostNet".to_owned());
    }
    // A pod that sees the node's processes sees its own.
    spec.share_process_namespace &= !spec.host_pid;
}

fn namespaces(draft: &mut Draft<'_>, unit: &Unit, spec: &mut PodSpec) {
    let service = &unit.service;
    match service.network_mode.as_deref() {
        Some("host") => spec.host_network = true,
        Some(mode) if mode.starts_with("container:") => {
            let reason = format!("`{mode}`: containers outside the project are not on Kubernetes");
            draft.lost(unit, "network_mode", reason, "");
        }
        Some("none" | "bridge" | "default") | None => {}
        Some(_) if shared(service).is_some() => {}
        Some(mode) => {
            draft.lost(unit, "network_mode", format!("there is no network `{mode}`"), "");
        }
    }
    match service.pid.as_deref() {
        Some("host") => spec.host_pid = true,
        Some(mode) if mode.starts_with("service:") => spec.share_process_namespace = true,
        Some(mode) if mode.starts_with("container:") => {
            let reason = format!("`{mode}`: containers outside the project are not on Kubernetes");
            draft.lost(unit, "pid", reason, "");
        }
        Some(_) | None => {}
    }
    match service.ipc.as_deref() {
        Some("host") => spec.host_ipc = true,
        Some(mode) if mode.starts_with("container:") => {
            let reason = format!("`{mode}`: containers outside the project are not on Kubernetes");
            draft.lost(unit, "ipc", reason, "");
        }
        Some(_) | None => {}
    }
    // Then the pause container is process 1 and takes care of what its children leave.
    spec.share_process_namespace |= service.init == Some(true);
    match service.uts.as_deref() {
        Some("host") if service.network_mode.as_deref() == Some("host") => {}
        Some(_) => draft.lost(unit, "uts", "a pod has a host name of its own", ""),
        None => {}
    }
}

/// Lines of /etc/hosts.
fn hosts(draft: &mut Draft<'_>, unit: &Unit, spec: &mut PodSpec) {
    let mut by_address: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in &unit.service.extra_hosts {
        let Some((host, address)) = line.split_once('=').or_else(|| line.split_once(':')) else {
            continue;
        };
        let address = address.trim_matches(['[', ']']);
        let lower = host.to_ascii_lowercase();
        if address.parse::<IpAddr>().is_ok() && names::is_domain(&lower) {
            by_address.entry(address.to_owned()).or_default().push(lower);
        } else {
            let reason = match address {
                "host-gateway" => format!("`{host}`: a pod has no name for the node it is on"),
                _ => format!("`{line}` is no line that Kubernetes writes into /etc/hosts"),
            };
            draft.lost(unit, "extra_hosts", reason, "use an address, or a Service");
        }
    }
    for (ip, hostnames) in by_address {
        match spec.host_aliases.iter_mut().find(|alias| alias.ip == ip) {
            Some(alias) => {
                alias.hostnames.extend(hostnames);
                alias.hostnames.dedup();
            }
            None => spec.host_aliases.push(HostAlias { ip, hostnames }),
        }
    }
}

fn name_servers(draft: &mut Draft<'_>, unit: &Unit, spec: &mut PodSpec) {
    let service = &unit.service;
    if service.dns.is_empty() && service.dns_search.is_empty() && service.dns_opt.is_empty() {
        return;
    }
    let mut config = spec.dns_config.take().unwrap_or_default();
    for address in &service.dns {
        let fits = config.nameservers.len() < NAME_SERVERS_MAX && address.parse::<IpAddr>().is_ok();
        if fits {
            if !config.nameservers.contains(address) {
                config.nameservers.push(address.clone());
            }
        } else {
            let reason = format!("`{address}` is one name server too many, or no address");
            draft.lost(unit, "dns", reason, "");
        }
    }
    for name in &service.dns_search {
        if names::is_domain(name.trim_end_matches('.')) && !config.searches.contains(name) {
            config.searches.push(name.clone());
        } else if name != "." {
            draft.lost(unit, "dns_search", format!("`{name}` is no domain"), "");
        }
    }
    for option in &service.dns_opt {
        let (name, value) = match option.split_once(':') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (option.as_str(), None),
        };
        config.options.push(NameValue { name: name.to_owned(), value });
    }
    spec.dns_config = Some(config);
}

/// The class of its runtime, but for the one that every node has.
fn runtime(draft: &mut Draft<'_>, unit: &Unit, spec: &mut PodSpec) {
    let Some(runtime) = unit.service.runtime.as_deref() else { return };
    if matches!(runtime, "runc" | "crun" | "") {
        return;
    }
    let name = names::label(runtime);
    draft.expected.push(format!("RuntimeClass/{name}"));
    spec.runtime_class_name = Some(name);
}

fn hostname(draft: &mut Draft<'_>, unit: &Unit, spec: &mut PodSpec) {
    let Some(hostname) = unit.service.hostname.as_deref() else { return };
    if spec.host_network {
        draft.lost(unit, "hostname", "a pod on the node's network has the node's name", "");
        return;
    }
    let first = hostname.split('.').next().unwrap_or(hostname).to_ascii_lowercase();
    let name = names::label(&first);
    if name != hostname {
        let reason = format!("the host name is `{name}`, for it has to be one plain label");
        draft.nearly(unit, "hostname", reason, "");
    }
    spec.hostname = Some(name);
}

/// Labels that say which networks a pod is on, for policies.
fn networks(draft: &Draft<'_>, unit: &Unit, pod: &mut Pod) {
    if !draft.options.network_policies {
        return;
    }
    for network in super::policies::networks(unit) {
        pod.metadata.labels.insert(super::policies::label(&network), "true".to_owned());
    }
}
