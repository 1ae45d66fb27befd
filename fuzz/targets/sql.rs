#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| foretell::fuzzing::sql(text));
