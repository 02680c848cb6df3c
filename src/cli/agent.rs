//! `muster agent`.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::errors::{CliError, Outcome};
use super::{Context, service};
use crate::config::{AgentConfig, DEFAULT_DATA_DIR, DEFAULT_DOCKER, DEFAULT_METRICS, DEFAULT_PORT};
use crate::telemetry::{self, LogFormat};

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Format {
    #[default]
    Human,
    Json,
}

/// Run the agent of this host, in the foreground
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct AgentArgs {
    #[command(flatten)]
    run: RunArgs,
    #[command(subcommand)]
    command: Option<AgentCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum AgentCommand {
    Install(service::InstallArgs),
    Uninstall(service::UninstallArgs),
}

impl AgentArgs {
    /// Whether it is to run here.
    pub(super) fn is_daemon(&self) -> bool {
        self.command.is_none()
    }
}

/// How an agent runs.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// Folder for its state
    #[arg(long, value_name = "FOLDER", env = "MUSTER_DATA_DIR", default_value = DEFAULT_DATA_DIR)]
    pub(super) data_dir: PathBuf,
    /// Docker's address [default: `DOCKER_HOST`, else unix:///var/run/docker.sock]
    #[arg(long, value_name = "ADDRESS", env = "MUSTER_DOCKER")]
    pub(super) docker: Option<String>,
    /// UDP address for other agents
    #[arg(long, value_name = "ADDRESS:PORT", env = "MUSTER_LISTEN",
          default_value_t = SocketAddr::from(([0, 0, 0, 0], DEFAULT_PORT)))]
    pub(super) listen: SocketAddr,
    /// Tell Prometheus metrics at `/metrics` on a TCP address; a port alone is one of 127.0.0.1
    ///
    /// Whoever reaches the address may read the names of apps, services and hosts. They are always told
    /// on the agent's socket.
    #[arg(long, value_name = "[ADDRESS:]PORT", env = "MUSTER_METRICS", value_parser = address,
          num_args = 0..=1, require_equals = false, default_missing_value = DEFAULT_METRICS)]
    pub(super) metrics: Option<SocketAddr>,
    /// How its log looks
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    log_format: Format,
    /// Leave the terminal's session; used by `muster up`
    #[arg(long, hide = true)]
    detached: bool,
}

/// `7401`, or `192.0.2.1:7401`.
fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    text.parse().map_err(|_| format!("`{text}` is neither a port nor as in `127.0.0.1:7401`"))
}

pub(super) async fn run(args: AgentArgs, context: &Context) -> Result<Outcome, CliError> {
    match args.command {
        None => serve(args.run, context).await,
        Some(AgentCommand::Install(args)) => service::install(&args, context),
        Some(AgentCommand::Uninstall(args)) => service::uninstall(&args, context),
    }
}

async fn serve(args: RunArgs, context: &Context) -> Result<Outcome, CliError> {
    if args.detached {
        rustix::process::setsid()
            .map_err(|error| CliError::cluster(format!("cannot leave the session: {error}")))?;
    }
    let format = match args.log_format {
        Format::Human => LogFormat::Human { colours: context.printer.has_colours() },
        Format::Json => LogFormat::Json,
    };
    telemetry::init(format, telemetry::filter_from_environment().as_deref())
        .map_err(|error| CliError::user(telemetry::chain(&error)))?;
    let docker = args.docker.or_else(|| std::env::var("DOCKER_HOST").ok());
    let config = AgentConfig {
        data_dir: args.data_dir,
        socket: context.socket.clone(),
        docker: docker.filter(|docker| !docker.is_empty()).unwrap_or(DEFAULT_DOCKER.to_owned()),
        listen: args.listen,
        metrics: args.metrics,
    };
    crate::agent::run(config).await.map_err(|error| {
        let refusal = CliError::cluster(telemetry::chain(&error));
        match error.hint() {
            Some(hint) => refusal.hint(hint),
            None => refusal,
        }
    })?;
    Ok(Outcome::Done)
}
