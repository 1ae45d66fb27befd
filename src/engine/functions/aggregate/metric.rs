//! Metrics as aggregates: a term per row, two sums per group, one quotient at the end.

use std::hash::{Hash, Hasher};
use std::mem::size_of;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, Float64Array};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::cast::as_float64_array;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, DocSection, Documentation, EmitTo, GroupsAccumulator,
    Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::error::{Error, ErrorKind, Result, Subject};

/// A named argument of a metric and what it means.
pub type Parameter = (&'static str, &'static str);

/// The value that came true.
pub const ACTUAL: Parameter = ("actual", "the value that came true");
/// The value that was forecast.
pub const FORECAST: Parameter = ("forecast", "the point forecast of it");
/// The lower end of an interval.
pub const LOWER: Parameter = ("lower", "lower bound of the interval");
/// The upper end of an interval.
pub const UPPER: Parameter = ("upper", "upper bound of the interval");

const ARGUMENTS_MAX: usize = 4;

/// What one row adds to the two sums of its group.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Term {
    /// Added to the sum above the fraction line.
    pub numerator: f64,
    /// Added to the sum below it: 1 for a mean over rows.
    pub denominator: f64,
}

impl Term {
    /// A row that does not count.
    pub const NOTHING: Self = Self { numerator: 0.0, denominator: 0.0 };
    /// A row that counts, and adds nothing.
    pub const MISS: Self = Self { numerator: 0.0, denominator: 1.0 };

    /// One row of a mean.
    pub fn mean(value: f64) -> Self {
        Self { numerator: value, denominator: 1.0 }
    }

    fn add(&mut self, other: Self) {
        self.numerator += other.numerator;
        self.denominator += other.denominator;
    }
}

/// An aggregate that is `finish(sum of numerators / sum of denominators)` over the rows.
///
/// A group without rows, or whose denominators sum to zero, gives NULL. NaN and infinity in an
/// argument are errors, so that no result is ever NaN.
#[derive(Debug)]
pub struct Metric {
    /// Its SQL name.
    pub name: &'static str,
    /// Other SQL names.
    pub aliases: &'static [&'static str],
    /// Its arguments, in order.
    pub parameters: &'static [Parameter],
    /// The exact variant, in one sentence.
    pub description: &'static str,
    /// A statement that runs as it stands.
    pub sql_example: &'static str,
    /// The term of one row of finite arguments; `None` leaves the row out.
    pub term: fn(&[f64]) -> Result<Option<Term>>,
    /// What a row adds whose first argument is NULL; a NULL in another one leaves the row out.
    pub null: Term,
    /// Applied to the quotient.
    pub finish: fn(f64) -> f64,
}

impl Metric {
    /// The metric as a function of the SQL engine.
    pub fn into_udaf(self) -> AggregateUDF {
        AggregateUDF::new_from_impl(MetricUdaf::new(Arc::new(self)))
    }

    fn value(&self, sums: Term) -> Result<Option<f64>> {
        if sums.denominator == 0.0 {
            return Ok(None);
        }
        let value = (self.finish)(sums.numerator / sums.denominator);
        if value.is_finite() {
            return Ok(Some(value));
        }
        let message = format!("the result of {} is beyond the range of double precision", self.name);
        Err(Error::data(message))
    }

    fn row_term(&self, row: &[f64]) -> Result<Option<Term>> {
        match row.iter().position(|v| !v.is_finite()) {
            None => (self.term)(row),
            Some(i) => Err(Error::data(format!(
                "argument {} of {} is {}; metrics take finite numbers only",
                self.parameters[i].0, self.name, row[i]
            ))
            .with_hint("leave such rows out with FILTER (WHERE ...)")),
        }
    }

    /// Calls `add(row, term)` for every row that counts.
    fn for_each_term(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
        mut add: impl FnMut(usize, Term),
    ) -> DataFusionResult<()> {
        let columns = values.iter().map(|v| as_float64_array(v)).collect::<DataFusionResult<Vec<_>>>()?;
        let Some(first) = columns.first() else { return Ok(()) };
        let nulls = columns[1..].iter().fold(None, |all, c| NullBuffer::union(all.as_ref(), c.nulls()));
        let mut row = [0.0; ARGUMENTS_MAX];
        for i in 0..first.len() {
            let wanted = filter.is_none_or(|f| f.is_valid(i) && f.value(i));
            if !wanted || nulls.as_ref().is_some_and(|n| n.is_null(i)) {
                continue;
            }
            if first.is_null(i) {
                add(i, self.null);
                continue;
            }
            for (slot, column) in row.iter_mut().zip(&columns) {
                *slot = column.values()[i];
            }
            if let Some(term) = self.row_term(&row[..columns.len()])? {
                add(i, term);
            }
        }
        Ok(())
    }

