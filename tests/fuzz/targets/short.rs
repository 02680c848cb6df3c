//! The fuzzing target `short`; `muster::compose::fuzzing` says what must hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| muster::compose::fuzzing::short_target(bytes));
