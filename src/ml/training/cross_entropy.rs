//! Cross-entropy of classes.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor, bail};

use crate::ml::layers::{exp, read, slice, vectorised};

/// What came true in some rows, one element for each.
#[derive(Debug, Clone, Copy, Default)]
pub struct Labels<'a> {
    /// The class, below the number of classes. It may be anything where the weight is 0.
    pub class: &'a [u32],
    /// What the row counts for; 0 moves neither loss nor gradient.
    pub weight: &'a [f32],
    /// What the rows of every class count for besides; empty where it is 1.
    pub class_weight: &'a [f32],
}

impl Labels<'_> {
    /// What every row counts for in all; fails where a row that counts has no class.
    pub(super) fn weights(&self, classes: usize) -> Result<Vec<f32>> {
        if !self.class_weight.is_empty() && self.class_weight.len() != classes {
            bail!("cross-entropy: {} weights of {classes} classes", self.class_weight.len());
        }
        let of = |(class, weight): (&u32, &f32)| match *weight > 0.0 {
            false => Ok(0.0),
            true if (*class as usize) < classes => {
                Ok(weight * self.class_weight.get(*class as usize).copied().unwrap_or(1.0))
            }
            true => bail!("cross-entropy: class {class} of {classes}"),
        };
        self.class.iter().zip(self.weight).map(of).collect()
    }
}

/// The sum over rows of weight times negative log of the softmax at the class, a scalar.
///
/// `logits` is `[.., classes]`, one row for each label.
pub fn cross_entropy(logits: &Tensor, labels: Labels<'_>) -> Result<Tensor> {
    let classes = logits.dim(D::Minus1)?;
    if logits.elem_count() != labels.class.len() * classes || labels.class.len() != labels.weight.len() {
        let counts = (labels.class.len(), labels.weight.len());
        bail!("cross-entropy: logits {:?} and {counts:?} classes, weights", logits.dims());
    }
    let weights = labels.weights(classes)?;
    if logits.device().is_cpu() {
        let op = CrossEntropyOp { class: labels.class.to_vec(), weights, classes, totals: OnceLock::new() };
        return logits.contiguous()?.apply_op1(op);
    }
    plain(&logits.reshape((weights.len(), classes))?, labels.class, weights)
}

/// The same sum in Candle's own operations; `weights` hold the weights of the classes, too.
fn plain(logits: &Tensor, class: &[u32], weights: Vec<f32>) -> Result<Tensor> {
    let device = logits.device();
    let known = class.iter().zip(&weights).map(|(class, w)| if *w > 0.0 { *class } else { 0 }).collect();
    let known = Tensor::from_vec(known, (class.len(), 1), device)?;
    let weights = Tensor::from_vec(weights, (class.len(), 1), device)?;
    let largest = logits.max_keepdim(D::Minus1)?.detach();
    let total = logits.broadcast_sub(&largest)?.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let surprise = ((total + largest)? - logits.gather(&known, D::Minus1)?)?;
    (surprise * weights)?.sum_all()
}

struct CrossEntropyOp {
    class: Vec<u32>,
    weights: Vec<f32>,
    classes: usize,
    /// The logarithm of the sum of the exponentials of every row that counts, kept for the gradient.
    totals: OnceLock<Vec<f32>>,
}

impl CrossEntropyOp {
    /// Rows of logits that count: place, class, weight and logits.
    fn rows<'a>(&'a self, logits: &'a [f32]) -> impl Iterator<Item = (usize, usize, f32, &'a [f32])> {
        let rows = logits.chunks_exact(self.classes).zip(self.class.iter().zip(&self.weights)).enumerate();
        rows.filter(|(_, (_, (_, weight)))| **weight > 0.0)
            .map(|(i, (row, (class, weight)))| (i, *class as usize, *weight, row))
    }
}

/// Numbers that are worked on side by side.
const LANES: usize = 32;

vectorised! {
    /// The logarithm of the sum of the exponentials of a row.
    log_sum_exp(row: &[f32], total: &mut f32) {
        let (whole, rest) = row.as_chunks::<LANES>();
        let mut lanes = [f32::MIN; LANES];
        for values in whole {
            lanes.iter_mut().zip(values).for_each(|(most, x)| *most = if *x > *most { *x } else { *most });
        }
        let most = lanes.iter().chain(rest).fold(f32::MIN, |most, x| if *x > most { *x } else { most });
        let mut sums = [0.0f32; LANES];
        for values in whole {
            sums.iter_mut().zip(values).for_each(|(sum, x)| *sum += exp(*x - most));
        }
        rest.iter().zip(&mut sums).for_each(|(x, sum)| *sum += exp(*x - most));
        *total = most + sums.iter().sum::<f32>().ln();
    }
}

