//! `muster ca`.

use super::errors::{CliError, Outcome};
use super::show::Column;
use super::{Context, printer, show};
use crate::api::{Authority, AuthorityHost, Liveness};

/// Show the cluster's authority, whose key lets hosts in, and who has it
#[derive(Debug, clap::Args)]
pub(super) struct CaArgs {
    #[command(subcommand)]
    command: Option<CaCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum CaCommand {
    /// Put a new authority in the place of the old one
    ///
    /// Every member holds the authority's key. Whoever was root on a host, or has a copy of its disk, can
    /// let in hosts of his own, also after the host was removed: remove it first, and then rotate. What
    /// the old key signed is good only for hosts and operators that are there now. Hosts that are away
    /// get the new one when they are back. Tokens that were made before are void.
    Rotate {
        /// For scripts: nothing is ever asked
        #[arg(short = 'y', long)]
        yes: bool,
    },
}

pub(super) async fn run(args: CaArgs, context: &Context) -> Result<Outcome, CliError> {
    let client = context.client();
    let (authority, words) = match args.command {
        None => (client.authority().await?, "is in use"),
        Some(CaCommand::Rotate { yes: _ }) => {
            context.if_interrupted("it may have been rotated; look with `muster ca`");
            (client.rotate_authority().await?, "is new")
        }
    };
    if context.json {
        context.printer.json(&authority)?;
        return Ok(Outcome::Done);
    }
    let Authority { number, fingerprint, begins, ends, hosts } = &authority;
    let columns = [Column::new("HOST"), Column::new("STATUS"), Column::wrapping("AUTHORITY")];
    let rows: Vec<_> = hosts.iter().map(row).collect();
    context.printer.data(&show::table(&columns, &rows, printer::stdout_width()))?;
    let dates = format!("from {} to {}", time(*begins), time(*ends));
    context.printer.say(&format!("authority {number} {words}, {dates}: {fingerprint}"));
    let without = hosts.iter().filter(|host| !host.has_it).count();
    if without > 0 {
        let count = show::count(without, "host");
        context
            .printer
            .warn(&format!("{count} without it: each gets it from the others by itself"));
    }
    Ok(Outcome::Done)
}

fn row(host: &AuthorityHost) -> Vec<String> {
    let status = match host.liveness {
        Liveness::Alive => "alive",
        Liveness::Suspect => "suspect",
        Liveness::Dead => "dead",
    };
    let has_it = if host.has_it { "has it" } else { "has an older one" };
    vec![host.name.clone(), status.to_owned(), has_it.to_owned()]
}

fn time(seconds: u64) -> String {
    let time = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or(i64::MAX));
    time.map_or_else(|_| seconds.to_string(), |time| time.to_string())
}
