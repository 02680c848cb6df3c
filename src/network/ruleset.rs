//! An intent as the text of an nftables table. Pure: never runs a program, never looks at the host.
//!
//! How a packet meets it:
//! - `guard` drops what must not come in from outside: for 127.0.0.0/8, or claiming to be from a
//!   container of this host, or of any host where tunnels carry what is.
//! - `prerouting` (from others) and `output` (from this host) give a new connection its endpoint:
//!   by service address, else by published port when it is for an address of this host. Both come
//!   before Docker's own chains (-100). Containers also reach a service by the address that a file
//!   fixes for it, which is known to its network alone: others may know the same one differently.
//! - What then still is for a service address, or for a published port, has no ready endpoint:
//!   `forward`, `local` and `input` refuse it at once. If there is one, the packet came between two
//!   tables: the kernel does not switch all chains and maps at the same instant, and one that began in
//!   the old table may end in the new one. It is dropped, so that the sender repeats it.
//! - `apart` refuses what goes from a container to one that shares no network with it, on this
//!   host or another, unless it came by a published port.
//! - `postrouting` hides the sender where the reply would not find its way back, and gives what
//!   leaves the pool an address that the outside can reply to.
//!
//! Tunnels end with the agent, rules do not. Where tunnels carry what goes to other hosts, every
//! datagram of the agent renews an entry of `alive`; while there is none, new connections stay on
//! this host if one of the endpoints does.
//!
//! Whether a container of an internal network may leave the pool is decided by Docker, which drops
//! it before it gets here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use super::nft::TABLE;
use super::spread::{port_rules, service_rules};
use super::sysctl::Bridged;
use super::{BRIDGE_PREFIX, DEVICE};
use crate::logic::addresses::{resolver_address, service_range};
use crate::model::{Affinity, NetworkIntent, Protocol, Published};
use crate::overlay::DEVICE as TUN;

/// How long the agent may be silent before its tunnels are taken for gone. It asks another host
/// every half second whether it is alive.
const SILENCE: &str = "2s";

/// A table of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ruleset {
    /// Its family and name.
    pub(super) table: [&'static str; 2],
    /// What `nft -f -` reads; puts the table in place in one transaction.
    pub(super) text: String,
    /// How many rules are in it.
    pub(super) n_rules: usize,
}

/// A published port that can be forwarded: its address (none means all of this host's), protocol
/// and number.
pub(super) type Port = (Option<Ipv4Addr>, Protocol, u16);

/// The published ports that can be forwarded, with their endpoints.
pub(super) fn ports(intent: &NetworkIntent) -> BTreeMap<Port, &Published> {
    let mut ports = BTreeMap::new();
    for item in &intent.published {
        let Some(address) = v4(item) else { continue };
        // Two Apps with one port are refused long before; if it happens, the first keeps it.
        ports.entry((address, item.protocol, item.port)).or_insert(item);
    }
    ports
}

/// The IPv4 address listened on: `Some(None)` is all of them, `None` that there is none.
fn v4(item: &Published) -> Option<Option<Ipv4Addr>> {
    match item.host_ip.map(|address| address.to_canonical()) {
        None => Some(None),
        Some(IpAddr::V4(address)) => Some((!address.is_unspecified()).then_some(address)),
        Some(IpAddr::V6(_)) => None,
    }
}

/// Whether packets to 127.0.0.1 have to be able to leave this host for an endpoint.
pub(super) fn needs_loopback(intent: &NetworkIntent) -> bool {
    ports(intent).iter().any(|((address, ..), item)| {
        !item.endpoints.is_empty() && address.is_none_or(|address| address.is_loopback())
    })
}

