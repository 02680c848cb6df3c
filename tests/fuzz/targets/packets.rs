//! The fuzzing target `packets`; `muster::overlay::fuzzing` says what must hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| muster::overlay::fuzzing::packets_target(bytes));
