//! What all hosts found out about their ways to each other, and about their resolvers. Pure.

use super::Finding;
use crate::api::{
    Found, HostPaths, Liveness, NetworkReport, PathReport, ResolverReport, TunnelReport,
};
use crate::model::Overlay;

/// Every network is to carry packets of this size (RFC 8200 asks it of IPv6); less is slow and rare.
const MTU_LEAST: u16 = 1_280;
/// What an Ethernet carries, and containers send.
const MTU_ETHERNET: u16 = 1_500;
/// Answers that take longer make everything between two hosts slow.
const ROUND_TRIP_MAX_US: u64 = 100_000;

/// What is wrong with the ways between hosts, and with their resolvers.
pub fn judge_network(report: &NetworkReport) -> Vec<Finding> {
    let mut findings: Vec<Finding> = report.hosts.iter().filter_map(silent).collect();
    let (mut n_ways, mut slowest, mut narrowest) = (0, 0, u16::MAX);
    for (from, found) in asked(report) {
        for path in found.paths.iter().filter(|path| !is_dead(report, &path.to)) {
            let judged = judge_path(report, from, path);
            if judged.is_empty() {
                n_ways += 1;
                slowest = slowest.max(path.packets.avg_us.unwrap_or_default());
                narrowest = narrowest.min(path.mtu.unwrap_or(u16::MAX));
            }
            findings.extend(judged);
        }
    }
    if n_ways > 0 {
        let millis = slowest as f64 / 1000.0;
        findings.insert(
            0,
            Finding::ok(
                "paths",
                format!(
                    "{n_ways} ways from host to host carry packets of at least {narrowest} bytes \
                     and answer within {millis:.1} ms"
                ),
            ),
        );
    }
    for (host, found) in asked(report) {
        findings.extend(judge_resolver(Some(&host.host), &found.resolver));
    }
    findings
}

fn asked(report: &NetworkReport) -> impl Iterator<Item = (&HostPaths, &Found)> {
    report.hosts.iter().filter_map(|host| Some((host, host.found.as_ref()?)))
}

fn is_dead(report: &NetworkReport, name: &str) -> bool {
    report.hosts.iter().any(|host| host.host == name && host.liveness == Liveness::Dead)
}

/// A host that did not tell.
fn silent(host: &HostPaths) -> Option<Finding> {
    let error = host.error.as_deref().filter(|_| host.found.is_none())?;
    let HostPaths { host, address, liveness, .. } = host;
    Some(match liveness {
        Liveness::Dead => Finding::problem(
            "hosts",
            format!("`{host}` at {address} is dead: {error}"),
            format!(
                "start it, or its agent; when it will not come back, `muster node rm {host}` takes it \
                 out of the cluster"
            ),
        ),
        Liveness::Alive | Liveness::Suspect => Finding::problem(
            "hosts",
            format!("`{host}` at {address} did not say how it reaches the others: {error}"),
            "see whether its agent is of this version; then try again",
        ),
    })
}

fn judge_path(report: &NetworkReport, from: &HostPaths, path: &PathReport) -> Vec<Finding> {
    let PathReport { to, agent, agent_error, packets, packets_error, mtu, tunnel } = path;
    let (from, overlay) = (&from.host, report.overlay);
    let mut findings = Vec::new();
    if agent.answered == 0 {
        let error = agent_error.as_deref().unwrap_or("it does not answer");
        let port = report.hosts.iter().find(|host| host.host == *to);
        let port = port.map_or_else(String::new, |host| format!("{}/", host.address.port()));
        findings.push(Finding::problem(
            "agents",
            format!("`{from}` does not reach the agent of `{to}`: {error}"),
            format!("let {port}udp through between the two hosts, in both directions"),
        ));
    }
    if packets.answered == 0 {
        let error = packets_error.as_deref();
        findings.push(no_packets(overlay, (from, to), error, tunnel.as_ref()));
        return findings;
    }
    if packets.answered < packets.sent {
        let lost = packets.sent - packets.answered;
        findings.push(Finding::warning(
            "packets",
            format!("of {} packets from `{from}` to `{to}` {lost} were lost", packets.sent),
            "look again; if it stays, see what fills the line, and whether a cable or a radio is bad",
        ));
    }
    if packets.avg_us.is_some_and(|micros| micros > ROUND_TRIP_MAX_US) {
        let millis = packets.avg_us.unwrap_or_default() / 1000;
        findings.push(Finding::warning(
            "packets",
            format!("`{to}` answers packets of `{from}` only after {millis} ms"),
            "hosts of one cluster should be near each other; see what fills the line",
        ));
    }
    findings.extend(mtu.and_then(|mtu| narrow(overlay, (from, to), mtu)));
    findings
}