/// The table for an intent. `tunnels` is the UDP port that the tunnels to other hosts are sent
/// from; none when there are routes instead.
pub(super) fn ruleset(intent: &NetworkIntent, tunnels: Option<u16>, bridged: Bridged) -> Ruleset {
    let ports = ports(intent);
    let mut table = Table::new();
    sets(&mut table, intent, &ports);
    sets_of_networks(&mut table, intent);
    let here = tunnels.map(|_| intent.slice);
    if tunnels.is_some() {
        // The agent that sets this up is alive.
        let kind = format!("typeof ip version\n  flags dynamic,timeout\n  timeout {SILENCE}");
        table.set("set alive", &kind, std::iter::once("4".to_owned()));
    }
    for (address, endpoints) in &intent.services {
        let stays = intent.by_client.contains(address);
        let affinity = if stays { Affinity::Client } else { Affinity::None };
        if !endpoints.is_empty() {
            table.chain(&service_chain(*address), None, &service_rules(endpoints, affinity, here));
        }
    }
    for (port, item) in &ports {
        if !item.endpoints.is_empty() {
            table.chain(&port_chain(port), None, &port_rules(item, here));
        }
    }
    nat_chains(&mut table, intent, bridged);
    filter_chains(&mut table, intent, tunnels);
    table.finish()
}

fn sets(table: &mut Table, intent: &NetworkIntent, ports: &BTreeMap<Port, &Published>) {
    let ready = intent.services.iter().filter(|(_, endpoints)| !endpoints.is_empty());
    let (served, goes): (Vec<_>, Vec<_>) = ready
        .map(|(at, _)| (at.to_string(), format!("{at} : goto {}", service_chain(*at))))
        .unzip();
    table.set("map services", "type ipv4_addr : verdict", goes.into_iter());
    table.set("set served", "type ipv4_addr", served.into_iter());
    sets_of_fixed(table, intent);

    let (at, any): (Vec<_>, Vec<_>) =
        ports.iter().partition(|((address, ..), _)| address.is_some());
    let goes = |(port, item): &(&Port, &&Published)| {
        (!item.endpoints.is_empty())
            .then(|| format!("{} : goto {}", port_key(port), port_chain(port)))
    };
    let one = "type inet_proto . inet_service";
    let two = "type ipv4_addr . inet_proto . inet_service";
    table.set("map ports_at", &format!("{two} : verdict"), at.iter().filter_map(goes));
    table.set("map ports_any", &format!("{one} : verdict"), any.iter().filter_map(goes));
    let keys = |served: bool| {
        move |(port, item): &(&Port, &&Published)| {
            (item.endpoints.is_empty() != served).then(|| port_key(port))
        }
    };
    for (name, served) in [("served", true), ("refused", false)] {
        table.set(&format!("set {name}_at"), two, at.iter().filter_map(keys(served)));
        table.set(&format!("set {name}_any"), one, any.iter().filter_map(keys(served)));
    }

    let endpoints = intent.services.values().flatten().copied();
    let published = ports.values().flat_map(|item| item.endpoints.iter().map(|(at, _)| *at));
    let local: BTreeSet<Ipv4Addr> =
        endpoints.chain(published).filter(|at| intent.slice.contains(at)).collect();
    table.set(
        "set itself",
        "type ipv4_addr . ipv4_addr",
        local.iter().map(|at| format!("{at} . {at}")),
    );
}

/// Addresses of services that files fix, each for those who know it.
fn sets_of_fixed(table: &mut Table, intent: &NetworkIntent) {
    let is_ready = |service: &Ipv4Addr| intent.services.get(service).is_some_and(|e| !e.is_empty());
    let all =
        intent.fixed.iter().map(|((block, at), service)| (format!("{block} . {at}"), service));
    let all: Vec<(String, &Ipv4Addr)> = all.collect();
    let ready = || all.iter().filter(|(_, service)| is_ready(service));
    let goes = ready().map(|(key, service)| format!("{key} : goto {}", service_chain(**service)));
    let kind = "type ipv4_addr . ipv4_addr";
    table.set("map fixed", &format!("{kind} : verdict\n  flags interval"), goes);
    let kind = format!("{kind}\n  flags interval");
    table.set("set fixed_at", &kind, all.iter().map(|(key, _)| key.clone()));
    table.set("set fixed_served", &kind, ready().map(|(key, _)| key.clone()));
}

