//! Where tensors are computed: on the processor, or on an NVIDIA card where the `cuda` feature is built in.

use candle_core::Device;

use crate::error::Result;
#[cfg(not(feature = "cuda"))]
use crate::error::{Error, Subject};

/// The environment variable that tells how many threads Candle keeps for pointwise operations of its own. They spin while they
/// wait, and work is divided among the engine's threads already: a program sets it to 1 before it starts any thread, as the
/// command does. Without it pretraining takes 1.6 times as long; results are the same.
pub const CANDLE_THREADS: &str = "CANDLE_NUM_THREADS";

/// Where the user wants tensors to be computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Placement {
    /// On a card where there is one and it was built in, else on the processor; networks that learn from small batches are on
    /// the processor.
    #[default]
    Auto,
    /// On the processor.
    Cpu,
    /// On the first NVIDIA card.
    Cuda,
}

impl Placement {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Cpu, Self::Cuda];

    /// Its word in SQL.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }

    /// The one at this place of [`Placement::ALL`].
    pub fn at(place: usize) -> Self {
        Self::ALL.get(place).copied().unwrap_or_default()
    }

    /// The device of a network whose batches are small: a card only where it is named.
    pub fn open_if_named(self) -> Result<Device> {
        match self {
            Self::Auto => Self::Cpu.open(),
            named => named.open(),
        }
    }

    /// The device; an error where it is not there.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda => cuda(true),
            Self::Auto => Ok(cuda(true).unwrap_or(Device::Cpu)),
        }
    }
}

/// The first NVIDIA card, its matrix products in reduced precision where `fast`.
#[cfg(feature = "cuda")]
pub fn cuda(fast: bool) -> Result<Device> {
    let device = Device::new_cuda(0)?;
    candle_core::cuda_backend::set_gemm_reduced_precision_f32(fast);
    keep_memory(&device)?;
    Ok(device)
}

/// Lets the card's memory pool keep what is freed: by default it returns all of it whenever the host waits.
#[cfg(feature = "cuda")]
fn keep_memory(_device: &Device) -> Result<()> {
    use candle_core::cuda_backend::cudarc::driver::sys;
    let mut pool = std::ptr::null_mut();
    let mut threshold = u64::MAX;
    // SAFETY: the device exists, `pool` receives a handle, and the attribute is a 64-bit number.
    let done = unsafe {
        let found = sys::cuDeviceGetDefaultMemPool(&mut pool, 0);
        if found != sys::CUresult::CUDA_SUCCESS {
            found
        } else {
            let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut threshold).cast())
        }
    };
    if done == sys::CUresult::CUDA_SUCCESS {
        Ok(())
    } else {
        Err(crate::error::Error::internal(format!("the card's memory pool cannot be set up: {done:?}")))
    }
}

/// There is no card without the `cuda` feature.
#[cfg(not(feature = "cuda"))]
pub fn cuda(_fast: bool) -> Result<Device> {
    Err(Error::input(Subject::Option, "this foretell was built without CUDA")
        .with_hint("build it with --features cuda, or leave device out"))
}
