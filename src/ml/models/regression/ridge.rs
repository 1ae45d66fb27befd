//! Ridge regression (Hoerl and Kennard 1970): a linear model whose coefficients are kept small.
//!
//! The strength is the one whose model errs least on the held-out rows, or by generalised cross-validation (Golub, Heath
//! and Wahba 1979) where there are too few of them.

use crate::error::{Error, Result};
use crate::ml::matrix::{Cholesky, gram};
use crate::ml::models::container::{self, Data, Stored};
use crate::ml::models::model::{Lesson, Saved};
use crate::ml::models::regression::design::Design;
use crate::ml::models::regression::regressor::{Cost, Predicted, Regressor};
use crate::ml::models::regression::table::{Table, by_blocks};
use crate::ml::trees::Rows;

/// Strengths to choose from, a row.
const STRENGTHS: [f64; 7] = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0];
/// Held-out rows without which cross-validation chooses.
const JUDGED_ROWS_MIN: usize = 200;
/// Seconds that a product of two values of a row takes.
const SECONDS_PER_PRODUCT: f64 = 1e-10;
/// Columns of the design beside every column of a row, about.
const COLUMNS_PER_COLUMN: usize = 2;

/// Coefficients of the columns of a design.
#[derive(Debug)]
pub(in crate::ml::models) struct Ridge {
    design: Design,
    /// The last one is the intercept.
    coefficients: Vec<f64>,
    strength: f64,
}

/// The normal equations of all strengths.
struct Normal {
    /// Products of every two columns, the intercept's the last.
    matrix: Vec<f64>,
    /// Products with the target.
    target: Vec<f64>,
    /// Squares of the target.
    squares: f64,
    rows: f64,
}

impl Normal {
    fn new(design: &Design, rows: &Table, lesson: &Lesson<'_>) -> Result<Self> {
        let (n, width) = (design.width() + 1, rows.width());
        let fill = |range: std::ops::Range<usize>, out: &mut Vec<f64>| {
            let values = &rows.values[range.start * width..range.end * width];
            let mut expanded = Vec::new();
            design.expand(Rows { values, width }, &mut expanded);
            let mut expanded = expanded.into_iter();
            for target in &rows.targets[range] {
                out.extend(expanded.by_ref().take(n - 1).map(f64::from));
                out.extend([1.0, f64::from(*target)]);
            }
        };
        let all = gram(rows.len(), n + 1, lesson.control, fill)?;
        Ok(Self {
            matrix: all.chunks_exact(n + 1).take(n).flat_map(|row| &row[..n]).copied().collect(),
            target: all.chunks_exact(n + 1).take(n).map(|row| row[n]).collect(),
            squares: all[n * (n + 1) + n],
            rows: rows.len() as f64,
        })
    }

    /// The equations of a strength, which spares the intercept.
    fn factor(&self, strength: f64) -> Option<Cholesky> {
        let (n, mut matrix) = (self.target.len(), self.matrix.clone());
        for i in 0..n - 1 {
            matrix[i * n + i] += strength * self.rows;
        }
        Cholesky::new(matrix, n)
    }

    /// Mean squared error by generalised cross-validation.
    fn cross_validated(&self, factor: &Cholesky, coefficients: &[f64], strength: f64) -> f64 {
        let n = self.target.len();
        let inverse = factor.inverse();
        // tr(A⁻¹ XᵀX) with A = XᵀX + strength D: the trace of A⁻¹ is the sum of the squares of L⁻¹.
        let spared = |row: &[f64]| row[..n - 1].iter().map(|x| x * x).sum::<f64>();
        let trace: f64 = inverse.chunks_exact(n).map(spared).sum();
        let freedom = n as f64 - strength * self.rows * trace;
        let explained: f64 = coefficients.iter().zip(&self.target).map(|(c, t)| c * t).sum();
        let penalty: f64 = coefficients[..n - 1].iter().map(|c| c * c).sum::<f64>() * strength * self.rows;
        // ‖y - Xc‖² = yᵀy - cᵀXᵀy - strength ‖c‖², as XᵀXc = Xᵀy - strength D c.
        let residual = (self.squares - explained - penalty).max(0.0);
        let left = (1.0 - freedom / self.rows).max(1e-3);
        residual / self.rows / (left * left)
    }
}

impl Regressor for Ridge {
    const FAMILY: &'static str = "ridge";
    const ROWS_MAX: usize = 100_000;
    const CAN_STOP: bool = false;