/// Who may reach whom, as far as it concerns this host's containers.
fn sets_of_networks(table: &mut Table, intent: &NetworkIntent) {
    let mut together = BTreeSet::new();
    for network in &intent.networks {
        for here in network.iter().filter(|block| intent.slice.contains(*block)) {
            for block in network {
                together.insert(format!("{here} . {block}"));
                together.insert(format!("{block} . {here}"));
            }
        }
    }
    let kind = "type ipv4_addr . ipv4_addr\n  flags interval";
    table.set("set together", kind, together.into_iter());
    let slices = intent.routes.keys().chain([&intent.slice]);
    let hosts = slices.map(|slice| resolver_address(*slice).to_string());
    table.set("set hosts", "type ipv4_addr", hosts);
}

fn nat_chains(table: &mut Table, intent: &NetworkIntent, bridged: Bridged) {
    let (pool, slice) = (intent.pool, intent.slice);
    let resolver = resolver_address(slice);
    table.chain(
        "ports",
        None,
        &[
            "ip daddr . meta l4proto . th dport vmap @ports_at".to_owned(),
            "meta l4proto . th dport vmap @ports_any".to_owned(),
        ],
    );
    // The resolver's address is for names alone, so that a published port 53 does not take them.
    let translate = [
        "ip daddr vmap @services".to_owned(),
        format!("ip daddr != {resolver} fib daddr type local jump ports"),
    ];
    let fixed = ["ip saddr . ip daddr vmap @fixed".to_owned()];
    let first = [fixed.as_slice(), &translate].concat();
    table.chain("prerouting", Some("type nat hook prerouting priority -110"), &first);
    table.chain("output", Some("type nat hook output priority -110"), &translate);

    let mut rules = vec![
        // To another host's container, for a client that is not one: the reply must come back
        // through us, and our own pool address is what that host lets in.
        format!("ip daddr {pool} ip daddr != {slice} ip saddr != {pool} snat to {resolver}"),
        // By a published port a container may reach one that shares no network with it; that host
        // could not tell.
        format!(
            "ct status dnat ct original ip daddr != {pool} ip daddr {pool} ip daddr != {slice} \
             ip saddr . ct original ip daddr != @fixed_at snat to {resolver}"
        ),
        format!("ip daddr {slice} ip saddr 127.0.0.0/8 snat to {resolver}"),
        // A container that reached itself would answer itself, behind our back.
        format!("ip saddr . ip daddr @itself snat to {resolver}"),
    ];
    if bridged == Bridged::Unfiltered {
        rules.push(format!("ct status dnat ip saddr {slice} ip daddr {slice} snat to {resolver}"));
    }
    // 224.0.0.0/4 stays as it is: nobody replies to a group's address.
    rules.push(format!(
        "ip saddr {slice} ip daddr != {pool} ip daddr != 224.0.0.0/4 \
         oifname != \"{BRIDGE_PREFIX}*\" masquerade"
    ));
    table.chain("postrouting", Some("type nat hook postrouting priority 90"), &rules);
}

