//! Decides, never does. Time and events go in, effects come out; no clock, no randomness, no
//! input or output, no locks, so that the simulator runs the same code as a real host.
//!
//! Reading order: [`core`] holds one host together; [`membership`] and [`state`] are what it knows
//! of the others; [`plan`] (with `rollout`, `judge`, [`targets`], `pins`, `pods`, `rebalance`, [`schedule`]
//! and [`home`]) and [`autoscale`] are what the Home of an App decides, [`runs`] and [`cron`] what it runs
//! by the clock or when asked, [`gang`] what it places whole or not at all, [`drain`] what leaves a host, [`fleet`] when hosts are added and given back;
//! [`host`] (with [`health`], [`restart`] and
//! [`room`]) is what this host does about it; [`endpoints`] and [`names`] are what follows for packets
//! and for names; [`usage`] makes rates of what was measured, [`peak`] what to reserve, [`busy`] says how
//! busy a host is.

pub mod core;
mod message;

pub mod membership;
pub mod state;
pub mod view;

pub mod autoscale;
pub mod cron;
pub mod drain;
pub mod fleet;
pub mod gang;
pub mod home;
mod judge;
mod pins;
pub mod plan;
mod pods;
mod rebalance;
mod rollout;
pub mod runs;
pub mod schedule;
pub mod targets;

pub mod health;
pub mod host;
pub mod operation;
pub mod restart;
pub mod room;

pub mod addresses;
pub mod endpoints;
pub mod names;

pub mod busy;
pub mod peak;
pub mod usage;
pub mod vertical;

mod rng;

#[cfg(test)]
pub(crate) mod testing;

pub use message::*;
pub use rng::Rng;
