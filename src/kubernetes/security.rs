//! What containers may do, and the Pod Security level that a pod has because of it.
//!
//! Nothing is forbidden that Compose allows, for that would break programs. But what Compose never
//! gives is not given either: no token of a service account, no variables of other services, and
//! the runtime's own seccomp profile, as Docker has it.

use super::draft::{Draft, list};
use super::object::{
    Capabilities, NameValue, PodSecurityContext, PodSpec, Profile, SeLinux, SecurityContext,
};
use super::pod::{OwnedFile, Pod};
use super::unit::Unit;
use crate::translate::Verdict;

/// Capabilities that the level `baseline` lets a container have.
const BASELINE: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
    "NET_RAW",
];
/// Settings of the kernel that any pod may change.
const SAFE_SYSCTLS: [&str; 10] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
];

/// The highest number of a user or group that the API takes.
pub(super) const ID_MAX: u64 = 0x7fff_ffff;
/// Permission of the group to read.
const GROUP_READS: u32 = 0o040;

/// The context of one container.
pub(super) fn container(draft: &mut Draft<'_>, unit: &Unit) -> Option<SecurityContext> {
    let service = &unit.service;
    let mut context = SecurityContext::default();
    if let Some(user) = service.user.as_deref().filter(|user| !user.is_empty()) {
        set_user(draft, unit, user, &mut context);
    }
    context.privileged = service.privileged.then_some(true);
    context.read_only_root_filesystem = service.read_only.then_some(true);
    let add = capabilities(&service.cap_add);
    let drop = capabilities(&service.cap_drop);
    if !add.is_empty() || !drop.is_empty() {
        context.capabilities = Some(Capabilities { add, drop });
    }
    options(draft, unit, &mut context);
    let is_admin = context
        .capabilities
        .as_ref()
        .is_some_and(|it| it.add.iter().any(|name| name == "SYS_ADMIN"));
    if context.allow_privilege_escalation == Some(false) && (service.privileged || is_admin) {
        // The API refuses the two together.
        context.allow_privilege_escalation = None;
        let reason = "`no-new-privileges` cannot go with `privileged` or `SYS_ADMIN`";
        draft.lost(unit, "security_opt", reason, "");
    }
    (context != SecurityContext::default()).then_some(context)
}

