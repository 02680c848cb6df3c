//! What is counted of connections, and what is found out about the ways between hosts.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use muster::model::Protocol;
use muster::network::{Probed, handed_out, probe};

use crate::lab::{
    A2, B1, HOST_A, Lab, PORT, RESOLVER_A, SERVICE, intent_a, intent_b, is_wanted, publish, serve,
    wait_until,
};

/// The pool address of host B.
const RESOLVER_B: &str = "10.208.16.1";

/// Connections that host A handed out, by address asked for and endpoint.
fn counted(lab: &Lab) -> BTreeMap<(String, String), u64> {
    let all = lab.inside("a", handed_out).unwrap_or_default().into_iter();
    let all = all.map(|one| ((one.asked.to_string(), one.endpoint.to_string()), one.connections));
    all.collect()
}

/// How many more there are of an address since `before`, whatever the endpoint.
fn more(lab: &Lab, before: &BTreeMap<(String, String), u64>, asked: &str) -> u64 {
    let sum = |all: &BTreeMap<(String, String), u64>| -> u64 {
        all.iter().filter(|((of, _), _)| of == asked).map(|(_, n)| n).sum()
    };
    sum(&counted(lab)) - sum(before)
}

#[test]
fn connections_are_counted_exactly_and_outlive_every_change_of_the_rules() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let (a, b) = (lab.agent("a"), lab.agent("b"));
    let mut intent = intent_a();
    serve(&mut intent, &[A2, B1]);
    publish(&mut intent, (None, 8080, Protocol::Tcp), &[A2]);
    a.want(&intent);
    b.want(&intent_b());
    wait_until("both endpoints are reached", || {
        lab.ask("a1", B1, PORT).is_ok()
            && lab.ask("a1", SERVICE, PORT).is_ok()
            && lab.ask("client", HOST_A, 8080).is_ok()
            && !counted(&lab).is_empty()
    });
    let before = counted(&lab);
    for _ in 0..20 {
        lab.ask("a1", SERVICE, PORT).unwrap();
    }
    for _ in 0..7 {
        lab.ask("client", HOST_A, 8080).unwrap();
    }
    // Not by a service, and so handed out by nobody.
    lab.ask("a1", B1, PORT).unwrap();
    // A flow, however many datagrams.
    let socket = lab.udp("a1");
    for _ in 0..5 {
        crate::lab::ask_on(&socket, SERVICE, PORT).unwrap();
    }
    assert_eq!(more(&lab, &before, SERVICE), 21);
    assert_eq!(more(&lab, &before, HOST_A), 7);
    let pairs: Vec<(String, String)> = counted(&lab).into_keys().collect();
    let expected = [(SERVICE, A2), (SERVICE, B1), (HOST_A, A2)];
    for (asked, endpoint) in expected {
        let pair = (asked.to_owned(), endpoint.to_owned());
        assert!(pairs.contains(&pair), "{pair:?} in {pairs:?}");
    }
    assert_eq!(pairs.len(), expected.len(), "{pairs:?}");
    // The packets of one connection count once.
    let before = counted(&lab);
    let mut connection = lab.connection("a1", SERVICE, PORT);
    for _ in 0..10 {
        assert!(connection.is_alive());
    }
    assert_eq!(more(&lab, &before, SERVICE), 1);

    // Other rules, and the same again after somebody took them away.
    let before = counted(&lab);
    serve(&mut intent, &[B1]);
    a.want(&intent);
    wait_until("only one is left", || {
        (0..10).all(|_| lab.ask("a1", SERVICE, PORT).is_ok_and(|(who, _)| who == "b1"))
    });
    lab.exec("a", "nft delete table ip muster");
    wait_until("the rules are back", || lab.ask("a1", SERVICE, PORT).is_ok());
    for (pair, n) in &before {
        assert!(counted(&lab).get(pair) >= Some(n), "{pair:?} was forgotten");
    }
    let before = counted(&lab);
    lab.ask("a1", SERVICE, PORT).unwrap();
    assert_eq!(more(&lab, &before, SERVICE), 1);

    // What is refused was not handed out.
    serve(&mut intent, &[]);
    a.want(&intent);
    wait_until("it no longer answers", || lab.ask("a1", SERVICE, PORT).is_err());
    let before = counted(&lab);
    lab.check_refused("a1", SERVICE, PORT);
    assert_eq!(more(&lab, &before, SERVICE), 0);
    drop((a, b));
}

#[test]
fn counting_begins_anew_when_another_program_takes_the_table_away() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let agent = lab.agent("a");
    let mut intent = intent_a();
    serve(&mut intent, &[A2]);
    agent.want(&intent);
    let asked = || lab.ask("a1", SERVICE, PORT).is_ok() && !counted(&lab).is_empty();
    wait_until("connections are counted", asked);
    for damage in ["nft delete table ip muster_counters", "nft flush table ip muster_counters"] {
        lab.exec("a", damage);
        wait_until(damage, || {
            let before = counted(&lab);
            lab.ask("a1", SERVICE, PORT).is_ok() && counted(&lab) != before
        });
    }
    // One that an older muster may have left, to which ours cannot be added.
    lab.exec("a", "nft delete table ip muster_counters");
    lab.exec("a", "nft add table ip muster_counters");
    lab.exec("a", "nft add set ip muster_counters handed { type ipv4_addr; }");
    wait_until("the old table gives way", asked);
    drop(agent);
    lab.remove_all("a").unwrap();
    assert!(!lab.exec("a", "nft list tables").contains("muster"));
}

fn tried(lab: &Lab) -> (Probed, Duration) {
    let (from, to): (Ipv4Addr, Ipv4Addr) = (parsed(RESOLVER_A), parsed(RESOLVER_B));
    let begun = Instant::now();
    (lab.inside("a", || probe(from, to)).unwrap(), begun.elapsed())
}

fn parsed(address: &str) -> Ipv4Addr {
    address.parse().unwrap()
}

#[test]
fn a_way_is_known_by_its_answers_and_its_narrowest_place() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let (a, b) = (lab.agent("a"), lab.agent("b"));
    a.want(&intent_a());
    b.want(&intent_b());
    let from_a = || lab.inside("a", || probe(parsed(RESOLVER_A), parsed(RESOLVER_B)));
    wait_until("the other host answers", || from_a().is_ok_and(|found| found.mtu.is_some()));
    let (found, _) = tried(&lab);
    assert_eq!((found.sent, found.times.len(), found.mtu), (10, 10, Some(1_500)), "{found:?}");
    // Something on the way takes less, and does not say so.
    for narrow in [1_400, 1_291] {
        lab.ip("switch", &format!("link set to-b mtu {narrow}"));
        let (found, _) = tried(&lab);
        assert_eq!((found.times.len(), found.mtu), (10, Some(narrow)), "{found:?}");
    }
    lab.ip("switch", "link set to-b down");
    let (found, took) = tried(&lab);
    assert_eq!((found.times.len(), found.mtu), (0, None), "{found:?}");
    assert!(took < Duration::from_secs(3), "a host that is dead costs {took:?}");
    // Nobody has this address here.
    let stranger = lab.inside("a", || probe(parsed("10.208.99.1"), parsed(RESOLVER_B)));
    assert!(stranger.is_err(), "{stranger:?}");
    drop((a, b));
}
