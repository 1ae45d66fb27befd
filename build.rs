//! Compiles the CUDA kernels where the `cuda` feature asks for them; needs the toolkit's nvcc on the path.

use std::env;
use std::path::Path;
use std::process::Command;

const KERNELS: &str = "src/ml/layers/kernels.cu";

fn main() {
    println!("cargo::rerun-if-changed={KERNELS}");
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    println!("cargo::rerun-if-env-changed=CUDA_COMPUTE_CAP");
    let capability = env::var("CUDA_COMPUTE_CAP").unwrap_or_else(|_| "80".to_owned());
    let folder = env::var("OUT_DIR").unwrap_or_else(|_| ".".to_owned());
    let output = Path::new(&folder).join("kernels.ptx");
    let done = Command::new("nvcc")
        .args(["--ptx", "-O3", &format!("-arch=compute_{capability}"), "-o"])
        .arg(&output)
        .arg(KERNELS)
        .status();
    match done {
        Ok(status) if status.success() => {}
        Ok(status) => println!("cargo::error=nvcc failed on {KERNELS}: {status}"),
        Err(error) => {
            println!("cargo::error=the cuda feature needs nvcc of the CUDA toolkit on the path: {error}")
        }
    }
}