fn capabilities(names: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for name in names {
        let upper = name.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned();
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

fn set_user(draft: &mut Draft<'_>, unit: &Unit, text: &str, context: &mut SecurityContext) {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let number = |name: &str| match name {
        "root" => Some(0),
        _ => name.parse::<u64>().ok().filter(|id| *id <= ID_MAX),
    };
    match number(user) {
        Some(id) => {
            context.run_as_user = Some(id);
            context.run_as_non_root = (id > 0).then_some(true);
        }
        None => {
            let reason = format!("`{user}` is a name, which only the image knows");
            draft.lost(unit, "user", reason, "give the numbers: `user: \"1000:1000\"`");
        }
    }
    if !group.is_empty() {
        match number(group) {
            Some(id) => context.run_as_group = Some(id),
            None => {
                let reason = format!("`{group}` is a name, which only the image knows");
                draft.lost(unit, "user", reason, "give the numbers: `user: \"1000:1000\"`");
            }
        }
    }
}

fn options(draft: &mut Draft<'_>, unit: &Unit, context: &mut SecurityContext) {
    let profile = |kind: &str| Some(Profile { kind: kind.to_owned(), localhost_profile: None });
    for option in &unit.service.security_opt {
        let (key, value) = option.split_once(['=', ':']).unwrap_or((option, "true"));
        match (key, value) {
            ("no-new-privileges", "true") => context.allow_privilege_escalation = Some(false),
            ("no-new-privileges", _) => {}
            ("seccomp", "unconfined") => context.seccomp_profile = profile("Unconfined"),
            ("seccomp", "builtin") => context.seccomp_profile = profile("RuntimeDefault"),
            ("apparmor", "unconfined") => context.app_armor_profile = profile("Unconfined"),
            ("apparmor", "docker-default") => context.app_armor_profile = profile("RuntimeDefault"),
            ("seccomp" | "apparmor", name) => {
                let name = name.rsplit('/').next().unwrap_or(name).to_owned();
                let reason = format!("the nodes must have the profile `{name}`");
                draft.nearly(unit, "security_opt", reason, "load it on every node");
                let kind = "Localhost".to_owned();
                let local = Some(Profile { kind, localhost_profile: Some(name) });
                let is_seccomp = key == "seccomp";
                let slot = if is_seccomp {
                    &mut context.seccomp_profile
                } else {
                    &mut context.app_armor_profile
                };
                *slot = local;
            }
            ("label", label) if is_se_linux(label) => {
                let (part, value) = label.split_once(':').unwrap_or((label, ""));
                let linux = context.se_linux_options.get_or_insert_with(SeLinux::default);
                match part {
                    "user" => linux.user = Some(value.to_owned()),
                    "role" => linux.role = Some(value.to_owned()),
                    "type" => linux.kind = Some(value.to_owned()),
                    "level" => linux.level = Some(value.to_owned()),
                    // `disable`: the type that SELinux lets do all.
                    _ => linux.kind = Some("spc_t".to_owned()),
                }
            }
            _ => {
                let reason = format!("`{option}` has no like on Kubernetes");
                draft.lost(unit, "security_opt", reason, "");
            }
        }
    }
}

/// What Docker knows as a label of SELinux.
fn is_se_linux(label: &str) -> bool {
    let part = label.split_once(':').map(|(part, _)| part);
    label == "disable" || part.is_some_and(|part| ["user", "role", "type", "level"].contains(&part))
}

/// The context of a pod, from all that is in it, and from whose its files are to be.
pub(super) fn pod(
    draft: &mut Draft<'_>,
    units: &[&Unit],
    spec: &PodSpec,
    owned: &[OwnedFile],
) -> PodSecurityContext {
    let runtime = Profile { kind: "RuntimeDefault".to_owned(), localhost_profile: None };
    let mut context =
        PodSecurityContext { seccomp_profile: Some(runtime), ..PodSecurityContext::default() };
    for unit in units {
        for group in &unit.service.group_add {
            match group.parse::<u64>() {
                Ok(id) if id <= ID_MAX => {
                    if !context.supplemental_groups.contains(&id) {
                        context.supplemental_groups.push(id);
                    }
                }
                Ok(_) | Err(_) => {
                    let reason = format!("`{group}` is a name, which only the image knows");
                    draft.lost(unit, "group_add", reason, "give the number");
                }
            }
        }
        sysctls(draft, unit, spec, &mut context);
    }
    let has_claim = spec.volumes.iter().any(|volume| volume.persistent_volume_claim.is_some());
    let of_user = spec.containers.iter().find_map(|container| {
        let context = container.security_context.as_ref()?;
        context.run_as_group.or(context.run_as_user).filter(|id| *id > 0)
    });
    let mounts_claim = has_claim
        || spec
            .containers
            .iter()
            .flat_map(|container| &container.volume_mounts)
            .any(|mount| spec.volumes.iter().all(|volume| volume.name != mount.name));
    if let Some(id) = of_user.filter(|_| mounts_claim) {
        // A new claim belongs to root; Docker gives a volume the owner the image has there.
        context.fs_group = Some(id);
        context.fs_group_change_policy = Some("OnRootMismatch".to_owned());
    } else if !mounts_claim {
        // A claim would get the group as well; who has given no user may not bear that.
        context.fs_group = owned.first().map(OwnedFile::group);
    }
    note_owners(draft, context.fs_group, owned);
    context
}

/// Says whose files are, where that is not as in the file: a volume's are root's, and of one group.
fn note_owners(draft: &mut Draft<'_>, group: Option<u64>, owned: &[OwnedFile]) {
    for file in owned {
        let target = &file.target;
        let (reason, remedy) = match group {
            Some(group) if group == file.group() => {
                if file.uid == 0 && file.mode & GROUP_READS != 0 {
                    continue;
                }
                let reason = format!(
                    "`{target}` is root's; the group {group}, which all are in, may read it"
                );
                (reason, "")
            }
            Some(group) => {
                let reason = format!("`{target}` belongs to root and to {group}, the pod's group");
                (reason, "let its mode allow others to read it")
            }
            None => (
                format!("`{target}` belongs to root"),
                "let its mode allow others to read it, or give the service a `user` by number",
            ),
        };
        draft.notes.add(file.path.clone(), Verdict::Approximated, reason, remedy);
    }
}

fn sysctls(draft: &mut Draft<'_>, unit: &Unit, spec: &PodSpec, context: &mut PodSecurityContext) {
    let mut unsafe_ones = Vec::new();
    for (name, value) in &unit.service.sysctls {
        let is_taken = context.sysctls.iter().any(|other| other.name == *name);
        if is_taken || (spec.host_network && name.starts_with("net.")) {
            let reason = format!("`{name}` is the node's or another container's to set");
            draft.lost(unit, "sysctls", reason, "");
            continue;
        }
        if !SAFE_SYSCTLS.contains(&name.as_str()) {
            unsafe_ones.push(name.clone());
        }
        let value = Some(value.clone());
        context.sysctls.push(NameValue { name: name.clone(), value });
    }
    if !unsafe_ones.is_empty() {
        let reason = format!("nodes run the pod only if they allow these: {}", list(&unsafe_ones));
        draft.nearly(
            unit,
            "sysctls",
            reason,
            "allow them with the kubelet's `--allowed-unsafe-sysctls`",
        );
    }
}

/// Finds out why a pod is not at a stricter level.
pub(super) fn judge(spec: &PodSpec, pod: &mut Pod) {
    let mut privileged = |reason: String| pod.privileged.insert(reason);
    for (is_set, word) in
        [(spec.host_network, "hostNetwork"), (spec.host_pid, "hostPID"), (spec.host_ipc, "hostIPC")]
    {
        if is_set {
            privileged(word.to_owned());
        }
    }
    for volume in &spec.volumes {
        if let Some(host) = &volume.host_path {
            privileged(format!("hostPath `{}`", host.path));
        }
    }
    let context = spec.security_context.clone().unwrap_or_default();
    for sysctl in &context.sysctls {
        if !SAFE_SYSCTLS.contains(&sysctl.name.as_str()) {
            privileged(format!("sysctl `{}`", sysctl.name));
        }
    }
    for container in spec.init_containers.iter().chain(&spec.containers) {
        let own = container.security_context.clone().unwrap_or_default();
        let (name, added) = (&container.name, own.capabilities.clone().unwrap_or_default());
        if own.privileged == Some(true) {
            privileged(format!("`{name}` is privileged"));
        }
        for capability in
            added.add.iter().filter(|it| !BASELINE.contains(&it.as_str()) || *it == "NET_RAW")
        {
            privileged(format!("`{name}` has `{capability}`"));
        }
        for port in container.ports.iter().filter_map(|port| port.host_port) {
            privileged(format!("`{name}` opens port {port} of the node"));
        }
        let profiles = [&own.seccomp_profile, &own.app_armor_profile];
        if profiles.into_iter().flatten().any(|profile| profile.kind == "Unconfined") {
            privileged(format!("`{name}` is unconfined"));
        }
        let mut baseline = |reason: &str| pod.baseline.insert(format!("`{name}` {reason}"));
        if own.run_as_non_root != Some(true) {
            baseline("may run as root");
        }
        if own.allow_privilege_escalation != Some(false) {
            baseline("may gain privileges");
        }
        if !added.drop.iter().any(|it| it == "ALL") {
            baseline("keeps capabilities");
        }
    }
}