vectorised! {
    /// Scores of a row become probabilities, times a factor.
    scaled_softmax(row: &mut [f32], total: f32, factor: f32) {
        row.iter_mut().for_each(|x| *x = exp(*x - total) * factor);
    }
}

impl CustomOp1 for CrossEntropyOp {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (mut totals, mut sum) = (vec![], 0.0);
        for (_, class, weight, row) in self.rows(slice(logits, layout)?) {
            let mut total = 0.0;
            log_sum_exp(row, &mut total);
            sum += f64::from(weight * (total - row[class]));
            totals.push(total);
        }
        // The operation is new for every call, so the cell is empty.
        let _ = self.totals.set(totals);
        Ok((CpuStorage::F32(vec![sum as f32]), Shape::from(())))
    }

    fn bwd(&self, logits: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let upstream = gradient.to_scalar::<f32>()?;
        let Some(totals) = self.totals.get() else { bail!("cross-entropy: backward before forward") };
        let mut slopes = vec![0.0; logits.elem_count()];
        read(logits, |logits| {
            for ((i, class, weight, row), total) in self.rows(logits).zip(totals) {
                let out = &mut slopes[i * self.classes..(i + 1) * self.classes];
                out.copy_from_slice(row);
                scaled_softmax(out, *total, weight * upstream);
                out[class] -= weight * upstream;
            }
        })?;
        Ok(Some(Tensor::from_vec(slopes, logits.shape(), logits.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::layers::gradcheck::{check, variable};
    use candle_core::Device;

    const LABELS: Labels<'_> =
        Labels { class: &[2, 0, 99, 1], weight: &[1.0, 0.5, 0.0, 2.0], class_weight: &[1.0, 3.0, 0.25] };

    #[test]
    fn gradients_match_central_differences_and_rows_without_weight_have_none() {
        let logits = variable(&[2, 2, 3], 5);
        check(&[&logits], || cross_entropy(&logits, LABELS));
        let slopes = cross_entropy(&logits, LABELS).unwrap().backward().unwrap();
        let slopes = slopes.get(&logits).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(slopes[6..9].iter().all(|s| *s == 0.0) && slopes[9..].iter().all(|s| *s != 0.0));
    }

    #[test]
    fn fused_equals_the_plain_formula() {
        let logits = variable(&[4, 3], 6);
        let of = |loss: Tensor| {
            let gradients = loss.backward().unwrap();
            let slopes = gradients.get(&logits).unwrap().flatten_all().unwrap();
            (loss.to_scalar::<f32>().unwrap(), slopes.to_vec1::<f32>().unwrap())
        };
        let fused = of(cross_entropy(&logits, LABELS).unwrap());
        let plain = of(plain(&logits, LABELS.class, LABELS.weights(3).unwrap()).unwrap());
        assert!((fused.0 - plain.0).abs() < 1e-5, "{} and {}", fused.0, plain.0);
        assert!(fused.1.iter().zip(&plain.1).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    /// scipy.special.log_softmax 1.17: -(1.5 log p₂ + 2 · 3 log p₁), and large logits.
    #[test]
    fn values_of_scipy() {
        let logits = Tensor::new(&[[0.2f32, -1.0, 3.0], [1e4, -1e4, 2.0]], &Device::Cpu).unwrap();
        let labels = Labels { class: &[2, 1], weight: &[1.5, 2.0], class_weight: &[1.0, 3.0, 1.0] };
        let loss = cross_entropy(&logits, labels).unwrap().to_scalar::<f32>().unwrap();
        assert!((f64::from(loss) / 120_000.114_226_766_47 - 1.0).abs() < 1e-6, "{loss}");
    }

    #[test]
    fn a_class_that_does_not_exist_is_an_error() {
        let logits = variable(&[1, 3], 6);
        let labels = Labels { class: &[3], weight: &[1.0], class_weight: &[] };
        assert!(cross_entropy(&logits, labels).is_err());
        assert!(cross_entropy(&logits, Labels { weight: &[0.0], ..labels }).is_ok());
        assert!(cross_entropy(&logits, Labels { class: &[1], class_weight: &[1.0], ..labels }).is_err());
    }
}
