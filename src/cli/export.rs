//! `muster export`.

use std::path::PathBuf;

use serde::Serialize;

use super::args::ProjectArgs;
use super::errors::{CliError, Kind, Outcome};
use super::printer::Paint;
use super::{Context, folder, project, show, validate, variants};
use crate::kubernetes::{
    self, Export, Gateway, Publish, RealDisk, Report, Secrets, Vpa, WantedRoute,
};
use crate::translate::Verdict;
use crate::translate::check::{ReportRow, Summary};

/// Write the project as Kubernetes objects, with a report of what differs; needs no agent
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The folder is written whole or not at all. Files of yours in it stay; one that an export wrote and
you changed stops the next export, unless `--force` is given.")]
pub(super) struct ExportArgs {
    /// Form of the output
    #[arg(long, value_enum, value_name = "FORM", required_unless_present = "validate")]
    to: Option<Form>,
    /// Folder to write
    #[arg(short, long, value_name = "FOLDER", required_unless_present_any = ["validate", "stdout"])]
    output: Option<PathBuf>,
    /// Print the objects instead, as one stream
    #[arg(long, conflicts_with = "output")]
    stdout: bool,
    /// Look at manifests of anybody as the API would, and write nothing
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["to", "output", "stdout"])]
    validate: Option<PathBuf>,
    /// Fail when a key is not carried over exactly; nothing is written then
    #[arg(long)]
    strict: bool,
    /// Write over files that were changed since the last export
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    choices: Choices,
    #[command(flatten)]
    project: ProjectArgs,
}