    fn documentation(&self) -> Documentation {
        let section = DocSection { include: true, label: "Forecast metrics", description: None };
        let names: Vec<_> = self.parameters.iter().map(|p| p.0).collect();
        let syntax = format!("{}({})", self.name, names.join(", "));
        let documentation = Documentation::builder(section, self.description, syntax);
        let documentation = documentation.with_sql_example(self.sql_example);
        self.parameters.iter().fold(documentation, |d, p| d.with_argument(p.0, p.1)).build()
    }

    /// The metric over these rows.
    #[cfg(test)]
    pub fn score<const N: usize>(&self, rows: &[[f64; N]]) -> Result<Option<f64>> {
        let mut sums = Term::default();
        for row in rows {
            if let Some(term) = self.row_term(row)? {
                sums.add(term);
            }
        }
        self.value(sums)
    }
}

#[derive(Debug)]
struct MetricUdaf {
    metric: Arc<Metric>,
    aliases: Vec<String>,
    signature: Signature,
    documentation: Documentation,
}

impl PartialEq for MetricUdaf {
    fn eq(&self, other: &Self) -> bool {
        self.metric.name == other.metric.name
    }
}

impl Eq for MetricUdaf {}

impl Hash for MetricUdaf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.metric.name.hash(state);
    }
}

impl MetricUdaf {
    fn new(metric: Arc<Metric>) -> Self {
        let names: Vec<_> = metric.parameters.iter().map(|p| p.0.to_owned()).collect();
        let signature = Signature::exact(vec![DataType::Float64; names.len()], Volatility::Immutable)
            .with_parameter_names(names)
            .expect("there is one distinct name for each argument type");
        let aliases = metric.aliases.iter().map(|a| (*a).to_owned()).collect();
        Self { aliases, signature, documentation: metric.documentation(), metric }
    }
}

/// Metrics take all rows: forecasts that are equal are as many.
pub fn refuse_distinct(name: &str, args: &AccumulatorArgs<'_>) -> DataFusionResult<()> {
    if !args.is_distinct {
        return Ok(());
    }
    let message = format!("{name} does not take DISTINCT: equal rows count as often as they occur");
    Err(Error::input(Subject::Function, message).into())
}

