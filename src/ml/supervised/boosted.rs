//! Trees over the columns of rows, and over what a linear model tells of their texts.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::ml::control::Control;
use crate::ml::rng::Rng;
use crate::ml::supervised::linear::{Linear, Loss};
use crate::ml::supervised::options::{RowsOptions, Task};
use crate::ml::supervised::table::{ColumnKind, NONE, Table, Target, Values};
use crate::ml::trees::{Booster, BoosterOptions, ColumnType, Objective, Rows, SAMPLE_ROWS, TreeRows};

/// Words of a category that are told apart.
const WORDS_MAX: usize = 1_000;
/// Parts of the rows whose texts are told by what the others taught.
const FOLDS: usize = 4;

/// Trees for each output, and how rows become their columns.
#[derive(Debug)]
pub(super) struct Boosted {
    pub(super) columns: TreeColumns,
    /// What tells the texts; `None` where there are none.
    pub(super) texts: Option<Linear>,
    /// One for each score: one less than classes where there are two.
    pub(super) boosters: Vec<Booster>,
    pub(super) outputs: usize,
}

/// The columns of a table that trees see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct TreeColumns {
    of: Vec<TreeColumn>,
    /// Numbers that tell the texts of a row.
    texts: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TreeColumn {
    Number {
        column: usize,
    },
    /// Codes by these words, the most frequent first.
    Category {
        column: usize,
        words: Vec<String>,
    },
    /// Bytes of a text.
    Length {
        column: usize,
    },
}

impl TreeColumns {
    fn fit(table: &Table, rows: &[usize], texts: usize) -> Self {
        let of = table.columns.iter().enumerate().map(|(column, of)| match &of.values {
            Values::Numbers(_) => TreeColumn::Number { column },
            Values::Words(_) if of.kind == ColumnKind::Text => TreeColumn::Length { column },
            Values::Words(words) => {
                let mut counts: Vec<(u32, usize)> = (0..words.labels.len()).map(|i| (0, i)).collect();
                rows.iter()
                    .map(|i| words.codes[*i])
                    .filter(|c| *c != NONE)
                    .for_each(|c| counts[c as usize].0 += 1);
                counts.retain(|(n, _)| *n > 0);
                counts.sort_by(|a, b| b.0.cmp(&a.0).then(words.labels[a.1].cmp(&words.labels[b.1])));
                let frequent = counts.into_iter().take(WORDS_MAX).map(|(_, i)| words.labels[i].clone());
                TreeColumn::Category { column, words: frequent.collect() }
            }
        });
        Self { of: of.collect(), texts }
    }

    pub(super) fn width(&self) -> usize {
        self.of.len() + self.texts
    }

    fn types(&self) -> Vec<ColumnType> {
        let own = self.of.iter().map(|column| match column {
            TreeColumn::Category { .. } => ColumnType::Category,
            _ => ColumnType::Number,
        });
        own.chain(std::iter::repeat_n(ColumnType::Number, self.texts)).collect()
    }

    /// Values `[rows, columns]`; `texts` are what tells the texts, `[rows, texts]`.
    fn values(&self, table: &Table, rows: &[usize], texts: &[f32]) -> Vec<f32> {
        let width = self.width();
        let mut out = vec![f32::NAN; rows.len() * width];
        for (j, column) in self.of.iter().enumerate() {
            let mut put = |value: &dyn Fn(usize) -> f32| {
                rows.iter().enumerate().for_each(|(i, row)| out[i * width + j] = value(*row));
            };
            match column {
                TreeColumn::Number { column } => {
                    let numbers = table.numbers(*column);
                    put(&|row| numbers[row] as f32);
                }
                TreeColumn::Length { column } => {
                    let Some(words) = table.words(*column) else { continue };
                    put(&|row| words.get(row).map_or(f32::NAN, |text| text.len() as f32));
                }
                TreeColumn::Category { column, words } => {
                    let Some(found) = table.words(*column) else { continue };
                    let places: std::collections::HashMap<&str, usize> =
                        words.iter().enumerate().map(|(i, word)| (word.as_str(), i)).collect();
                    let codes: Vec<f32> = found
                        .labels
                        .iter()
                        .map(|label| places.get(label.as_str()).map_or(f32::NAN, |i| *i as f32))
                        .collect();
                    put(&|row| codes.get(found.codes[row] as usize).copied().unwrap_or(f32::NAN));
                }
            }
        }
        if self.texts > 0 {
            for (row, texts) in out.chunks_exact_mut(width).zip(texts.chunks_exact(self.texts)) {
                row[self.of.len()..].copy_from_slice(texts);
            }
        }
        out
    }
}

