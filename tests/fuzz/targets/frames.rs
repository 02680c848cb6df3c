//! The fuzzing target `frames`; `muster::agent::fuzzing` says what must hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| muster::agent::fuzzing::frames_target(bytes));
