//! `muster cp`.
//!
//! Reading order: the command here, what goes where in [`rules`], files [`out`] of a container and [`into`]
//! one, [`unpack`] and [`pack`] for what the disk has to do with it, and the [`wire`] between.

mod into;
mod out;
mod pack;
mod rules;
mod unpack;
mod wire;

use std::collections::BTreeSet;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use self::rules::Way;
use self::wire::Replicas;
use super::args::ProjectArgs;
use super::errors::{CliError, Outcome};
use super::{Context, project, show};
use crate::api::Looked;
use crate::model::{Phase, ServiceName};

/// Names of what was left out that are told.
const LEFT_OUT: usize = 5;

/// Copy files between a container of a service, on whichever host it is, and this machine
///
/// `SERVICE:PATH` is a path in a container, absolute or not, and the container may have ended. As `docker
/// cp` has it: into a folder that is there something goes under its own name; else it gets the name that
/// is not there yet, or that of the file that is, and the folder above must be there. Of `FOLDER/.` the
/// content alone is copied. `-` is a tar stream, from standard input into a folder, or to standard output.
/// What is copied belongs to root in a container, and here to whoever runs this command. Into a service
/// goes a copy for every replica that runs, out of it come the files of one.
#[derive(Debug, clap::Args)]
pub(super) struct CpArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// Keep the numbers of owner and group; here, only root can
    #[arg(short, long)]
    archive: bool,
    /// Copy what a link at the source leads to, not the link
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// The number of the one replica. Without it files go into all, and come out of one on the host that
    /// is asked, where there are any, else on another host; of these of the lowest number that runs. With
    /// a context: of all
    #[arg(long, value_name = "NUMBER")]
    index: Option<u32>,
    /// What is copied: `SERVICE:PATH`, a path of this machine, or `-`
    #[arg(value_name = "FROM")]
    from: String,
    /// Where it goes: the other of the two
    #[arg(value_name = "TO")]
    to: String,
}

/// Whose something is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owners {
    /// Of the same numbers as where it was.
    Kept,
    /// Root's in a container; here, whoever's this command is.
    OfTheOtherSide,
}

/// What is copied of the files themselves.
#[derive(Debug, Clone, Copy)]
struct Manner {
    owners: Owners,
    follows: bool,
}

/// What a thread has copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Done {
    /// Files and links.
    files: usize,
    /// Bytes in them.
    bytes: u64,
    /// What is neither file, folder nor link.
    left_out: Vec<String>,
}

/// What became of it, for programs.
#[derive(Debug, Serialize)]
struct Copied {
    from: String,
    to: String,
    replicas: Vec<Replica>,
    /// Files and links; none of a stream, into which nobody looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<usize>,
    /// Bytes in files, or of the stream.
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Replica {
    index: u32,
    host: String,
}

pub(super) async fn run(
    args: CpArgs,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    context.if_interrupted("nothing was copied");
    let here = std::env::current_dir()
        .map_err(|error| CliError::user(format!("cannot tell which folder this is: {error}")))?;
    let here =
        here.to_str().ok_or_else(|| CliError::user("the name of this folder is no UTF-8"))?;
    let way = Way::of(&args.from, &args.to, here)?;
    let app = project::app_name(&global.then(args.project))?;
    let owners = if args.archive { Owners::Kept } else { Owners::OfTheOtherSide };
    let manner = Manner { owners, follows: args.follow_link };
    let of = |service: &str| Replicas {
        client: context.client(),
        app: app.clone(),
        service: ServiceName::new(service),
    };
    let (looked, done, files) = match &way {
        Way::Out { service, from, to } => {
            out::run(context, &of(service), (args.index, from), to, manner).await?
        }
        Way::Into { from, service, to } => {
            let replicas = of(service);
            let indices = match args.index {
                Some(_) => vec![args.index],
                // As Docker Compose has it.
                None => all(&replicas).await?,
            };
            into::run(context, &replicas, (&indices, to), from, manner).await?
        }
    };
    finish(context, (args.from, args.to), looked, (&done, files))?;
    Ok(Outcome::Done)
}

/// The numbers of all replicas that run. One that does not is chosen where there is none.
async fn all(replicas: &Replicas) -> Result<Vec<Option<u32>>, CliError> {
    let detail = replicas.client.app(&replicas.app).await?;
    let runs = detail.replicas.iter().filter(|one| one.phase == Some(Phase::Running));
    let runs = runs.filter(|one| one.replica.service == replicas.service);
    let found: BTreeSet<u32> = runs.map(|one| one.replica.index).collect();
    Ok(if found.is_empty() { vec![None] } else { found.into_iter().map(Some).collect() })
}

fn finish(
    context: &Context,
    (from, to): (String, String),
    looked: Vec<Looked>,
    (done, is_counted): (&Done, bool),
) -> Result<(), CliError> {
    if !done.left_out.is_empty() {
        let n = done.left_out.len();
        let mut names: Vec<String> =
            done.left_out.iter().take(LEFT_OUT).map(|name| format!("`{name}`")).collect();
        if n > LEFT_OUT {
            names.push(format!("and {} more", n - LEFT_OUT));
        }
        let words = "left out, as neither file, folder nor link";
        context.printer.warn(&format!("{words}: {}", names.join(", ")));
    }
    if context.json {
        let replicas = looked.into_iter().map(|Looked { index, host, .. }| Replica { index, host });
        let (replicas, files) = (replicas.collect(), is_counted.then_some(done.files));
        return context.printer.json(&Copied { from, to, replicas, files, bytes: done.bytes });
    }
    let what = match is_counted {
        true => format!("{}, {}", show::count(done.files, "file"), show::bytes(done.bytes)),
        false => show::bytes(done.bytes),
    };
    let places: Vec<String> =
        looked.iter().map(|one| format!("replica {} on `{}`", one.index, one.host)).collect();
    context.printer.say(&format!("copied {what} from `{from}` to `{to}`: {}", places.join(", ")));
    Ok(())
}

/// A moving line that counts bytes, where there is a terminal.
fn bar(context: &Context, words: &str) -> ProgressBar {
    if !context.printer.can_move() {
        return ProgressBar::hidden();
    }
    let template = "{spinner} {msg}  {binary_bytes}  {binary_bytes_per_sec}";
    let style = ProgressStyle::with_template(template).expect("the template is a constant");
    let bar = context.printer.bars().add(ProgressBar::new_spinner());
    bar.set_style(style);
    bar.set_message(words.to_owned());
    bar.tick();
    bar
}

/// The error of a copy that had begun.
fn incomplete(error: CliError) -> CliError {
    let words = format!("the copy broke off and may be incomplete: {error}");
    let hint = error.complaints.into_iter().find_map(|complaint| complaint.hint);
    let error = CliError::new(error.kind, words);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
