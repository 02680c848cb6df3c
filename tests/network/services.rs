//! Service addresses: who answers, who is seen asking, and what happens when endpoints leave.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpListener;

use muster::model::Protocol;

use crate::lab::{
    A1, A2, A3, AT_ONCE, Agent, B1, CLIENT, HOST_A, HOST_B, Lab, PORT, RESOLVER_A, SERVICE, ask_on,
    intent_a, intent_b, is_wanted, publish, serve, wait_until,
};

/// Both hosts' agents, with these endpoints behind the service on both.
fn agents(lab: &Lab, endpoints: &[&str]) -> (Agent, Agent) {
    let agents = (lab.agent("a"), lab.agent("b"));
    want(&agents, endpoints);
    agents
}

fn want((a, b): &(Agent, Agent), endpoints: &[&str]) {
    let (mut for_a, mut for_b) = (intent_a(), intent_b());
    serve(&mut for_a, endpoints);
    serve(&mut for_b, endpoints);
    a.want(&for_a);
    b.want(&for_b);
}

#[test]
fn a_service_spreads_over_all_ready_endpoints_and_no_other() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let _agents = agents(&lab, &[A2, B1]);
    for (from, sees) in [("a1", A1), ("a", RESOLVER_A)] {
        let mut seen = BTreeSet::new();
        wait_until("both endpoints have answered", || {
            if let Ok(answer) = lab.ask(from, SERVICE, PORT) {
                seen.insert(answer);
            }
            seen.len() >= 2
        });
        // So that a third one would have shown itself: it would be missed with (2/3)^40.
        for _ in 0..40 {
            seen.insert(lab.ask(from, SERVICE, PORT).unwrap());
        }
        let expected = ["a2", "b1"].map(|who| (who.to_owned(), sees.to_owned()));
        assert_eq!(seen, BTreeSet::from(expected), "asked from {from}");
    }
    let answered = lab.ask_udp("a1", SERVICE, PORT).unwrap();
    assert_eq!(answered.1, A1, "over UDP the asker is seen as well");
}

/// An address that a file gives to the service, in a network that is somebody else's outside.
const FIXED: &str = "172.28.5.5";

#[test]
fn a_service_answers_at_the_address_of_a_file_on_its_network_alone() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let agents = (lab.agent("a"), lab.agent("b"));
    let want = |endpoints: &[&str]| {
        let of_a = (&agents.0, intent_a(), "10.208.0.64/26");
        for (agent, mut intent, block) in [of_a, (&agents.1, intent_b(), "10.208.16.64/26")] {
            serve(&mut intent, endpoints);
            let fixed = (block.parse().unwrap(), FIXED.parse().unwrap());
            intent.fixed.insert(fixed, SERVICE.parse().unwrap());
            agent.want(&intent);
        }
    };
    want(&[B1]);
    wait_until("the endpoint answers", || lab.ask("a1", FIXED, PORT).is_ok());
    lab.check_answer(("a1", FIXED, PORT), "b1", A1);
    assert_eq!(lab.ask_udp("a1", FIXED, PORT).unwrap().1, A1, "over UDP the asker is seen as well");
    lab.check_answer(("b1", FIXED, PORT), "b1", "10.208.16.1");
    want(&[A2]);
    for from in ["a1", "b1"] {
        wait_until("the other endpoint answers", || {
            lab.ask(from, FIXED, PORT).is_ok_and(|(who, _)| who == "a2")
        });
    }
    lab.check_answer(("b1", FIXED, PORT), "a2", B1);
    lab.check_answer(("a1", FIXED, PORT), "a2", A1);
    // To a container of another network, and to the host, it is nothing of ours.
    for from in ["a3", "a"] {
        assert!(lab.ask(from, FIXED, PORT).is_err(), "{from} reaches {FIXED}");
    }
    // A way out, as hosts have one, that nothing may be sent on.
    lab.ip("a", &format!("route add default via {CLIENT}"));
    want(&[]);
    wait_until("it no longer answers", || lab.ask("a1", FIXED, PORT).is_err());
    lab.check_refused("a1", FIXED, PORT);
}

#[test]
fn a_client_stays_with_one_endpoint_where_that_is_asked_for() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let agents = (lab.agent("a"), lab.agent("b"));
    let want = |endpoints: &[&str]| {
        for (agent, mut intent) in [(&agents.0, intent_a()), (&agents.1, intent_b())] {
            serve(&mut intent, endpoints);
            intent.by_client = intent.services.keys().copied().collect();
            agent.want(&intent);
        }
    };
    want(&[A2, A3, B1]);
    let mut answer = None;
    wait_until("an endpoint answers", || {
        answer = lab.ask("a1", SERVICE, PORT).ok();
        answer.is_some()
    });
    // Any of three would have been another one before long: the same with (1/3)^40.
    for _ in 0..40 {
        assert_eq!(lab.ask("a1", SERVICE, PORT).ok(), answer);
    }
    // One that others leave is not left; one that goes is.
    let (who, _) = answer.clone().unwrap();
    let all = [("a2", A2), ("a3", A3), ("b1", B1)];
    let theirs = all.iter().find(|(name, _)| *name == who).unwrap().1;
    let another = all.iter().find(|(name, _)| *name != who).unwrap().1;
    want(&[theirs, another]);
    for _ in 0..40 {
        assert_eq!(lab.ask("a1", SERVICE, PORT).ok(), answer);
    }
    want(&[another]);
    wait_until("another endpoint answers", || {
        lab.ask("a1", SERVICE, PORT).is_ok_and(|(now, _)| now != who)
    });
}

