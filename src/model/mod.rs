//! The nouns of muster, as plain data.
//!
//! Nothing here parses YAML, waits, or speaks to Docker. What is serialised here is the form kept
//! on disk and sent between hosts: new fields must carry `#[serde(default)]`, and a field is never
//! given another meaning.

mod autoscale;
mod body;
mod check;
mod console;
mod device;
mod fleet;
mod gang;
mod hooks;
mod ids;
mod intent;
mod job;
mod observed;
mod operator;
mod path;
mod plan;
mod pod;
mod record;
mod revision;
mod rollout;
mod row;
mod sealed;
mod setback;
mod time;
mod tuning;
mod url;
mod usage;
mod vertical;

pub use autoscale::*;
pub use body::*;
pub use check::*;
pub use console::*;
pub use device::*;
pub use fleet::*;
pub use gang::*;
pub use hooks::*;
pub use ids::*;
pub use intent::*;
pub use job::*;
pub use observed::*;
pub use operator::*;
pub use path::*;
pub use plan::*;
pub use record::*;
pub use revision::*;
pub use rollout::*;
pub use row::*;
pub use sealed::*;
pub use setback::*;
pub use time::*;
pub use tuning::*;
pub use url::*;
pub use usage::*;
pub use vertical::*;
