//! Texts of series as a few numbers each, by which learners of numbers tell them apart.
//!
//! A text is a vector first: of an encoder, or else of the weights of its words. What is kept of it is where it lies on the
//! principal axes of all texts (Deerwester et al. 1990), which are found by subspace iteration (Halko et al. 2011).

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use rayon::slice::ParallelSlice;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::rng::Rng;
use crate::ml::series::{Covariate, Panel, Values};
use crate::ml::text::{Terms, TextEncoder};

/// Numbers of a text.
const NUMBERS: usize = 16;
/// Axes that are looked for besides those that are kept.
const SPARE: usize = 8;
/// Rounds of the search.
const ROUNDS: usize = 6;
/// Texts that teach the axes, at most.
const TEXTS_MAX: usize = 10_000;
/// Words and pairs of words of a column that have a weight.
const TERMS_MAX: usize = 4_000;
/// Texts that are read at once.
const TEXTS_PER_PART: usize = 2_048;

/// A vector: places and values of what is not 0.
type Sparse = Vec<(u32, f32)>;

/// How the texts of series become numbers; the same for series that come later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Texts {
    columns: Vec<TextColumn>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct TextColumn {
    /// The user's name.
    name: String,
    /// The words that are weighed; none where an encoder reads the texts.
    terms: Option<Terms>,
    /// What an encoder says of texts in the mean.
    mean: Vec<f32>,
    /// `[numbers, width]`, of length 1 each.
    axes: Vec<Vec<f32>>,
}

impl Texts {
    /// Learns from the texts in these static columns of a panel, which an encoder reads where there is one.
    pub fn fit(
        panel: &Panel,
        names: &[String],
        encoder: Option<&TextEncoder>,
        seed: u64,
        control: &Control,
    ) -> Result<Self> {
        let fit = |name: &String| {
            let texts = distinct(texts_of(panel, name)?.0);
            TextColumn::fit(name, &texts, encoder, Rng::new(seed).fork(name), control)
        };
        Ok(Self { columns: names.iter().map(fit).collect::<Result<_>>()? })
    }

    /// Puts the numbers of texts into the place of the columns that hold them.
    pub fn extend(&self, panel: &mut Panel, encoder: Option<&TextEncoder>, control: &Control) -> Result<()> {
        for column in &self.columns {
            let (labels, codes) = texts_of(panel, &column.name)?;
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            let numbers = column.numbers(&labels, encoder, control)?;
            let number = |axis: usize| {
                let of = |code: &u32| match labels.get(*code as usize).is_some_and(|text| !is_empty(text)) {
                    true => numbers[*code as usize][axis],
                    false => f32::NAN,
                };
                let values = Values::Number(codes.iter().map(of).collect());
                Covariate { name: format!("{}[{}]", column.name, axis + 1), values }
            };
            let new: Vec<Covariate> = (0..column.axes.len()).map(number).collect();
            panel.statics.retain(|covariate| covariate.name != column.name);
            panel.statics.extend(new);
        }
        Ok(())
    }

    /// As the bytes of a file.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| Error::internal(format!("texts cannot be written: {e}")))
    }

    /// What [`Texts::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let corrupt = |why: String| {
            Error::corrupt(crate::error::Subject::Model, format!("its texts cannot be read: {why}"))
        };
        let read: Self = serde_json::from_slice(bytes).map_err(|e| corrupt(e.to_string()))?;
        match read.columns.iter().find(|column| !column.is_sound()) {
            Some(column) => Err(corrupt(format!("the axes of {} do not fit together", column.name))),
            None => Ok(read),
        }
    }
}

