//! Benchmarks: `cargo bench` runs all, `cargo bench -- reopen` those named; results as a table and one JSON line each.

mod accuracy;
mod featurise;
mod layers;
mod peers;
mod reopen;
mod texts;
mod trees;
mod wire;
mod zero_shot;

use std::path::PathBuf;
use std::process::ExitCode;

use foretell::{Error, Result};
use mimalloc::MiMalloc;

/// That of the command.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

type Benchmark = (&'static str, fn() -> Result<Report>);

const BENCHMARKS: [Benchmark; 8] = [
    ("accuracy", accuracy::run),
    ("featurise", featurise::run),
    ("layers", layers::run),
    ("reopen", reopen::run),
    ("texts", texts::run),
    ("trees", trees::run),
    ("wire", wire::run),
    ("zero_shot", zero_shot::run),
];

/// What a benchmark found.
struct Report {
    /// Label and value of each line of the table.
    lines: Vec<(String, String)>,
    /// The same for machines.
    json: serde_json::Value,
}

fn main() -> ExitCode {
    // SAFETY: no other thread has started that could read the environment.
    unsafe { std::env::set_var(foretell::CANDLE_THREADS, "1") };
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let mut code = ExitCode::SUCCESS;
    for (name, run) in BENCHMARKS {
        if !wanted.is_empty() && !wanted.iter().any(|w| w == name) {
            continue;
        }
        match run() {
            Ok(report) => print(name, &report),
            Err(error) => {
                eprintln!("{name}: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

fn print(name: &str, report: &Report) {
    println!("{name}");
    let width = report.lines.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    for (label, value) in &report.lines {
        println!("  {label:width$}  {value:>14}");
    }
    println!("{}", serde_json::json!({ "benchmark": name, "result": report.json }));
}

/// The folder of real data: `FORETELL_DATA_DIR`, else `../shared/data`.
fn data_folder() -> Result<PathBuf> {
    let folder = std::env::var("FORETELL_DATA_DIR").unwrap_or_else(|_| "../shared/data".to_owned());
    PathBuf::from(folder).canonicalize().map_err(|e| {
        Error::internal(format!(
            "no real data: {e}; set FORETELL_DATA_DIR to the folder of the Parquet files"
        ))
    })
}

/// The middle value.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Seconds of processor time that this process has used, all threads together.
fn cpu_seconds() -> f64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the call fills the structure it is given.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
