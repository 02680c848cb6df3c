//! Published ports: from outside, from the host itself, and to the containers of another host.

use muster::model::{NetworkIntent, PortMode, Protocol, PublishedPort};
use muster::network::ports_taken;

use crate::lab::{
    A1, A3, Agent, B1, CLIENT, HOST_A, HOST_A_6, HOST_B, Lab, RESOLVER_A, ask_on, intent_a,
    intent_b, is_wanted, publish, wait_until,
};

const OUTSIDE: u16 = 8080;
const TCP: (Option<&str>, u16, Protocol) = (None, OUTSIDE, Protocol::Tcp);
const LOOPBACK: &str = "127.0.0.1";

/// Both agents; A publishes as said.
fn agents(lab: &Lab, change: impl FnOnce(&mut NetworkIntent)) -> (Agent, Agent) {
    let agents = (lab.agent("a"), lab.agent("b"));
    let mut intent = intent_a();
    change(&mut intent);
    agents.0.want(&intent);
    agents.1.want(&intent_b());
    agents
}

#[test]
fn a_client_s_address_reaches_a_container_of_the_host_it_asked() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let _agents = agents(&lab, |intent| publish(intent, TCP, &[A1]));
    wait_until("it answers", || lab.ask("client", HOST_A, OUTSIDE).is_ok());
    lab.check_answer(("client", HOST_A, OUTSIDE), "a1", CLIENT);
    lab.check_answer(("a", HOST_A, OUTSIDE), "a1", HOST_A);
    lab.check_answer(("a", LOOPBACK, OUTSIDE), "a1", RESOLVER_A);
    // From a container: of the same network, of another one, and of another host.
    assert_eq!(lab.ask("a2", HOST_A, OUTSIDE).unwrap().0, "a1");
    assert_eq!(lab.ask("a1", HOST_A, OUTSIDE).unwrap().0, "a1");
    assert_eq!(lab.ask("a3", HOST_A, OUTSIDE).unwrap().0, "a1");
    lab.check_answer(("b1", HOST_A, OUTSIDE), "a1", HOST_B);
}

#[test]
fn a_published_port_reaches_a_container_of_another_host() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let _agents = agents(&lab, |intent| publish(intent, TCP, &[B1]));
    wait_until("it answers", || lab.ask("client", HOST_A, OUTSIDE).is_ok());
    for from in ["client", "a"] {
        lab.check_answer((from, HOST_A, OUTSIDE), "b1", RESOLVER_A);
    }
    lab.check_answer(("a", LOOPBACK, OUTSIDE), "b1", RESOLVER_A);
    // From a container too, whichever network it is on.
    for from in ["a1", "a3"] {
        lab.check_answer((from, HOST_A, OUTSIDE), "b1", RESOLVER_A);
    }
}

#[test]
fn udp_is_published_too() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let udp = (None, 5300, Protocol::Udp);
    let agents = agents(&lab, |intent| publish(intent, udp, &[A1]));
    wait_until("it answers", || lab.ask_udp("client", HOST_A, 5300).is_ok());
    let seen = |from: &str, to: &str| lab.ask_udp(from, to, 5300).unwrap();
    assert_eq!(seen("client", HOST_A), ("a1".to_owned(), CLIENT.to_owned()));
    assert_eq!(seen("a", LOOPBACK), ("a1".to_owned(), RESOLVER_A.to_owned()));
    // One client that never changes its port follows the endpoint.
    let socket = lab.udp("client");
    assert_eq!(crate::lab::ask_on(&socket, HOST_A, 5300).unwrap().0, "a1");
    let mut moved = intent_a();
    publish(&mut moved, udp, &[B1]);
    agents.0.want(&moved);
    wait_until("the flow moves", || {
        crate::lab::ask_on(&socket, HOST_A, 5300).is_ok_and(|answer| answer.0 == "b1")
    });
}

#[test]
fn a_port_without_endpoints_is_refused_at_once() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let agents = agents(&lab, |intent| publish(intent, TCP, &[A1]));
    wait_until("it answers", || lab.ask("client", HOST_A, OUTSIDE).is_ok());
    let mut empty = intent_a();
    publish(&mut empty, TCP, &[]);
    agents.0.want(&empty);
    wait_until("it no longer answers", || lab.ask("client", HOST_A, OUTSIDE).is_err());
    for from in ["client", "a", "a1"] {
        lab.check_refused(from, HOST_A, OUTSIDE);
    }
    lab.check_refused("a", LOOPBACK, OUTSIDE);
}

