//! `auc(actual, score)`: the area under the receiver operating characteristic.

use std::mem::size_of;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
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
use crate::ml::metrics::area_under_curve;

/// The function.
pub fn udaf() -> AggregateUDF {
    let section = DocSection { include: true, label: "Metrics of classes", description: None };
    let description = "Area under the receiver operating characteristic: the chance that a row that came true has a \
                       higher score than one that did not, half for ties.";
    let documentation = Documentation::builder(section, description, "auc(actual, score)")
        .with_sql_example("SELECT auc(actual, score) FROM (VALUES (true, 0.9), (false, 0.4), (true, 0.3)) AS t(actual, score);")
        .with_argument("actual", "whether it came true: a condition, or 1 and 0")
        .with_argument("score", "the higher, the likelier")
        .build();
    AggregateUDF::new_from_impl(Auc {
        signature: Signature::user_defined(Volatility::Immutable),
        documentation,
    })
}

#[derive(Debug)]
struct Auc {
    signature: Signature,
    documentation: Documentation,
}

impl PartialEq for Auc {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Auc {}

impl std::hash::Hash for Auc {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        "auc".hash(state);
    }
}

impl AggregateUDFImpl for Auc {
    fn name(&self) -> &str {
        "auc"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Float64)
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        match types {
            [actual, score]
                if (actual.is_numeric() || matches!(actual, DataType::Boolean | DataType::Null))
                    && (score.is_numeric() || *score == DataType::Null) =>
            {
                Ok(vec![DataType::Boolean, DataType::Float64])
            }
            _ => {
                let message = "auc takes whether it came true, and a score: auc(churned, probability)";
                Err(Error::input(Subject::Function, message).into())
            }
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DataFusionResult<Vec<FieldRef>> {
        let field = |part, of| {
            let list = DataType::List(Arc::new(Field::new_list_field(of, true)));
            Arc::new(Field::new(format_state_name(args.name, part), list, true)) as FieldRef
        };
        Ok(vec![field("actual", DataType::Boolean), field("score", DataType::Float64)])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        refuse_distinct("auc", &args)?;
        Ok(Box::new(AucAccumulator { rows: vec![] }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

#[derive(Debug)]
struct AucAccumulator {
    rows: Vec<(f64, bool)>,
}

impl AucAccumulator {
    fn add(&mut self, actual: &BooleanArray, scores: &Float64Array) -> DataFusionResult<()> {
        for (actual, score) in actual.iter().zip(scores) {
            let (Some(actual), Some(score)) = (actual, score) else { continue };
            if score.is_nan() {
                let message = "argument score of auc is NaN; metrics take numbers only";
                return Err(Error::data(message)
                    .with_hint("leave such rows out with FILTER (WHERE ...)")
                    .into());
            }
            self.rows.push((score, actual));
        }
        Ok(())
    }
}

impl Accumulator for AucAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.add(values[0].as_boolean(), values[1].as_primitive::<Float64Type>())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        for row in 0..states[0].len() {
            let (actual, scores) =
                (states[0].as_list::<i32>().value(row), states[1].as_list::<i32>().value(row));
            self.add(actual.as_boolean(), scores.as_primitive::<Float64Type>())?;
        }
        Ok(())
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let actual: BooleanArray = self.rows.iter().map(|(_, actual)| Some(*actual)).collect();
        let scores: Float64Array = self.rows.iter().map(|(score, _)| Some(*score)).collect();
        let columns: [ArrayRef; 2] = [Arc::new(actual), Arc::new(scores)];
        Ok(columns.into_iter().map(|c| SingleRowListArrayBuilder::new(c).build_list_scalar()).collect())
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        Ok(ScalarValue::Float64(area_under_curve(&mut self.rows)))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.rows.capacity() * size_of::<(f64, bool)>()
    }
}
