//! Gets our packets past a firewall that drops what is forwarded, as Docker's does: an accept in a
//! table of our own cannot overrule its drop, so ours goes into its chain for that purpose.
//!
//! Only between hosts, between the parts that several Apps have of one network, and from outside to
//! published ports. Whether other bridges of this host reach each other, and whether a network has a
//! way out, stays for Docker to say: its rules come after ours and know which networks are internal.
//! Which containers of two hosts reach each other was decided before, in our own table.

use ipnet::Ipv4Net;

use super::{BRIDGE_PREFIX, NetworkError, nft, program};
use crate::model::NetworkIntent;

const PROGRAM: &str = "iptables";
const RESTORE: &str = "iptables-restore";
/// Wait for the lock that all users of iptables share, in seconds.
const WAIT: [&str; 2] = ["-w", "5"];
/// Our chain.
const CHAIN: &str = "MUSTER-FORWARD";
/// Where Docker wants such rules.
const DOCKER_CHAIN: &str = "DOCKER-USER";
/// Where they go when something else than Docker drops what is forwarded.
const FORWARD_CHAIN: &str = "FORWARD";

/// Remembers how our chain looks when it is right.
#[derive(Debug, Default)]
pub(super) struct Forwarding {
    /// The text it was made from, and its rules as `iptables -S` prints them.
    made: Option<(String, Vec<String>)>,
}

impl Forwarding {
    /// Has our packets accepted, where something would drop them.
    pub(super) async fn ensure(&mut self, intent: &NetworkIntent) -> Result<(), NetworkError> {
        if !program::installed(PROGRAM) {
            return check_docker().await;
        }
        let filter = Filter::read().await?;
        let Some(parent) = filter.parent() else { return check_docker().await };
        let found = filter.rules(CHAIN);
        let text = chain(intent);
        let is_right =
            matches!(&self.made, Some((made, rules)) if *made == text && *rules == found);
        if !is_right {
            let arguments = [WAIT.as_slice(), &["--noflush"]].concat();
            program::run(RESTORE, &arguments, Some(&text)).await?;
            self.made = Some((text, Filter::read().await?.rules(CHAIN)));
        }
        if !filter.jumps(parent) {
            iptables(&["-I", parent, "1", "-j", CHAIN]).await?;
        }
        Ok(())
    }
}

/// Docker with nftables has no chain that we could put an accept in.
async fn check_docker() -> Result<(), NetworkError> {
    match nft::docker_uses_nftables().await? {
        true => Err(NetworkError::DockerNftables),
        false => Ok(()),
    }
}

/// Removes our chain and the jumps to it, if they are there.
pub(super) async fn remove() -> Result<(), NetworkError> {
    if !program::installed(PROGRAM) {
        return Ok(());
    }
    let filter = Filter::read().await?;
    for parent in [DOCKER_CHAIN, FORWARD_CHAIN] {
        if filter.jumps(parent) {
            iptables(&["-D", parent, "-j", CHAIN]).await?;
        }
    }
    if filter.has(CHAIN) {
        iptables(&["-F", CHAIN]).await?;
        iptables(&["-X", CHAIN]).await?;
    }
    Ok(())
}

async fn iptables(arguments: &[&str]) -> Result<String, NetworkError> {
    program::run(PROGRAM, &[WAIT.as_slice(), arguments].concat(), None).await
}

/// What `iptables-restore` reads: naming the chain empties it, and the whole takes effect at once.
fn chain(intent: &NetworkIntent) -> String {
    let (pool, slice) = (intent.pool, intent.slice);
    let bridge = format!("{BRIDGE_PREFIX}+");
    let mut rules = vec![
        // From a container elsewhere to one here, and back.
        format!("-s {pool} -d {slice} ! -i {bridge} -o {bridge}"),
        format!("-s {slice} -d {pool} -i {bridge} ! -o {bridge}"),
        // Both ways of a connection that came in by a published port.
        format!("-m conntrack --ctstate DNAT ! --ctorigdst {pool} --ctreplsrc {pool}"),
    ];
    rules.extend(joined(intent).map(|(from, to)| format!("-s {from} -d {to}")));
    let mut text = format!("*filter\n:{CHAIN} - [0:0]\n");
    for rule in rules {
        text.push_str(&format!("-A {CHAIN} {rule} -j ACCEPT\n"));
    }
    text.push_str("COMMIT\n");
    text
}

