//! What recurrent layers share: the input's part before the steps, and the gradients of the weights after them.

use candle_core::{Layout, Result, Tensor, bail};

use crate::ml::layers::gradients::{accumulate, accumulate_held};
use crate::ml::layers::kernels::{Matrix, add_rows, multiply_add};
use crate::ml::layers::packed::Packed;
use crate::ml::layers::storage::read;

/// Sizes of a recurrent layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dims {
    pub(super) steps: usize,
    pub(super) batch: usize,
    inputs: usize,
    pub(super) hidden: usize,
    /// Gates times hidden.
    pub(super) outputs: usize,
}

impl Dims {
    /// Of x `[steps, batch, inputs]`, input weight `[gates * hidden, inputs]` and weight `[gates * hidden, hidden]`.
    pub(super) fn new(gates: usize, x: &Layout, input: &Layout, weight: &Layout) -> Result<Self> {
        let (steps, batch, inputs) = x.shape().dims3()?;
        let (outputs, hidden) = weight.shape().dims2()?;
        if input.dims() != [outputs, inputs] || outputs != gates * hidden {
            bail!("recurrent: x {:?}, weights {:?} and [{outputs}, {hidden}]", x.dims(), input.dims());
        }
        Ok(Self { steps, batch, inputs, hidden, outputs })
    }
}

/// x times the input weight plus the bias, `[steps, batch, outputs]`.
pub(super) fn project(x: &[f32], input: &[f32], bias: &Tensor, dims: Dims) -> Result<Vec<f32>> {
    let Dims { steps, batch, inputs, outputs, .. } = dims;
    let rows = steps * batch;
    let mut projected = read(bias, |bias| bias.repeat(rows))?;
    if projected.len() != rows * outputs {
        bail!("recurrent: bias {:?} of {outputs} outputs", bias.dims());
    }
    let right = Matrix { data: input, rows: 1, columns: inputs };
    multiply_add(
        &mut projected,
        (rows, outputs, inputs),
        Matrix { data: x, rows: inputs, columns: 1 },
        right,
    );
    Ok(projected)
}

/// The weight as it takes gradients of gates to those of the state before.
pub(super) fn pack_backward(weight: &Tensor) -> Result<Packed> {
    let (outputs, hidden) = weight.dims2()?;
    read(weight, |weight| Packed::new(Matrix { data: weight, rows: hidden, columns: 1 }, (outputs, hidden)))
}

/// The gradient of a recurrent weight `[outputs, hidden]`: gradients before the activation, `[steps, batch, outputs]`,
/// times the states before them, `[steps, batch, hidden]`.
pub(super) fn state_gradient(weight: &Tensor, states: &Tensor, dgates: &[f32]) -> Result<Option<Tensor>> {
    let (steps, batch, hidden) = states.dims3()?;
    let outputs = weight.dim(0)?;
    accumulate(weight, |dweight| {
        if steps < 2 {
            return Ok(());
        }
        let left = Matrix { data: &dgates[batch * outputs..], rows: 1, columns: outputs };
        read(states, |states| {
            let right = Matrix { data: states, rows: hidden, columns: 1 };
            multiply_add(dweight, (outputs, hidden, (steps - 1) * batch), left, right);
        })
    })
}

/// Gradients of what was projected and of its weight; that of the bias is collected.
pub(super) fn input_gradients(
    x: &Tensor,
    input: &Tensor,
    bias: &Tensor,
    dgates: &[f32],
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let (outputs, inputs) = input.dims2()?;
    let rows = dgates.len() / outputs.max(1);
    let mut dx = None;
    if x.track_op() {
        let mut values = vec![0.0; rows * inputs];
        let left = Matrix { data: dgates, rows: outputs, columns: 1 };
        read(input, |input| {
            let right = Matrix { data: input, rows: inputs, columns: 1 };
            multiply_add(&mut values, (rows, inputs, outputs), left, right);
        })?;
        dx = Some(Tensor::from_vec(values, x.shape(), x.device())?);
    }
    let dinput = accumulate(input, |dinput| {
        let left = Matrix { data: dgates, rows: 1, columns: outputs };
        read(x, |x| {
            multiply_add(dinput, (outputs, inputs, rows), left, Matrix { data: x, rows: inputs, columns: 1 });
        })
    })?;
    accumulate_held(bias, |dbias| {
        add_rows(dgates, dbias);
        Ok(())
    })?;
    Ok((dx, dinput))
}
