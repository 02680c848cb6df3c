//! `muster check`.

use serde::Serialize;

use super::args::ProjectArgs;
use super::errors::{CliError, Outcome};
use super::printer::{self, Paint};
use super::{Context, project, show};
use crate::kubernetes::{self, RealDisk};
use crate::translate::Verdict;
use crate::translate::check::{ReportRow, Summary, report};

/// Lines are not made longer than this, however wide the terminal is.
const WIDTH_MAX: usize = 100;
/// How far reasons are moved in.
const INDENT: &str = "      ";

/// Say what muster does with each key of the Compose file; needs no agent, changes nothing
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit code 1 when a key is refused; with `--strict` also when one is ignored or approximated.")]
pub(super) struct CheckArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// Also list the keys that are done as the Compose Specification says
    #[arg(long)]
    all: bool,
    /// Fail unless every key is done as the Compose Specification says
    #[arg(long)]
    strict: bool,
    /// Where the app is to run
    #[arg(long, value_enum, default_value = "cluster")]
    target: Target,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Target {
    /// On a cluster of Docker hosts
    Cluster,
    /// On Kubernetes, by `muster export`
    Kubernetes,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    app: &'a str,
    summary: Summary,
    keys: Vec<&'a ReportRow>,
}

pub(super) fn run(
    args: CheckArgs,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    let loaded = project::load(&global.then(args.project), &[], Some(context))?;
    let rows = match args.target {
        Target::Cluster => report(&loaded),
        Target::Kubernetes => kubernetes::report(&loaded, &RealDisk, &Default::default()).rows,
    };
    let summary = Summary::of(&rows);
    let shown = rows.iter().filter(|row| args.all || row.note.verdict != Verdict::Done);
    let shown: Vec<&ReportRow> = shown.collect();
    if context.json {
        let app = loaded.project.name.as_str();
        context.printer.json(&Answer { app, summary, keys: shown })?;
    } else if !context.quiet() {
        let width = printer::stdout_width().map_or(WIDTH_MAX, usize::from).min(WIDTH_MAX);
        context.printer.data(&text(&shown, summary, width))?;
    }
    verdict(summary, args.strict)
}

/// Whether the file passes.
fn verdict(summary: Summary, strict: bool) -> Result<Outcome, CliError> {
    let Summary { done: _, approximated, ignored, refused } = summary;
    if refused > 0 {
        let keys = show::count(refused, "key");
        return Err(CliError::user(format!("the app cannot be run: {keys} refused")));
    }
    if strict && approximated + ignored > 0 {
        let keys = show::count(approximated + ignored, "key");
        let words = format!("{keys} not done as the Specification says");
        return Err(CliError::user(words).hint("without `--strict` this is no error"));
    }
    Ok(Outcome::Done)
}

/// A part for each verdict; keys with one reason stand together. The summary comes last.
fn text(rows: &[&ReportRow], summary: Summary, width: usize) -> String {
    let mut text = String::new();
    let file = the_file(rows);
    if let Some(file) = file {
        text.push_str(&format!("{}\n\n", Paint::Bold.on(file)));
    }
    for part in rows.chunk_by(|a, b| a.note.verdict == b.note.verdict) {
        let Some(first) = part.first() else { continue };
        text.push_str(&heading(first.note.verdict));
        text.push('\n');
        for group in groups(part) {
            text.push_str(&group_text(&group, file.is_some(), width));
        }
        text.push('\n');
    }
    let Summary { done, approximated, ignored, refused } = summary;
    let counts = [
        (done, "done", Paint::Green),
        (approximated, "approximated", Paint::Cyan),
        (ignored, "ignored", Paint::Yellow),
        (refused, "refused", Paint::Red),
    ];
    let counts = counts.map(|(count, word, paint)| {
        let words = format!("{count} {word}");
        if count == 0 { Paint::Dim.on(words) } else { paint.on(words) }
    });
    text.push_str(&counts.join(", "));
    text
}

/// The one file that all keys stand in, if there is one.
fn the_file<'a>(rows: &[&'a ReportRow]) -> Option<&'a str> {
    let mut files = rows.iter().filter_map(|row| row.location.as_ref()).map(|at| &*at.file);
    let first = files.next()?;
    files.all(|file| file == first).then_some(first)
}

fn heading(verdict: Verdict) -> String {
    let (paint, words) = match verdict {
        Verdict::Refused => (Paint::Red, "the app is not run with these"),
        Verdict::Ignored => (Paint::Yellow, "without effect"),
        Verdict::Approximated => (Paint::Cyan, "nearly as the Specification says"),
        Verdict::Done => (Paint::Green, "as the Specification says"),
    };
    format!("{}: {words}", paint.on(verdict))
}

/// Keys of which the same is said, in the order of the first of each.
fn groups<'a>(rows: &[&'a ReportRow]) -> Vec<Vec<&'a ReportRow>> {
    let mut groups: Vec<Vec<&ReportRow>> = Vec::new();
    for row in rows {
        let said = |row: &ReportRow| (row.note.reason.clone(), row.note.remedy.clone());
        match groups.iter_mut().find(|group| said(group[0]) == said(row)) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups
}

fn group_text(group: &[&ReportRow], is_one_file: bool, width: usize) -> String {
    let place = |row: &ReportRow| match row.location.as_ref() {
        Some(at) if is_one_file => format!("line {}", at.line),
        Some(at) => format!("{}:{}", at.file, at.line),
        None => String::new(),
    };
    let wide = group.iter().map(|row| place(row).chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for row in group {
        let place = format!("{:<wide$}", place(row));
        let place = if wide == 0 { String::new() } else { format!("{}  ", Paint::Dim.on(place)) };
        text.push_str(&format!("  {place}{}\n", row.note.path));
    }
    let Some(first) = group.first() else { return text };
    if !first.note.reason.is_empty() {
        text.push_str(&show::wrapped(&first.note.reason, INDENT, INDENT, width));
    }
    if let Some(remedy) = &first.note.remedy {
        let hint = format!("{INDENT}hint: ");
        let lines = show::wrapped(remedy, &hint, &format!("{INDENT}      "), width);
        text.push_str(&lines.replacen("hint:", &Paint::Cyan.on("hint:"), 1));
    }
    text
}