fn no_packets(
    overlay: Overlay,
    (from, to): (&str, &str),
    error: Option<&str>,
    tunnel: Option<&TunnelReport>,
) -> Finding {
    let error = error.map(|error| format!(" ({error})")).unwrap_or_default();
    match (overlay, tunnel) {
        (Overlay::Quic, Some(TunnelReport { open: true, .. })) => Finding::problem(
            "packets",
            format!("the tunnel from `{from}` to `{to}` is there, and carries no packet{error}"),
            format!(
                "see in the log of the agents of both whether the network is not as it should be, and \
                 whether a firewall on `{to}` drops what comes in by the device `muster1`"
            ),
        ),
        (Overlay::Quic, Some(_) | None) => Finding::problem(
            "packets",
            format!("there is no tunnel from `{from}` to `{to}`: no packet of a container{error}"),
            "let the agents' UDP port through between the two hosts; the log of the agents says why \
             it cannot be opened",
        ),
        (Overlay::Direct, _) => Finding::problem(
            "packets",
            format!("the route from `{from}` to `{to}` carries no packet{error}"),
            "the `direct` overlay needs both hosts on one layer-2 network, and nothing between them \
             that drops addresses of the pool",
        ),
    }
}

fn narrow(overlay: Overlay, (from, to): (&str, &str), mtu: u16) -> Option<Finding> {
    let (least, remedy) = match overlay {
        Overlay::Quic => (MTU_LEAST, "look again when the agents were up for a minute"),
        Overlay::Direct => (MTU_ETHERNET, "containers send up to 1500 bytes"),
    };
    (mtu < least).then(|| {
        Finding::warning(
            "mtu",
            format!("only packets of {mtu} bytes get from `{from}` to `{to}`"),
            format!(
                "{remedy}; if a tunnel or VLAN on the way takes less, set `\"mtu\"` in \
                 /etc/docker/daemon.json to what it takes, on every host"
            ),
        )
    })
}