#[test]
fn a_port_on_one_address_is_on_no_other() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let agents = agents(&lab, |intent| {
        publish(intent, (Some(LOOPBACK), 8081, Protocol::Tcp), &[A1]);
        publish(intent, (Some(HOST_A), 8082, Protocol::Tcp), &[A3]);
        publish(intent, (Some(HOST_B), 8083, Protocol::Tcp), &[A3]);
    });
    wait_until("it answers", || lab.ask("a", LOOPBACK, 8081).is_ok());
    lab.check_refused("client", HOST_A, 8081);
    lab.check_refused("a", HOST_A, 8081);
    lab.check_answer(("client", HOST_A, 8082), "a3", CLIENT);
    lab.check_refused("a", LOOPBACK, 8082);
    lab.check_refused("client", HOST_A, 8083);
    // A neighbour who sends packets for 127.0.0.1 to the host does not get in, and it is the guard
    // that keeps him out.
    lab.ip("client", "address del 127.0.0.1/8 dev lo");
    lab.exec("client", "sysctl -qw net.ipv4.conf.eth0.route_localnet=1");
    lab.ip("client", &format!("route add 127.0.0.1/32 via {HOST_A}"));
    assert!(lab.ask("client", LOOPBACK, 8081).is_err());
    drop(agents);
    lab.exec("a", "nft flush chain ip muster guard");
    lab.check_answer(("client", LOOPBACK, 8081), "a1", CLIENT);
}

#[test]
fn a_published_port_is_kept_from_other_programs_and_its_holder_is_named() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let asked = PublishedPort {
        host_ip: None,
        published: OUTSIDE,
        target: 80,
        protocol: Protocol::Tcp,
        mode: PortMode::Ingress,
    };
    let taken = || lab.inside("a", || ports_taken(std::slice::from_ref(&asked)));
    assert_eq!(taken(), []);
    let other = lab.inside("a", || std::net::TcpListener::bind(("0.0.0.0", OUTSIDE)).unwrap());
    let words = taken().remove(0).1;
    assert!(words.contains(&format!("(process {})", std::process::id())), "{words}");
    // As long as another program listens there, what comes to the port is its own.
    let agents = agents(&lab, |intent| {
        publish(intent, TCP, &[A1]);
        publish(intent, (None, 8081, Protocol::Tcp), &[A1]);
    });
    wait_until("the other port answers", || lab.ask("client", HOST_A, 8081).is_ok());
    let to = (HOST_A.parse::<std::net::Ipv4Addr>().unwrap(), OUTSIDE);
    let client = lab.inside("client", || std::net::TcpStream::connect(to).unwrap());
    let (mut accepted, from) = other.accept().unwrap();
    assert_eq!(from, client.local_addr().unwrap());
    // The client ends first, so that nothing of the connection stays on the host.
    drop(client);
    assert_eq!(std::io::Read::read(&mut accepted, &mut [0]).unwrap(), 0);
    drop((accepted, other));
    wait_until("the port is ours", || {
        lab.ask("client", HOST_A, OUTSIDE).is_ok_and(|answer| answer.0 == "a1")
    });
    wait_until("the port is kept for us", || taken().len() == 1);
    drop(agents);
    assert_eq!(taken(), []);
}

#[test]
fn a_port_is_published_over_ipv6_as_well_and_on_exactly_the_address_it_names() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let (udp, sixth) = (Protocol::Udp, "::1");
    let agents = agents(&lab, |intent| {
        publish(intent, TCP, &[A1]);
        publish(intent, (Some(sixth), 8081, Protocol::Tcp), &[A1]);
        publish(intent, (Some("0.0.0.0"), 8082, Protocol::Tcp), &[A1]);
        publish(intent, (Some("::"), 8083, Protocol::Tcp), &[B1]);
        publish(intent, (None, 5300, udp), &[A1]);
    });
    wait_until("it answers", || lab.ask("client", HOST_A_6, OUTSIDE).is_ok());
    // A container sees this host: by the address on its bridge, and from elsewhere by the pool's.
    for (from, to) in [("client", HOST_A_6), ("a", HOST_A_6), ("a", sixth)] {
        lab.check_answer((from, to, OUTSIDE), "a1", "10.208.0.65");
        lab.check_answer((from, to, 8083), "b1", RESOLVER_A);
    }
    lab.check_answer(("client", HOST_A, OUTSIDE), "a1", CLIENT);
    lab.check_answer(("a", sixth, 8081), "a1", "10.208.0.65");
    for (from, to, port) in [
        ("client", HOST_A_6, 8081),
        ("a", HOST_A_6, 8081),
        ("a", LOOPBACK, 8081),
        ("client", HOST_A_6, 8082),
        ("client", HOST_A, 8083),
    ] {
        lab.check_refused(from, to, port);
    }
    for (from, to) in [("client", HOST_A_6), ("a", sixth)] {
        wait_until("it answers over UDP", || {
            let answer = ask_on(&lab.udp6(from), to, 5300);
            answer.is_ok_and(|answer| answer == ("a1".to_owned(), "10.208.0.65".to_owned()))
        });
    }
    ipv6_follows_the_endpoints(&lab, &agents.0);
}

