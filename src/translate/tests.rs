//! The table against the translator, and the rules that are more than a copy.

mod autoscale;
mod examples;
mod page;
mod pods;
mod rules;
mod table_is_true;

use serde_json::{Value, json};

use super::*;

/// A context like any other.
fn context() -> Context {
    Context { host: HostId::new("h1"), command: "up".to_owned(), at: WallSeconds(7) }
}

/// A project from canonical JSON, loaded where `S` is set.
#[track_caller]
fn project(value: Value) -> Project {
    let mut project = Project::from_canonical(value.clone())
        .unwrap_or_else(|error| panic!("not canonical: {error}: {value}"));
    project.working_dir = env!("CARGO_MANIFEST_DIR").into();
    project.environment.insert("S".to_owned(), "from the environment".to_owned());
    project
}

/// A project `app` with the service `web`, beside it a service `db`.
#[track_caller]
fn web(mut service: Value) -> Project {
    if service.get("image").is_none() && service.get("build").is_none() {
        service["image"] = json!("nginx:1");
    }
    project(json!({
        "name": "app",
        "services": {"web": service, "db": {"image": "postgres:15"}},
        "volumes": {"data": {}},
    }))
}
