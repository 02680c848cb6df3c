//! `muster context`.

use std::net::SocketAddr;

use serde::Serialize;

use super::contexts::{Contexts, Kept};
use super::errors::{CliError, Outcome};
use super::show::Column;
use super::{Context, project};
use crate::api::Greeting;
use crate::model::{HostId, Role};
use crate::swarm::{Token, TokenError, enrol};
use crate::telemetry::chain;

/// Work on a cluster from a machine that is no host of it
#[derive(Debug, clap::Args)]
pub(super) struct ContextArgs {
    #[command(subcommand)]
    command: ContextCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ContextCommand {
    /// Accept an invitation: make a key here, and have the cluster certify it
    ///
    /// The key never leaves this machine. It is kept in `$XDG_CONFIG_HOME/muster/contexts`, else in
    /// `~/.config/muster/contexts`, readable by you alone.
    Add {
        /// The name to call the cluster by here
        name: String,
        /// What `muster operator create` printed on the other side
        token: String,
    },
    /// List the contexts of this user; the one that commands use is marked
    Ls,
    /// Have commands use a context from now on
    ///
    /// `--socket`, `--context`, `MUSTER_SOCKET` and `MUSTER_CONTEXT` are asked first, in this order.
    Use {
        /// Which
        #[arg(required_unless_present = "none", conflicts_with = "none")]
        name: Option<String>,
        /// Use the agent of this machine again
        #[arg(long)]
        none: bool,
    },
    /// Show a context: who you are there, until when, and where its members are
    Show {
        /// Which [default: the one that commands use]
        name: Option<String>,
    },
    /// Forget a context and its key
    ///
    /// The cluster is not told: `muster operator rm` takes an operator away there.
    Rm {
        /// Which
        name: String,
    },
}

/// A context as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    in_use: bool,
    cluster: String,
    operator: String,
    role: Role,
    id: HostId,
    /// Seconds since 1970.
    expires: u64,
    members: Vec<(HostId, SocketAddr)>,
}

impl Shown {
    fn new(name: &str, kept: &Kept, context: &Context) -> Self {
        let credentials = &kept.credentials;
        Self {
            name: name.to_owned(),
            in_use: context.elsewhere().is_some_and(|used| used.name() == name),
            cluster: credentials.cluster().to_owned(),
            operator: credentials.name().to_owned(),
            role: credentials.role(),
            id: credentials.id().clone(),
            expires: credentials.ends().0,
            members: kept.members.clone(),
        }
    }

    fn expires(&self) -> String {
        let seconds = i64::try_from(self.expires).unwrap_or(i64::MAX);
        let time = jiff::Timestamp::from_second(seconds);
        time.map_or_else(|_| self.expires.to_string(), |time| time.to_string())
    }
}

pub(super) async fn run(args: ContextArgs, context: &Context) -> Result<Outcome, CliError> {
    let contexts = Contexts::of_user()
        .ok_or_else(|| CliError::user("there is no home to keep contexts in"))?;
    match args.command {
        ContextCommand::Add { name, token } => add(&contexts, &name, &token, context).await,
        ContextCommand::Ls => list(&contexts, context),
        ContextCommand::Use { name, none: _ } => {
            contexts.put_in_use(name.as_deref())?;
            let words = match name {
                Some(name) => format!("commands use context `{name}` from now on"),
                None => "commands use the agent of this machine from now on".to_owned(),
            };
            context.printer.say(&words);
            Ok(Outcome::Done)
        }
        ContextCommand::Show { name } => show_one(&contexts, name, context),
        ContextCommand::Rm { name } => {
            contexts.remove(&name)?;
            context.printer.say(&format!("context `{name}` is forgotten here, with its key"));
            Ok(Outcome::Done)
        }
    }
}

