//! What another program takes away comes back; what we take away is gone.

use std::time::Duration;

use muster::model::Overlay;
use muster::network::{NetworkError, preflight};

use crate::lab::{
    A1, A2, B1, Lab, PORT, SERVICE, intent_a, intent_b, is_wanted, next_hop, publish, serve,
    wait_until,
};

/// Two seconds are promised; a busy machine gets some more.
const MENDED_IN: Duration = Duration::from_secs(4);

#[test]
fn what_another_program_takes_away_is_put_back() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let (a, b) = (lab.agent("a"), lab.agent("b"));
    let mut intent = intent_a();
    serve(&mut intent, &[B1]);
    a.want(&intent);
    b.want(&intent_b());
    // Out of the host by a service address, and into it past Docker's rules.
    let works = || lab.ask("a1", SERVICE, PORT).is_ok() && lab.ask("b1", A1, PORT).is_ok();
    wait_until("both hosts reach each other", works);
    let device = lab.ip("a", "-o address show to 10.208.0.1");
    let device = device.split_whitespace().nth(1).expect("the resolver's address is somewhere");
    let address = format!("ip address del 10.208.0.1/32 dev {device}");
    for damage in [
        "nft delete table ip muster",
        "nft flush table ip muster",
        "nft delete element ip muster services { 10.223.0.7 }",
        "ip route del 10.208.16.0/20",
        &address,
        "iptables -F DOCKER-USER",
        "iptables -F MUSTER-FORWARD",
        "sysctl -qw net.ipv4.ip_forward=0",
        "nft flush ruleset",
    ] {
        lab.exec("a", damage);
        if damage == "nft flush ruleset" {
            // As Docker does when it starts again.
            lab.exec("a", "iptables -N DOCKER-USER");
            lab.exec("a", "iptables -A FORWARD -j DOCKER-USER");
            lab.exec("a", "iptables -P FORWARD DROP");
            lab.exec("a", "iptables -A FORWARD -i mst0 -j ACCEPT");
        }
        let took = wait_until(damage, works);
        assert!(took < MENDED_IN, "`{damage}` was mended after {took:?}");
    }
    // The service answers without this one; a host that has no such device has it on `lo`.
    lab.exec("a", &address);
    wait_until("the resolver's address is back", || {
        lab.ip("a", "-o address show to 10.208.0.1").contains("10.208.0.1/32")
    });
}

#[test]
fn what_is_right_is_not_written_again() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let agent = lab.agent("a");
    let mut intent = intent_a();
    serve(&mut intent, &[A1, A2, B1]);
    publish(&mut intent, (None, 8080, muster::model::Protocol::Tcp), &[A1]);
    agent.want(&intent);
    let route = || lab.ip("a", "route show 10.208.16.0/20").contains("via");
    wait_until("the service answers", || lab.ask("a1", SERVICE, PORT).is_ok() && route());
    // The kernel numbers what is made anew: the numbers tell whether it was.
    let numbered = || lab.exec("a", "nft -a list table ip muster");
    let before = numbered();
    for _ in 0..2 {
        lab.ip("a", "route del 10.208.16.0/20");
        wait_until("a round has passed", route);
    }
    assert_eq!(numbered(), before);
}

#[test]
fn a_host_that_is_gone_has_no_route_any_more() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let agent = lab.agent("a");
    agent.want(&intent_a());
    let route = || lab.ip("a", "route show 10.208.16.0/20");
    wait_until("there is a route", || route().contains("via 10.99.0.2"));
    let mut moved = intent_a();
    moved.routes.values_mut().for_each(|hop| *hop = next_hop("10.99.0.3"));
    agent.want(&moved);
    wait_until("the route follows", || route().contains("via 10.99.0.3"));
    let mut alone = intent_a();
    // One that is not on a network of this host does not keep the others from being made.
    let far = ("10.208.32.0/20".parse().unwrap(), next_hop("192.0.2.1"));
    alone.routes = [far, ("10.208.48.0/20".parse().unwrap(), next_hop("10.99.0.4"))].into();
    agent.want(&alone);
    wait_until("it is gone", || route().is_empty());
    wait_until("the other is there", || {
        lab.ip("a", "route show 10.208.48.0/20").contains("via 10.99.0.4")
    });
    assert!(lab.ip("a", "route show 10.208.32.0/20").is_empty());
}

