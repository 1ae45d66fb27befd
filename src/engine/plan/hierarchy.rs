//! HIERARCHY against the keys of the series: which of them are rolled up, and what rolling up asks of their values.

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use datafusion::arrow::compute::take;
use datafusion::sql::sqlparser::ast::Ident;

use crate::engine::plan::input::{InputColumn, Role};
use crate::engine::plan::series::kept_series;
use crate::engine::sql::{Source, TrainStatement, fold};
use crate::error::{Error, Result, Subject, did_you_mean_name};
use crate::ml::hierarchy::{Hierarchy, Rollup};

/// The rollup that a statement asks for.
pub fn rollup(
    statement: &TrainStatement,
    columns: &[InputColumn],
    source: &Source,
) -> Result<Option<Rollup>> {
    if statement.hierarchy.is_empty() {
        return Ok(None);
    }
    let keys: Vec<String> = columns.iter().filter(|c| c.role == Role::Key).map(|c| c.name.clone()).collect();
    let key = |ident: &Ident| {
        let name = fold(ident);
        keys.iter()
            .position(|key| *key == name)
            .ok_or_else(|| no_key(&name, &keys).at(source.span(ident.span)))
    };
    let lists: Vec<Vec<usize>> =
        statement.hierarchy.iter().map(|list| list.iter().map(key).collect()).collect::<Result<_>>()?;
    Ok(Some(Rollup::new(keys, lists)))
}

fn no_key(name: &str, keys: &[String]) -> Error {
    let suggestion = did_you_mean_name(name, keys.iter().map(String::as_str));
    let message = format!("HIERARCHY names {name}, which is no key of the series{suggestion}");
    let hint = match keys {
        [] => format!("name the keys of the series first: PARTITION BY {name}"),
        keys => format!("keys, from PARTITION BY: {}", keys.join(", ")),
    };
    Error::input(Subject::Column, message).with_hint(hint)
}

/// Refuses rows whose rolled-up keys are NULL, which stands for the sum of all.
pub fn refuse_null_keys(batch: &RecordBatch, rollup: &Rollup, table: &str) -> Result<()> {
    for (k, name) in rollup.keys().iter().enumerate().filter(|(k, _)| rollup.rolls_up(*k)) {
        if batch.column(k).null_count() > 0 {
            let message = format!(
                "{table} has a row whose {name} is NULL, which in a hierarchy stands for the sum over all {name}"
            );
            return Err(Error::data(message).with_hint(format!(
                "leave such rows out with WHERE {name} IS NOT NULL, or name them: coalesce({name}, …)"
            )));
        }
    }
    Ok(())
}

/// The hierarchy of the series of a panel, of all that were read with these keys and parts of them.
pub fn hierarchy(rollup: &Rollup, read: &[String], parts: &[Vec<String>], kept: &[String]) -> Hierarchy {
    let parts: Vec<Vec<String>> = kept_series(read, kept).into_iter().map(|i| parts[i].clone()).collect();
    Hierarchy::new(rollup, &parts)
}

/// The keys of the series, and then of the rows of every level above them: NULL where a level does not keep a key.
pub fn keys_of_rows(keys: &[ArrayRef], hierarchy: &Hierarchy) -> Result<Vec<ArrayRef>> {
    let of_rows = |(key, column): (usize, &ArrayRef)| {
        let series = (0..hierarchy.series() as u32).map(Some);
        let sums =
            hierarchy.rows().iter().map(|sum| hierarchy.levels()[sum.level][key].then_some(sum.first as u32));
        let rows: UInt32Array = series.chain(sums).collect();
        take(column, &rows, None).map_err(|e| Error::internal(e.to_string()))
    };
    keys.iter().enumerate().map(of_rows).collect()
}