impl TextColumn {
    fn fit(
        name: &str,
        texts: &[&str],
        encoder: Option<&TextEncoder>,
        mut rng: Rng,
        control: &Control,
    ) -> Result<Self> {
        let step = texts.len().div_ceil(TEXTS_MAX).max(1);
        let texts: Vec<&str> = texts.iter().step_by(step).copied().collect();
        let terms = encoder.is_none().then(|| {
            let labels: Vec<String> = texts.iter().map(ToString::to_string).collect();
            Terms::fit(&labels, (0..).take(labels.len()), TERMS_MAX)
        });
        let mut column = Self { name: name.to_owned(), terms, mean: vec![], axes: vec![] };
        if let Some(encoder) = encoder {
            let mut mean = vec![0.0f64; encoder.width()];
            for part in texts.chunks(TEXTS_PER_PART) {
                for vector in encoder.embed(part, control)? {
                    mean.iter_mut().zip(vector.iter()).for_each(|(sum, x)| *sum += f64::from(*x));
                }
            }
            let n = texts.len().max(1) as f64;
            column.mean = mean.into_iter().map(|sum| (sum / n) as f32).collect();
        }
        let mut rows = Vec::with_capacity(texts.len());
        for part in texts.chunks(TEXTS_PER_PART) {
            rows.extend(column.vectors(part, encoder, control)?);
        }
        column.axes = axes(&rows, column.width(), &mut rng, control)?;
        Ok(column)
    }

    /// Numbers of a vector.
    fn width(&self) -> usize {
        self.terms.as_ref().map_or(self.mean.len(), Terms::len)
    }

    fn is_sound(&self) -> bool {
        let whole = |axis: &Vec<f32>| axis.len() == self.width() && axis.iter().all(|x| x.is_finite());
        self.terms.as_ref().is_none_or(Terms::is_sound) && self.axes.iter().all(whole)
    }

    fn vectors(
        &self,
        texts: &[&str],
        encoder: Option<&TextEncoder>,
        control: &Control,
    ) -> Result<Vec<Sparse>> {
        control.check()?;
        match (&self.terms, encoder) {
            (Some(terms), _) => Ok(texts.par_iter().map(|text| terms.weights(text)).collect()),
            (None, None) => Err(Error::internal("texts are read by an encoder that is not there")),
            (None, Some(encoder)) => {
                if encoder.width() != self.mean.len() {
                    return Err(Error::internal("texts are read by another encoder"));
                }
                let centred = |vector: &[f32]| {
                    (0..).zip(vector.iter().zip(&self.mean).map(|(x, mean)| x - mean)).collect()
                };
                Ok(encoder.embed(texts, control)?.iter().map(|vector| centred(vector)).collect())
            }
        }
    }

    /// The numbers of every text.
    fn numbers(
        &self,
        texts: &[&str],
        encoder: Option<&TextEncoder>,
        control: &Control,
    ) -> Result<Vec<Vec<f32>>> {
        let mut out = Vec::with_capacity(texts.len());
        for part in texts.chunks(TEXTS_PER_PART) {
            for vector in self.vectors(part, encoder, control)? {
                let along = |axis: &Vec<f32>| {
                    vector.iter().map(|(i, x)| f64::from(*x) * f64::from(axis[*i as usize])).sum::<f64>()
                        as f32
                };
                out.push(self.axes.iter().map(along).collect());
            }
        }
        Ok(out)
    }
}

/// The texts in a static column, and which of them every series has.
fn texts_of<'a>(panel: &'a Panel, name: &str) -> Result<(&'a [String], &'a [u32])> {
    let column = panel.statics.iter().find(|covariate| covariate.name == name);
    match column.map(|covariate| &covariate.values) {
        Some(Values::Category { codes, labels }) => Ok((labels, codes)),
        _ => Err(Error::internal(format!("the panel has no texts {name}"))),
    }
}

fn is_empty(text: &str) -> bool {
    text.trim().is_empty()
}

/// Those that say something, ascending.
fn distinct(labels: &[String]) -> Vec<&str> {
    let mut texts: Vec<&str> = labels.iter().map(String::as_str).filter(|text| !is_empty(text)).collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}

