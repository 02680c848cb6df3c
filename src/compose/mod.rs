//! Text to a [`project::Project`]. Knows Compose, nothing of clusters.

pub mod project;
