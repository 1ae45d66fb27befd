//! The kernels of `kernels.cu`, started on the stream of the tensors they work on.

use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::{CudaStorage, Layout, Result, Storage, Tensor, bail};

const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx"));
const MODULE: &str = "foretell";
const THREADS: u32 = 128;
const WARP: usize = 32;
/// Shared memory that a block has without asking for more.
const SHARED_MAX: usize = 48 << 10;

/// Attention of one call: heads, elements of a head, positions of a sequence and the distance between them.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttentionShape {
    pub(super) heads: usize,
    pub(super) size: usize,
    pub(super) count: usize,
    pub(super) stride: usize,
    pub(super) scale: f32,
    pub(super) rotary: bool,
}

impl AttentionShape {
    fn shared(&self, wide: usize, long: usize) -> usize {
        4 * self.count * (wide * (self.size + 1) + long * (self.count + 1))
    }

    /// True where a sequence fits into the shared memory of a block, forward and backward.
    pub(super) fn fits(&self) -> bool {
        self.size.is_multiple_of(2) && self.shared(4, 2) <= SHARED_MAX
    }

    fn config(&self, positions: usize, shared: usize) -> LaunchConfig {
        LaunchConfig {
            grid_dim: ((positions / self.count.max(1) * self.heads) as u32, 1, 1),
            block_dim: (THREADS, 1, 1),
            shared_mem_bytes: shared as u32,
        }
    }
}

fn view<'a>(storage: &'a CudaStorage, layout: &Layout) -> Result<CudaView<'a, f32>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(f32::as_cuda_slice(storage)?.slice(start..end)),
        None => bail!("a fused layer needs contiguous input, got strides {:?}", layout.stride()),
    }
}

/// Calls `f` with the elements of a contiguous f32 tensor.
fn read<R>(tensor: &Tensor, f: impl FnOnce(&CudaView<'_, f32>) -> Result<R>) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cuda(storage) => f(&view(storage, layout)?),
        _ => bail!("this tensor is not on the card"),
    }
}

/// Attention over packed queries, keys and values; positions without a flag are not looked at.
pub(super) fn attention_forward(
    qkv: (&CudaStorage, &Layout),
    flags: Option<&Tensor>,
    shape: AttentionShape,
) -> Result<CudaStorage> {
    let device = qkv.0.device.clone();
    let qkv = view(qkv.0, qkv.1)?;
    let n = qkv.len() / 3;
    // SAFETY: the kernel writes every element.
    let out: CudaSlice<f32> = unsafe { device.alloc::<f32>(n)? };
    let start = |flags: &CudaView<'_, f32>, has_flags: i32| {
        let function = device.get_or_load_custom_func("attention_forward", MODULE, PTX)?;
        let [heads, size, count, stride] =
            [shape.heads, shape.size, shape.count, shape.stride].map(|x| x as i32);
        let rotary = i32::from(shape.rotary);
        let mut launch = function.builder();
        launch.arg(&qkv).arg(flags).arg(&has_flags).arg(&out).arg(&heads).arg(&size).arg(&count);
        launch.arg(&stride).arg(&shape.scale).arg(&rotary);
        let config = shape.config(n / (shape.heads * shape.size), shape.shared(3, 1));
        // SAFETY: the arguments are those of the kernel, and the sizes those of the slices.
        unsafe { launch.launch(config) }.w()?;
        Ok(())
    };
    match flags {
        Some(flags) => read(flags, |flags| start(flags, 1))?,
        None => start(&qkv, 0)?,
    }
    Ok(f32::wrap_cuda_slice(out, device))
}

/// The gradient of [`attention_forward`] in its packed input.
pub(super) fn attention_backward(
    qkv: (&CudaStorage, &Layout),
    gradient: (&CudaStorage, &Layout),
    flags: Option<&Tensor>,
    shape: AttentionShape,
) -> Result<CudaStorage> {
    let device = qkv.0.device.clone();
    let (qkv, gradient) = (view(qkv.0, qkv.1)?, view(gradient.0, gradient.1)?);
    // SAFETY: the kernel writes every element.
    let out: CudaSlice<f32> = unsafe { device.alloc::<f32>(qkv.len())? };
    let start = |flags: &CudaView<'_, f32>, has_flags: i32| {
        let function = device.get_or_load_custom_func("attention_backward", MODULE, PTX)?;
        let [heads, size, count, stride] =
            [shape.heads, shape.size, shape.count, shape.stride].map(|x| x as i32);
        let rotary = i32::from(shape.rotary);
        let mut launch = function.builder();
        launch
            .arg(&qkv)
            .arg(flags)
            .arg(&has_flags)
            .arg(&gradient)
            .arg(&out)
            .arg(&heads)
            .arg(&size)
            .arg(&count);
        launch.arg(&stride).arg(&shape.scale).arg(&rotary);
        let config = shape.config(gradient.len() / (shape.heads * shape.size), shape.shared(4, 2));
        // SAFETY: as above.
        unsafe { launch.launch(config) }.w()?;
        Ok(())
    };
    match flags {
        Some(flags) => read(flags, |flags| start(flags, 1))?,
        None => start(&qkv, 0)?,
    }
    Ok(f32::wrap_cuda_slice(out, device))
}

fn rows(count: usize) -> LaunchConfig {
    LaunchConfig {
        grid_dim: ((count * WARP).div_ceil(THREADS as usize) as u32, 1, 1),
        block_dim: (THREADS, 1, 1),
        shared_mem_bytes: 0,
    }
}

/// Rows of `n` elements to mean square 1.
pub(super) fn unit_forward(x: (&CudaStorage, &Layout), n: usize, epsilon: f32) -> Result<CudaStorage> {
    let device = x.0.device.clone();
    let x = view(x.0, x.1)?;
    // SAFETY: the kernel writes every element.
    let out: CudaSlice<f32> = unsafe { device.alloc::<f32>(x.len())? };
    let (count, width) = ((x.len() / n.max(1)) as i64, n as i32);
    let function = device.get_or_load_custom_func("unit_forward", MODULE, PTX)?;
    let mut launch = function.builder();
    launch.arg(&x).arg(&out).arg(&count).arg(&width).arg(&epsilon);
    // SAFETY: the arguments are those of the kernel, and the sizes those of the slices.
    unsafe { launch.launch(rows(count as usize)) }.w()?;
    Ok(f32::wrap_cuda_slice(out, device))
}

/// The gradient of [`unit_forward`].
pub(super) fn unit_backward(
    x: (&CudaStorage, &Layout),
    gradient: (&CudaStorage, &Layout),
    n: usize,
    epsilon: f32,
) -> Result<CudaStorage> {
    let device = x.0.device.clone();
    let (x, gradient) = (view(x.0, x.1)?, view(gradient.0, gradient.1)?);
    // SAFETY: the kernel writes every element.
    let out: CudaSlice<f32> = unsafe { device.alloc::<f32>(x.len())? };
    let (count, width) = ((x.len() / n.max(1)) as i64, n as i32);
    let function = device.get_or_load_custom_func("unit_backward", MODULE, PTX)?;
    let mut launch = function.builder();
    launch.arg(&x).arg(&gradient).arg(&out).arg(&count).arg(&width).arg(&epsilon);
    // SAFETY: as above.
    unsafe { launch.launch(rows(count as usize)) }.w()?;
    Ok(f32::wrap_cuda_slice(out, device))
}
