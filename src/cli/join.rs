//! `muster join`.

use std::net::SocketAddr;

use super::errors::{CliError, Outcome};
use super::{Context, args, init};
use crate::api::JoinRequest;

/// Add this host to a cluster
#[derive(Debug, clap::Args)]
pub(super) struct JoinArgs {
    /// What `muster token create` printed on a host of the cluster
    token: String,
    /// Name of this host [default: its host name]
    #[arg(long)]
    name: Option<String>,
    /// Address and UDP port where other hosts reach this one [default: the address they see]
    #[arg(long, value_name = "ADDRESS:PORT")]
    advertise: Option<SocketAddr>,
    /// Label for placement; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = args::label)]
    labels: Vec<(String, String)>,
}

pub(super) async fn run(args: JoinArgs, context: &Context) -> Result<Outcome, CliError> {
    let request = JoinRequest {
        token: args.token,
        name: args.name,
        advertise: args.advertise,
        labels: args::labels(args.labels),
    };
    context.if_interrupted("the agent may have joined meanwhile; look with `muster nodes`");
    let status = context.client().join(&request).await?;
    init::said(&status, "joined", context)?;
    Ok(Outcome::Done)
}
