//! A linear layer and the cross-entropy of its classes in one operation, which never holds the scores of all rows: with
//! many classes they are larger than all else (Wijmans et al. 2024, "Cut your losses").

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use crate::ml::layers::{Activation, Matrix, accumulate, add_rows, linear, multiply_add, read, slice};
use crate::ml::training::cross_entropy::{Labels, cross_entropy, log_sum_exp, scaled_softmax};

/// Rows whose scores are there at a time: enough for the products to be quick, few enough to stay in the cache.
const ROWS: usize = 64;

/// `cross_entropy(x * weight^T + bias, labels)`, a scalar.
///
/// `x` is `[rows, inputs]`, `weight` `[classes, inputs]` and `bias` `[classes]`; `learns` says that gradients will be
/// asked for, which are worked out beside the loss. Fails where a label that counts is no class.
pub fn linear_cross_entropy(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    labels: Labels<'_>,
    learns: bool,
) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return cross_entropy(&linear(x, weight, bias, Activation::None)?, labels);
    }
    let (rows, inputs) = x.dims2()?;
    let classes = bias.elem_count();
    if classes == 0
        || weight.dims() != [classes, inputs]
        || labels.class.len() != rows
        || labels.weight.len() != rows
    {
        let (shape, count) = (weight.dims(), labels.class.len());
        bail!("cross-entropy: x [{rows}, {inputs}], weight {shape:?}, {classes} biases and {count} labels");
    }
    let weights = labels.weights(classes)?;
    let class = labels.class.to_vec();
    let op =
        LinearCrossEntropyOp { class, weights, sizes: (inputs, classes), learns, slopes: OnceLock::new() };
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, op)
}

/// Gradients of what goes in, for an upstream gradient of 1.
#[derive(Debug, Default)]
struct Slopes {
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

struct LinearCrossEntropyOp {
    class: Vec<u32>,
    weights: Vec<f32>,
    /// Inputs and classes.
    sizes: (usize, usize),
    learns: bool,
    /// Where gradients will be asked for.
    slopes: OnceLock<Slopes>,
}

impl LinearCrossEntropyOp {
    /// The loss; gradients into `slopes` where there is one.
    fn walk(&self, [x, weight, bias]: [&[f32]; 3], slopes: &mut Option<Slopes>) -> f64 {
        let (inputs, classes) = self.sizes;
        let mut scores = vec![0.0; ROWS.min(self.class.len()) * classes];
        let mut sum = 0.0;
        for (part, x) in x.chunks(ROWS * inputs.max(1)).enumerate() {
            let (first, rows) = (part * ROWS, x.len() / inputs.max(1));
            let scores = &mut scores[..rows * classes];
            scores.chunks_exact_mut(classes).for_each(|row| row.copy_from_slice(bias));
            let (left, right) = (
                Matrix { data: x, rows: inputs, columns: 1 },
                Matrix { data: weight, rows: 1, columns: inputs },
            );
            multiply_add(scores, (rows, classes, inputs), left, right);
            for (row, scores) in scores.chunks_exact_mut(classes).enumerate() {
                sum += self.row(first + row, scores, slopes.is_some());
            }
            if let Some(slopes) = slopes {
                let table = Matrix { data: weight, rows: inputs, columns: 1 };
                let across = Matrix { data: scores, rows: classes, columns: 1 };
                let into = &mut slopes.x[first * inputs..(first + rows) * inputs];
                multiply_add(into, (rows, inputs, classes), across, table);
                let down = Matrix { data: scores, rows: 1, columns: classes };
                multiply_add(&mut slopes.weight, (classes, inputs, rows), down, left);
                add_rows(scores, &mut slopes.bias);
            }
        }
        sum
    }