    fn fit(rows: &Table, valid: &Table, lesson: &Lesson<'_>, before: Option<&Self>) -> Result<Self> {
        let design = Design::fit(rows, lesson.control)?;
        let normal = Normal::new(&design, rows, lesson)?;
        let mut model = Self { design, coefficients: Vec::new(), strength: 0.0 };
        let mut best: Option<(f64, f64, Vec<f64>)> = None;
        let own = before.map(|before| [before.strength]);
        for strength in own.as_ref().map_or(&STRENGTHS[..], |own| &own[..]) {
            lesson.control.check()?;
            let Some(factor) = normal.factor(*strength) else { continue };
            model.coefficients = factor.solve(&normal.target);
            let error = if before.is_some() {
                0.0
            } else if valid.len() < JUDGED_ROWS_MIN {
                normal.cross_validated(&factor, &model.coefficients, *strength)
            } else {
                valid.error(&model, lesson.control)?
            };
            if best.as_ref().is_none_or(|best| error < best.0) {
                best = Some((error, *strength, std::mem::take(&mut model.coefficients)));
            }
        }
        let (_, strength, coefficients) =
            best.ok_or_else(|| Error::internal("the normal equations have no solution"))?;
        Ok(Self { strength, coefficients, ..model })
    }

    fn predict(&self, rows: Rows<'_>) -> Predicted {
        let width = self.design.width();
        let medians = by_blocks(rows, |rows, out| {
            let mut values = Vec::with_capacity(rows.len() * width);
            self.design.expand(rows, &mut values);
            for n in 0..rows.len() {
                let row = &values[n * width..(n + 1) * width];
                let products = row.iter().zip(&self.coefficients).map(|(x, c)| f64::from(*x) * c);
                let sum: f64 = products.sum();
                out.push((sum + self.coefficients[width]) as f32);
            }
        });
        Predicted { medians, ..Predicted::default() }
    }

    fn parameters(&self) -> usize {
        self.coefficients.len()
    }

    fn save(&self, saved: Saved) -> Result<Saved> {
        let saved = saved
            .with("coefficients", vec![self.coefficients.len()], Data::F64(self.coefficients.clone()))
            .with("strength", vec![1], Data::F64(vec![self.strength]));
        self.design.save(saved)
    }

    fn load(stored: &Stored<'_>, columns: usize) -> Result<Self> {
        let design = Design::load(stored, columns)?;
        let coefficients = stored.f64("coefficients")?;
        match stored.f64("strength")?.as_slice() {
            [strength] if coefficients.len() == design.width() + 1 && *strength >= 0.0 => {
                Ok(Self { design, coefficients, strength: *strength })
            }
            _ => Err(container::corrupt(format!("{} coefficients", coefficients.len()))),
        }
    }

    fn cost(rows: usize, columns: usize) -> Cost {
        let columns = COLUMNS_PER_COLUMN * columns;
        let products = (rows + STRENGTHS.len() * columns) * columns * columns;
        // The normal equations, those of all parts of the rows that are added up, and their factor.
        let memory_bytes = 4 * columns * columns * size_of::<f64>();
        Cost { parameters: columns, seconds: products as f64 * SECONDS_PER_PRODUCT, memory_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::features::test_panel;
    use crate::ml::rng::Rng;
    use crate::ml::trees::ColumnType;

    #[test]
    fn the_cross_validated_error_is_that_of_the_hat_matrix() {
        let (n, mut rng) = (40, Rng::new(6));
        let mut rows = Table::new(vec![ColumnType::Number; 3]);
        for _ in 0..n {
            let x: [f32; 3] = std::array::from_fn(|_| rng.normal() as f32);
            rows.values.extend(x);
            rows.targets.push(x[0] - x[1] + rng.normal() as f32);
        }
        let (panel, options) = (test_panel(1, 20), crate::ml::models::tests::options(7));
        let control = crate::ml::control::Control::default();
        let design = Design::fit(&rows, &control).unwrap();
        let normal = Normal::new(&design, &rows, &Lesson::new(&panel, 7, &options, &control)).unwrap();
        let strength = 0.3;
        let factor = normal.factor(strength).unwrap();
        let found = normal.cross_validated(&factor, &factor.solve(&normal.target), strength);
        let mut expanded = Vec::new();
        design.expand(rows.rows(), &mut expanded);
        let row = |i: usize| -> Vec<f64> {
            expanded[3 * i..3 * i + 3].iter().map(|x| f64::from(*x)).chain([1.0]).collect()
        };
        // H = X (XᵀX + strength n D)⁻¹ Xᵀ; GCV = (‖y - Hy‖² / n) / (1 - tr H / n)².
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let (mut trace, mut squares) = (0.0, 0.0);
        for i in 0..n {
            let solved = factor.solve(&row(i));
            trace += product(&solved, &row(i));
            let fitted: f64 = (0..n).map(|j| product(&solved, &row(j)) * f64::from(rows.targets[j])).sum();
            squares += (f64::from(rows.targets[i]) - fitted).powi(2);
        }
        let n = n as f64;
        let expected = squares / n / (1.0 - trace / n).powi(2);
        assert!((found / expected - 1.0).abs() < 1e-9, "{found} {expected}");
    }
}