fn filter_chains(table: &mut Table, intent: &NetworkIntent, tunnels: Option<u16>) {
    let slice = intent.slice;
    let resolver = resolver_address(slice);
    let services = service_range(intent.pool);
    let mut guard = vec![
        "iifname != \"lo\" ip daddr 127.0.0.0/8 drop".to_owned(),
        format!(
            "iifname != \"lo\" iifname != \"{BRIDGE_PREFIX}*\" iifname != \"{DEVICE}\" \
             ip saddr {slice} drop"
        ),
        // What claims to be from a host is let through to every network.
        format!("iifname \"{BRIDGE_PREFIX}*\" ip saddr @hosts drop"),
    ];
    if tunnels.is_some() {
        // What comes from another host in clear is from somebody else.
        guard.push(format!(
            "iifname != {{ \"lo\", \"{DEVICE}\", \"{TUN}\" }} iifname != \"{BRIDGE_PREFIX}*\" \
             ip saddr {} drop",
            intent.pool
        ));
    }
    table.chain("guard", Some("type filter hook prerouting priority -300"), &guard);
    table.chain(
        "refuse",
        None,
        &[
            "meta l4proto tcp reject with tcp reset".to_owned(),
            "reject with icmp port-unreachable".to_owned(),
        ],
    );
    let refuse = ["ip daddr @served drop".to_owned(), format!("ip daddr {services} jump refuse")];
    let pool = intent.pool;
    table.chain(
        "apart",
        None,
        &[
            "ip saddr . ip daddr @together return".to_owned(),
            "ip saddr @hosts return".to_owned(),
            format!("ct status dnat ct original ip daddr != {pool} return"),
            "goto refuse".to_owned(),
        ],
    );
    let mut forward = Vec::new();
    if tunnels.is_some() {
        // Containers do not know that the way is narrower than their network; not every TCP finds
        // out by itself. The answer to a first packet is of a connection that stands.
        let first = "tcp flags & (syn | rst) == syn";
        forward.push(format!("oifname \"{TUN}\" {first} tcp option maxseg size set rt mtu"));
    }
    // Nearly all packets: what follows is for those that begin something.
    forward.push("ct state established accept".to_owned());
    forward.extend_from_slice(&refuse);
    forward.push("ip saddr . ip daddr @fixed_served drop".to_owned());
    forward.push("ip saddr . ip daddr @fixed_at jump refuse".to_owned());
    forward.push(format!("ct state new ip saddr {pool} ip daddr {pool} jump apart"));
    table.chain("forward", Some("type filter hook forward priority -10"), &forward);
    let mut local = refuse.to_vec();
    local.extend(tunnels.map(|port| format!("udp sport {port} update @alive {{ ip version }}")));
    table.chain("local", Some("type filter hook output priority -10"), &local);
    let at = "ct state new ip daddr . meta l4proto . th dport";
    let any = format!("ct state new ip daddr != {resolver} meta l4proto . th dport");
    let input = [
        format!("{at} @served_at drop"),
        format!("{any} @served_any drop"),
        format!("{at} @refused_at jump refuse"),
        format!("{any} @refused_any jump refuse"),
    ];
    table.chain("input", Some("type filter hook input priority -10"), &input);
}

fn service_chain(address: Ipv4Addr) -> String {
    format!("service_{}", word(address))
}

fn port_chain((address, protocol, port): &Port) -> String {
    match address {
        None => format!("port_{}_{port}", protocol.as_str()),
        Some(address) => format!("port_{}_{port}_at_{}", protocol.as_str(), word(*address)),
    }
}

fn word(address: Ipv4Addr) -> String {
    address.to_string().replace('.', "_")
}

fn port_key((address, protocol, port): &Port) -> String {
    let address = address.map(|address| format!("{address} . ")).unwrap_or_default();
    format!("{address}{} . {port}", protocol.as_str())
}

/// The text as it grows.
struct Table {
    text: String,
    n_rules: usize,
}

impl Table {
    fn new() -> Self {
        let [family, name] = TABLE;
        // Adding first makes the delete succeed whether or not the table is there.
        let text = format!(
            "add table {family} {name}\ndelete table {family} {name}\ntable {family} {name} {{\n"
        );
        Self { text, n_rules: 0 }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a string takes what is written");
    }

    fn set(&mut self, name: &str, kind: &str, elements: impl Iterator<Item = String>) {
        self.line(format_args!(" {name} {{\n  {kind}"));
        let elements: Vec<String> = elements.collect();
        if !elements.is_empty() {
            self.line(format_args!("  elements = {{ {} }}", elements.join(", ")));
        }
        self.line(format_args!(" }}"));
    }

    fn chain(&mut self, name: &str, hook: Option<&str>, rules: &[String]) {
        self.line(format_args!(" chain {name} {{"));
        if let Some(hook) = hook {
            self.line(format_args!("  {hook}; policy accept;"));
        }
        for rule in rules {
            self.line(format_args!("  {rule}"));
        }
        self.n_rules += rules.len();
        self.line(format_args!(" }}"));
    }

