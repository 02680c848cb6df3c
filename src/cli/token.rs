//! `muster token create`.

use std::time::Duration;

use super::errors::{CliError, Outcome};
use super::{Context, args, show};
use crate::api::TokenRequest;

/// Issue tokens that let a host join
#[derive(Debug, clap::Args)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, clap::Subcommand)]
enum TokenCommand {
    /// Print a token that lets one host join, once
    Create {
        /// How long it is good for
        #[arg(long, value_name = "TIME", default_value = "15m", value_parser = args::duration)]
        ttl: Duration,
    },
}

pub(super) async fn run(args: TokenArgs, context: &Context) -> Result<Outcome, CliError> {
    let TokenCommand::Create { ttl } = args.command;
    if ttl.as_secs() == 0 {
        return Err(CliError::user("a token must be good for at least a second"));
    }
    let request = TokenRequest { ttl_seconds: ttl.as_secs() };
    let token = context.client().create_token(&request).await?;
    if context.json {
        context.printer.json(&token)?;
        return Ok(Outcome::Done);
    }
    context.printer.data(&token.token)?;
    let time = show::age(token.ttl_seconds);
    context.printer.say(&format!(
        "good for one host, for {time}; on that host: `muster agent`, then `muster join TOKEN`"
    ));
    Ok(Outcome::Done)
}