    /// The loss of a row, whose scores become their gradients where the row `learns`.
    fn row(&self, row: usize, scores: &mut [f32], learns: bool) -> f64 {
        let (class, weight) = (self.class[row] as usize, self.weights[row]);
        if weight <= 0.0 {
            scores.fill(0.0);
            return 0.0;
        }
        let mut total = 0.0;
        log_sum_exp(scores, &mut total);
        let loss = f64::from(weight * (total - scores[class]));
        if learns {
            scaled_softmax(scores, total, weight);
            scores[class] -= weight;
        }
        loss
    }
}

impl CustomOp3 for LinearCrossEntropyOp {
    fn name(&self) -> &'static str {
        "linear-cross-entropy"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let all = [slice(x, x_layout)?, slice(weight, weight_layout)?, slice(bias, bias_layout)?];
        let zeros = |of: &[f32]| vec![0.0; of.len()];
        let mut slopes =
            self.learns.then(|| Slopes { x: zeros(all[0]), weight: zeros(all[1]), bias: zeros(all[2]) });
        let sum = self.walk(all, &mut slopes);
        if let Some(slopes) = slopes {
            // The operation is new for every call, so the cell is empty.
            let _ = self.slopes.set(slopes);
        }
        Ok((CpuStorage::F32(vec![sum as f32]), Shape::from(())))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let upstream = read(gradient, |g| g.iter().sum::<f32>())?;
        let Some(slopes) = self.slopes.get() else {
            bail!("cross-entropy: a gradient was asked for without `learns`")
        };
        let give = |of: &Tensor, slopes: &[f32]| {
            accumulate(of, |sum| {
                sum.iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += upstream * slope);
                Ok(())
            })
        };
        Ok((give(x, &slopes.x)?, give(weight, &slopes.weight)?, give(bias, &slopes.bias)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::layers::gradcheck::{check, variable};

    const LABELS: Labels<'_> =
        Labels { class: &[2, 0, 99, 1], weight: &[1.0, 0.5, 0.0, 2.0], class_weight: &[1.0, 3.0, 0.25] };

    #[test]
    fn gradients_match_central_differences() {
        let (x, w, b) = (variable(&[4, 5], 1), variable(&[3, 5], 2), variable(&[3], 3));
        check(&[&x, &w, &b], || linear_cross_entropy(&x, &w, &b, LABELS, true));
    }

    #[test]
    fn fused_equals_the_layer_and_the_loss_over_more_rows_than_a_part_has() {
        let (rows, classes) = (3 * ROWS + 7, 11);
        let (x, w, b) = (variable(&[rows, 6], 1), variable(&[classes, 6], 2), variable(&[classes], 3));
        let class: Vec<u32> = (0..rows as u32).map(|row| row * 7 % classes as u32).collect();
        let weight: Vec<f32> = (0..rows).map(|row| (row % 4) as f32 / 3.0).collect();
        let labels = Labels { class: &class, weight: &weight, class_weight: &[] };
        let of = |loss: Tensor| {
            let slopes = (loss.clone() * 0.5).unwrap().backward().unwrap();
            let all = [&x, &w, &b].map(|of| slopes.get(of).unwrap().flatten_all().unwrap());
            (loss.to_scalar::<f32>().unwrap(), all.map(|slopes| slopes.to_vec1::<f32>().unwrap()).concat())
        };
        let (fused, fused_slopes) = of(linear_cross_entropy(&x, &w, &b, labels, true).unwrap());
        let plain = linear(&x, &w, &b, Activation::None).unwrap();
        let (plain, plain_slopes) = of(cross_entropy(&plain, labels).unwrap());
        assert!((fused / plain - 1.0).abs() < 1e-5, "{fused} and {plain}");
        assert!(fused_slopes.iter().zip(&plain_slopes).all(|(a, b)| (a - b).abs() < 1e-4));
        let seen = linear_cross_entropy(&x, &w, &b, labels, false).unwrap();
        assert_eq!(seen.to_scalar::<f32>().unwrap(), fused);
        assert!(seen.backward().is_err());
    }

    #[test]
    fn shapes_and_classes_that_do_not_fit_are_errors() {
        let (x, w, b) = (variable(&[1, 5], 1), variable(&[3, 5], 2), variable(&[3], 3));
        let of = |class, weight| Labels { class, weight, class_weight: &[] };
        assert!(linear_cross_entropy(&x, &w, &b, of(&[3], &[1.0]), true).is_err());
        assert!(linear_cross_entropy(&x, &w, &b, of(&[1, 2], &[1.0, 1.0]), true).is_err());
        assert!(linear_cross_entropy(&x, &x, &b, of(&[1], &[1.0]), true).is_err());
    }
}
