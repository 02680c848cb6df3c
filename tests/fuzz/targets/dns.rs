//! The fuzzing target `dns`; `muster_dns::fuzzing` says what must hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| muster_dns::fuzzing::message_target(bytes));
