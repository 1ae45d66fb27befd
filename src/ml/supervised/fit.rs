//! A fit on rows: some are held out, families take part, and those that help are combined and learn from all rows.

use std::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::ml::control::Control;
use crate::ml::matrix::correlation;
use crate::ml::metrics::area_under_curve;
use crate::ml::rng::Rng;
use crate::ml::supervised::combination;
use crate::ml::supervised::member::{self, ALL, FittedMember};
use crate::ml::supervised::model::{Fitted, RowsReport};
use crate::ml::supervised::options::{Member, MemberFamily, RowsOptions, Task};
use crate::ml::supervised::scores::RowScores;
use crate::ml::supervised::table::{ColumnKind, NONE, Table, Target, Values};

/// Rows that are needed.
const ROWS_MIN: usize = 20;
/// Rows that are held out, at most.
const HELD_OUT_MAX: usize = 20_000;
/// An area under the curve from which on one column tells the target almost alone.
const LEAKED: f64 = 0.999;

/// Fits a model that tells the target of rows from their columns.
pub fn fit(
    table: &Table,
    target: &Target,
    task: &Task,
    options: &RowsOptions,
    control: &Control,
) -> Result<(Fitted, RowsReport)> {
    if target.len() < ROWS_MIN {
        let message = format!("{} rows are too few to learn from; {ROWS_MIN} are needed", target.len());
        return Err(Error::data(message));
    }
    let started = Instant::now();
    let (train, valid) = split(target, options);
    let families = families(table, task, options);
    let mut fitted: Vec<Option<FittedMember>> = vec![];
    let mut told: Vec<Option<Vec<f32>>> = vec![];
    let mut members = vec![];
    let wanted = target.of(&valid);
    let count = families.len();
    for (place, family) in families.into_iter().enumerate() {
        let late = options.max_seconds.is_some_and(|limit| started.elapsed().as_secs_f64() > limit);
        if late && told.iter().any(Option::is_some) {
            break;
        }
        control.report(|p| {
            (p.phase, p.epoch, p.epochs) = ("fit", place + 1, count);
            p.fraction = 0.8 * place as f64 / count as f64;
        });
        let began = Instant::now();
        let data = (table, target, task);
        let outcome = member::fit(family, data, (&train, &valid), options, control)
            .and_then(|member| Ok((member.predict(table, &valid, control)?, member)));
        let (scores, failure) = match outcome {
            Ok((predictions, member)) => {
                let scores = RowScores::of(&wanted, &predictions, task.outputs());
                fitted.push(Some(member));
                told.push(Some(predictions));
                (scores, None)
            }
            Err(error) if error.kind() == ErrorKind::Data => {
                fitted.push(None);
                told.push(None);
                (RowScores::default(), Some(error.message().to_owned()))
            }
            Err(error) => return Err(error),
        };
        members.push(Member { family, scores, weight: 0.0, seconds: began.elapsed().as_secs_f64(), failure });
    }
    if let (Some(failure), true) =
        (members.iter().find_map(|m| m.failure.clone()), told.iter().all(Option::is_none))
    {
        return Err(Error::data(failure));
    }
    let weights = combination::weights(&told, &wanted, task.outputs());
    let scores = RowScores::of(&wanted, &combination::mean(&told, &weights), task.outputs());
    members.iter_mut().zip(&weights).for_each(|(member, weight)| member.weight = *weight);
    let all: Vec<usize> = (0..target.len()).collect();
    let mut kept = vec![];
    for (member, weight) in fitted.into_iter().zip(weights).filter(|(_, weight)| *weight > 0.0) {
        let Some(member) = member else { continue };
        control.report(|p| (p.phase, p.fraction) = ("fit", 0.9));
        kept.push((of_all_rows(member, (table, target, task), &all, options, control)?, weight));
    }
    let columns = table.columns.iter().map(|column| (column.name.clone(), column.kind)).collect();
    let model = Fitted { task: task.clone(), columns, members: kept };
    let by_loss = |member: &Member| member.scores.loss().unwrap_or(f64::INFINITY);
    members.sort_by(|a, b| by_loss(a).total_cmp(&by_loss(b)));
    let report = RowsReport {
        rows: train.len(),
        held_out: valid.len(),
        scores,
        naive: naive(target, &train, &wanted, task),
        members,
        parameters: model.parameters(),
    };
    Ok((model, report))
}

/// The families that take part.
fn families(table: &Table, task: &Task, options: &RowsOptions) -> Vec<MemberFamily> {
    if !options.families.is_empty() {
        return options.families.clone();
    }
    let mut families = vec![MemberFamily::Linear, MemberFamily::Gbt, MemberFamily::Tree];
    if matches!(task, Task::Classes(_)) {
        families.push(MemberFamily::Svm);
    }
    if options.encoder.is_some() && !table.of_kind(ColumnKind::Text).is_empty() {
        families.push(MemberFamily::Bert);
    }
    families
}

