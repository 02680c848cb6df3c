//! How the ways between hosts look: a table of hosts by hosts. Pure.

use super::show::{Column, table};
use crate::api::{HostPaths, Liveness, NetworkReport, PathReport};

/// With more hosts the table would be wider than any terminal; then each way gets a line.
const SQUARE_MAX: usize = 12;

/// The table: from each host to each other.
pub(super) fn ways(report: &NetworkReport, width: Option<u16>) -> String {
    if report.hosts.len() > SQUARE_MAX {
        return list(report, width);
    }
    let mut columns = vec![Column::new("FROM \\ TO")];
    columns.extend(report.hosts.iter().map(|host| Column::wrapping(&host.host)));
    let rows: Vec<Vec<String>> = report
        .hosts
        .iter()
        .map(|from| {
            let cells = report.hosts.iter().map(|to| cell(from, to));
            std::iter::once(from.host.clone()).chain(cells).collect()
        })
        .collect();
    table(&columns, &rows, width)
}

fn list(report: &NetworkReport, width: Option<u16>) -> String {
    let columns = [Column::new("FROM"), Column::new("TO"), Column::wrapping("FOUND")];
    let mut rows = Vec::new();
    for from in &report.hosts {
        for to in report.hosts.iter().filter(|to| to.host != from.host) {
            rows.push(vec![from.host.clone(), to.host.clone(), cell(from, to)]);
        }
    }
    table(&columns, &rows, width)
}

fn cell(from: &HostPaths, to: &HostPaths) -> String {
    if from.host == to.host {
        return "-".to_owned();
    }
    let Some(found) = &from.found else {
        return match from.liveness {
            Liveness::Dead => "dead".to_owned(),
            Liveness::Alive | Liveness::Suspect => "not told".to_owned(),
        };
    };
    match found.paths.iter().find(|path| path.to == to.host) {
        None => "not known".to_owned(),
        Some(path) => words(path, to.liveness),
    }
}

/// `0.3/0.4/0.9 ms, 1434 B`: shortest, average and longest round trip, and the largest packet.
fn words(path: &PathReport, liveness: Liveness) -> String {
    let packets = path.packets;
    let (Some(min), Some(avg), Some(max)) = (packets.min_us, packets.avg_us, packets.max_us) else {
        return match (liveness, path.agent.answered > 0) {
            (Liveness::Dead, _) => "dead".to_owned(),
            (_, true) => "agent answers, no packet does".to_owned(),
            (_, false) => "no answer".to_owned(),
        };
    };
    let [min, avg, max] = [min, avg, max].map(|micros| format!("{:.1}", micros as f64 / 1000.0));
    let mut words = format!("{min}/{avg}/{max} ms");
    if let Some(mtu) = path.mtu {
        words.push_str(&format!(", {mtu} B"));
    }
    if packets.answered < packets.sent {
        let lost = u32::from(packets.sent - packets.answered) * 100 / u32::from(packets.sent);
        words.push_str(&format!(", {lost} % lost"));
    }
    if path.agent.answered == 0 {
        words.push_str(", agent does not answer");
    }
    words
}
