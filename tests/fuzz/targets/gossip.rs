//! The fuzzing target `gossip`; `muster::agent::fuzzing` says what must hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| muster::agent::fuzzing::gossip_target(bytes));
