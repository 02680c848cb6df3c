//! `muster nodes`.

use std::collections::BTreeMap;

use super::errors::{CliError, Outcome};
use super::show::Column;
use super::{Context, show};
use crate::api::{Liveness, Node, Reserved};
use crate::model::Availability;

/// List the hosts of the cluster
///
/// Columns that do not fit the terminal are left out; `--json` has all.
#[derive(Debug, clap::Args)]
pub(super) struct NodesArgs {}

pub(super) async fn run(_: NodesArgs, context: &Context) -> Result<Outcome, CliError> {
    let nodes = context.client().nodes().await?;
    // Few hosts have any.
    let has_devices = nodes.iter().any(|node| !node.inventory.is_empty());
    let devices = has_devices.then_some(Column::wrapping("DEVICES"));
    let columns = [
        Column::new("NAME"),
        Column::wrapping("STATUS"),
        Column::new("ADDRESS"),
        Column::new("REPLICAS"),
        Column::new("CPU"),
        Column::new("MEMORY"),
        Column::new("PLATFORM").optional(1),
        Column::new("DOCKER").optional(2),
        Column::new("MUSTER").optional(3),
    ];
    let columns: Vec<Column<'_>> = columns.into_iter().chain(devices).collect();
    let row = |node: &Node| {
        let mut row = row(node);
        row.extend(has_devices.then(|| show::or_dash(&inventory(node))));
        row
    };
    context.print_list(&nodes, |one| &one.name, &columns, row)?;
    Ok(Outcome::Done)
}

/// `1/2 nvidia gpu, 0/1 zigbee`: what is taken of what there is.
fn inventory(node: &Node) -> String {
    let mut kinds: BTreeMap<String, Reserved> = BTreeMap::new();
    for device in &node.inventory.devices {
        let kind = kinds.entry(format!("{} {}", device.driver, device.class)).or_default();
        kind.all += 1;
        kind.reserved += u64::from(device.held_by.is_some());
    }
    kinds.extend(node.inventory.resources.iter().map(|(kind, one)| (kind.clone(), *one)));
    let words: Vec<String> =
        kinds.iter().map(|(kind, one)| format!("{}/{} {kind}", one.reserved, one.all)).collect();
    words.join(", ")
}

fn row(node: &Node) -> Vec<String> {
    let liveness = match node.liveness {
        Liveness::Alive => "alive",
        Liveness::Suspect => "suspect",
        Liveness::Dead => "dead",
    };
    let mut status = liveness.to_owned();
    if node.availability == Availability::Drain {
        status += ", drain";
    }
    if node.disk_full {
        status += ", disk full";
    }
    let (reserved, all) = (node.reserved, node.capacity);
    vec![
        format!("{}{}", node.name, if node.this { " *" } else { "" }),
        status,
        node.address.to_string(),
        node.replicas.to_string(),
        format!("{}/{}", show::cpus(reserved.cpu_millis), show::cpus(all.cpu_millis)),
        format!("{}/{}", show::bytes(reserved.memory), show::bytes(all.memory)),
        show::or_dash(&node.platform),
        show::or_dash(&node.engine_version),
        show::or_dash(&node.agent_version),
    ]
}