/// Rows to learn from and rows that are held out, of every class its share; classes of one row are learnt from.
fn split(target: &Target, options: &RowsOptions) -> (Vec<usize>, Vec<usize>) {
    let mut order: Vec<usize> = (0..target.len()).collect();
    Rng::new(options.seed).fork("held out").shuffle(&mut order);
    let share = options.held_out.min(HELD_OUT_MAX as f64 / target.len() as f64);
    let (mut train, mut valid) = (vec![], vec![]);
    match target {
        Target::Numbers(_) => {
            let n = ((target.len() as f64 * share) as usize).max(1);
            valid.extend_from_slice(&order[..n]);
            train.extend_from_slice(&order[n..]);
        }
        Target::Classes(classes) => {
            let mut by_class: std::collections::BTreeMap<u32, Vec<usize>> = std::collections::BTreeMap::new();
            order.into_iter().for_each(|row| by_class.entry(classes[row]).or_default().push(row));
            for rows in by_class.into_values() {
                let n = (rows.len() as f64 * share).round() as usize;
                let n = n.max(1).min(rows.len() - 1);
                valid.extend_from_slice(&rows[..n]);
                train.extend_from_slice(&rows[n..]);
            }
        }
    }
    train.sort_unstable();
    valid.sort_unstable();
    (train, valid)
}

/// The member as it learns from all rows. What was early to stop keeps what it knows: more rows would not tell it when.
fn of_all_rows(
    member: FittedMember,
    (table, target, task): (&Table, &Target, &Task),
    all: &[usize],
    options: &RowsOptions,
    control: &Control,
) -> Result<FittedMember> {
    match member {
        FittedMember::Linear(model) => {
            model.refit((table, target), all, &ALL, control).map(|model| FittedMember::Linear(model.into()))
        }
        FittedMember::Trees(model) => model
            .refit((table, target, task), all, options, control)
            .map(|model| FittedMember::Trees(model.into())),
        FittedMember::Text(model) => Ok(FittedMember::Text(model)),
    }
}

/// Scores of telling every row what is told most often, or the mean.
fn naive(target: &Target, train: &[usize], wanted: &Target, task: &Task) -> RowScores {
    let outputs = task.outputs();
    let each: Vec<f32> = match target.of(train) {
        Target::Classes(classes) => {
            let share = |class: usize| classes.iter().filter(|c| **c as usize == class).count() as f32;
            (0..outputs).map(|class| share(class) / classes.len() as f32).collect()
        }
        Target::Numbers(numbers) => vec![(numbers.iter().sum::<f64>() / numbers.len() as f64) as f32],
    };
    RowScores::of(wanted, &each.repeat(wanted.len()), outputs)
}

/// Columns that tell the target almost alone, with how well: they may hold what is to be told.
pub fn leaked(table: &Table, target: &Target, task: &Task) -> Vec<(String, f64)> {
    let mut found = vec![];
    for column in table.columns.iter().filter(|column| column.kind != ColumnKind::Text) {
        let told = match (&column.values, target) {
            (Values::Numbers(numbers), Target::Classes(classes)) if task.outputs() == 2 => {
                let pairs = numbers.iter().zip(classes).filter(|(x, _)| x.is_finite());
                let mut pairs: Vec<(f64, bool)> = pairs.map(|(x, class)| (*x, *class == 1)).collect();
                area_under_curve(&mut pairs).map(|area| area.max(1.0 - area))
            }
            (Values::Numbers(numbers), Target::Classes(classes)) => purity(&codes_of(numbers), classes),
            (Values::Words(words), Target::Classes(classes)) => purity(&words.codes, classes),
            (Values::Numbers(numbers), Target::Numbers(y)) => {
                Some(correlation(numbers.iter().copied().zip(y.iter().copied())).abs())
            }
            (Values::Words(_), Target::Numbers(_)) => None,
        };
        found.extend(told.filter(|told| *told >= LEAKED).map(|told| (column.name.clone(), told)));
    }
    found
}

/// Numbers as words, equal ones the same.
fn codes_of(numbers: &[f64]) -> Vec<u32> {
    let mut codes = std::collections::HashMap::new();
    let mut code = |x: &f64| {
        let next = codes.len() as u32;
        if x.is_finite() { *codes.entry(x.to_bits()).or_insert(next) } else { NONE }
    };
    numbers.iter().map(&mut code).collect()
}

/// Share of the rows whose class is the most frequent one of their word, where words repeat.
fn purity(codes: &[u32], classes: &[u32]) -> Option<f64> {
    let mut counts: std::collections::HashMap<u32, std::collections::HashMap<u32, usize>> =
        std::collections::HashMap::new();
    let pairs = codes.iter().zip(classes).filter(|(code, _)| **code != NONE);
    pairs.for_each(|(code, class)| *counts.entry(*code).or_default().entry(*class).or_default() += 1);
    let rows: usize = counts.values().flat_map(|of| of.values()).sum();
    // A word for every row tells nothing of others.
    if rows < ROWS_MIN || counts.len() * 4 > rows {
        return None;
    }
    let right: usize = counts.values().filter_map(|of| of.values().max()).sum();
    let alone = classes.iter().fold(std::collections::HashMap::<u32, usize>::new(), |mut all, class| {
        *all.entry(*class).or_default() += 1;
        all
    });
    let most = alone.values().max().copied().unwrap_or(0) as f64 / classes.len() as f64;
    // Of a rare class, words that tell nothing are nearly pure.
    (right as f64 / rows as f64 > most + 0.5 * (1.0 - most)).then(|| right as f64 / rows as f64)
}
