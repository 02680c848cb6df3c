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
        /// Let so many hosts join with it
        #[arg(long, value_name = "N", default_value_t = 1,
              value_parser = clap::value_parser!(u32).range(1..=1000))]
        reusable: u32,
        /// How long it is good for
        #[arg(long, value_name = "TIME", default_value = "15m", value_parser = args::duration)]
        ttl: Duration,
    },
}

pub(super) async fn run(args: TokenArgs, context: &Context) -> Result<Outcome, CliError> {
    let TokenCommand::Create { reusable, ttl } = args.command;
    if ttl.as_secs() == 0 {
        return Err(CliError::user("a token must be good for at least a second"));
    }
    let request = TokenRequest { ttl_seconds: ttl.as_secs(), uses: reusable };
    let token = context.client().create_token(&request).await?;
    if context.json {
        context.printer.json(&token)?;
        return Ok(Outcome::Done);
    }
    context.printer.data(&token.token)?;
    let time = show::age(token.ttl_seconds);
    let hosts = match token.uses {
        1 => "one host".to_owned(),
        uses => show::count(uses as usize, "host"),
    };
    context.printer.say(&format!(
        "good for {hosts}, for {time}; on that host: `muster agent`, then `muster join TOKEN`"
    ));
    Ok(Outcome::Done)
}
