//! The agent of one host: drives [`crate::logic::core::Core`] and carries out what it decides.
//!
//! Reading order: [`preview`] and [`views`] turn what the core knows into what the API shows.

pub mod preview;
pub mod requests;
pub mod views;
