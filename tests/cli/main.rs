//! The real binary: exit code, standard output and standard error of whole commands, alone and
//! against a fake agent on a unix socket.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod alone;
mod apps;
mod config;
mod consoles;
mod copies;
mod export;
mod harness;
mod history;
mod hosts;
mod images;
mod jobs;
mod people;
mod seeing;
mod starting;
