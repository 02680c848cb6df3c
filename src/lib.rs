//! `muster` runs a Docker Compose file, as it is, on several machines.
//!
//! The modules in reading order:
//!
//! 1. [`compose`]: text to a `Project`. The only user of YAML; knows nothing of clusters.
//! 2. [`model`]: the nouns everything else speaks in.
//! 3. [`translate`]: `Project` to `Revision`; holds the verdict table, one row a key.
//! 4. [`kubernetes`]: `Project` to Kubernetes objects, a Kustomize tree or a Helm chart.
//! 5. [`logic`]: decides and never does: membership, state, plan, schedule, host diff, names.
//! 6. [`swarm`]: QUIC between hosts, identity, joining, and the store on disk.
//! 7. [`docker`]: the container engine behind one trait.
//! 8. [`network`]: addresses, routes, nftables, published ports.
//! 9. [`agent`]: the loop of one host; carries out what `logic` decided.
//! 10. [`api`]: the HTTP interface of an agent, on a unix socket.
//! 11. [`doctor`]: what keeps a machine from being a good host.
//! 12. [`cli`]: one file a command.

pub mod compose;
pub mod model;
pub mod translate;

pub mod kubernetes;

pub mod logic;

pub mod agent;
pub mod api;
pub mod cli;
pub mod docker;
pub mod doctor;
pub mod network;
pub mod overlay;
pub mod swarm;

pub mod config;
pub mod supervisor;
pub mod telemetry;
