//! Connections that this host handed out, counted by the kernel: a table of its own with one rule,
//! whatever the number of services, that each connection meets once. It is not replaced with the
//! other rules, so that what was counted stays. Never looks at the packets that follow.
//!
//! The chain is one of translation, which the kernel asks about the first packet of a connection
//! alone, and it comes before those that hide the sender. By then the endpoint is known, and what
//! some rule refused is gone: it is not counted. Over UDP a connection is what the kernel holds as
//! one flow. When the set is full, further pairs are not counted; their packets go on.

use std::io;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use rtnetlink::sys::protocols::NETLINK_NETFILTER;

use super::netlink::{DUMP, Plain, attributes};
use super::nft::COUNTERS;
use super::ruleset::Ruleset;

/// Name of the set: address asked for, endpoint given.
const SET: &str = "handed";
/// Pairs that are counted; one takes some 200 bytes of the kernel's memory.
const PAIRS_MAX: u32 = 65_536;
/// A pair that no connection had for so long is forgotten. The agent looks far more often.
const FORGOTTEN_AFTER: &str = "1d";

/// Message of nf_tables: its number among the subsystems, then get-elements.
const GET_ELEMENTS: u16 = 0xa0d;
/// Family IPv4, version 0, no resource.
const HEADER: [u8; 4] = [2, 0, 0, 0];
/// Attributes of a list of elements, of one, and of what they hold.
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const KEY: u16 = 1;
const EXPRESSION: u16 = 7;
const EXPRESSIONS: u16 = 11;
const EXPRESSION_DATA: u16 = 2;
const COUNTER_PACKETS: u16 = 2;

/// How often one endpoint was given to those who asked for one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandedOut {
    /// A Service's address; else an address of this host, by a published port.
    pub asked: Ipv4Addr,
    /// The container that got the connections.
    pub endpoint: Ipv4Addr,
    /// How many. It only rises, until another program takes the table away or nobody asked for a day.
    pub connections: u64,
}

/// The table. What it has counted stays when it is put in place again.
pub(super) fn table(pool: Ipv4Net) -> Ruleset {
    let [family, name] = COUNTERS;
    let text = format!(
        "add table {family} {name}\n\
         add set {family} {name} {SET} {{ type ipv4_addr . ipv4_addr; flags dynamic,timeout; \
         timeout {FORGOTTEN_AFTER}; size {PAIRS_MAX}; }}\n\
         add chain {family} {name} count {{ type nat hook postrouting priority 80; policy accept; }}\n\
         flush chain {family} {name} count\n\
         add rule {family} {name} count ct status dnat ip daddr {pool} \
         update @{SET} {{ ct original ip daddr . ip daddr counter }}\n"
    );
    Ruleset { table: COUNTERS, text, n_rules: 1 }
}

/// What was counted until now. Blocks for a millisecond or some.
///
/// # Errors
///
/// What the kernel said: `NotFound` while the table is not there.
pub fn handed_out() -> io::Result<Vec<HandedOut>> {
    let mut body = HEADER.to_vec();
    push_name(&mut body, LIST_TABLE, COUNTERS[1]);
    push_name(&mut body, LIST_SET, SET);
    let mut all = Vec::new();
    let socket = Plain::new(NETLINK_NETFILTER)?;
    socket.request(GET_ELEMENTS, DUMP, &body, |message| all.extend(elements(message)))?;
    Ok(all)
}

/// Appends an attribute that is a name.
fn push_name(body: &mut Vec<u8>, kind: u16, name: &str) {
    let length = 4 + name.len() + 1;
    body.extend(u16::try_from(length).expect("names are short").to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(name.as_bytes());
    body.resize(body.len() + 1 + (length.next_multiple_of(4) - length), 0);
}

fn elements(message: &[u8]) -> Vec<HandedOut> {
    let lists = attributes(message.get(HEADER.len()..).unwrap_or_default());
    let lists = lists.filter(|(kind, ..)| *kind == LIST_ELEMENTS);
    lists.flat_map(|(_, list, _)| attributes(list)).filter_map(|(_, one, _)| element(one)).collect()
}

fn element(bytes: &[u8]) -> Option<HandedOut> {
    let (mut pair, mut connections) = (None, None);
    for (kind, value, _) in attributes(bytes) {
        match kind {
            // Its only attribute is the value.
            KEY => pair = attributes(value).next().map(|(_, value, _)| value),
            EXPRESSION => connections = counted(value),
            EXPRESSIONS => connections = attributes(value).find_map(|(_, one, _)| counted(one)),
            // Times and flags.
            _ => {}
        }
    }
    let address = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from);
    let pair = pair?;
    Some(HandedOut {
        asked: address(pair.get(..4)?)?,
        endpoint: address(pair.get(4..8)?)?,
        connections: connections?,
    })
}

/// The packets of a counter.
fn counted(expression: &[u8]) -> Option<u64> {
    let find = |bytes, wanted| attributes(bytes).find(|(kind, ..)| *kind == wanted);
    let (_, data, _) = find(expression, EXPRESSION_DATA)?;
    let (_, packets, _) = find(data, COUNTER_PACKETS)?;
    packets.try_into().ok().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn counter(packets: u64) -> Vec<u8> {
        let bytes_then_packets =
            [attribute(1, &77u64.to_be_bytes()), attribute(2, &packets.to_be_bytes())].concat();
        [attribute(1, b"counter\0"), attribute(2, &bytes_then_packets)].concat()
    }

    fn element_of(pair: [u8; 8], expression: (u16, Vec<u8>)) -> Vec<u8> {
        let key = attribute(KEY, &attribute(1, &pair));
        attribute(1, &[key, attribute(4, &[0; 8]), attribute(expression.0, &expression.1)].concat())
    }

    #[test]
    fn elements_are_read_as_the_kernel_tells_of_them() {
        let one = element_of([10, 223, 0, 7, 10, 208, 0, 66], (EXPRESSION, counter(5)));
        let several = attribute(1, &counter(1 << 40));
        let other = element_of([192, 0, 2, 1, 10, 208, 0, 67], (EXPRESSIONS, several));
        let list = attribute(LIST_ELEMENTS | 0x8000, &[one, other].concat());
        let message = [HEADER.to_vec(), attribute(LIST_SET, b"handed\0"), list].concat();
        let expected =
            [([10, 223, 0, 7], [10, 208, 0, 66], 5), ([192, 0, 2, 1], [10, 208, 0, 67], 1 << 40)];
        let expected = expected.map(|(asked, endpoint, connections)| HandedOut {
            asked: asked.into(),
            endpoint: endpoint.into(),
            connections,
        });
        assert_eq!(elements(&message), expected);
        // Whatever is cut off, nothing is made up.
        for end in 0..message.len() {
            let read = elements(&message[..end]);
            assert!(read.iter().all(|one| expected.contains(one)), "{end}: {read:?}");
        }
    }

    #[test]
    fn names_are_padded() {
        let mut body = Vec::new();
        push_name(&mut body, 1, "abc");
        push_name(&mut body, 2, "handed");
        let names: Vec<_> = attributes(&body).map(|(kind, value, _)| (kind, value)).collect();
        assert_eq!(names, [(1, b"abc\0".as_slice()), (2, b"handed\0".as_slice())]);
    }

    #[test]
    fn the_table_is_added_to_and_never_taken_away() {
        let text = table("10.208.0.0/12".parse().unwrap()).text;
        assert!(!text.contains("delete"), "{text}");
        assert!(text.contains("ip daddr 10.208.0.0/12 update @handed"), "{text}");
    }
}
