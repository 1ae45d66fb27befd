//! Scores as rows: of a model, of groups of its series, and the file that keeps those of every series.

use std::collections::{BTreeMap, HashSet};
use std::io::Cursor;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float64Array, Int64Array, RecordBatch, StringArray,
    UInt32Array,
};
use datafusion::arrow::compute::{concat_batches, take};
use datafusion::arrow::datatypes::{DataType, Field, Float64Type, Schema};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::reader::FileReader;
use datafusion::arrow::ipc::writer::FileWriter;
use datafusion::arrow::row::{RowConverter, SortField};

use crate::engine::plan::training::skill;
use crate::engine::registry::ColumnRole;
use crate::error::{Error, Result, Subject, did_you_mean};
use crate::ml::evaluation::ScoreSums;
use crate::ml::forecaster::{Scores, SeriesScores};
use crate::ml::series::{Covariate, MISSING, Values};

/// Columns that tell series apart, by name.
pub type Named = Vec<(String, ArrayRef)>;

/// Scores of a model and of seasonal naive on the same points.
pub type Pair<T> = [T; 2];

/// The sums of one series, or of a part of its points.
#[derive(Debug)]
pub struct Entry {
    /// Which series it is.
    pub series: usize,
    /// Of the model and of seasonal naive.
    pub sums: Pair<ScoreSums>,
}

/// The columns of scores.
pub fn fields() -> Vec<Field> {
    let count = |name: &str| Field::new(name, DataType::Int64, true);
    let numbers = NUMBERS.iter().map(|(name, _)| Field::new(*name, DataType::Float64, true));
    [count("n_series"), count("n")].into_iter().chain(numbers).collect()
}

type Number = (&'static str, fn(&Pair<Scores>) -> Option<f64>);

const NUMBERS: [Number; 13] = [
    ("mae", |s| s[0].mae),
    ("rmse", |s| s[0].rmse),
    ("wape", |s| s[0].wape),
    ("smape", |s| s[0].smape),
    ("mase", |s| s[0].mase),
    ("rmsse", |s| s[0].rmsse),
    ("bias", |s| s[0].bias),
    ("quantile_loss", |s| s[0].quantile_loss),
    ("coverage", |s| s[0].coverage),
    ("interval_width", |s| s[0].interval_width),
    ("naive_mae", |s| s[1].mae),
    ("naive_mase", |s| s[1].mase),
    ("skill", |s| skill(s[0].mase, s[1].mase)),
];

/// Scores in the columns of [`fields`].
pub fn columns(scores: &[Pair<Scores>]) -> Vec<ArrayRef> {
    let count = |of: fn(&Scores) -> usize| -> ArrayRef {
        Arc::new(scores.iter().map(|s| Some(of(&s[0]) as i64)).collect::<Int64Array>())
    };
    let numbers = NUMBERS
        .iter()
        .map(|(_, of)| -> ArrayRef { Arc::new(scores.iter().map(of).collect::<Float64Array>()) });
    [count(|s| s.n_series), count(|s| s.n)].into_iter().chain(numbers).collect()
}

/// The scores of entries that share the values of some columns, a row for each group, sorted by them.
pub fn grouped(by: &[ArrayRef], entries: &[Entry]) -> Result<(Vec<ArrayRef>, Vec<Pair<Scores>>)> {
    if by.is_empty() {
        return Ok((vec![], vec![Group::of(entries.iter()).scores()]));
    }
    let fields = by.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let converter = RowConverter::new(fields).map_err(internal)?;
    let rows = converter.convert_columns(by).map_err(internal)?;
    let mut groups: BTreeMap<_, Group> = BTreeMap::new();
    for (row, entry) in rows.iter().zip(entries) {
        groups.entry(row).or_default().add(entry);
    }
    let values = converter.convert_rows(groups.keys().copied()).map_err(internal)?;
    Ok((values, groups.values().map(Group::scores).collect()))
}

#[derive(Default)]
struct Group {
    sums: Pair<ScoreSums>,
    /// Series with a scored point.
    series: HashSet<usize>,
}

impl Group {
    fn of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Self {
        let mut group = Self::default();
        entries.for_each(|entry| group.add(entry));
        group
    }

    fn add(&mut self, entry: &Entry) {
        self.sums.iter_mut().zip(&entry.sums).for_each(|(sums, other)| sums.merge(other));
        if !entry.sums[0].is_empty() {
            self.series.insert(entry.series);
        }
    }

    fn scores(&self) -> Pair<Scores> {
        self.sums.each_ref().map(|sums| Scores { n_series: self.series.len(), ..sums.scores() })
    }
}

/// The column of this name among those that scores can be grouped by.
pub fn column<'a>(model: &str, columns: &'a Named, name: &str) -> Result<&'a ArrayRef> {
    let found = columns.iter().find(|(column, _)| column == name).map(|(_, values)| values);
    found.ok_or_else(|| no_group(model, columns.iter().map(|(column, _)| column.as_str()), name))
}

/// The error for a column that scores cannot be grouped by.
pub fn no_group<'a>(model: &str, columns: impl IntoIterator<Item = &'a str> + Clone, name: &str) -> Error {
    let suggestion = did_you_mean(name, columns.clone());
    let message = format!("by => {name} is no key and no static column of model {model}{suggestion}");
    let columns: Vec<&str> = columns.into_iter().collect();
    let error = Error::not_found(Subject::Column, message);
    match columns.as_slice() {
        [] => error.with_hint(format!("{model} has one series: leave by away")),
        columns => error.with_hint(format!("columns to group by: {}", columns.join(", "))),
    }
}