/// Other endpoints, none, and some again: what stands goes on.
fn ipv6_follows_the_endpoints(lab: &Lab, agent: &Agent) {
    let want = |endpoints: &[&str]| {
        let mut intent = intent_a();
        publish(&mut intent, TCP, endpoints);
        publish(&mut intent, (None, 5300, Protocol::Udp), endpoints);
        agent.want(&intent);
    };
    let who = |port| lab.ask("client", HOST_A_6, port).map(|answer| answer.0);
    let mut stands = lab.connection("client", HOST_A_6, OUTSIDE);
    let socket = lab.udp6("client");
    want(&[B1]);
    wait_until("it moves", || who(OUTSIDE).is_ok_and(|who| who == "b1"));
    wait_until("datagrams move", || {
        ask_on(&socket, HOST_A_6, 5300).is_ok_and(|answer| answer.0 == "b1")
    });
    assert!(stands.is_alive());
    want(&[]);
    wait_until("it no longer answers", || who(OUTSIDE).is_err());
    lab.check_refused("client", HOST_A_6, OUTSIDE);
    assert!(stands.is_alive(), "a connection that stands is not cut");
    want(&[A3]);
    wait_until("it answers again", || who(OUTSIDE).is_ok_and(|who| who == "a3"));
    agent.want(&intent_a());
    wait_until("it is published no more", || who(OUTSIDE).is_err());
    assert!(stands.is_alive(), "nor when its port is published no more");
    let other = lab.inside("a", || std::net::TcpListener::bind(("::", OUTSIDE)).is_ok());
    assert!(other, "another program can have the port");
}

#[test]
fn a_port_that_is_taken_over_ipv6_alone_is_found_and_ipv4_goes_on() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let asked = |host_ip: Option<&str>| PublishedPort {
        host_ip: host_ip.map(|text| text.parse().unwrap()),
        published: OUTSIDE,
        target: 80,
        protocol: Protocol::Tcp,
        mode: PortMode::Ingress,
    };
    let other = lab.inside("a", || std::net::TcpListener::bind((HOST_A_6, OUTSIDE)).unwrap());
    let taken = |port: PublishedPort| lab.inside("a", || ports_taken(&[port]).len());
    assert_eq!(taken(asked(None)), 1);
    assert_eq!(taken(asked(Some(HOST_A_6))), 1);
    for host_ip in ["0.0.0.0", "::1", LOOPBACK] {
        assert_eq!(taken(asked(Some(host_ip))), 0, "{host_ip}");
    }
    let _agents = agents(&lab, |intent| publish(intent, TCP, &[A1]));
    wait_until("it answers", || lab.ask("client", HOST_A, OUTSIDE).is_ok());
    lab.inside("client", || std::net::TcpStream::connect((HOST_A_6, OUTSIDE)).unwrap());
    other.accept().unwrap();
    drop(other);
    wait_until("the port is ours", || lab.ask("client", HOST_A_6, OUTSIDE).is_ok());
}

#[test]
fn a_host_without_ipv6_publishes_over_ipv4() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    lab.exec("a", "sysctl -qw net.ipv6.conf.all.disable_ipv6=1");
    let _agents = agents(&lab, |intent| {
        publish(intent, TCP, &[A1]);
        publish(intent, (Some("::1"), 8081, Protocol::Tcp), &[A1]);
        publish(intent, (None, 5300, Protocol::Udp), &[A1]);
    });
    wait_until("it answers", || lab.ask("client", HOST_A, OUTSIDE).is_ok());
    assert_eq!(lab.ask_udp("client", HOST_A, 5300).unwrap().0, "a1");
}

/// Whether containers can speak it or not, the kernel takes the rules, and they harm no other port.
#[test]
fn rules_for_sctp_are_taken_beside_the_others() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let _agents = agents(&lab, |intent| {
        publish(intent, TCP, &[A1]);
        publish(intent, (None, 3868, Protocol::Sctp), &[A1, B1]);
        publish(intent, (Some(HOST_A), 3869, Protocol::Sctp), &[]);
    });
    wait_until("it answers", || lab.ask("client", HOST_A, OUTSIDE).is_ok());
    let table = lab.exec("a", "nft list table ip muster");
    for part in ["sctp . 3868 : goto port_sctp_3868", "10.99.0.1 . sctp . 3869"] {
        assert!(table.contains(part), "`{part}` is not in {table}");
    }
}