#[test]
fn a_service_with_no_endpoint_refuses_at_once() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let agents = agents(&lab, &[A2]);
    wait_until("the endpoint answers", || lab.ask("a1", SERVICE, PORT).is_ok());
    want(&agents, &[]);
    wait_until("it no longer answers", || lab.ask("a1", SERVICE, PORT).is_err());
    for from in ["a1", "a3", "a"] {
        lab.check_refused(from, SERVICE, PORT);
    }
    let start = std::time::Instant::now();
    let socket = lab.udp("a1");
    socket.connect((SERVICE.parse::<std::net::Ipv4Addr>().unwrap(), PORT)).unwrap();
    socket.send(b"who?").unwrap();
    let error = socket.recv(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(start.elapsed() < AT_ONCE);
}

/// As while one table takes the place of another: the kernel has the old one no more, and not yet the new.
#[test]
fn what_no_rule_translates_is_dropped_while_there_is_an_endpoint_so_that_it_comes_again() {
    if !is_wanted() {
        return;
    }
    const PUBLISHED: u16 = 8080;
    let lab = Lab::new();
    let (a, b) = (lab.agent("a"), lab.agent("b"));
    let mut intent = intent_a();
    serve(&mut intent, &[A2]);
    let fixed = ("10.208.0.64/26".parse().unwrap(), FIXED.parse().unwrap());
    intent.fixed.insert(fixed, SERVICE.parse().unwrap());
    publish(&mut intent, (None, PUBLISHED, Protocol::Tcp), &[A2]);
    publish(&mut intent, (Some(HOST_A), PUBLISHED + 1, Protocol::Tcp), &[A2]);
    a.want(&intent);
    b.want(&intent_b());
    let ways = [
        ("a1", SERVICE, PORT),
        ("a", SERVICE, PORT),
        ("a1", FIXED, PORT),
        ("client", HOST_A, PUBLISHED),
        ("client", HOST_A, PUBLISHED + 1),
        ("a", HOST_A, PUBLISHED),
    ];
    for (from, to, port) in ways {
        wait_until("it answers", || lab.ask(from, to, port).is_ok());
    }
    // A way out, as hosts have one, that nothing may be sent on.
    lab.ip("a", &format!("route add default via {CLIENT}"));
    // Nobody mends it then.
    drop(a);
    for chain in ["prerouting", "output"] {
        lab.exec("a", &format!("nft flush chain ip muster {chain}"));
    }
    std::thread::scope(|scope| {
        for (from, to, port) in ways {
            let lab = &lab;
            scope.spawn(move || {
                let error = lab.ask(from, to, port).expect_err("no rule leads anywhere");
                assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{from} to {to}:{port}");
            });
        }
    });
    let a = lab.agent("a");
    a.want(&intent);
    for (from, to, port) in ways {
        wait_until("it answers again", || lab.ask(from, to, port).is_ok());
    }
}

#[test]
fn a_container_reaches_itself_through_its_service() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let _agents = agents(&lab, &[A1]);
    wait_until("it answers itself", || lab.ask("a1", SERVICE, PORT).is_ok());
    lab.check_answer(("a1", SERVICE, PORT), "a1", RESOLVER_A);
    lab.check_answer(("a2", SERVICE, PORT), "a1", A2);
}

#[test]
fn containers_of_different_hosts_see_each_other_s_addresses() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let _agents = agents(&lab, &[]);
    wait_until("the other host is reached", || lab.ask("a1", B1, PORT).is_ok());
    lab.check_answer(("a1", B1, PORT), "b1", A1);
    lab.check_answer(("b1", A2, PORT), "a2", B1);
    // The host itself is let in over there by its pool address.
    lab.check_answer(("a", B1, PORT), "b1", RESOLVER_A);
}

#[test]
fn containers_that_share_no_network_do_not_reach_each_other() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let agents = agents(&lab, &[B1]);
    wait_until("the other host is reached", || lab.ask("a1", B1, PORT).is_ok());
    lab.check_refused("a3", B1, PORT);
    // By its address the service is not reached either; the refusal gets lost in the translation.
    assert!(lab.ask("a3", SERVICE, PORT).is_err());
    lab.check_refused("a3", A1, PORT);
    wait_until("the other host keeps its side apart as well", || {
        lab.ask("b1", A3, PORT).is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
    });
    // A container that takes a host's address for its own gets nowhere with it.
    lab.ip("a3", &format!("address add {RESOLVER_A}/32 dev eth0"));
    let from = (RESOLVER_A.parse::<std::net::Ipv4Addr>().unwrap(), 0);
    let udp = lab.inside("a3", || std::net::UdpSocket::bind(from).unwrap());
    udp.set_read_timeout(Some(AT_ONCE)).unwrap();
    assert!(ask_on(&udp, A1, PORT).is_err());
    drop(agents);
}

