//! `muster init`.

use std::net::SocketAddr;

use ipnet::Ipv4Net;

use super::errors::{CliError, Outcome};
use super::{Context, args};
use crate::api::{InitRequest, Status};
use crate::model::Overlay;

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum OverlayArg {
    Quic,
    Direct,
}

impl From<OverlayArg> for Overlay {
    fn from(overlay: OverlayArg) -> Self {
        match overlay {
            OverlayArg::Quic => Self::Quic,
            OverlayArg::Direct => Self::Direct,
        }
    }
}

/// Make a cluster of this host
#[derive(Debug, clap::Args)]
pub(super) struct InitArgs {
    /// Name of this host [default: its host name]
    #[arg(long)]
    name: Option<String>,
    /// Address and UDP port where other hosts reach this one [default: that of the default route]
    #[arg(long, value_name = "ADDRESS:PORT")]
    advertise: Option<SocketAddr>,
    /// Addresses of the cluster's containers and services [default: 10.208.0.0/12]
    #[arg(long, value_name = "NETWORK")]
    pool: Option<Ipv4Net>,
    /// How packets get from host to host: in encrypted tunnels over any network, or as they are
    /// between hosts on one trusted layer-2 network
    #[arg(long, value_enum, default_value_t = OverlayArg::Quic)]
    overlay: OverlayArg,
    /// Label for placement; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = args::label)]
    labels: Vec<(String, String)>,
}

pub(super) async fn run(args: InitArgs, context: &Context) -> Result<Outcome, CliError> {
    let request = InitRequest {
        name: args.name,
        advertise: args.advertise,
        pool: args.pool,
        overlay: Some(args.overlay.into()),
        labels: args::labels(args.labels),
    };
    let status = context.client().init(&request).await?;
    said(&status, "made a cluster of this host", context)?;
    context.printer.say("add a host: `muster token create` here, `muster join TOKEN` there");
    Ok(Outcome::Done)
}

/// Says where this host is now.
pub(super) fn said(status: &Status, what: &str, context: &Context) -> Result<(), CliError> {
    if context.json {
        return context.printer.json(status);
    }
    let cluster = status.cluster.as_deref().unwrap_or("?");
    let address = status.address.map_or_else(String::new, |address| format!(" at {address}"));
    let (name, alive) =
        (&status.name, super::show::count(status.hosts_alive as usize, "live host"));
    let words = format!("{what}: host `{name}`{address}, cluster `{cluster}` of {alive}");
    context.printer.say(&words);
    Ok(())
}