/// The values of the static covariates that the user knows, a row for each series.
pub fn static_columns(statics: &[Covariate], roles: &[ColumnRole]) -> Named {
    let column = |covariate: &Covariate| -> ArrayRef {
        match &covariate.values {
            Values::Number(numbers) => {
                let value = |x: &f32| (!x.is_nan()).then(|| f64::from(*x));
                Arc::new(numbers.iter().map(value).collect::<Float64Array>())
            }
            Values::Category { codes, labels } => {
                let label = |code: &u32| (*code != MISSING).then(|| labels[*code as usize].as_str());
                Arc::new(codes.iter().map(label).collect::<StringArray>())
            }
        }
    };
    let known = |covariate: &&Covariate| roles.iter().any(|role| role.name == covariate.name);
    statics.iter().filter(known).map(|covariate| (covariate.name.clone(), column(covariate))).collect()
}

/// The rows of some columns at these places.
pub fn at(columns: Named, places: &UInt32Array) -> Result<Named> {
    let one = |(name, column): (String, ArrayRef)| Ok((name, take(&column, places, None).map_err(internal)?));
    columns.into_iter().map(one).collect()
}

/// The file that keeps the scores of every series beside the columns that tell them apart.
pub fn encode(columns: Named, scores: &SeriesScores) -> Result<Vec<u8>> {
    let sums = |series: &[ScoreSums]| -> Result<ArrayRef> {
        let numbers = Float64Array::from(series.iter().flat_map(ScoreSums::to_numbers).collect::<Vec<_>>());
        let item = Arc::new(Field::new("item", DataType::Float64, false));
        let list = FixedSizeListArray::try_new(item, ScoreSums::NUMBERS as i32, Arc::new(numbers), None);
        Ok(Arc::new(list.map_err(internal)?))
    };
    let mut columns = columns;
    columns.push(("model".to_owned(), sums(&scores.model)?));
    columns.push(("naive".to_owned(), sums(&scores.naive)?));
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(name, column.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let arrays = columns.into_iter().map(|(_, column)| column).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).map_err(internal)?;
    let mut writer = FileWriter::try_new(Vec::new(), &schema).map_err(internal)?;
    writer.write(&batch).map_err(internal)?;
    writer.into_inner().map_err(internal)
}

/// What [`encode`] wrote; any other bytes are an error.
pub fn decode(bytes: &[u8]) -> Result<(Named, Vec<Entry>)> {
    let corrupt = |why: String| Error::corrupt(Subject::File, format!("scores.arrow: {why}"));
    let reader = FileReader::try_new(Cursor::new(bytes), None).map_err(|e| corrupt(e.to_string()))?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|e| corrupt(e.to_string()))?;
    let batch = concat_batches(&schema, &batches).map_err(|e| corrupt(e.to_string()))?;
    let Some(named) = batch.num_columns().checked_sub(2) else {
        return Err(corrupt("it has no sums".to_owned()));
    };
    let sums = |column: usize| -> Result<Vec<ScoreSums>> {
        let list = batch.column(column).as_fixed_size_list_opt();
        let numbers = list.and_then(|list| list.values().as_primitive_opt::<Float64Type>());
        let numbers = numbers.ok_or_else(|| corrupt("its sums are no numbers".to_owned()))?;
        let (chunks, _) = numbers.values().as_chunks::<{ ScoreSums::NUMBERS }>();
        Ok(chunks.iter().map(ScoreSums::from_numbers).collect())
    };
    let (model, naive) = (sums(named)?, sums(named + 1)?);
    if model.len() != batch.num_rows() || naive.len() != batch.num_rows() {
        return Err(corrupt("its sums are not as many as its series".to_owned()));
    }
    let names = schema.fields().iter().map(|field| field.name().clone());
    let columns = names.zip(batch.columns().iter().cloned()).take(named).collect();
    let pairs = model.into_iter().zip(naive).enumerate();
    Ok((columns, pairs.map(|(series, (model, naive))| Entry { series, sums: [model, naive] }).collect()))
}

fn internal(error: ArrowError) -> Error {
    Error::internal(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(error: f64) -> ScoreSums {
        let forecast = crate::ml::forecaster::Forecast {
            horizon: 1,
            quantile_levels: vec![0.5],
            point: vec![1.0 + error],
            quantiles: vec![1.0 + error],
            status: vec![None],
            ..Default::default()
        };
        let mut sums = ScoreSums::default();
        sums.add((Some(2.0), None), 0, &[1.0], &forecast, &[0.5]);
        sums
    }

    #[test]
    fn scores_come_back_and_group_by_columns() {
        let errors = [1.0, 3.0, 2.0];
        let scores = SeriesScores {
            model: errors.iter().map(|e| sums(*e)).collect(),
            naive: errors.iter().map(|e| sums(2.0 * e)).collect(),
        };
        let regions: ArrayRef = Arc::new(StringArray::from(vec!["south", "north", "south"]));
        let bytes = encode(vec![("region".to_owned(), regions)], &scores).unwrap();
        let (columns, entries) = decode(&bytes).unwrap();
        let by = [Arc::clone(column("m", &columns, "region").unwrap())];
        let (values, found) = grouped(&by, &entries).unwrap();
        assert_eq!(values[0].as_string::<i32>().value(0), "north");
        assert_eq!((found[0][0].mae, found[1][0].mae, found[1][1].mase), (Some(3.0), Some(1.5), Some(1.5)));
        assert_eq!((found[1][0].n_series, found[1][0].n), (2, 2));
        let error = column("m", &columns, "regoin").unwrap_err();
        assert_eq!(
            error.message(),
            "by => regoin is no key and no static column of model m; did you mean region?"
        );
        assert!(decode(&bytes[..bytes.len() / 2]).is_err() && decode(b"").is_err());
    }
}
