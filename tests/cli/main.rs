//! The real binary: exit code, standard output and standard error of whole commands, alone and
//! against a fake agent on a unix socket.

mod alone;
mod apps;
mod harness;
mod images;
mod starting;
