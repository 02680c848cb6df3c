//! `muster operator`.

use std::time::Duration;

use super::errors::{CliError, Outcome};
use super::show::Column;
use super::{Context, args, show};
use crate::api::{OperatorRequest, OperatorView, RemoveOperatorRequest};
use crate::model::Role;

/// Let people work on the cluster from their own machines
#[derive(Debug, clap::Args)]
pub(super) struct OperatorArgs {
    #[command(subcommand)]
    command: OperatorCommand,
}

#[derive(Debug, clap::Subcommand)]
enum OperatorCommand {
    /// Print an invitation for one person, good once
    ///
    /// It is a secret. On the other machine: `muster context add NAME TOKEN`.
    Create {
        /// The name the person is known under, in the audit log too
        name: String,
        /// What the person may do
        #[arg(long, value_enum, default_value_t = RoleArg::Operator)]
        role: RoleArg,
        /// How long the invitation is good for
        #[arg(long, value_name = "TIME", default_value = "15m", value_parser = args::duration)]
        ttl: Duration,
    },
    /// List the people who were let in
    Ls,
    /// Let somebody in no more: every host refuses the key, and ends its connections in seconds
    Rm {
        /// The name, or the id of the key
        operator: String,
    },
}

/// A role, on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum RoleArg {
    /// Changes everything
    Operator,
    /// Looks at everything but secrets
    Viewer,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Operator => Self::Operator,
            RoleArg::Viewer => Self::Viewer,
        }
    }
}

pub(super) async fn run(args: OperatorArgs, context: &Context) -> Result<Outcome, CliError> {
    match args.command {
        OperatorCommand::Create { name, role, ttl } => {
            create(name, role.into(), ttl, context).await
        }
        OperatorCommand::Ls => list(context).await,
        OperatorCommand::Rm { operator } => remove(operator, context).await,
    }
}

async fn create(
    name: String,
    role: Role,
    ttl: Duration,
    context: &Context,
) -> Result<Outcome, CliError> {
    if ttl.as_secs() == 0 {
        return Err(CliError::user("an invitation must be good for at least a second"));
    }
    let request = OperatorRequest { name, role, ttl_seconds: ttl.as_secs() };
    let token = context.client().create_operator(&request).await?;
    if context.json {
        context.printer.json(&token)?;
        return Ok(Outcome::Done);
    }
    context.printer.data(&token.token)?;
    context.printer.say(&format!(
        "good once, for {}; `{}` becomes {} by it; on the other machine: \
         `muster context add NAME TOKEN`",
        show::age(token.ttl_seconds),
        token.name,
        match token.role {
            Role::Operator => "an operator",
            Role::Viewer => "a viewer",
        }
    ));
    Ok(Outcome::Done)
}

async fn list(context: &Context) -> Result<Outcome, CliError> {
    let all = context.client().operators().await?;
    let columns = [
        Column::new("NAME"),
        Column::new("ROLE"),
        Column::new("ID"),
        Column::new("INVITED BY"),
        Column::new("HOST").optional(2),
        Column::new("SINCE").optional(1),
    ];
    context.print_list(&all, |one| &one.name, &columns, row)?;
    Ok(Outcome::Done)
}

fn row(one: &OperatorView) -> Vec<String> {
    let OperatorView { id, name, role, invited_by, host, since } = one;
    let time = jiff::Timestamp::from_second(i64::try_from(*since).unwrap_or(i64::MAX));
    let since = time.map_or_else(|_| since.to_string(), |time| time.to_string());
    let invited_by = show::or_dash(invited_by);
    vec![name.clone(), role.to_string(), id.to_string(), invited_by, host.clone(), since]
}

async fn remove(operator: String, context: &Context) -> Result<Outcome, CliError> {
    context.if_interrupted("it may have been removed; look with `muster operator ls`");
    let request = RemoveOperatorRequest { operator };
    let removed = context.client().remove_operator(&request).await?;
    if context.json {
        context.printer.json(&removed)?;
    }
    let (name, stored) = (&removed.name, removed.stored);
    let hosts = show::count(removed.alive as usize, "live host");
    context
        .printer
        .say(&format!("operator `{name}` is removed; that is stored on {stored} of {hosts}"));
    if stored < 2.min(removed.alive) {
        context
            .printer
            .warn("only this host has the removal on disk; the others hear of it by and by");
    }
    Ok(Outcome::Done)
}