/// How the objects are to be.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Objects")]
struct Choices {
    /// Namespace of the objects
    #[arg(long, value_name = "NAME", value_parser = kubernetes::namespace)]
    namespace: Option<String>,
    /// What becomes of passwords and the like
    #[arg(long, value_enum, default_value = "plain", value_name = "HOW")]
    secrets: SecretsWord,
    /// How published ports are reached from outside
    #[arg(long, value_enum, default_value = "inside", value_name = "HOW")]
    publish: PublishWord,
    /// Lead requests to a service: `shop.example.org/path=web:8080`; may be given several times
    #[arg(long, value_name = "ROUTE")]
    ingress: Vec<WantedRoute>,
    /// Class of Ingresses
    #[arg(long, value_name = "NAME", conflicts_with = "gateway")]
    ingress_class: Option<String>,
    /// Make routes of this Gateway in the place of Ingresses: `public` or `infra/public`
    #[arg(long, value_name = "GATEWAY")]
    gateway: Option<Gateway>,
    /// Watch over what pods request by what they use; needs the add-on in the cluster
    #[arg(long, value_enum, value_name = "HOW")]
    vpa: Option<VpaWord>,
    /// Storage class of volumes
    #[arg(long, value_name = "NAME")]
    storage_class: Option<String>,
    /// Size of volumes that name none
    #[arg(long, value_name = "SIZE", default_value = "10Gi", value_parser = kubernetes::size)]
    volume_size: String,
    /// Keep networks of the file apart by NetworkPolicies
    #[arg(long)]
    network_policies: bool,
    /// Registry and folder of the images that are built
    #[arg(long, value_name = "PREFIX")]
    image_prefix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// A file an object, for `kubectl apply`
    Kubernetes,
    /// A base, and overlays of profiles and override files
    Kustomize,
    /// A chart with values
    Helm,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum SecretsWord {
    /// Written to files of their own, kept out of Git
    Plain,
    /// Referred to; they have to be in the cluster
    External,
    /// Written without their values, to be filled in and sealed
    SealedStub,
    /// Left out with all that refers to them: something else puts them into the pods
    Omit,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum PublishWord {
    /// Not at all: by an Ingress, or `kubectl port-forward`
    Inside,
    /// At a port of every node
    NodePort,
    /// At an address of their own
    LoadBalancer,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum VpaWord {
    /// Say what would suffice, and change nothing
    Recommend,
    /// Give it to new pods
    Initial,
    /// Replace pods for it
    Recreate,
    /// Give it to pods while they run, and replace them only where that cannot be done
    InPlace,
}

impl Choices {
    fn options(&self) -> kubernetes::Options {
        kubernetes::Options {
            namespace: self.namespace.clone(),
            storage_class: self.storage_class.clone(),
            volume_size: self.volume_size.clone(),
            secrets: match self.secrets {
                SecretsWord::Plain => Secrets::Plain,
                SecretsWord::External => Secrets::External,
                SecretsWord::SealedStub => Secrets::Stub,
                SecretsWord::Omit => Secrets::Omit,
            },
            publish: match self.publish {
                PublishWord::Inside => Publish::Inside,
                PublishWord::NodePort => Publish::NodePort,
                PublishWord::LoadBalancer => Publish::LoadBalancer,
            },
            ingress: self.ingress.clone(),
            ingress_class: self.ingress_class.clone(),
            gateway: self.gateway.clone(),
            vpa: self.vpa.map(|word| match word {
                VpaWord::Recommend => Vpa::Recommend,
                VpaWord::Initial => Vpa::Initial,
                VpaWord::Recreate => Vpa::Recreate,
                VpaWord::InPlace => Vpa::InPlace,
            }),
            network_policies: self.network_policies,
            image_prefix: self.image_prefix.clone(),
        }
    }
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    app: &'a str,
    summary: Summary,
    files: Vec<&'a str>,
    keys: Vec<&'a ReportRow>,
}

pub(super) fn run(
    args: ExportArgs,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    if let Some(folder) = &args.validate {
        return validate::run(folder, context);
    }
    if args.stdout && args.to != Some(Form::Kubernetes) {
        let error = CliError::new(Kind::Usage, "only `--to kubernetes` can be printed");
        return Err(error.hint("write the others with `-o FOLDER`"));
    }
    let project_args = global.then(args.project);
    let loaded = project::load(&project_args, &[], Some(context))?;
    let options = args.choices.options();
    for route in &options.ingress {
        if !loaded.project.services.contains_key(&route.service) {
            let words = format!("`--ingress` names `{}`, which is no service", route.service);
            return Err(CliError::user(words));
        }
    }
    let export = match args.to {
        Some(Form::Kubernetes) | None => kubernetes::export(&loaded, &RealDisk, &options),
        Some(Form::Kustomize) => {
            let (base, variants) = variants::of(&project_args, &loaded);
            let base = base.as_ref().unwrap_or(&loaded);
            kubernetes::kustomize(base, &variants, &RealDisk, &options)
        }
        Some(Form::Helm) => {
            let whole = variants::with_all_profiles(&project_args, &loaded);
            let whole = whole.as_ref().unwrap_or(&loaded);
            let raw = variants::uninterpolated(&project_args);
            let active = variants::active(&loaded);
            kubernetes::helm(whole, (raw.as_ref(), &active), &RealDisk, &options)
        }
    };
    let is_object = |file: &kubernetes::File| file.text.contains("\nkind: ");
    if !export.files.iter().any(is_object) {
        let error = CliError::user("nothing to export: no service runs");
        return Err(error.hint("switch some on with `--profile`"));
    }
    if args.strict {
        strict(&export.report, context)?;
    }
    if args.stdout {
        let objects = export.files.iter().filter(|file| file.path.ends_with(".yaml"));
        let texts: Vec<&str> = objects.map(|file| file.text.trim_end()).collect();
        context.printer.raw(&format!("{}\n", texts.join("\n---\n")))?;
    } else if let Some(output) = &args.output {
        folder::write(output, &export.files, args.force)?;
    }
    let app = loaded.project.name.as_str();
    say(&export, (app, args.output.as_deref()), args.stdout, context)?;
    Ok(Outcome::Done)
}

/// The report on standard error, or all as JSON.
fn say(
    export: &Export,
    (app, output): (&str, Option<&std::path::Path>),
    stdout: bool,
    context: &Context,
) -> Result<(), CliError> {
    let Report { rows, summary } = &export.report;
    let differing = || rows.iter().filter(|row| row.note.verdict != Verdict::Done);
    if context.json && !stdout {
        let files = export.files.iter().map(|file| file.path.as_str()).collect();
        return context.printer.json(&Answer {
            app,
            summary: *summary,
            files,
            keys: differing().collect(),
        });
    }
    for row in differing() {
        context.printer.say(&line(row));
    }
    let Summary { done, approximated, ignored, refused } = *summary;
    let files = show::count(export.files.len(), "file");
    let place = output.map_or_else(String::new, |path| format!(" in `{}`", path.display()));
    context.printer.say(&format!(
        "{files}{place}; keys: {done} as they are, {approximated} nearly, {} not carried over",
        ignored + refused
    ));
    Ok(())
}

fn line(row: &ReportRow) -> String {
    let word = match row.note.verdict {
        Verdict::Ignored | Verdict::Refused => Paint::Yellow.on("warning:"),
        Verdict::Done | Verdict::Approximated => Paint::Cyan.on("note:"),
    };
    let place = row.location.as_ref();
    let place = place.map_or_else(String::new, |at| format!(" at {}:{}", at.file, at.line));
    let hint = row.note.remedy.as_ref();
    let hint =
        hint.map_or_else(String::new, |words| format!("\n  {} {words}", Paint::Cyan.on("hint:")));
    let (path, verdict, reason) = (&row.note.path, row.note.verdict, &row.note.reason);
    format!("{word} `{path}`{place} is {verdict}: {reason}{hint}")
}

/// Fails on a file that would lose something.
fn strict(report: &Report, context: &Context) -> Result<(), CliError> {
    let Summary { done: _, approximated, ignored, refused } = report.summary;
    if approximated + ignored + refused == 0 {
        return Ok(());
    }
    for row in report.rows.iter().filter(|row| row.note.verdict != Verdict::Done) {
        context.printer.say(&line(row));
    }
    let keys = show::count(approximated + ignored + refused, "key");
    let error = CliError::user(format!("{keys} would not be carried over exactly"));
    Err(error.hint("without `--strict` this is no error"))
}
