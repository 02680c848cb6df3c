//! Puts our nftables tables in place, each in one transaction, and tells whether they still are as
//! we put them there. Touches no other table.

use rtnetlink::sys::protocols::NETLINK_NETFILTER;

use super::netlink::{ACKNOWLEDGE, Plain, attributes};
use super::ruleset::Ruleset;
use super::{NetworkError, program};

/// The program of nftables.
pub(super) const PROGRAM: &str = "nft";
/// Family and name of our table.
pub(super) const TABLE: [&str; 2] = ["ip", "muster"];
/// The same of the one that counts, which outlives what is done to the other.
pub(super) const COUNTERS: [&str; 2] = ["ip", "muster_counters"];
/// What Docker's nftables backend calls its table.
const DOCKER_TABLE: &str = "table ip docker-bridges";

/// Does what a text says to one of our tables. Connections that stand keep their translation: it is in conntrack.
pub(super) async fn apply(ruleset: &Ruleset) -> Result<(), NetworkError> {
    program::run(PROGRAM, &["-f", "-"], Some(&ruleset.text)).await.map(|_| ())
}

/// A number that rises with every change of any table; none when the kernel does not tell. While
/// it stays, nothing has to be listed, which costs a tenth of a second at a thousand services.
pub(super) fn generation() -> Option<u32> {
    /// Messages of nf_tables: its number among the subsystems, then get-generation.
    const GET_GENERATION: u16 = 0xa10;
    /// No family, version 0, no resource.
    const HEADER: [u8; 4] = [0; 4];
    /// The attribute with the number.
    const ID: u16 = 1;
    let mut generation = None;
    let socket = Plain::new(NETLINK_NETFILTER).ok()?;
    let take = |body: &[u8]| {
        let mut found = attributes(body.get(HEADER.len()..).unwrap_or_default());
        let id = found.find(|(kind, ..)| *kind == ID).map(|(_, value, _)| value);
        generation = id.and_then(|id| id.try_into().ok()).map(u32::from_be_bytes);
    };
    socket.request(GET_GENERATION, ACKNOWLEDGE, &HEADER, take).ok()?;
    generation
}

/// What the kernel has of a table, in a form that can be compared; none when there is no table.
pub(super) async fn listing(table: [&str; 2]) -> Result<Option<Listing>, NetworkError> {
    match program::run(PROGRAM, &["-s", "list", "table", table[0], table[1]], None).await {
        Ok(text) => Ok(Some(Listing::new(&text))),
        Err(NetworkError::Program { detail, .. }) if is_absent(&detail) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a table if it is there.
pub(super) async fn remove(table: [&str; 2]) -> Result<(), NetworkError> {
    // `delete` of what is not there is an error; adding it first costs nothing.
    let text = format!("add table {0} {1}\ndelete table {0} {1}\n", table[0], table[1]);
    program::run(PROGRAM, &["-f", "-"], Some(&text)).await.map(|_| ())
}

/// Whether Docker filters with nftables, where no chain of ours can overrule its drop.
pub(super) async fn docker_uses_nftables() -> Result<bool, NetworkError> {
    let tables = program::run(PROGRAM, &["list", "tables"], None).await?;
    Ok(tables.lines().any(|line| line.trim() == DOCKER_TABLE))
}

fn is_absent(detail: &str) -> bool {
    detail.contains("No such file or directory")
}

/// A table as `nft` prints it, with the elements of sets and maps in order: the kernel gives them
/// in the order of its hash table, which changes when that grows. Without those that packets add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing(String);

impl Listing {
    fn new(text: &str) -> Self {
        const START: &str = "elements = {";
        let mut rest = text;
        let mut ordered = String::with_capacity(text.len());
        while let Some(start) = rest.find(START) {
            let (before, elements) = rest.split_at(start);
            let elements = &elements[START.len()..];
            let (elements, after) = elements.split_at(elements.find('}').unwrap_or(elements.len()));
            let of_set = before.rsplit('}').next().unwrap_or_default();
            if of_set.contains("flags dynamic") {
                // The line is there as long as there are elements.
                ordered.push_str(before.trim_end());
                rest = after.strip_prefix('}').unwrap_or_default();
                continue;
            }
            ordered.push_str(before);
            ordered.push_str(START);
            let mut elements: Vec<&str> = elements.split(',').map(str::trim).collect();
            elements.sort_unstable();
            ordered.push_str(&elements.join(","));
            rest = after;
        }
        ordered.push_str(rest);
        Self(ordered)
    }

    /// How many rules the table has: what is in its chains but for the lines that open and close
    /// them and say where they hook in.
    pub(super) fn n_rules(&self) -> usize {
        let mut in_chain = false;
        let mut n_rules = 0;
        for line in self.0.lines().map(str::trim) {
            match line {
                "}" => in_chain = false,
                _ if line.starts_with("chain ") => in_chain = true,
                _ if line.is_empty() || line.starts_with("type ") => {}
                _ => n_rules += usize::from(in_chain),
            }
        }
        n_rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "table ip muster {\n\tmap services {\n\t\ttype ipv4_addr : verdict\n\
        \t\telements = { 10.0.0.2 : goto b,\n\t\t\t     10.0.0.1 : goto a }\n\t}\n\n\
        \tchain a {\n\t\tdnat to 10.1.0.1\n\t}\n\n\tchain pre {\n\
        \t\ttype nat hook prerouting priority dstnat - 10; policy accept;\n\
        \t\tip daddr vmap @services\n\t}\n}\n";

    #[test]
    fn the_order_of_elements_makes_no_difference() {
        let other = PRINTED.replace(
            "10.0.0.2 : goto b,\n\t\t\t     10.0.0.1 : goto a",
            "10.0.0.1 : goto a, 10.0.0.2 : goto b",
        );
        assert_ne!(PRINTED, other);
        assert_eq!(Listing::new(PRINTED), Listing::new(&other));
    }

    #[test]
    fn what_packets_add_to_a_set_makes_no_difference() {
        let dynamic = "\tset alive {\n\t\ttypeof ip version\n\t\tflags dynamic,timeout\n\
            \t\telements = { 4 }\n\t}\n";
        let with = PRINTED.replace("\tchain pre", &format!("{dynamic}\tchain pre"));
        let without = with.replace("\t\telements = { 4 }\n", "");
        assert_ne!(with, without);
        assert_eq!(Listing::new(&with), Listing::new(&without));
        assert_ne!(Listing::new(&with), Listing::new(&with.replace("10.0.0.1 :", "10.0.0.3 :")));
    }

    #[test]
    fn a_changed_element_or_rule_makes_a_difference() {
        for (from, to) in [("10.0.0.2", "10.0.0.3"), ("dnat to 10.1.0.1", "dnat to 10.1.0.2")] {
            assert_ne!(Listing::new(PRINTED), Listing::new(&PRINTED.replace(from, to)));
        }
    }

    #[test]
    fn rules_are_counted_in_chains_alone() {
        assert_eq!(Listing::new(PRINTED).n_rules(), 2);
    }
}
