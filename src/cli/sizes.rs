//! What `muster autoscale` says of services whose replicas are given what is measured that they need.
//! Decides nothing.

use super::show::{self, Column, table};
use crate::api::{AutoscaleView, SizeDecisionView, SizeView, VerticalView};

/// What is given, below it what was decided; nothing where no service is so.
pub(super) fn shown(all: &[AutoscaleView], width: Option<u16>) -> Vec<String> {
    let sized: Vec<_> =
        all.iter().filter_map(|one| Some((&one.service, one.vertical.as_ref()?))).collect();
    if sized.is_empty() {
        return Vec::new();
    }
    let columns = ["SERVICE", "GIVEN", "AT LEAST", "AT MOST", "WINDOW"].map(Column::new);
    let rows = sized.iter().map(|(service, vertical)| {
        let VerticalView { size, min, max, window_seconds, .. } = vertical;
        let sizes = [size, min, max].map(|size| words(*size));
        [vec![service.to_string()], sizes.to_vec(), vec![format!("{window_seconds} s")]].concat()
    });
    let mut parts = vec![table(&columns, &rows.collect::<Vec<_>>(), width)];
    let columns = [
        Column::new("SERVICE"),
        Column::new("WHEN"),
        Column::new("FROM"),
        Column::new("TO"),
        Column::wrapping("WHY"),
    ];
    let rows = sized.iter().flat_map(|(service, vertical)| {
        vertical.decisions.iter().map(|SizeDecisionView { at, from, to, reason }| {
            vec![service.to_string(), show::time(*at), words(*from), words(*to), reason.clone()]
        })
    });
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        parts.push(table(&columns, &rows, width));
    }
    parts
}

/// Why something is not as it should be.
pub(super) fn warnings(one: &AutoscaleView) -> Vec<String> {
    let Some(vertical) = &one.vertical else { return Vec::new() };
    let hold = vertical.hold.iter().map(|reason| {
        let (service, size) = (&one.service, words(vertical.size));
        format!("replicas of service `{service}` keep {size}: {reason}")
    });
    let problems = vertical.problems.iter().map(|problem| {
        let name = format!("{}/{}", problem.replica.service, problem.replica.index);
        format!("replica `{name}` on `{}` keeps its limits: {}", problem.host, problem.reason)
    });
    hold.chain(problems).collect()
}

fn words(SizeView { cpus, memory }: SizeView) -> String {
    let cpus = cpus.map(|cpus| format!("{cpus} CPUs"));
    let all: Vec<String> = cpus.into_iter().chain(memory.map(show::bytes)).collect();
    if all.is_empty() { "no limit".to_owned() } else { all.join(", ") }
}
