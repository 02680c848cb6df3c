//! What an agent found out about the other hosts. Pure.

use super::Finding;
use crate::api::{Liveness, PeerReport, TunnelReport};

/// Clocks that are further apart make logs and events hard to read. Nothing is decided by them.
const SKEW_MAX_MS: u64 = 1_000;
/// QUIC finds out how large packets may be, up to this many bytes; less means that something on the
/// way takes less than an Ethernet's 1500.
const MTU_FULL: u16 = 1_452;
/// An answer that takes longer makes a cluster slow to notice a death.
const ROUND_TRIP_MAX_MS: u64 = 100;

/// One packet of so many may be lost; TCP gets slow beyond.
const LOST_MAX: u64 = 100;
/// Fewer packets tell nothing of a line.
const SENT_LEAST: u64 = 200;

/// What the reports say.
pub fn judge(reports: &[PeerReport]) -> Vec<Finding> {
    if reports.is_empty() {
        return vec![Finding::ok("hosts", "the cluster has no other host")];
    }
    reports.iter().flat_map(one).collect()
}

fn one(report: &PeerReport) -> Vec<Finding> {
    let PeerReport { name, address, liveness, round_trip_us, skew_ms, mtu, error, tunnel } = report;
    let (Some(round_trip), Some(skew)) = (round_trip_us, skew_ms) else {
        let error = error.as_deref().unwrap_or("it does not answer");
        let remedy = format!(
            "see whether the agent runs there, and whether {}/udp is open in both directions",
            address.port()
        );
        return vec![Finding::problem("hosts", format!("`{name}` at {address}: {error}"), remedy)];
    };
    let millis = *round_trip as f64 / 1000.0;
    let words = format!("`{name}` at {address} answers in {millis:.1} ms");
    let mut findings = vec![match liveness {
        _ if round_trip / 1000 > ROUND_TRIP_MAX_MS => Finding::warning(
            "hosts",
            words,
            "hosts of one cluster should be near each other; see what fills the line",
        ),
        Liveness::Alive => Finding::ok("hosts", words),
        Liveness::Suspect | Liveness::Dead => Finding::warning(
            "hosts",
            format!("{words}, and was silent a moment ago"),
            "the line to it may lose packets; look again",
        ),
    }];
    findings.push(match skew.unsigned_abs() > SKEW_MAX_MS {
        false => Finding::ok("clocks", format!("the clock of `{name}` is {skew} ms from ours")),
        true => Finding::warning(
            "clocks",
            format!("the clock of `{name}` is {skew} ms from ours"),
            "run a time service on every host, such as `chrony` or `systemd-timesyncd`",
        ),
    });
    findings.extend(mtu.map(|mtu| match mtu < MTU_FULL {
        false => Finding::ok("mtu", format!("packets of {mtu} bytes reach `{name}`")),
        true => Finding::warning(
            "mtu",
            format!("only packets of {mtu} bytes were seen to reach `{name}`"),
            "look again when it was up for a minute; if it stays, a tunnel or VLAN on the way takes \
             less: set `\"mtu\"` in /etc/docker/daemon.json to what it takes, on every host",
        ),
    }));
    findings.extend(tunnel.as_ref().map(|report| judge_tunnel(name, address.port(), report)));
    findings
}

fn judge_tunnel(name: &str, port: u16, report: &TunnelReport) -> Finding {
    if !report.open {
        return Finding::problem(
            "tunnels",
            format!("there is no tunnel to `{name}`: its containers are not reached from here"),
            format!(
                "it is tried again all the time; if it stays, see in the agents' logs why, and \
                 whether {port}/udp is open in both directions"
            ),
        );
    }
    let TunnelReport { packet_max, round_trip_us, sent, lost, dropped, .. } = report;
    let millis = round_trip_us.unwrap_or_default() as f64 / 1000.0;
    let percent = *lost as f64 * 100.0 / (*sent).max(1) as f64;
    let words = format!(
        "packets of {packet_max} bytes reach containers on `{name}` in {millis:.1} ms; {percent:.1} % \
         were lost, {dropped} could not be sent"
    );
    if *lost * LOST_MAX > *sent && *sent >= SENT_LEAST {
        let remedy = "the line to it loses packets, or the host is too busy to take them: connections \
                      through it are slow";
        return Finding::warning("tunnels", words, remedy);
    }
    Finding::ok("tunnels", words)
}
