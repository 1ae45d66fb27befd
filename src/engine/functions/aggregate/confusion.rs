//! Metrics of classes: what was told against what came true, counted pair by pair.

use std::collections::BTreeMap;
use std::mem::size_of;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, DocSection, Documentation, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::engine::functions::aggregate::metric::refuse_distinct;
use crate::error::{Error, Subject};

/// How often each class was told of each class.
pub type Counts = BTreeMap<(String, String), i64>;

/// A metric of classes.
#[derive(Debug)]
pub struct ClassMetric {
    /// Its SQL name.
    pub name: &'static str,
    /// The exact variant, in one sentence.
    pub description: &'static str,
    /// A statement that runs as it stands.
    pub sql_example: &'static str,
    /// The metric of pairs of what came true and what was told; there is at least one.
    pub score: fn(&Counts) -> f64,
}

impl ClassMetric {
    /// The metric as a function of the SQL engine.
    pub fn into_udaf(self) -> AggregateUDF {
        let section = DocSection { include: true, label: "Metrics of classes", description: None };
        let syntax = format!("{}(actual, prediction)", self.name);
        let documentation = Documentation::builder(section, self.description, syntax)
            .with_sql_example(self.sql_example)
            .with_argument("actual", "the class that came true")
            .with_argument("prediction", "the class that was told")
            .build();
        let signature = Signature::user_defined(Volatility::Immutable);
        AggregateUDF::new_from_impl(ClassUdaf { metric: Arc::new(self), signature, documentation })
    }
}

#[derive(Debug)]
struct ClassUdaf {
    metric: Arc<ClassMetric>,
    signature: Signature,
    documentation: Documentation,
}

impl PartialEq for ClassUdaf {
    fn eq(&self, other: &Self) -> bool {
        self.metric.name == other.metric.name
    }
}

impl Eq for ClassUdaf {}

impl std::hash::Hash for ClassUdaf {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.metric.name.hash(state);
    }
}

fn list(of: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(of, true)))
}

impl AggregateUDFImpl for ClassUdaf {
    fn name(&self) -> &str {
        self.metric.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Float64)
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        if types.len() == 2 {
            return Ok(vec![DataType::Utf8; 2]);
        }
        let name = self.metric.name;
        let message = format!("{name} takes what came true and what was told: {name}(actual, prediction)");
        Err(Error::input(Subject::Function, message).into())
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DataFusionResult<Vec<FieldRef>> {
        let field =
            |part, of| Arc::new(Field::new(format_state_name(args.name, part), list(of), true)) as FieldRef;
        Ok(vec![
            field("actual", DataType::Utf8),
            field("prediction", DataType::Utf8),
            field("count", DataType::Int64),
        ])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        refuse_distinct(self.metric.name, &args)?;
        Ok(Box::new(ClassAccumulator { metric: Arc::clone(&self.metric), counts: Counts::new() }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

#[derive(Debug)]
struct ClassAccumulator {
    metric: Arc<ClassMetric>,
    counts: Counts,
}

impl ClassAccumulator {
    fn add(&mut self, actual: &str, told: &str, count: i64) {
        match self.counts.get_mut(&(actual.to_owned(), told.to_owned())) {
            Some(n) => *n += count,
            None => drop(self.counts.insert((actual.to_owned(), told.to_owned()), count)),
        }
    }
}

impl Accumulator for ClassAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let (actual, told) = (values[0].as_string::<i32>(), values[1].as_string::<i32>());
        for (actual, told) in actual.iter().zip(told) {
            if let (Some(actual), Some(told)) = (actual, told) {
                self.add(actual, told, 1);
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        for row in 0..states[0].len() {
            let part = |i: usize| states[i].as_list::<i32>().value(row);
            let (actual, told, counts) = (part(0), part(1), part(2));
            let (actual, told) = (actual.as_string::<i32>(), told.as_string::<i32>());
            for (i, count) in counts.as_primitive::<Int64Type>().values().iter().enumerate() {
                self.add(actual.value(i), told.value(i), *count);
            }
        }
        Ok(())
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let actual: StringArray = self.counts.keys().map(|(actual, _)| Some(actual)).collect();
        let told: StringArray = self.counts.keys().map(|(_, told)| Some(told)).collect();
        let counts: Int64Array = self.counts.values().map(|n| Some(*n)).collect();
        let columns: [ArrayRef; 3] = [Arc::new(actual), Arc::new(told), Arc::new(counts)];
        Ok(columns.into_iter().map(|c| SingleRowListArrayBuilder::new(c).build_list_scalar()).collect())
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        Ok(ScalarValue::Float64((!self.counts.is_empty()).then(|| (self.metric.score)(&self.counts))))
    }

    fn size(&self) -> usize {
        let texts: usize = self.counts.keys().map(|(a, b)| a.capacity() + b.capacity() + 64).sum();
        size_of::<Self>() + texts
    }
}
