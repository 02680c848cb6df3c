//! `muster config`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::args::ProjectArgs;
use super::errors::{CliError, Outcome};
use super::{Context, project};
use crate::compose::print::{self, PrintError};
use crate::compose::project::{Project, Service};
use crate::compose::{self, Skip, Variable};
use crate::telemetry;

/// Print the Compose file as muster understands it: merged, with variables filled in
#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    /// Services to print, with those they depend on; all when none is named
    #[arg(id = "chosen", value_name = "SERVICE")]
    services: Vec<String>,
    #[command(flatten)]
    project: ProjectArgs,
    /// Form of the output
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write the whole file there, not to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    list: List,
    #[command(flatten)]
    without: Without,
    /// Refused: muster asks no registry while it reads a file
    #[arg(long)]
    resolve_image_digests: bool,
    /// Refused for the same reason
    #[arg(long)]
    lock_image_digests: bool,
    /// Changes nothing, as this command does in any case
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Yaml,
    Json,
}

/// Print something else than all.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct List {
    /// Print the names of the services, one a line
    #[arg(long)]
    services: bool,
    /// Print the images, one a line
    #[arg(long)]
    images: bool,
    /// Print the names of the volumes, one a line
    #[arg(long)]
    volumes: bool,
    /// Print the names of the networks, one a line
    #[arg(long)]
    networks: bool,
    /// Print the AI models, one a line
    #[arg(long)]
    models: bool,
    /// Print the profiles, one a line
    #[arg(id = "profile_names", long = "profiles")]
    profiles: bool,
    /// Print the variables that the file asks for, with what stands in for each
    #[arg(long)]
    variables: bool,
    /// Print the variables that fill in the file, `NAME=value`, one a line
    #[arg(long)]
    environment: bool,
    /// Print the hash of each service, as Docker Compose counts it; names with commas, or `*`
    #[arg(long, value_name = "SERVICES")]
    hash: Option<String>,
}

/// Steps to leave out.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Steps to leave out")]
struct Without {
    /// Leave `${VARIABLES}` as they are
    #[arg(long)]
    no_interpolate: bool,
    /// Leave out default networks, names and implied dependencies
    #[arg(long)]
    no_normalize: bool,
    /// Leave relative paths as they are
    #[arg(long)]
    no_path_resolution: bool,
    /// Do not look for contradictions; the result may not run
    #[arg(long)]
    no_consistency: bool,
    /// Do not read files of `env_file`
    #[arg(long)]
    no_env_resolution: bool,
}

impl Without {
    fn skip(&self) -> Skip {
        Skip {
            normalisation: self.no_normalize,
            paths: self.no_path_resolution,
            consistency: self.no_consistency,
            env_files: self.no_env_resolution,
        }
    }
}

pub(super) fn run(
    args: ConfigArgs,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    let ConfigArgs { dry_run: _, .. } = args;
    let digests = [
        (args.resolve_image_digests, "--resolve-image-digests"),
        (args.lock_image_digests, "--lock-image-digests"),
    ];
    if let Some((_, option)) = digests.iter().find(|(asked, _)| *asked) {
        let error = CliError::user(format!("`{option}` is not done: it asks registries"));
        return Err(error.hint("write the digest in the file: `image: name@sha256:…`"));
    }
    let format = match args.format {
        None if context.json => Some(Format::Json),
        format => format,
    };
    let project = global.then(args.project);
    let skip = args.without.skip();
    let services = &args.services;
    let whole_file = args.list.variables || args.without.no_interpolate;
    if whole_file && !services.is_empty() {
        context
            .printer
            .say("services are not chosen before variables are filled in: all are shown");
    }
    if args.list.variables {
        variables(format, &project, skip, context)?;
    } else if args.without.no_interpolate {
        let value = project::load_uninterpolated(skip, false, &project, context)?.value;
        if args.list.services {
            let services = value.get("services").and_then(Json::as_object);
            lines(services.into_iter().flatten().map(|(name, _)| name.clone()), context)?;
        } else if let Some(name) = args.list.name() {
            let words = format!("`{name}` needs the variables that `--no-interpolate` leaves out");
            return Err(CliError::user(words).hint("give one of the two"));
        } else {
            let text = match format {
                Some(Format::Json) => {
                    serde_json::to_string_pretty(&value).map_err(PrintError::Json)
                }
                Some(Format::Yaml) | None => print::value_to_yaml(&value),
            };
            whole(&readable(text)?, args.output.as_deref(), context)?;
        }
    } else {
        let loaded = args.list.load(services, skip, &project, context)?;
        if let Some(list) = args.list.of(&loaded)? {
            lines(list, context)?;
        } else {
            let text = match format {
                Some(Format::Json) => print::to_json(&loaded),
                Some(Format::Yaml) | None => print::to_yaml(&loaded),
            };
            whole(&readable(text)?, args.output.as_deref(), context)?;
        }
    }
    Ok(Outcome::Done)
}

fn readable<T>(printed: Result<T, PrintError>) -> Result<T, CliError> {
    printed.map_err(|error| CliError::user(telemetry::chain(&error)))
}

/// Prints the file; when quiet, only whether it could be is asked.
fn whole(text: &str, output: Option<&Path>, context: &Context) -> Result<(), CliError> {
    match output {
        _ if context.quiet() => Ok(()),
        None => context.printer.data(text.trim_end()),
        Some(path) => std::fs::write(path, format!("{}\n", text.trim_end()))
            .map_err(|error| CliError::user(format!("cannot write `{}`: {error}", path.display()))),
    }
}

fn lines(all: impl IntoIterator<Item = String>, context: &Context) -> Result<(), CliError> {
    all.into_iter().try_for_each(|line| context.printer.data(&line))
}

