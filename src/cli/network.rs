//! `muster network`.

use super::errors::{CliError, Outcome};
use super::printer;
use super::show::Column;
use super::{Context, show};
use crate::api::{ApiError, ErrorKind, NetworkView};

/// Show the networks of the apps: addresses, and who is on them
#[derive(Debug, clap::Args)]
pub(super) struct NetworkArgs {
    #[command(subcommand)]
    command: NetworkCommand,
}

#[derive(Debug, clap::Subcommand)]
enum NetworkCommand {
    /// List the networks of all apps
    Ls,
    /// Show one network: the addresses each host gave it, the services and replicas on it
    Inspect {
        /// Its name in Docker, as `ls` prints it, such as `shop_default`
        network: String,
    },
}

pub(super) async fn run(args: NetworkArgs, context: &Context) -> Result<Outcome, CliError> {
    let all = context.client().networks().await?;
    match args.command {
        NetworkCommand::Ls => list(&all, context)?,
        NetworkCommand::Inspect { network } => {
            let found = all.iter().find(|one| one.name == network);
            inspect(found.ok_or_else(|| unknown(&network))?, context)?;
        }
    }
    Ok(Outcome::Done)
}

fn unknown(network: &str) -> ApiError {
    ApiError {
        kind: ErrorKind::NotFound,
        message: format!("no network `{network}` in this cluster"),
        hint: Some("`muster network ls` lists the networks".to_owned()),
    }
}

fn list(all: &[NetworkView], context: &Context) -> Result<(), CliError> {
    let columns = [
        Column::new("NAME"),
        Column::new("APP"),
        Column::new("HOSTS"),
        Column::new("SERVICES"),
        Column::new("REPLICAS"),
        Column::new("INTERNAL"),
        Column::new("PART OF"),
        Column::wrapping("SUBNETS").optional(1),
    ];
    context.print_list(
        all,
        |one| &one.name,
        &columns,
        |one| {
            let replicas: usize = one.services.iter().map(|service| service.replicas.len()).sum();
            let subnets: Vec<String> = one.blocks.values().map(ToString::to_string).collect();
            vec![
                one.name.clone(),
                one.app.to_string(),
                one.blocks.len().to_string(),
                one.services.len().to_string(),
                replicas.to_string(),
                if one.internal { "yes" } else { "-" }.to_owned(),
                one.shared.clone().unwrap_or_else(|| "-".to_owned()),
                show::or_dash(&subnets.join(", ")),
            ]
        },
    )
}

fn inspect(network: &NetworkView, context: &Context) -> Result<(), CliError> {
    if context.json {
        return context.printer.json(network);
    }
    let width = printer::stdout_width();
    let blocks: Vec<Vec<String>> =
        network.blocks.iter().map(|(host, block)| vec![host.clone(), block.to_string()]).collect();
    let hosts = show::table(&[Column::new("HOST"), Column::new("ADDRESSES")], &blocks, width);
    let mut rows = Vec::new();
    for service in &network.services {
        let address = service.address.map_or_else(|| "-".to_owned(), |address| address.to_string());
        let fixed = service.fixed.map(|address| address.to_string());
        let also: Vec<String> = fixed.into_iter().chain(service.aliases.iter().cloned()).collect();
        let names = match also.is_empty() {
            true => "-".to_owned(),
            false => format!("also {}", also.join(", ")),
        };
        rows.push(vec![service.service.to_string(), "-".to_owned(), address, names]);
        for replica in &service.replicas {
            rows.push(vec![
                format!("  {}/{}", replica.replica.service, replica.replica.index),
                replica.host.clone(),
                replica.address.to_string(),
                if replica.ready { "ready" } else { "not ready" }.to_owned(),
            ]);
        }
    }
    let columns = [
        Column::new("SERVICE"),
        Column::new("HOST"),
        Column::new("ADDRESS"),
        Column::wrapping("STATUS"),
    ];
    context.printer.data(&format!("{hosts}\n\n{}", show::table(&columns, &rows, width)))
}