/// The directions along which these rows differ most, at most [`NUMBERS`].
fn axes(rows: &[Sparse], width: usize, rng: &mut Rng, control: &Control) -> Result<Vec<Vec<f32>>> {
    let kept = NUMBERS.min(width).min(rows.len());
    let count = (kept + SPARE).min(width).min(rows.len());
    let mut basis: Vec<Vec<f64>> = (0..count).map(|_| (0..width).map(|_| rng.normal()).collect()).collect();
    orthonormalise(&mut basis);
    for _ in 0..ROUNDS {
        control.check()?;
        basis = turned_back(rows, &along(rows, &basis), width);
        orthonormalise(&mut basis);
    }
    // Within what was found, the axes are those of the sums of products.
    let places = along(rows, &basis);
    let product = |a: usize, b: usize| places.iter().map(|row| row[a] * row[b]).sum::<f64>();
    let square = (0..count).map(|a| (0..count).map(|b| product(a, b)).collect()).collect();
    let turns = principal(square);
    let axis = |turn: &Vec<f64>| {
        let mut axis = vec![0.0f64; width];
        for (share, direction) in turn.iter().zip(&basis) {
            axis.iter_mut().zip(direction).for_each(|(sum, x)| *sum += share * x);
        }
        axis.into_iter().map(|x| x as f32).collect()
    };
    Ok(turns.iter().take(kept).map(axis).collect())
}

/// Where rows lie along some directions, `[rows, directions]`.
fn along(rows: &[Sparse], basis: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let place = |row: &Sparse| {
        let one =
            |direction: &Vec<f64>| row.iter().map(|(i, x)| f64::from(*x) * direction[*i as usize]).sum();
        basis.iter().map(one).collect()
    };
    rows.par_iter().map(place).collect()
}

/// The sums of rows, each times its places, `[directions, width]`.
fn turned_back(rows: &[Sparse], places: &[Vec<f64>], width: usize) -> Vec<Vec<f64>> {
    let count = places.first().map_or(0, Vec::len);
    let part = |(rows, places): (&[Sparse], &[Vec<f64>])| {
        let mut sums = vec![vec![0.0f64; width]; count];
        for (row, place) in rows.iter().zip(places) {
            for (sum, share) in sums.iter_mut().zip(place) {
                row.iter().for_each(|(i, x)| sum[*i as usize] += share * f64::from(*x));
            }
        }
        sums
    };
    // The sums do not depend on the number of threads.
    let parts: Vec<_> = rows.chunks(TEXTS_PER_PART).zip(places.chunks(TEXTS_PER_PART)).collect();
    let parts: Vec<Vec<Vec<f64>>> = parts.par_chunks(1).map(|one| part(one[0])).collect();
    let mut total = vec![vec![0.0f64; width]; count];
    for part in parts {
        total.iter_mut().flatten().zip(part.into_iter().flatten()).for_each(|(sum, x)| *sum += x);
    }
    total
}

/// Gives directions the length 1 and right angles to each other; those that say nothing new become 0.
fn orthonormalise(basis: &mut [Vec<f64>]) {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for i in 0..basis.len() {
        let (before, rest) = basis.split_at_mut(i);
        let own = &mut rest[0];
        let size = dot(own, own).sqrt();
        for _ in 0..2 {
            for other in before.iter() {
                let share = dot(own, other);
                own.iter_mut().zip(other).for_each(|(x, o)| *x -= share * o);
            }
        }
        let length = dot(own, own).sqrt();
        let factor = if length > 1e-9 * size { 1.0 / length } else { 0.0 };
        own.iter_mut().for_each(|x| *x *= factor);
    }
}