#[test]
fn nothing_is_left_after_remove_all() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let state = || {
        let commands = [
            "ip -4 -o address show",
            "ip -4 route show table all",
            "iptables -S",
            "nft list tables",
            "sysctl net.ipv4.conf.eth0.route_localnet net.ipv4.conf.mst0.route_localnet",
        ];
        commands.map(|command| lab.exec("a", command)).join("\n")
    };
    // Makes the tables that reading through `iptables` makes.
    state();
    let before = state();
    let agent = lab.agent("a");
    let mut intent = intent_a();
    serve(&mut intent, &[A1]);
    publish(&mut intent, (None, 8080, muster::model::Protocol::Tcp), &[A1, B1]);
    agent.want(&intent);
    wait_until("the service answers", || lab.ask("a2", SERVICE, PORT).is_ok());
    drop(agent);
    assert_ne!(state(), before);
    lab.remove_all("a").unwrap();
    assert_eq!(without_tables(&state()), without_tables(&before));
    lab.remove_all("a").expect("it may be called when nothing is there");
}

/// Reading with `iptables` makes empty tables; and the lifetime of an address counts down.
fn without_tables(state: &str) -> String {
    state.lines().filter(|line| !line.starts_with("table ")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_pool_that_overlaps_a_route_of_the_machine_is_refused() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let pool = "10.208.0.0/12".parse().unwrap();
    let ask = || lab.inside("a", || preflight(pool, Overlay::Direct));
    // The bridges that Docker made for us, and our own routes, are no reason.
    ask().unwrap();
    let agent = lab.agent("a");
    agent.want(&intent_a());
    wait_until("there is a route", || !lab.ip("a", "route show 10.208.16.0/20").is_empty());
    ask().unwrap();
    lab.ip("a", "route add default via 10.99.0.9");
    ask().unwrap();
    lab.ip("a", "route add 10.212.0.0/16 via 10.99.0.9");
    let error = ask().unwrap_err();
    let NetworkError::Overlap { route, device, .. } = &error else { panic!("{error}") };
    assert_eq!((route.to_string().as_str(), device.as_deref()), ("10.212.0.0/16", Some("eth0")));
    assert!(error.hint().is_some());
    lab.ip("a", "route del 10.212.0.0/16");
    lab.ip("a", "route add 10.0.0.0/8 via 10.99.0.9");
    assert!(matches!(ask(), Err(NetworkError::Overlap { .. })));
}

/// What `muster doctor` says of one thing on a machine where some files are missing.
fn found(lab: &Lab, covered: &[&str], check: &str) -> serde_json::Value {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    let doctor = [env!("CARGO_BIN_EXE_muster"), "doctor", "--json", "--data-dir", folder];
    let (code, printed) = lab.exec_without("a", covered, &doctor);
    let findings: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let found = findings.as_array().unwrap().iter().find(|one| one["check"] == check).cloned();
    let found = found.unwrap_or_else(|| panic!("`{check}` is not in {printed}"));
    assert_eq!(found["verdict"] == "problem", code == 1 && !found["remedy"].is_null(), "{found}");
    found
}

#[test]
fn a_machine_without_nft_or_a_tun_device_is_told_what_to_do() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    assert_eq!(found(&lab, &[], "nftables")["verdict"], "ok");
    let nft = ["/usr/sbin/nft", "/usr/bin/nft"].into_iter().filter(|file| is_program(file));
    let lacks = found(&lab, &nft.collect::<Vec<_>>(), "nftables");
    assert_eq!(lacks["verdict"], "problem");
    assert!(lacks["remedy"].as_str().unwrap().contains("package `nftables`"), "{lacks}");
    let lacks = found(&lab, &["/dev/net"], "addresses");
    assert_eq!(lacks["verdict"], "problem");
    let (words, remedy) = (lacks["found"].as_str().unwrap(), lacks["remedy"].as_str().unwrap());
    assert!(words.contains("no TUN device"), "{words}");
    assert!(remedy.contains("--overlay direct"), "the way without one is named: {remedy}");
}

/// Whether a file is there, and not as a link to one elsewhere in the list.
fn is_program(file: &str) -> bool {
    std::fs::canonicalize(file).is_ok_and(|found| found == std::path::Path::new(file))
}
