//! `muster config`.

use super::args::ProjectArgs;
use super::errors::{CliError, Outcome};
use super::{Context, project};
use crate::compose::print;
use crate::compose::project::Project;
use crate::telemetry;

/// Print the Compose file as muster understands it: merged, with variables filled in
#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Yaml)]
    format: Format,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Yaml,
    Json,
}

/// Print names instead of all.
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
    /// Print the profiles, one a line
    #[arg(id = "profile_names", long = "profiles")]
    profiles: bool,
}

pub(super) fn run(
    args: ConfigArgs,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    let project = project::load(&global.then(args.project), &[], Some(context))?.project;
    if let Some(names) = names(&args.list, &project) {
        for name in names {
            context.printer.data(&name)?;
        }
    } else {
        // Printed whole even when quiet only asks whether it can be.
        let text = if context.json || args.format == Format::Json {
            print::to_json(&project)
        } else {
            print::to_yaml(&project)
        };
        let text = text.map_err(|error| CliError::user(telemetry::chain(&error)))?;
        if !context.quiet() {
            context.printer.data(text.trim_end())?;
        }
    }
    Ok(Outcome::Done)
}

fn names(list: &List, project: &Project) -> Option<Vec<String>> {
    if list.services {
        Some(project.services.keys().cloned().collect())
    } else if list.images {
        let image = |(key, service): (&String, &crate::compose::project::Service)| {
            let own = || format!("{}-{key}", project.name);
            service.image.clone().unwrap_or_else(own)
        };
        Some(project.services.iter().map(image).collect())
    } else if list.volumes {
        Some(project.volumes.keys().cloned().collect())
    } else if list.networks {
        Some(project.networks.keys().cloned().collect())
    } else if list.profiles {
        let all = project.all_services().flat_map(|(_, service)| service.profiles.iter().cloned());
        let all: std::collections::BTreeSet<String> = all.collect();
        Some(all.into_iter().collect())
    } else {
        None
    }
}
