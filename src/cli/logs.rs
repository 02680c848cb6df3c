//! `muster logs`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;

use super::args::{ProjectArgs, ProjectArgsLong};
use super::errors::{CliError, Outcome};
use super::printer::Paint;
use super::{Context, args, printer, project, ps};
use crate::api::{LogLine, LogsQuery};
use crate::model::{ReplicaId, ServiceName};

const PAINTS: [Paint; 5] = [Paint::Cyan, Paint::Yellow, Paint::Green, Paint::Magenta, Paint::Blue];

/// Print what the containers of an app wrote, on all hosts
#[derive(Debug, clap::Args)]
pub(super) struct LogsArgs {
    #[command(flatten)]
    project: ProjectArgsLong,
    /// Go on with what they write from now on
    #[arg(short = 'f', long)]
    follow: bool,
    /// Only so many of the last lines of each replica, or `all`
    #[arg(short = 'n', long, value_name = "LINES", value_parser = tail)]
    tail: Option<Tail>,
    /// Begin each line with its time
    #[arg(short = 't', long)]
    timestamps: bool,
    /// Only what was written within this time, as in `10m`
    #[arg(long, value_name = "TIME", value_parser = args::duration)]
    since: Option<Duration>,
    /// Do not say which replica wrote a line
    #[arg(long)]
    no_log_prefix: bool,
    /// Only these services
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
enum Tail {
    All,
    Last(u32),
}

fn tail(text: &str) -> Result<Tail, String> {
    if text == "all" {
        return Ok(Tail::All);
    }
    text.parse().map(Tail::Last).map_err(|_| format!("`{text}` is neither a number nor `all`"))
}

pub(super) async fn run(
    args: LogsArgs,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    let app = project::app_name(&global.then(args.project))?;
    let client = context.client();
    let detail = client.app(&app).await?;
    ps::check_services(&detail, &args.services)?;
    let query = LogsQuery {
        app,
        services: args.services.iter().map(ServiceName::new).collect(),
        follow: args.follow,
        tail: match args.tail {
            Some(Tail::Last(lines)) => Some(lines),
            Some(Tail::All) | None => None,
        },
        timestamps: args.timestamps,
        since: args.since.map(moment),
        index: None,
    };
    let known = detail.replicas.iter().map(|replica| &replica.replica);
    let known = known
        .filter(|replica| query.services.is_empty() || query.services.contains(&replica.service));
    let mut prefixes = Prefixes::new(known, !args.no_log_prefix);
    let mut lines = client.logs(&query).await?;
    while let Some(line) = lines.next().await {
        let line = line.map_err(|error| {
            CliError::from(error).hint("what was printed is not all; repeat the command")
        })?;
        if context.json {
            let json = serde_json::to_string(&line)
                .map_err(|error| CliError::cluster(format!("cannot write a line: {error}")))?;
            context.printer.raw(&format!("{json}\n"))?;
        } else {
            context.printer.raw(&format!("{}{}\n", prefixes.of(&line), line.line))?;
        }
    }
    Ok(Outcome::Done)
}

/// Seconds since 1970, so long ago.
pub(super) fn moment(ago: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(ago).as_secs()
}

/// `web-1 | ` in front of each line, one colour a replica.
#[derive(Debug)]
struct Prefixes {
    on: bool,
    coloured: bool,
    width: usize,
    paints: BTreeMap<ReplicaId, Paint>,
}

impl Prefixes {
    fn new<'a>(known: impl Iterator<Item = &'a ReplicaId>, on: bool) -> Self {
        let coloured = printer::stdout_has_colours();
        let mut prefixes = Self { on, coloured, width: 0, paints: BTreeMap::new() };
        for replica in known {
            prefixes.learn(replica);
        }
        prefixes
    }

    fn learn(&mut self, replica: &ReplicaId) -> Paint {
        self.width = self.width.max(name(replica).chars().count());
        let next = PAINTS[self.paints.len() % PAINTS.len()];
        *self.paints.entry(replica.clone()).or_insert(next)
    }

    fn of(&mut self, line: &LogLine) -> String {
        if !self.on {
            return String::new();
        }
        let paint = self.learn(&line.replica);
        let prefix = format!("{:<width$} |", name(&line.replica), width = self.width);
        if self.coloured { format!("{} ", paint.on(prefix)) } else { format!("{prefix} ") }
    }
}

/// How a replica is called before its lines.
pub(super) fn name(replica: &ReplicaId) -> String {
    format!("{}-{}", replica.service, replica.index)
}