async fn add(
    contexts: &Contexts,
    name: &str,
    token: &str,
    context: &Context,
) -> Result<Outcome, CliError> {
    let token: Token = token
        .parse()
        .map_err(|error: TokenError| CliError::user(chain(&error)).hint(error.hint()))?;
    // Before the token is spent.
    if contexts.has(name)? {
        return Err(CliError::user(format!("there is a context `{name}` already"))
            .hint(format!("choose another name, or forget it: `muster context rm {name}`")));
    }
    context.if_interrupted("the invitation may be spent; `muster operator ls` there tells");
    let enrolled = enrol(&token).await.map_err(|error| {
        let refusal = CliError::user(format!("you were not let in: {}", chain(&error)));
        match error.hint_for_operator() {
            Some(hint) => refusal.hint(hint),
            None => refusal,
        }
    })?;
    let greeting: Result<Greeting, _> = serde_json::from_slice(&enrolled.welcome);
    let told = greeting.map(|greeting| greeting.members).unwrap_or_default();
    // The issuer is where it answered, whatever it thinks of itself.
    let first = (enrolled.issuer, enrolled.issuer_address);
    let others = told.into_iter().filter(|(id, _)| *id != first.0);
    let members = std::iter::once(first.clone()).chain(others).collect();
    let kept = Kept::new(enrolled.credentials, members, project::now().0);
    contexts.write(name, &kept)?;
    let shown = Shown::new(name, &kept, context);
    if context.json {
        context.printer.json(&shown)?;
    }
    let Shown { operator, role, cluster, .. } = &shown;
    context.printer.say(&format!(
        "you are `{operator}`, {role} of cluster `{cluster}`, until {}; the certificate renews \
         itself when commands run",
        shown.expires()
    ));
    context
        .printer
        .say(&format!("use it with `--context {name}`, or always: `muster context use {name}`"));
    Ok(Outcome::Done)
}

fn list(contexts: &Contexts, context: &Context) -> Result<Outcome, CliError> {
    let mut all = Vec::new();
    for name in contexts.names()? {
        match contexts.read(&name) {
            Ok(kept) => all.push(Shown::new(&name, &kept, context)),
            Err(error) => context.printer.warn(&error.to_string()),
        }
    }
    let columns = [
        Column::new("NAME"),
        Column::new("CLUSTER"),
        Column::new("OPERATOR"),
        Column::new("ROLE"),
        Column::new("EXPIRES").optional(1),
        Column::new("MEMBERS"),
    ];
    context.print_list(&all, |one| &one.name, &columns, row)?;
    match context.elsewhere() {
        Some(used) if !all.iter().any(|one| one.in_use) => {
            context
                .printer
                .warn(&format!("commands use context `{}`, which is not there", used.name()));
        }
        Some(_) => {}
        None => {
            let socket = context.socket.display();
            context.printer.say(&format!("commands use no context but the agent on `{socket}`"));
        }
    }
    Ok(Outcome::Done)
}

fn row(one: &Shown) -> Vec<String> {
    vec![
        format!("{}{}", one.name, if one.in_use { " *" } else { "" }),
        one.cluster.clone(),
        one.operator.clone(),
        one.role.to_string(),
        one.expires(),
        one.members.len().to_string(),
    ]
}

fn show_one(
    contexts: &Contexts,
    name: Option<String>,
    context: &Context,
) -> Result<Outcome, CliError> {
    let used = || context.elsewhere().map(|used| used.name().to_owned());
    let name = name.or_else(used).ok_or_else(|| {
        CliError::user("no context is in use").hint("`muster context ls` lists them")
    })?;
    let shown = Shown::new(&name, &contexts.read(&name)?, context);
    if context.json {
        context.printer.json(&shown)?;
        return Ok(Outcome::Done);
    }
    let Shown { name: _, in_use, cluster, operator, role, id, expires: _, members } = &shown;
    let in_use = if *in_use { "yes" } else { "no" };
    let mut lines = vec![
        format!("context   {name}"),
        format!("in use    {in_use}"),
        format!("cluster   {cluster}"),
        format!("operator  {operator} ({id})"),
        format!("role      {role}"),
        format!("expires   {}", shown.expires()),
    ];
    lines.extend(members.iter().map(|(id, address)| format!("member    {address} ({id})")));
    context.printer.data(&lines.join("\n"))?;
    Ok(Outcome::Done)
}