/// How a fit goes: one tree, or as many as help on the rows held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trees {
    One,
    Boosted,
}

impl Boosted {
    pub(super) fn fit(
        (table, target, task): (&Table, &Target, &Task),
        (train, valid): (&[usize], &[usize]),
        trees: Trees,
        options: &RowsOptions,
        control: &Control,
    ) -> Result<Self> {
        let texts = Texts::fit((table, target, task.outputs()), (train, valid), control)?;
        Self::with_texts((table, target, task), (train, valid), (trees, texts), options, control)
    }

    fn with_texts(
        (table, target, task): (&Table, &Target, &Task),
        (train, valid): (&[usize], &[usize]),
        (trees, texts): (Trees, Option<Texts>),
        options: &RowsOptions,
        control: &Control,
    ) -> Result<Self> {
        let outputs = task.outputs();
        let scores = if outputs == 2 { 1 } else { outputs };
        let columns = TreeColumns::fit(table, train, if texts.is_some() { scores } else { 0 });
        let told =
            |part: fn(&Texts) -> &Vec<f32>| texts.as_ref().map_or_else(Vec::new, |texts| part(texts).clone());
        let of_train = columns.values(table, train, &told(|texts| &texts.train));
        let of_valid = columns.values(table, valid, &told(|texts| &texts.valid));
        let width = columns.width();
        let mut boosters = vec![];
        for score in 0..scores {
            let wanted = |rows: &[usize]| -> Vec<f32> {
                let class = if outputs == 2 { 1 } else { score };
                target.of(rows).output(class).into_iter().map(|y| y as f32).collect()
            };
            let sample = Rows { values: &of_train[..of_train.len().min(SAMPLE_ROWS * width)], width };
            let mut rows = TreeRows::new(sample, &columns.types(), 255);
            rows.append(Rows { values: &of_train, width }, &wanted(train), &[]);
            let mut held_out = rows.empty_like();
            held_out.append(Rows { values: &of_valid, width }, &wanted(valid), &[]);
            let settings = settings(task, trees, options, train.len());
            let held_out = Some(&held_out).filter(|rows| trees == Trees::Boosted && !rows.is_empty());
            boosters.push(Booster::fit(&rows, held_out, &settings, control)?);
        }
        Ok(Self { columns, texts: texts.map(|texts| texts.model), boosters, outputs })
    }

    /// As many trees of more rows.
    pub(super) fn refit(
        &self,
        data: (&Table, &Target, &Task),
        rows: &[usize],
        options: &RowsOptions,
        control: &Control,
    ) -> Result<Self> {
        let most = self.boosters.iter().map(Booster::len).max().unwrap_or(1);
        let trees = if most == 1 { Trees::One } else { Trees::Boosted };
        // More rows carry a few more trees.
        let options = RowsOptions { trees: most + most / 10, ..options.clone() };
        let texts = self.texts.as_ref().map(|model| Texts::refit(model, (data.0, data.1), rows, control));
        Self::with_texts(data, (rows, &[]), (trees, texts.transpose()?), &options, control)
    }