impl AggregateUDFImpl for MetricUdaf {
    fn name(&self) -> &str {
        self.metric.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DataFusionResult<Vec<FieldRef>> {
        let sum = |part| {
            Arc::new(Field::new(format_state_name(args.name, part), DataType::Float64, true)) as FieldRef
        };
        Ok(vec![sum("numerator"), sum("denominator")])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        refuse_distinct(self.metric.name, &args)?;
        Ok(Box::new(MetricAccumulator { metric: Arc::clone(&self.metric), sums: Term::default() }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(
        &self,
        _args: AccumulatorArgs<'_>,
    ) -> DataFusionResult<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(MetricGroups { metric: Arc::clone(&self.metric), sums: Vec::new() }))
    }

    fn order_sensitivity(&self) -> datafusion::logical_expr::utils::AggregateOrderSensitivity {
        datafusion::logical_expr::utils::AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

/// The two sums of the only group.
#[derive(Debug)]
struct MetricAccumulator {
    metric: Arc<Metric>,
    sums: Term,
}

impl Accumulator for MetricAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let sums = &mut self.sums;
        self.metric.for_each_term(values, None, |_, term| sums.add(term))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        for term in stored_terms(states)? {
            self.sums.add(term);
        }
        Ok(())
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        Ok(vec![self.sums.numerator.into(), self.sums.denominator.into()])
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        Ok(ScalarValue::Float64(self.metric.value(self.sums)?))
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}

/// The two sums of every group.
#[derive(Debug)]
struct MetricGroups {
    metric: Arc<Metric>,
    sums: Vec<Term>,
}

impl GroupsAccumulator for MetricGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> DataFusionResult<()> {
        self.sums.resize(total_num_groups, Term::default());
        let sums = &mut self.sums;
        self.metric.for_each_term(values, filter, |row, term| sums[group_indices[row]].add(term))
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> DataFusionResult<()> {
        self.sums.resize(total_num_groups, Term::default());
        for (term, group) in stored_terms(values)?.into_iter().zip(group_indices) {
            self.sums[*group].add(term);
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> DataFusionResult<ArrayRef> {
        let sums = emit_to.take_needed(&mut self.sums);
        let values = sums.into_iter().map(|s| self.metric.value(s)).collect::<Result<Float64Array>>();
        Ok(Arc::new(values?))
    }

    fn state(&mut self, emit_to: EmitTo) -> DataFusionResult<Vec<ArrayRef>> {
        Ok(term_columns(&emit_to.take_needed(&mut self.sums)))
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> DataFusionResult<Vec<ArrayRef>> {
        let mut terms = vec![Term::default(); values.first().map_or(0, |v| v.len())];
        self.metric.for_each_term(values, filter, |row, term| terms[row] = term)?;
        Ok(term_columns(&terms))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.sums.capacity() * size_of::<Term>()
    }
}

fn term_columns(terms: &[Term]) -> Vec<ArrayRef> {
    let numerators = Float64Array::from_iter_values(terms.iter().map(|t| t.numerator));
    let denominators = Float64Array::from_iter_values(terms.iter().map(|t| t.denominator));
    vec![Arc::new(numerators), Arc::new(denominators)]
}

fn stored_terms(states: &[ArrayRef]) -> DataFusionResult<Vec<Term>> {
    let [numerators, denominators] = states else {
        return Err(DataFusionError::Internal(format!("a metric keeps two sums, got {}", states.len())));
    };
    let (numerators, denominators) = (as_float64_array(numerators)?, as_float64_array(denominators)?);
    let pairs = numerators.values().iter().zip(denominators.values());
    Ok(pairs.map(|(n, d)| Term { numerator: *n, denominator: *d }).collect())
}

/// The level of a quantile as a share, 0.95 for `0.95`.
pub fn quantile_level(level: f64) -> Result<f64> {
    if level > 0.0 && level < 1.0 {
        return Ok(level);
    }
    let message = format!("level of a quantile must be above 0 and below 1, got {level}");
    Err(Error::input(Subject::Value, message))
}

/// The level of an interval as a share, 0.9 for both `0.9` and `90`.
pub fn interval_level(level: f64) -> Result<f64> {
    let share = if level >= 1.0 { level / 100.0 } else { level };
    if share > 0.0 && share < 1.0 {
        return Ok(share);
    }
    let message =
        format!("level of an interval must be between 0 and 1, or a percentage below 100, got {level}");
    Err(Error::new(ErrorKind::Input, Subject::Value, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::functions::aggregate::mae::MAE;

    fn columns(actual: Vec<Option<f64>>, forecast: Vec<Option<f64>>) -> Vec<ArrayRef> {
        vec![Arc::new(Float64Array::from(actual)), Arc::new(Float64Array::from(forecast))]
    }

    #[test]
    fn groups_skip_nulls_and_filtered_rows_and_merge() {
        let mut groups = MetricGroups { metric: Arc::new(MAE), sums: Vec::new() };
        let values = columns(
            vec![Some(1.0), None, Some(3.0), Some(9.0)],
            vec![Some(2.0), Some(1.0), Some(6.0), Some(f64::NAN)],
        );
        let filter = BooleanArray::from(vec![Some(true), Some(true), Some(true), None]);
        groups.update_batch(&values, &[0, 0, 0, 1], Some(&filter), 3).unwrap();
        let state = groups.state(EmitTo::All).unwrap();
        groups.merge_batch(&state, &[0, 0, 2], 3).unwrap();
        let result = groups.evaluate(EmitTo::All).unwrap();
        let result = as_float64_array(&result).unwrap();
        assert_eq!(result.iter().collect::<Vec<_>>(), [Some(2.0), None, None]);
    }

    #[test]
    fn nan_is_refused_by_name() {
        let error = MAE.score(&[[1.0, f64::NAN]]).unwrap_err();
        assert_eq!(error.message(), "argument forecast of mae is NaN; metrics take finite numbers only");
    }

    #[test]
    fn levels_are_shares_or_percentages() {
        assert_eq!(interval_level(90.0).unwrap(), 0.9);
        assert_eq!(interval_level(0.9).unwrap(), 0.9);
        assert!(interval_level(100.0).is_err());
        assert!(quantile_level(95.0).is_err());
    }
}
