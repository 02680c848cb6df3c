//! `muster join`.

use std::io::{BufRead, Read};
use std::net::SocketAddr;

use super::errors::{CliError, Outcome};
use super::{Context, args, init};
use crate::api::JoinRequest;

/// More than any token has, in bytes.
const TOKEN_MAX: u64 = 16 * 1024;

/// Add this host to a cluster
#[derive(Debug, clap::Args)]
pub(super) struct JoinArgs {
    /// What `muster token create` printed on a host of the cluster; `-` reads it from standard input
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
        token: token(args.token)?,
        name: args.name,
        advertise: args.advertise,
        labels: args::labels(args.labels),
    };
    context.if_interrupted("the agent may have joined meanwhile; look with `muster nodes`");
    let status = context.client().join(&request).await?;
    init::said(&status, "joined", context)?;
    Ok(Outcome::Done)
}

/// What is typed, others see among the processes of the machine.
fn token(typed: String) -> Result<String, CliError> {
    if typed != "-" {
        return Ok(typed);
    }
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .take(TOKEN_MAX)
        .read_line(&mut line)
        .map_err(|error| CliError::user(format!("the token cannot be read: {error}")))?;
    match line.trim() {
        "" => Err(CliError::user("there is no token on standard input")
            .hint("as in `muster token create --quiet | ssh HOST muster join -`")),
        token => Ok(token.to_owned()),
    }
}