    /// What is told of these rows, `[rows, outputs]`.
    pub(super) fn predict(&self, table: &Table, rows: &[usize]) -> Vec<f32> {
        let told = self.texts.as_ref().map_or_else(Vec::new, |model| told(model, table, rows));
        let values = self.columns.values(table, rows, &told);
        let width = self.columns.width();
        let scores: Vec<Vec<f32>> =
            self.boosters.iter().map(|booster| booster.predict(Rows { values: &values, width })).collect();
        let mut out = Vec::with_capacity(rows.len() * self.outputs);
        for i in 0..rows.len() {
            match (self.outputs, scores.as_slice()) {
                (2, [only]) => out.extend([1.0 - only[i], only[i]]),
                (1, [only]) => out.push(only[i]),
                (_, all) => {
                    let total: f32 = all.iter().map(|scores| scores[i]).sum::<f32>().max(1e-12);
                    out.extend(all.iter().map(|scores| scores[i] / total));
                }
            }
        }
        out
    }
}

fn settings(task: &Task, trees: Trees, options: &RowsOptions, rows: usize) -> BoosterOptions {
    let objective = match task {
        Task::Classes(_) => Objective::Logistic,
        Task::Number => Objective::SquaredError,
    };
    let plain = BoosterOptions { objective, seed: options.seed, ..BoosterOptions::default() };
    let rows_min = (rows / 500).clamp(3, 20);
    match trees {
        Trees::One => BoosterOptions {
            trees: 1,
            learning_rate: 1.0,
            leaves: options.leaves,
            rows_min: rows_min.max(10),
            row_fraction: 1.0,
            column_fraction: 1.0,
            ..plain
        },
        Trees::Boosted => BoosterOptions {
            trees: options.trees,
            learning_rate: 0.05,
            leaves: options.leaves,
            rows_min,
            bins: 255,
            patience: 40,
            ..plain
        },
    }
}

/// What a linear model tells of texts: of the rows that it learns from, by models that did not see them.
struct Texts {
    model: Linear,
    train: Vec<f32>,
    valid: Vec<f32>,
}

impl Texts {
    fn fit(
        (table, target, outputs): (&Table, &Target, usize),
        (train, valid): (&[usize], &[usize]),
        control: &Control,
    ) -> Result<Option<Self>> {
        let kinds = [ColumnKind::Text];
        if table.of_kind(ColumnKind::Text).is_empty() {
            return Ok(None);
        }
        let loss = if matches!(target, Target::Classes(_)) { Loss::Logistic } else { Loss::Squared };
        let model = Linear::fit((table, target, outputs), (train, valid), (loss, &kinds), control)?;
        let train = by_others(&model, (table, target), train, control)?;
        let valid = told(&model, table, valid);
        Ok(Some(Self { model, train, valid }))
    }

    /// The same of more rows, none of which are held out.
    fn refit(model: &Linear, data: (&Table, &Target), rows: &[usize], control: &Control) -> Result<Self> {
        let model = model.refit(data, rows, &[ColumnKind::Text], control)?;
        Ok(Self { train: by_others(&model, data, rows, control)?, valid: vec![], model })
    }
}

/// What models that learnt from other rows tell of the texts of these.
fn by_others(
    model: &Linear,
    (table, target): (&Table, &Target),
    rows: &[usize],
    control: &Control,
) -> Result<Vec<f32>> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    Rng::new(17).fork("folds").shuffle(&mut order);
    let scores = model.scores();
    let mut out = vec![0.0; rows.len() * scores];
    for fold in 0..FOLDS {
        let (aside, kept): (Vec<usize>, Vec<usize>) = (0..order.len()).partition(|i| i % FOLDS == fold);
        let of = |places: &[usize]| -> Vec<usize> { places.iter().map(|i| rows[order[*i]]).collect() };
        let other = model.refit((table, target), &of(&kept), &[ColumnKind::Text], control)?;
        let found = told(&other, table, &of(&aside));
        for (place, found) in aside.iter().zip(found.chunks_exact(scores)) {
            out[order[*place] * scores..][..scores].copy_from_slice(found);
        }
    }
    Ok(out)
}

/// What a model tells of texts, without what follows from the rest: `[rows, scores]`.
fn told(model: &Linear, table: &Table, rows: &[usize]) -> Vec<f32> {
    let outputs = model.predict(table, rows);
    match model.scores() {
        1 if outputs.len() == 2 * rows.len() => outputs.into_iter().skip(1).step_by(2).collect(),
        _ => outputs,
    }
}
