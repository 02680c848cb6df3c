//! The product as a whole on several real Docker hosts, on one machine: the real binary, the real
//! engine, real networks, real faults. Slow, so only for what no lower test can show.
//!
//! Needs Linux, root and what `make setup` installs; says so in one sentence where it cannot run.
//! `MUSTER_SKIP_CLUSTER=1` skips these tests.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "tests say what they measured")]

mod cluster;
mod consoles;
mod copies;
mod engine;
mod faults;
mod guestbook;
mod health;
mod hosts;
mod input;
mod jobs;
mod lab;
mod matrix;
mod overlay;
mod pods;
mod ports;
mod prometheus;
mod scaling;
mod seeing;
mod single;
mod updates;
mod web;