#[test]
fn bridges_of_one_host_stay_apart_and_containers_have_a_way_out() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let _agents = agents(&lab, &[]);
    wait_until("the other host is reached", || lab.ask("a1", B1, PORT).is_ok());
    assert!(lab.ask("a1", A3, PORT).is_err(), "another network of the same host");
    // Somebody outside the cluster sees the host.
    let outside = lab.inside("client", || std::net::TcpListener::bind("0.0.0.0:7000").unwrap());
    let asked = lab.inside("a1", || {
        std::net::TcpStream::connect((crate::lab::CLIENT, 7000)).map(|stream| stream.peer_addr())
    });
    assert!(asked.is_ok(), "{asked:?}");
    let (_, from) = outside.accept().unwrap();
    assert_eq!(from.ip().to_string(), crate::lab::HOST_A);
    // What nobody in the pool has is refused and not sent to a router.
    lab.ip("a", &format!("route add default via {HOST_B}"));
    let start = std::time::Instant::now();
    assert!(lab.ask("a", "10.215.0.1", PORT).is_err());
    assert!(start.elapsed() < AT_ONCE);
}

#[test]
fn standing_connections_survive_changes_and_udp_moves_to_who_is_left() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let agents = agents(&lab, &[A2]);
    wait_until("the endpoint answers", || lab.ask("a1", SERVICE, PORT).is_ok());
    let mut connection = lab.connection("a1", SERVICE, PORT);
    let socket = lab.udp("a1");
    assert_eq!(ask_on(&socket, SERVICE, PORT).unwrap().0, "a2");
    want(&agents, &[A2, B1]);
    assert!(connection.is_alive());
    want(&agents, &[B1]);
    wait_until("new connections go to who is left", || {
        (0..10).all(|_| lab.ask("a1", SERVICE, PORT).is_ok_and(|answer| answer.0 == "b1"))
    });
    wait_until("the UDP flow moves", || {
        ask_on(&socket, SERVICE, PORT).is_ok_and(|answer| answer.0 == "b1")
    });
    assert!(connection.is_alive(), "a connection that stands is not cut");
}

/// The kernel remembers a connection that was reset for 10 s, and what comes from the same port meanwhile
/// takes the same way.
#[test]
fn a_connection_from_the_port_of_one_that_was_reset_goes_to_who_is_left() {
    if !is_wanted() {
        return;
    }
    const FROM: u16 = 50_123;
    const OTHER_PORT: u16 = 81;
    let lab = Lab::new();
    let agents = agents(&lab, &[A2]);
    wait_until("the endpoint answers", || lab.ask("a1", SERVICE, PORT).is_ok());
    let connect = || lab.connect_from("a1", FROM, SERVICE, OTHER_PORT);
    let listen = |host| lab.inside(host, || TcpListener::bind(("0.0.0.0", OTHER_PORT)).unwrap());
    let (goes, _stays) = (listen("a2"), listen("b1"));
    // Who closes without having read all there is resets.
    let mut connection = connect().unwrap();
    connection.write_all(b"unread").unwrap();
    let accepted = goes.accept().unwrap().0;
    accepted.peek(&mut [0]).unwrap();
    drop(accepted);
    wait_until("it is reset", || connection.write_all(b"more").is_err());
    drop((connection, goes));
    want(&agents, &[B1]);
    wait_until("others go to who is left", || {
        (0..10).all(|_| lab.ask("a", SERVICE, PORT).is_ok_and(|answer| answer.0 == "b1"))
    });
    let took = wait_until("what comes from the port goes there as well", || connect().is_ok());
    assert!(took < 5 * AT_ONCE, "not because the kernel forgot: {took:?}");
}

#[test]
fn an_agent_that_stops_leaves_the_network_as_it_is() {
    if !is_wanted() {
        return;
    }
    let lab = Lab::new();
    let agents = agents(&lab, &[B1]);
    wait_until("the endpoint answers", || lab.ask("a1", SERVICE, PORT).is_ok());
    let mut connection = lab.connection("a1", SERVICE, PORT);
    drop(agents);
    assert!(connection.is_alive());
    lab.check_answer(("a1", SERVICE, PORT), "b1", A1);
    // The next one finds everything in place and cuts nothing.
    let _agents = self::agents(&lab, &[A2]);
    wait_until("the new endpoint answers", || {
        lab.ask("a1", SERVICE, PORT).is_ok_and(|answer| answer.0 == "a2")
    });
    assert!(connection.is_alive());
}
