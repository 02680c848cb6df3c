//! `muster node`: one host of the cluster.

use super::errors::{CliError, Outcome};
use super::{Context, node_rm};

/// Change a host of the cluster
#[derive(Debug, clap::Args)]
pub(super) struct NodeArgs {
    #[command(subcommand)]
    command: NodeCommand,
}

#[derive(Debug, clap::Subcommand)]
enum NodeCommand {
    Rm(node_rm::NodeRmArgs),
}

pub(super) async fn run(args: NodeArgs, context: &Context) -> Result<Outcome, CliError> {
    match args.command {
        NodeCommand::Rm(args) => node_rm::run(args, context).await,
    }
}
