//! `muster doctor`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

use super::errors::{CliError, Kind, Outcome};
use super::printer::{self, Paint};
use super::show::Column;
use super::{Context, paths, show};
use crate::api::NetworkReport;
use crate::config::{DEFAULT_DATA_DIR, DEFAULT_DOCKER, DEFAULT_PORT, default_pool};
use crate::doctor::{self, Finding, Standing, Subject, Verdict};
use crate::model::Overlay;

/// Find out what keeps this machine from being a good host
///
/// Looks at Docker, ports, the firewall, addresses, kernel settings and disks, and with an agent at
/// the other hosts (answers, clocks, the size of packets) and at the resolver of this one. With a
/// context at the hosts alone. Changes nothing. Exit code 1 when there is a problem.
#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {
    /// Folder for the agent's state
    #[arg(long, value_name = "FOLDER", env = "MUSTER_DATA_DIR", default_value = DEFAULT_DATA_DIR)]
    data_dir: PathBuf,
    /// Docker's address [default: `DOCKER_HOST`, else unix:///var/run/docker.sock]
    #[arg(long, value_name = "ADDRESS", env = "MUSTER_DOCKER")]
    docker: Option<String>,
    /// UDP address for other agents
    #[arg(long, value_name = "ADDRESS:PORT", env = "MUSTER_LISTEN",
          default_value_t = SocketAddr::from(([0, 0, 0, 0], DEFAULT_PORT)))]
    listen: SocketAddr,
    /// Try the ways from every host to every other one in place of looking at this machine
    ///
    /// Each live host sends a few packets to each other one, on the way that those of containers
    /// take (tunnel or route), asks its agent, and asks its own resolver. The table shows round
    /// trips (shortest, average, longest) and the largest packet that arrives. Takes some seconds, a
    /// dead host or not.
    #[arg(long)]
    network: bool,
}

/// What `--network --json` prints.
#[derive(Debug, Serialize)]
struct Network<'r> {
    #[serde(flatten)]
    report: &'r NetworkReport,
    findings: &'r [Finding],
}

pub(super) async fn run(args: DoctorArgs, context: &Context) -> Result<Outcome, CliError> {
    if args.network {
        return network(context).await;
    }
    let client = context.client();
    let status = match (client.status().await, context.elsewhere()) {
        (Err(error), Some(_)) => return Err(error.into()),
        (status, _) => status.ok(),
    };
    let docker = args.docker.or_else(|| std::env::var("DOCKER_HOST").ok());
    let subject = Subject {
        data_dir: args.data_dir,
        docker: docker.filter(|docker| !docker.is_empty()).unwrap_or(DEFAULT_DOCKER.to_owned()),
        listen: args.listen,
        pool: status.as_ref().and_then(|status| status.pool).unwrap_or_else(default_pool),
        overlay: status.as_ref().and_then(|status| status.overlay).unwrap_or(Overlay::Quic),
        agent: match &status {
            None => Standing::None,
            Some(status) if status.cluster.is_none() => Standing::Alone,
            Some(_) => Standing::Member,
        },
    };
    // Elsewhere this machine is no host.
    let mut findings = match context.elsewhere() {
        Some(_) => Vec::new(),
        None => doctor::examine(&subject).await,
    };
    match &status {
        Some(status) if status.cluster.is_some() => {
            let (peers, resolver) = tokio::join!(client.peers(), client.resolver());
            findings.extend(doctor::judge(&peers?));
            findings.extend(doctor::judge_resolver(None, &resolver?));
        }
        Some(_) => {
            context.printer.say("the agent belongs to no cluster: no other hosts to look at")
        }
        None => context.printer.say("no agent runs here: no other hosts to look at"),
    }
    if context.json {
        context.printer.json(&findings)?;
    } else {
        show_all(&findings, context)?;
    }
    sum_up(&findings, context)
}

async fn network(context: &Context) -> Result<Outcome, CliError> {
    let report = context.client().network_report().await?;
    let findings = doctor::judge_network(&report);
    if context.json {
        context.printer.json(&Network { report: &report, findings: &findings })?;
    } else {
        if !context.quiet() {
            let ways = paths::ways(&report, printer::stdout_width());
            context.printer.data(&format!("{ways}\n"))?;
        }
        show_all(&findings, context)?;
    }
    sum_up(&findings, context)
}

/// How many are not well; a problem is an error.
fn sum_up(findings: &[Finding], context: &Context) -> Result<Outcome, CliError> {
    let count = |verdict| findings.iter().filter(|one| one.verdict == verdict).count();
    let (problems, warnings) = (count(Verdict::Problem), count(Verdict::Warning));
    let all = show::count(findings.len(), "check");
    let summary = format!(
        "{all}: {}, {}",
        show::count(problems, "problem"),
        show::count(warnings, "warning")
    );
    if problems > 0 {
        return Err(CliError::new(Kind::User, summary));
    }
    context.printer.say(&summary);
    Ok(Outcome::Done)
}

fn show_all(findings: &[Finding], context: &Context) -> Result<(), CliError> {
    let columns = [Column::new("VERDICT"), Column::new("CHECK"), Column::wrapping("FOUND")];
    let mut rows = Vec::new();
    for finding in findings {
        if context.quiet() && finding.verdict == Verdict::Ok {
            continue;
        }
        let (word, _) = verdict(finding.verdict);
        rows.push(vec![word.to_owned(), finding.check.to_owned(), finding.found.clone()]);
        if let Some(remedy) = &finding.remedy {
            rows.push(vec![String::new(), String::new(), format!("hint: {remedy}")]);
        }
    }
    let text = show::table(&columns, &rows, printer::stdout_width());
    let lines: Vec<String> = text.lines().map(painted).collect();
    context.printer.data(&lines.join("\n"))
}

/// Colours the verdict that a line begins with.
fn painted(line: &str) -> String {
    let all = [Verdict::Ok, Verdict::Warning, Verdict::Problem].map(verdict);
    let found = all
        .into_iter()
        .find(|(word, _)| line.strip_prefix(word).is_some_and(|rest| rest.starts_with(' ')));
    match found {
        Some((word, paint)) => format!("{}{}", paint.on(word), &line[word.len()..]),
        None => line.to_owned(),
    }
}

fn verdict(verdict: Verdict) -> (&'static str, Paint) {
    match verdict {
        Verdict::Ok => ("ok", Paint::Green),
        Verdict::Warning => ("warning", Paint::Yellow),
        Verdict::Problem => ("problem", Paint::Red),
    }
}