impl List {
    /// What was asked for, when it is a list.
    fn name(&self) -> Option<&'static str> {
        let asked = [
            (self.services, "--services"),
            (self.images, "--images"),
            (self.volumes, "--volumes"),
            (self.networks, "--networks"),
            (self.models, "--models"),
            (self.profiles, "--profiles"),
            (self.variables, "--variables"),
            (self.environment, "--environment"),
            (self.hash.is_some(), "--hash"),
        ];
        asked.into_iter().find(|(asked, _)| *asked).map(|(_, name)| name)
    }

    /// Some lists are the same whatever is in the files of variables, so these need not be there.
    fn adapted(&self, skip: Skip) -> Skip {
        let names = self.services || self.volumes || self.networks || self.models;
        Skip { env_files: skip.env_files || names, ..skip }
    }

    /// The project with the services that are asked for. Some lists are of all of them, as in the
    /// reference.
    fn load(
        &self,
        services: &[String],
        skip: Skip,
        args: &ProjectArgs,
        context: &Context,
    ) -> Result<Project, CliError> {
        let names = self.services || self.volumes || self.networks || self.models;
        let services = if names || self.hash.is_some() { &[] } else { services };
        let skip = self.adapted(skip);
        let mut project = match services {
            [_, ..] if skip == Skip::default() => project::load(args, services, Some(context))?,
            _ => project::load_without(skip, args, context)?,
        }
        .project;
        if !services.is_empty() {
            compose::select(&mut project, services)
                .map_err(|error| CliError::user(error.to_string()).hint(error.hint))?;
        }
        Ok(project)
    }

    fn of(&self, project: &Project) -> Result<Option<Vec<String>>, CliError> {
        Ok(Some(if self.services {
            project.services.keys().cloned().collect()
        } else if self.images {
            let services = project.services.iter();
            let own = services.flat_map(|(name, it)| images(name, it, project));
            own.chain(project.jobs.values().filter_map(image)).collect()
        } else if self.volumes {
            section("volumes", project)?
        } else if self.networks {
            section("networks", project)?
        } else if self.models {
            let used = section("models", project)?;
            let model = |it: &Json| it.get("model").and_then(Json::as_str).map(str::to_owned);
            used.iter().filter_map(|name| model(project.models.get(name)?)).collect()
        } else if self.profiles {
            let all = project.all_services().flat_map(|(_, it)| it.profiles.iter().cloned());
            all.collect::<BTreeSet<String>>().into_iter().collect()
        } else if self.environment {
            project.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()
        } else if let Some(services) = &self.hash {
            hashes(services, project)?
        } else {
            return Ok(None);
        }))
    }
}

fn section(name: &str, project: &Project) -> Result<Vec<String>, CliError> {
    readable(print::names(project, name))
}

/// The image of a service, and those of its steps.
fn images(name: &str, service: &Service, project: &Project) -> Vec<String> {
    let own = || format!("{}-{name}", project.name);
    let mut images = vec![service.image.clone().unwrap_or_else(own)];
    let steps = service.other.get("pre_start").and_then(Json::as_array);
    for image in steps.into_iter().flatten().filter_map(image) {
        if !images.contains(&image) {
            images.push(image);
        }
    }
    images
}

fn image(container: &Json) -> Option<String> {
    container.get("image").and_then(Json::as_str).map(str::to_owned)
}

fn hashes(services: &str, project: &Project) -> Result<Vec<String>, CliError> {
    let hashes = readable(compose::service_hash(project))?;
    let line = |(name, hash): &(String, String)| format!("{name} {hash}");
    if services == "*" {
        return Ok(hashes.iter().map(line).collect());
    }
    let asked: BTreeSet<&str> = services.split(',').collect();
    if let Some(name) = asked.iter().find(|name| !project.services.contains_key(**name)) {
        return Err(CliError::user(format!("there is no service `{name}`"))
            .hint("`muster config --services` shows which there are"));
    }
    Ok(hashes.iter().filter(|(name, _)| asked.contains(name.as_str())).map(line).collect())
}

fn variables(
    format: Option<Format>,
    args: &ProjectArgs,
    skip: Skip,
    context: &Context,
) -> Result<(), CliError> {
    let value = project::load_uninterpolated(skip, true, args, context)?.value;
    let variables = compose::variables(&value);
    match format {
        Some(Format::Json) => context.printer.json(&variables),
        Some(Format::Yaml) => {
            // The reference has keys of its own for YAML.
            let plain = variables.values().map(|it| (it.name.clone(), lower_case(it))).collect();
            let text = readable(print::value_to_yaml(&Json::Object(plain)))?;
            context.printer.data(text.trim_end())
        }
        None => {
            let head = ["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"].map(str::to_owned);
            let rows = variables.into_values().map(|it| {
                let Variable { name, default_value, presence_value, required } = it;
                [name, required.to_string(), default_value, presence_value]
            });
            lines(table(std::iter::once(head).chain(rows).collect()), context)
        }
    }
}

fn lower_case(variable: &Variable) -> Json {
    let Variable { name, default_value, presence_value, required } = variable;
    serde_json::json!({
        "name": name,
        "defaultvalue": default_value,
        "presencevalue": presence_value,
        "required": required,
    })
}

/// Columns as wide as in the reference, which scripts may cut.
fn table(rows: Vec<[String; 4]>) -> Vec<String> {
    const LEAST: usize = 20;
    const SPACE: usize = 3;
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count() + SPACE);
        widths.max().unwrap_or_default().max(LEAST)
    };
    let [name, required, default] = [0, 1, 2].map(width);
    let line = |row: &[String; 4]| {
        let [a, b, c, d] = row;
        format!("{a:<name$}{b:<required$}{c:<default$}{d}")
    };
    rows.iter().map(line).collect()
}
