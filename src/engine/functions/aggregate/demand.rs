//! Demand statistics of a series: how often it sells and how much its sales vary.

use std::hash::{Hash, Hasher};
use std::mem::size_of;
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::cast::as_float64_array;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, DocSection, Documentation, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::error::{Error, Subject};

/// Counts and moments of the periods of one series.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Demand {
    /// Periods that are not NULL.
    pub periods: f64,
    /// Periods with a demand other than 0.
    pub demands: f64,
    /// Mean size of those demands.
    pub mean: f64,
    /// Sum of squared differences from that mean.
    pub squares: f64,
}

impl Demand {
    /// Counts one period.
    pub fn push(&mut self, y: f64) {
        self.periods += 1.0;
        if y != 0.0 {
            self.demands += 1.0;
            let difference = y - self.mean;
            self.mean += difference / self.demands;
            self.squares += difference * (y - self.mean);
        }
    }

    /// Adds the periods of `other` (Chan, Golub and LeVeque 1979).
    pub fn merge(&mut self, other: Self) {
        self.periods += other.periods;
        let demands = self.demands + other.demands;
        if demands == 0.0 {
            return;
        }
        let difference = other.mean - self.mean;
        self.squares += other.squares + difference * difference * self.demands * other.demands / demands;
        self.mean += difference * other.demands / demands;
        self.demands = demands;
    }

    /// Average demand interval: periods per demand.
    pub fn interval(&self) -> Option<f64> {
        (self.demands > 0.0).then(|| self.periods / self.demands)
    }

    /// Squared coefficient of variation of the demand sizes, from the sample variance.
    pub fn variation(&self) -> Option<f64> {
        let defined = self.demands > 1.0 && self.mean != 0.0;
        defined.then(|| self.squares / (self.demands - 1.0) / (self.mean * self.mean))
    }
}

/// An aggregate over the demand of a series.
#[derive(Debug)]
pub struct DemandStatistic {
    /// Its SQL name.
    pub name: &'static str,
    /// The type of its result.
    pub data_type: DataType,
    /// The exact variant, in one sentence.
    pub description: &'static str,
    /// A statement that runs as it stands.
    pub sql_example: &'static str,
    /// The result of a group.
    pub statistic: fn(&Demand) -> ScalarValue,
}

impl DemandStatistic {
    /// The statistic as a function of the SQL engine.
    pub fn into_udaf(self) -> AggregateUDF {
        let section = DocSection { include: true, label: "Demand statistics", description: None };
        let documentation = Documentation::builder(section, self.description, format!("{}(y)", self.name))
            .with_sql_example(self.sql_example)
            .with_argument("y", "the demand of a period; NULL periods do not count")
            .build();
        let signature = Signature::exact(vec![DataType::Float64], Volatility::Immutable)
            .with_parameter_names(vec!["y"])
            .expect("there is one name for the one argument");
        AggregateUDF::new_from_impl(DemandUdaf { statistic: Arc::new(self), signature, documentation })
    }
}

#[derive(Debug)]
struct DemandUdaf {
    statistic: Arc<DemandStatistic>,
    signature: Signature,
    documentation: Documentation,
}

impl PartialEq for DemandUdaf {
    fn eq(&self, other: &Self) -> bool {
        self.statistic.name == other.statistic.name
    }
}

impl Eq for DemandUdaf {}

impl Hash for DemandUdaf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.statistic.name.hash(state);
    }
}

impl AggregateUDFImpl for DemandUdaf {
    fn name(&self) -> &str {
        self.statistic.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.statistic.data_type.clone())
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DataFusionResult<Vec<FieldRef>> {
        let parts = ["periods", "demands", "mean", "squares"];
        let field = |part| Field::new(format_state_name(args.name, part), DataType::Float64, true);
        Ok(parts.into_iter().map(|part| Arc::new(field(part)) as FieldRef).collect())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        if args.is_distinct {
            let message = format!("{} does not take DISTINCT: every row is one period", args.name);
            return Err(Error::input(Subject::Function, message).into());
        }
        Ok(Box::new(DemandAccumulator { statistic: Arc::clone(&self.statistic), demand: Demand::default() }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

#[derive(Debug)]
struct DemandAccumulator {
    statistic: Arc<DemandStatistic>,
    demand: Demand,
}

impl Accumulator for DemandAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        for y in as_float64_array(&values[0])?.iter().flatten() {
            if !y.is_finite() {
                let name = self.statistic.name;
                let message = format!("argument y of {name} is {y}; a demand must be finite or NULL");
                return Err(Error::data(message).into());
            }
            self.demand.push(y);
        }
        Ok(())
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let Demand { periods, demands, mean, squares } = self.demand;
        Ok([periods, demands, mean, squares].into_iter().map(ScalarValue::from).collect())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let columns = states.iter().map(|s| as_float64_array(s)).collect::<DataFusionResult<Vec<_>>>()?;
        if let [periods, demands, mean, squares] = columns[..] {
            for row in 0..periods.len() {
                self.demand.merge(Demand {
                    periods: periods.value(row),
                    demands: demands.value(row),
                    mean: mean.value(row),
                    squares: squares.value(row),
                });
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        Ok((self.statistic.statistic)(&self.demand))
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The demand of these periods.
    pub fn demand(periods: &[f64]) -> Demand {
        let mut demand = Demand::default();
        periods.iter().for_each(|y| demand.push(*y));
        demand
    }

    #[test]
    fn merged_halves_equal_the_whole() {
        let mut left = demand(&[0.0, 2.0, 4.0]);
        left.merge(demand(&[6.0, 0.0, 8.0]));
        assert_eq!(left, demand(&[0.0, 2.0, 4.0, 6.0, 0.0, 8.0]));
        left.merge(Demand::default());
        assert_eq!(left.squares, 20.0);
    }
}
