#![no_main]

use std::panic::set_hook;
use std::sync::Once;

/// Panics of readers are errors of their statements: the process is not to end for one that is caught.
static QUIET: Once = Once::new();

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    QUIET.call_once(|| set_hook(Box::new(|_| {})));
    foretell::fuzzing::parquet(bytes)
});