/// How a resolver answers: of a host by name, else of this one.
pub fn judge_resolver(host: Option<&str>, report: &ResolverReport) -> Vec<Finding> {
    let ResolverReport { address, cluster, outside } = report;
    let whose = host.map(|host| format!(" of `{host}`")).unwrap_or_default();
    let inside = match &cluster.error {
        None => Finding::ok(
            "dns",
            format!("the resolver{whose} at {address} knows the names of the cluster"),
        ),
        Some(error) => Finding::problem(
            "dns",
            format!(
                "the resolver{whose} at {address} does not tell a name of the cluster: {error}"
            ),
            format!(
                "see in the agent's log whether it listens, and whether another program has port 53 \
                 of {address}"
            ),
        ),
    };
    let outside = match &outside.error {
        None => Finding::ok("dns", format!("it asks others for other names: `{}`", outside.name)),
        Some(error) => Finding::warning(
            "dns",
            format!(
                "the resolver{whose} at {address} finds nothing outside the cluster: `{}` got {error}",
                outside.name
            ),
            "containers resolve no other names; see that /etc/resolv.conf of the host names a resolver \
             that answers",
        ),
    };
    vec![inside, outside]
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::api::{NameReport, RoundTrips};

    fn trips(sent: u16, answered: u16) -> RoundTrips {
        let time = (answered > 0).then_some(400);
        RoundTrips { sent, answered, min_us: time, avg_us: time, max_us: time }
    }

    fn path(to: &str) -> PathReport {
        PathReport {
            to: to.to_owned(),
            agent: trips(3, 3),
            agent_error: None,
            packets: trips(10, 10),
            packets_error: None,
            mtu: Some(1_500),
            tunnel: None,
        }
    }

    fn resolver() -> ResolverReport {
        let good = NameReport { name: "x".to_owned(), took_us: Some(1), error: None };
        let address = [10, 208, 0, 1].into();
        ResolverReport { address, cluster: good.clone(), outside: good }
    }

    /// Two hosts that reach each other.
    fn report(overlay: Overlay) -> NetworkReport {
        let host = |name: &str, to: &str| HostPaths {
            host: name.to_owned(),
            address: ([192, 0, 2, 1], 7400).into(),
            liveness: Liveness::Alive,
            found: Some(Found { paths: vec![path(to)], resolver: resolver() }),
            error: None,
        };
        NetworkReport { overlay, hosts: vec![host("a", "b"), host("b", "a")] }
    }

    /// The verdict and words of what is not well.
    #[track_caller]
    fn check(
        overlay: Overlay,
        change: impl FnOnce(&mut NetworkReport),
        expected: &[(Verdict, &str)],
    ) {
        let mut report = report(overlay);
        change(&mut report);
        let findings = judge_network(&report);
        let bad: Vec<_> = findings.iter().filter(|one| one.verdict != Verdict::Ok).collect();
        assert_eq!(bad.len(), expected.len(), "{bad:#?}");
        for (finding, (verdict, words)) in bad.iter().zip(expected) {
            assert_eq!(finding.verdict, *verdict, "{finding:?}");
            assert!(finding.found.contains(words), "{finding:?}");
            assert!(finding.remedy.is_some());
        }
    }

    fn of_a(report: &mut NetworkReport) -> &mut PathReport {
        &mut report.hosts[0].found.as_mut().unwrap().paths[0]
    }

    #[test]
    fn hosts_that_reach_each_other_are_one_line() {
        check(Overlay::Direct, |_| {}, &[]);
        let findings = judge_network(&report(Overlay::Direct));
        let words = "2 ways from host to host carry packets of at least 1500 bytes and answer within \
                     0.4 ms";
        assert_eq!(findings[0].found, words);
    }

    #[test]
    fn packets_that_do_not_arrive_are_told_by_the_way_they_take() {
        let silence = |report: &mut NetworkReport| of_a(report).packets = trips(10, 0);
        let words = "the route from `a` to `b` carries no packet";
        check(Overlay::Direct, silence, &[(Verdict::Problem, words)]);
        let words = "there is no tunnel from `a` to `b`";
        check(Overlay::Quic, silence, &[(Verdict::Problem, words)]);
        let open = TunnelReport {
            open: true,
            packet_max: 1_434,
            round_trip_us: None,
            sent: 0,
            lost: 0,
            carried_out: (0, 0),
            carried_in: (0, 0),
            dropped: 0,
            refused: 0,
        };
        let blocked = |report: &mut NetworkReport| {
            silence(report);
            of_a(report).tunnel = Some(open);
        };
        let words = "the tunnel from `a` to `b` is there, and carries no packet";
        check(Overlay::Quic, blocked, &[(Verdict::Problem, words)]);
    }

    #[test]
    fn loss_slowness_and_narrow_ways_are_warnings() {
        let change = |report: &mut NetworkReport| {
            let path = of_a(report);
            path.packets = trips(10, 8);
            path.packets.avg_us = Some(250_000);
            path.mtu = Some(1_400);
        };
        let lost = (Verdict::Warning, "of 10 packets from `a` to `b` 2 were lost");
        let slow = (Verdict::Warning, "only after 250 ms");
        check(Overlay::Quic, change, &[lost, slow]);
        let narrow = (Verdict::Warning, "only packets of 1400 bytes");
        check(Overlay::Direct, change, &[lost, slow, narrow]);
    }

    #[test]
    fn a_dead_host_is_told_once() {
        let change = |report: &mut NetworkReport| {
            let path = of_a(report);
            (path.packets, path.agent) = (trips(10, 0), trips(3, 0));
            let dead = &mut report.hosts[1];
            (dead.liveness, dead.found) = (Liveness::Dead, None);
            dead.error = Some("not asked".to_owned());
        };
        check(Overlay::Quic, change, &[(Verdict::Problem, "`b` at 192.0.2.1:7400 is dead")]);
    }

    #[test]
    fn an_agent_and_a_resolver_that_do_not_answer_are_told() {
        let change = |report: &mut NetworkReport| {
            of_a(report).agent = trips(3, 0);
            let resolver = &mut report.hosts[1].found.as_mut().unwrap().resolver;
            resolver.cluster.error = Some("nobody listens there".to_owned());
            resolver.outside.error = Some("an empty answer".to_owned());
        };
        let expected = [
            (Verdict::Problem, "`a` does not reach the agent of `b`"),
            (Verdict::Problem, "does not tell a name of the cluster: nobody listens there"),
            (Verdict::Warning, "finds nothing outside the cluster: `x` got an empty answer"),
        ];
        check(Overlay::Direct, change, &expected);
    }
}
