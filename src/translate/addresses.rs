//! Addresses that a file fixes and a cluster cannot give: a container gets one of its host's part of
//! the pool, and is found by its name. That is enough unless the file itself uses the address.

use std::net::Ipv4Addr;

use super::verdict::{Notes, Verdict};
use crate::compose::project::{Project, Service};

/// Refuses a service whose fixed address is written where another one would be needed: it would run
/// and reach nobody.
pub(super) fn check(project: &Project, notes: &mut Notes) {
    for (name, service) in &project.services {
        for (network, attachment) in &service.networks {
            let fixed = attachment.ipv4_address.as_deref();
            let Some(fixed) = fixed.and_then(|text| text.parse::<Ipv4Addr>().ok()) else {
                continue;
            };
            let user = project.services.iter().find_map(|(user, service)| {
                Some((user, places(service).find(|(_, text)| mentions(text, fixed))?.0))
            });
            let Some((user, key)) = user else { continue };
            notes.add(
                format!("services.{name}.networks.{network}.ipv4_address"),
                Verdict::Refused,
                format!(
                    "`{fixed}` cannot be given, as addresses come from the cluster's pool, and \
                     `services.{user}.{key}` uses it"
                ),
                &format!("write `{name}` there in place of the address"),
            );
        }
    }
}

/// Where a service may name another one's address, with the key.
fn places(service: &Service) -> impl Iterator<Item = (&'static str, &str)> {
    let environment = service.environment.values().flatten().map(|text| ("environment", text));
    let command = service.command.iter().flatten().map(|text| ("command", text));
    let entrypoint = service.entrypoint.iter().flatten().map(|text| ("entrypoint", text));
    let hosts = service.extra_hosts.iter().map(|text| ("extra_hosts", text));
    let all = environment.chain(command).chain(entrypoint).chain(hosts);
    all.map(|(key, text)| (key, text.as_str()))
}

/// Whether the address stands in a text on its own: not as a part of another one, nor of a network
/// such as `172.20.0.0/24`.
fn mentions(text: &str, address: Ipv4Addr) -> bool {
    let address = address.to_string();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '.';
    let is_digit = |c: char| c.is_ascii_digit();
    text.match_indices(&address).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + address.len()..]);
        let in_url = before.ends_with(['/', '@']);
        let goes_on = after.starts_with(is_digit)
            || after.strip_prefix('.').is_some_and(|rest| rest.starts_with(is_part))
            || !in_url && after.strip_prefix('/').is_some_and(|rest| rest.starts_with(is_digit));
        !before.ends_with(is_part) && !goes_on
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_where_it_stands_alone() {
        let at = |text: &str| mentions(text, Ipv4Addr::new(172, 20, 0, 5));
        for text in [
            "172.20.0.5",
            "http://172.20.0.5:80",
            "db:172.20.0.5,x",
            "at 172.20.0.5.",
            "redis://172.20.0.5/0",
        ] {
            assert!(at(text), "{text}");
        }
        for text in ["172.20.0.50", "1172.20.0.5", "172.20.0.5.6", "172.20.0.5/24", "172.20.0.6"] {
            assert!(!at(text), "{text}");
        }
    }
}