/// The eigenvectors of a symmetric matrix, those of the largest eigenvalues first (Jacobi's method).
fn principal(mut matrix: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let n = matrix.len();
    let mut vectors: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| f64::from(i == j)).collect()).collect();
    let size = matrix.iter().flatten().map(|x| x * x).sum::<f64>();
    for _ in 0..50 {
        let off: f64 =
            (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| matrix[i][j].powi(2)).sum();
        if off <= 1e-24 * size {
            break;
        }
        for i in 0..n {
            for j in 0..i {
                rotate(&mut matrix, &mut vectors, j, i);
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| matrix[*b][*b].total_cmp(&matrix[*a][*a]));
    order.into_iter().map(|column| vectors.iter().map(|row| row[column]).collect()).collect()
}

/// Makes the element at `p` and `q` zero.
fn rotate(matrix: &mut [Vec<f64>], vectors: &mut [Vec<f64>], p: usize, q: usize) {
    if matrix[p][q] == 0.0 {
        return;
    }
    let theta = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
    let t = if theta >= 0.0 { 1.0 } else { -1.0 } / (theta.abs() + (theta * theta + 1.0).sqrt());
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    let turn = |a: f64, b: f64| (c * a - s * b, s * a + c * b);
    for row in matrix.iter_mut().chain(vectors.iter_mut()) {
        (row[p], row[q]) = turn(row[p], row[q]);
    }
    let (before, from) = matrix.split_at_mut(q);
    for (a, b) in before[p].iter_mut().zip(&mut from[0]) {
        (*a, *b) = turn(*a, *b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::features::test_panel;
    use crate::ml::series::MISSING;

    #[test]
    fn principal_axes_are_those_of_the_matrix() {
        // Eigenvalues 6, 3 and 1 (numpy.linalg.eigh of the same).
        let matrix = vec![vec![3.0, 2.0, 1.0], vec![2.0, 4.0, 1.0], vec![1.0, 1.0, 3.0]];
        let vectors = principal(matrix.clone());
        let of = |v: &[f64]| -> Vec<f64> {
            matrix.iter().map(|row| row.iter().zip(v).map(|(a, b)| a * b).sum()).collect()
        };
        let value = |v: &Vec<f64>| of(v).iter().zip(v).map(|(a, b)| a * b).sum::<f64>();
        let values: Vec<f64> = vectors.iter().map(value).collect();
        assert!(values.windows(2).all(|pair| pair[0] >= pair[1]));
        assert!((values.iter().sum::<f64>() - 10.0).abs() < 1e-12);
        for (vector, value) in vectors.iter().zip(values) {
            of(vector).iter().zip(vector).for_each(|(a, b)| assert!((a - value * b).abs() < 1e-10));
        }
    }

    #[test]
    fn texts_of_the_same_things_lie_together_and_later_ones_are_read_alike() {
        let mut panel = test_panel(40, 3);
        let things = ["red glass lamp", "blue glass lamp", "paper bag large", "small paper bag"];
        let labels: Vec<String> =
            (0..38).map(|i| format!("{} {}", things[i % 4], if i % 3 == 0 { "new" } else { "" })).collect();
        let mut distinct = labels.clone();
        distinct.sort_unstable();
        distinct.dedup();
        distinct.push(" ".into());
        let mut codes: Vec<u32> =
            labels.iter().map(|l| distinct.iter().position(|d| d == l).unwrap() as u32).collect();
        codes.extend([MISSING, distinct.len() as u32 - 1]);
        let values = Values::Category { codes, labels: distinct };
        panel.statics = vec![Covariate { name: "title".into(), values }];
        let control = Control::default();
        let texts = Texts::fit(&panel, &["title".to_owned()], None, 1, &control).unwrap();
        let again = Texts::from_bytes(&texts.to_bytes().unwrap()).unwrap();
        assert_eq!(again, texts);
        let before = panel.clone();
        texts.extend(&mut panel, None, &control).unwrap();
        let names: Vec<&str> = panel.statics.iter().map(|c| c.name.as_str()).collect();
        assert!(names.len() > 3 && names[0] == "title[1]");
        let row = |panel: &Panel, i: usize| -> Vec<f32> {
            let of = |c: &Covariate| match &c.values {
                Values::Number(numbers) => numbers[i],
                Values::Category { .. } => panic!("{} is no number", c.name),
            };
            panel.statics.iter().map(of).collect()
        };
        let near =
            |a: usize, b: usize| row(&panel, a).iter().zip(row(&panel, b)).map(|(a, b)| a * b).sum::<f32>();
        // Lamps are like lamps, bags like bags.
        assert!(near(1, 4) > near(1, 2) + 0.2 && near(2, 7) > near(2, 5) + 0.2);
        assert!(row(&panel, 38).iter().chain(&row(&panel, 39)).all(|x| x.is_nan()));
        // One series alone, as it is read when it is forecast.
        let mut alone = before.select(5..6);
        texts.extend(&mut alone, None, &control).unwrap();
        assert_eq!(row(&alone, 0), row(&panel, 5));
    }
}