/// Blocks of this host that are parts of one network, each with each other.
fn joined(intent: &NetworkIntent) -> impl Iterator<Item = (Ipv4Net, Ipv4Net)> {
    intent.networks.iter().flat_map(move |blocks| {
        let here = move || blocks.iter().filter(|block| intent.slice.contains(*block)).copied();
        here().flat_map(move |from| here().map(move |to| (from, to)).filter(|(a, b)| a != b))
    })
}

/// The table `filter` as `iptables -S` prints it.
struct Filter(String);

impl Filter {
    async fn read() -> Result<Self, NetworkError> {
        iptables(&["-S"]).await.map(Self)
    }

    fn has(&self, chain: &str) -> bool {
        self.0.lines().any(|line| line.strip_prefix("-N ") == Some(chain))
    }

    fn rules(&self, chain: &str) -> Vec<String> {
        let start = format!("-A {chain} ");
        self.0.lines().filter(|line| line.starts_with(&start)).map(str::to_owned).collect()
    }

    fn jumps(&self, parent: &str) -> bool {
        let jump = format!("-A {parent} -j {CHAIN}");
        self.0.lines().any(|line| line == jump)
    }

    /// The chain that has to send packets to ours; none when nothing drops them.
    fn parent(&self) -> Option<&'static str> {
        let drops = || self.0.lines().any(|line| line == "-P FORWARD DROP");
        match self.has(DOCKER_CHAIN) {
            true => Some(DOCKER_CHAIN),
            false => drops().then_some(FORWARD_CHAIN),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[track_caller]
    fn check_parent(printed: &str, expected: Option<&str>) {
        assert_eq!(Filter(printed.to_owned()).parent(), expected, "{printed}");
    }

    #[test]
    fn docker_s_chain_comes_first_and_an_open_firewall_needs_nothing() {
        check_parent("-P FORWARD DROP\n-N DOCKER-USER\n", Some("DOCKER-USER"));
        check_parent("-P FORWARD ACCEPT\n-N DOCKER-USER\n", Some("DOCKER-USER"));
        check_parent("-P FORWARD DROP\n", Some("FORWARD"));
        check_parent("-P FORWARD ACCEPT\n-N DOCKER-USER-2\n", None);
    }

    #[test]
    fn only_a_jump_to_our_chain_counts() {
        let filter = Filter("-A DOCKER-USER -j RETURN\n-A FORWARD -j MUSTER-FORWARD\n".to_owned());
        assert!(!filter.jumps(DOCKER_CHAIN));
        assert!(filter.jumps(FORWARD_CHAIN));
    }

    fn rules(networks: &[&[&str]]) -> Vec<String> {
        let blocks = |blocks: &&[&str]| blocks.iter().map(|block| block.parse().unwrap()).collect();
        let intent = NetworkIntent {
            pool: "10.208.0.0/12".parse().unwrap(),
            slice: "10.208.0.0/20".parse().unwrap(),
            routes: BTreeMap::new(),
            networks: networks.iter().map(blocks).collect(),
            services: BTreeMap::new(),
            fixed: BTreeMap::new(),
            by_client: BTreeSet::new(),
            published: BTreeSet::new(),
        };
        let text = chain(&intent);
        text.lines().filter(|line| line.ends_with("-j ACCEPT")).map(str::to_owned).collect()
    }

    #[test]
    fn traffic_between_two_bridges_of_this_host_is_left_to_docker() {
        let rules = rules(&[&["10.208.0.64/26", "10.208.16.64/26"], &["10.208.0.128/26"]]);
        for rule in rules.iter().filter(|rule| rule.contains("mst+")) {
            assert!(rule.contains("! -i mst+") || rule.contains("! -o mst+"), "{rule}");
        }
        assert_eq!(rules.len(), 3);
    }

    #[test]
    fn two_parts_of_one_network_reach_each_other() {
        let networks = [&["10.208.0.64/26", "10.208.0.128/26", "10.208.16.64/26"][..]];
        let expected = [
            "-A MUSTER-FORWARD -s 10.208.0.64/26 -d 10.208.0.128/26 -j ACCEPT",
            "-A MUSTER-FORWARD -s 10.208.0.128/26 -d 10.208.0.64/26 -j ACCEPT",
        ];
        assert_eq!(rules(&networks)[3..], expected);
    }
}
