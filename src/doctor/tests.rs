//! What the checks make of what they see.

use std::path::Path;

use super::*;
use crate::api::{Liveness, PeerReport, TunnelReport};
use crate::docker::api::EngineReport;
use crate::network::NetworkError;

fn verdicts(findings: &[Finding]) -> Vec<(&'static str, Verdict)> {
    findings.iter().map(|finding| (finding.check, finding.verdict)).collect()
}

fn engine() -> EngineReport {
    EngineReport {
        version: "20.10.24".to_owned(),
        api_version: "1.41".to_owned(),
        live_restore: true,
        cgroups: "2".to_owned(),
        warnings: Vec::new(),
        folder: "/var/lib/docker".to_owned(),
    }
}

fn peer() -> PeerReport {
    PeerReport {
        name: "beta".to_owned(),
        address: "192.0.2.2:7400".parse().unwrap(),
        liveness: Liveness::Alive,
        round_trip_us: Some(400),
        skew_ms: Some(-3),
        mtu: Some(1_452),
        error: None,
        tunnel: None,
    }
}

fn tunnel() -> TunnelReport {
    TunnelReport {
        open: true,
        packet_max: 1_434,
        round_trip_us: Some(400),
        sent: 1_000,
        lost: 10,
        carried_out: (900, 1_000_000),
        carried_in: (900, 1_000_000),
        dropped: 0,
        refused: 0,
    }
}

#[test]
fn a_tunnel_is_told_with_what_it_carries_and_its_lack_is_a_problem() {
    let judged = |report: TunnelReport| {
        let peer = PeerReport { tunnel: Some(report), ..peer() };
        let findings = judge(&[peer]);
        findings.into_iter().find(|finding| finding.check == "tunnels").unwrap()
    };
    assert_eq!(judged(tunnel()).verdict, Verdict::Ok);
    let good = judged(tunnel()).found;
    assert!(good.contains("1434 bytes") && good.contains("1.0 %"), "{good}");
    assert_eq!(judged(TunnelReport { lost: 11, ..tunnel() }).verdict, Verdict::Warning);
    let few = TunnelReport { sent: 100, ..tunnel() };
    assert_eq!(judged(few).verdict, Verdict::Ok, "a few packets tell nothing");
    let none = judged(TunnelReport { open: false, ..tunnel() });
    assert_eq!(none.verdict, Verdict::Problem);
    assert!(none.remedy.is_some_and(|remedy| remedy.contains("7400/udp")));
}

#[test]
fn a_good_engine_is_ok_and_each_lack_is_a_warning() {
    let all = [("docker", Verdict::Ok), ("live-restore", Verdict::Ok), ("cgroups", Verdict::Ok)];
    assert_eq!(verdicts(&machine::docker(&engine())), all);
    let poor = EngineReport {
        live_restore: false,
        warnings: vec![
            "WARNING: No memory limit support".to_owned(),
            "WARNING: bridge-nf-call-iptables is disabled".to_owned(),
        ],
        ..engine()
    };
    let findings = machine::docker(&poor);
    assert_eq!(findings[1].verdict, Verdict::Warning);
    assert_eq!(findings[2].found, "WARNING: No memory limit support");
    assert!(findings.iter().all(|one| (one.verdict == Verdict::Ok) == one.remedy.is_none()));
}

#[test]
fn an_overlap_of_the_pool_is_a_problem_that_names_the_route() {
    let pool = "10.208.0.0/12".parse().unwrap();
    assert_eq!(machine::addresses(pool, Ok(())).verdict, Verdict::Ok);
    let route = "10.210.0.0/16".parse().unwrap();
    let overlap = NetworkError::Overlap { pool, route, device: Some("eth1".to_owned()) };
    let finding = machine::addresses(pool, Err(overlap));
    assert_eq!(finding.verdict, Verdict::Problem);
    assert!(finding.found.contains("10.210.0.0/16") && finding.found.contains("eth1"));
}

#[test]
fn forwarding_that_is_off_is_a_problem_only_for_a_member() {
    let case =
        |value: Option<&str>, agent| machine::forwarding(&value.map(str::to_owned), agent).verdict;
    assert_eq!(case(Some("1"), Standing::Member), Verdict::Ok);
    assert_eq!(case(Some("0"), Standing::None), Verdict::Ok);
    assert_eq!(case(Some("0"), Standing::Member), Verdict::Problem);
    assert_eq!(case(None, Standing::None), Verdict::Problem);
}

#[test]
fn room_is_scarce_before_it_is_out() {
    let of = |free| machine::room_of("state", Path::new("/x"), free).verdict;
    assert_eq!(of(100 << 20), Verdict::Problem);
    assert_eq!(of(1 << 30), Verdict::Warning);
    assert_eq!(of(3 << 30), Verdict::Ok);
}

#[test]
fn a_state_folder_is_there_can_be_made_or_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(machine::state(folder.path()).verdict, Verdict::Ok);
    let finding = machine::state(&folder.path().join("a/b"));
    assert!(finding.found.contains("can be made"), "{finding:?}");
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert_eq!(machine::state(&file.join("state")).verdict, Verdict::Problem);
}

#[test]
fn a_peer_is_judged_by_its_answer_its_clock_and_the_size_of_packets() {
    let cases: [(PeerReport, &[(&str, Verdict)]); 6] = [
        (peer(), &[("hosts", Verdict::Ok), ("clocks", Verdict::Ok), ("mtu", Verdict::Ok)]),
        (
            PeerReport { round_trip_us: Some(200_000), skew_ms: Some(-1_500), ..peer() },
            &[("hosts", Verdict::Warning), ("clocks", Verdict::Warning), ("mtu", Verdict::Ok)],
        ),
        (
            PeerReport { mtu: Some(1_372), ..peer() },
            &[("hosts", Verdict::Ok), ("clocks", Verdict::Ok), ("mtu", Verdict::Warning)],
        ),
        (PeerReport { mtu: None, ..peer() }, &[("hosts", Verdict::Ok), ("clocks", Verdict::Ok)]),
        (
            PeerReport { liveness: Liveness::Suspect, mtu: None, ..peer() },
            &[("hosts", Verdict::Warning), ("clocks", Verdict::Ok)],
        ),
        (PeerReport { round_trip_us: None, ..peer() }, &[("hosts", Verdict::Problem)]),
    ];
    for (report, expected) in cases {
        assert_eq!(verdicts(&judge(std::slice::from_ref(&report))), expected, "{report:?}");
    }
    assert_eq!(verdicts(&judge(&[])), [("hosts", Verdict::Ok)]);
}