    fn finish(mut self) -> Ruleset {
        self.line(format_args!("}}"));
        Ruleset { table: TABLE, text: self.text, n_rules: self.n_rules }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent() -> NetworkIntent {
        NetworkIntent {
            pool: "10.208.0.0/12".parse().unwrap(),
            slice: "10.208.0.0/20".parse().unwrap(),
            routes: BTreeMap::new(),
            networks: BTreeSet::new(),
            services: BTreeMap::new(),
            fixed: BTreeMap::new(),
            by_client: BTreeSet::new(),
            published: BTreeSet::new(),
        }
    }

    fn address(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    fn published(host_ip: Option<&str>, port: u16, endpoints: &[(&str, u16)]) -> Published {
        Published {
            host_ip: host_ip.map(|text| text.parse().unwrap()),
            port,
            protocol: Protocol::Tcp,
            endpoints: endpoints.iter().map(|(text, port)| (address(text), *port)).collect(),
            affinity: Affinity::None,
        }
    }

    /// The table's lines without indentation.
    fn lines(intent: &NetworkIntent, bridged: Bridged) -> Vec<String> {
        let text = ruleset(intent, None, bridged).text;
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    #[track_caller]
    fn check_has(intent: &NetworkIntent, line: &str) {
        let lines = lines(intent, Bridged::Filtered);
        assert!(lines.iter().any(|found| found == line), "`{line}` is not in {lines:#?}");
    }

    #[track_caller]
    fn check_lacks(intent: &NetworkIntent, part: &str) {
        let text = ruleset(intent, None, Bridged::Filtered).text;
        assert!(!text.contains(part), "`{part}` is in {text}");
    }

    #[test]
    fn a_service_address_spreads_over_its_endpoints() {
        let mut intent = intent();
        let endpoints = BTreeSet::from([address("10.208.0.66"), address("10.208.16.70")]);
        intent.services.insert(address("10.223.0.1"), endpoints);
        check_has(&intent, "elements = { 10.223.0.1 : goto service_10_223_0_1 }");
        check_has(&intent, "dnat to numgen random mod 2 map { 0 : 10.208.0.66, 1 : 10.208.16.70 }");
    }

    #[test]
    fn a_service_with_no_endpoint_is_left_to_the_refusal() {
        let mut intent = intent();
        intent.services.insert(address("10.223.0.1"), BTreeSet::new());
        check_lacks(&intent, "10.223.0.1");
        check_has(&intent, "ip daddr 10.223.0.0/16 jump refuse");
    }

    #[test]
    fn an_address_of_a_file_leads_to_the_service_for_those_who_know_it() {
        let mut intent = intent();
        let block = "10.208.0.64/26".parse().unwrap();
        let (known, unready) = (address("172.20.0.5"), address("172.20.0.6"));
        let endpoints = BTreeSet::from([address("10.208.16.70")]);
        intent.services.insert(address("10.223.0.1"), endpoints);
        intent.services.insert(address("10.223.0.2"), BTreeSet::new());
        intent.fixed.insert((block, known), address("10.223.0.1"));
        intent.fixed.insert((block, unready), address("10.223.0.2"));
        check_has(&intent, "elements = { 10.208.0.64/26 . 172.20.0.5 : goto service_10_223_0_1 }");
        check_has(
            &intent,
            "elements = { 10.208.0.64/26 . 172.20.0.5, 10.208.0.64/26 . 172.20.0.6 }",
        );
        check_has(&intent, "ip saddr . ip daddr @fixed_at jump refuse");
        // Of the one that has an endpoint, what is not translated comes again.
        check_has(&intent, "elements = { 10.208.0.64/26 . 172.20.0.5 }");
        check_has(&intent, "ip saddr . ip daddr @fixed_served drop");
    }

    #[test]
    fn a_published_port_goes_to_the_containers_port() {
        let mut intent = intent();
        intent.published.insert(published(None, 8080, &[("10.208.0.66", 80)]));
        check_has(&intent, "elements = { tcp . 8080 : goto port_tcp_8080 }");
        check_has(
            &intent,
            "meta l4proto tcp dnat ip to numgen random mod 1 map { 0 : 10.208.0.66 . 80 }",
        );
    }

    #[test]
    fn a_published_port_with_no_endpoint_is_refused() {
        let mut intent = intent();
        intent.published.insert(published(None, 8080, &[]));
        intent.published.insert(published(Some("192.0.2.1"), 81, &[]));
        check_has(&intent, "elements = { tcp . 8080 }");
        check_has(&intent, "elements = { 192.0.2.1 . tcp . 81 }");
        check_lacks(&intent, "chain port_");
    }

    #[test]
    fn a_host_address_is_matched_exactly() {
        let mut intent = intent();
        intent.published.insert(published(Some("127.0.0.1"), 8080, &[("10.208.0.66", 80)]));
        check_has(
            &intent,
            "elements = { 127.0.0.1 . tcp . 8080 : goto port_tcp_8080_at_127_0_0_1 }",
        );
        assert!(needs_loopback(&intent));
    }

    #[test]
    fn every_address_is_written_in_several_ways() {
        for host_ip in [None, Some("0.0.0.0"), Some("::ffff:0.0.0.0")] {
            let mut intent = intent();
            intent.published.insert(published(host_ip, 8080, &[("10.208.0.66", 80)]));
            check_has(&intent, "elements = { tcp . 8080 : goto port_tcp_8080 }");
        }
    }

    #[test]
    fn an_ipv6_address_has_no_rule() {
        for host_ip in ["2001:db8::1", "::1", "::"] {
            let mut intent = intent();
            intent.published.insert(published(Some(host_ip), 8080, &[("10.208.0.66", 80)]));
            check_lacks(&intent, "8080");
            assert!(!needs_loopback(&intent));
        }
    }

    #[test]
    fn sctp_is_led_like_the_others() {
        let mut intent = intent();
        let item = published(None, 3868, &[("10.208.0.66", 3868)]);
        let sctp = |item| Published { protocol: Protocol::Sctp, ..item };
        intent.published.insert(sctp(item));
        intent.published.insert(sctp(published(Some("192.0.2.1"), 3869, &[])));
        check_has(&intent, "elements = { sctp . 3868 : goto port_sctp_3868 }");
        check_has(&intent, "elements = { 192.0.2.1 . sctp . 3869 }");
        check_has(
            &intent,
            "meta l4proto sctp dnat ip to numgen random mod 1 map { 0 : 10.208.0.66 . 3868 }",
        );
    }

    #[test]
    fn only_endpoints_of_this_host_can_meet_themselves() {
        let mut intent = intent();
        let endpoints = BTreeSet::from([address("10.208.0.66"), address("10.208.16.70")]);
        intent.services.insert(address("10.223.0.1"), endpoints);
        check_has(&intent, "elements = { 10.208.0.66 . 10.208.0.66 }");
    }

    #[test]
    fn the_sender_is_hidden_on_one_host_only_where_bridged_frames_are_not_filtered() {
        let rule =
            "ct status dnat ip saddr 10.208.0.0/20 ip daddr 10.208.0.0/20 snat to 10.208.0.1";
        let has = |bridged| lines(&intent(), bridged).iter().any(|line| line == rule);
        assert!(!has(Bridged::Filtered));
        assert!(has(Bridged::Unfiltered));
    }

    #[test]
    fn blocks_of_one_network_are_together_as_far_as_this_host_is_concerned() {
        let mut intent = intent();
        let network = |blocks: &[&str]| blocks.iter().map(|text| text.parse().unwrap()).collect();
        intent.networks = BTreeSet::from([
            network(&["10.208.0.64/26", "10.208.16.64/26", "10.208.32.64/26"]),
            network(&["10.208.16.128/26", "10.208.32.128/26"]),
        ]);
        check_has(
            &intent,
            "elements = { 10.208.0.64/26 . 10.208.0.64/26, 10.208.0.64/26 . 10.208.16.64/26, \
             10.208.0.64/26 . 10.208.32.64/26, 10.208.16.64/26 . 10.208.0.64/26, \
             10.208.32.64/26 . 10.208.0.64/26 }",
        );
    }

    #[test]
    fn with_tunnels_nothing_of_a_container_comes_in_clear() {
        let clear = |tunnels| {
            let text = ruleset(&intent(), tunnels, Bridged::Filtered).text;
            let rule = |line: &&str| line.contains("ip saddr 10.208.0.0/12 drop");
            let clamp = text.contains("oifname \"muster1\" tcp flags & (syn | rst) == syn");
            (text.lines().filter(rule).count(), clamp)
        };
        assert_eq!(clear(Some(7400)), (1, true));
        assert_eq!(clear(None), (0, false));
    }

    #[test]
    fn without_the_agent_new_connections_stay_on_this_host_if_they_can() {
        let mut intent = intent();
        let near_and_far = ["10.208.0.66", "10.208.16.70"].map(address);
        intent.services.insert(address("10.223.0.1"), BTreeSet::from(near_and_far));
        intent.services.insert(address("10.223.0.2"), BTreeSet::from([near_and_far[1]]));
        let endpoints = [("10.208.0.66", 80), ("10.208.16.70", 80)];
        intent.published.insert(published(None, 8080, &endpoints));
        let rules = |tunnels| {
            let text = ruleset(&intent, tunnels, Bridged::Filtered).text;
            let lines = text.lines().map(|line| line.trim().to_owned());
            lines.filter(|line| line.contains("dnat")).collect::<Vec<_>>()
        };
        let of_both = "dnat to numgen random mod 2 map { 0 : 10.208.0.66, 1 : 10.208.16.70 }";
        assert_eq!(
            rules(Some(7400))[..5],
            [
                &format!("ip version @alive {of_both}"),
                "dnat to numgen random mod 1 map { 0 : 10.208.0.66 }",
                "dnat to numgen random mod 1 map { 0 : 10.208.16.70 }",
                "ip version @alive meta l4proto tcp dnat ip to numgen random mod 2 map \
                 { 0 : 10.208.0.66 . 80, 1 : 10.208.16.70 . 80 }",
                "meta l4proto tcp dnat ip to numgen random mod 1 map { 0 : 10.208.0.66 . 80 }",
            ]
        );
        assert_eq!(rules(None)[0], of_both);
        assert_eq!(rules(None).iter().filter(|line| line.contains("alive")).count(), 0);
    }

    #[test]
    fn clients_stay_only_where_it_is_asked_for() {
        let mut intent = intent();
        for at in ["10.223.0.1", "10.223.0.2"] {
            intent.services.insert(address(at), BTreeSet::from([address("10.208.0.66")]));
        }
        intent.by_client.insert(address("10.223.0.1"));
        let endpoints = [("10.208.0.66", 80)];
        let stays = Published { affinity: Affinity::Client, ..published(None, 81, &endpoints) };
        intent.published = BTreeSet::from([stays, published(None, 80, &endpoints)]);
        let lines = lines(&intent, Bridged::Filtered);
        let rule_of = |chain: &str| {
            let at = lines.iter().position(|line| *line == format!("chain {chain} {{")).unwrap();
            lines[at + 1].contains("jhash ip saddr mod 256 seed")
        };
        let chains = ["service_10_223_0_1", "service_10_223_0_2", "port_tcp_81", "port_tcp_80"];
        assert_eq!(chains.map(rule_of), [true, false, true, false]);
    }

    #[test]
    fn rules_are_counted() {
        let empty = ruleset(&intent(), None, Bridged::Filtered).n_rules;
        let mut intent = intent();
        intent.published.insert(published(None, 8080, &[("10.208.0.66", 80)]));
        assert_eq!(ruleset(&intent, None, Bridged::Filtered).n_rules, empty + 1);
    }

    #[test]
    fn the_table_is_replaced_in_one_transaction() {
        let text = ruleset(&intent(), None, Bridged::Filtered).text;
        let start = "add table ip muster\ndelete table ip muster\ntable ip muster {\n";
        assert!(text.starts_with(start), "{text}");
    }
}
