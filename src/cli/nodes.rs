//! `muster nodes`.

use super::errors::{CliError, Outcome};
use super::show::Column;
use super::{Context, show};
use crate::api::{Liveness, Node};
use crate::model::Availability;

/// List the hosts of the cluster
///
/// Columns that do not fit the terminal are left out; `--json` has all.
#[derive(Debug, clap::Args)]
pub(super) struct NodesArgs {}

pub(super) async fn run(_: NodesArgs, context: &Context) -> Result<Outcome, CliError> {
    let nodes = context.client().nodes().await?;
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
    context.print_list(&nodes, |one| &one.name, &columns, row)?;
    Ok(Outcome::Done)
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
