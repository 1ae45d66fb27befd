//! `cosine_similarity(a, b)`: the cosine of the angle between two vectors.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, Float64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Float64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::error::{Error, Subject};

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct CosineSimilarity {
    signature: Signature,
}

impl CosineSimilarity {
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

fn vector() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Float64, true)))
}

impl ScalarUDFImpl for CosineSimilarity {
    fn name(&self) -> &'static str {
        "cosine_similarity"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let fits = |data_type: &DataType| match data_type {
            DataType::List(of) | DataType::LargeList(of) | DataType::FixedSizeList(of, _) => {
                of.data_type().is_numeric() || of.data_type().is_null()
            }
            other => other.is_null(),
        };
        if types.len() != 2 || !types.iter().all(fits) {
            let message =
                "cosine_similarity takes two arrays of numbers: cosine_similarity(embed(m, a), embed(m, b))";
            return Err(Error::input(Subject::Type, message).into());
        }
        Ok(vec![vector(); 2])
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let scalars = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let read = |arg: &ColumnarValue| {
            Ok::<_, datafusion::error::DataFusionError>(cast(&arg.to_array(rows)?, &vector())?)
        };
        let (left, right) = (read(&args.args[0])?, read(&args.args[1])?);
        let (left, right) = (left.as_list::<i32>(), right.as_list::<i32>());
        let mut similarities = Vec::with_capacity(rows);
        for row in 0..left.len() {
            similarities.push(match left.is_null(row) || right.is_null(row) {
                true => None,
                false => cosine(
                    left.value(row).as_primitive::<Float64Type>(),
                    right.value(row).as_primitive::<Float64Type>(),
                )?,
            });
        }
        let similarities = Float64Array::from(similarities);
        if scalars {
            return Ok(ColumnarValue::Scalar(datafusion::scalar::ScalarValue::try_from_array(
                &similarities,
                0,
            )?));
        }
        Ok(ColumnarValue::Array(Arc::new(similarities)))
    }
}

/// The cosine; none where a number is missing or a vector has no length.
fn cosine(left: &Float64Array, right: &Float64Array) -> Result<Option<f64>> {
    if left.len() != right.len() {
        let message = format!("vectors of {} and {} numbers have no angle", left.len(), right.len());
        return Err(Error::input(Subject::Type, message).with_hint("both must be of the same model").into());
    }
    if left.null_count() + right.null_count() > 0 {
        return Ok(None);
    }
    let pairs = || left.values().iter().zip(right.values());
    let (mut product, mut lengths) = (0.0, [0.0; 2]);
    for (a, b) in pairs() {
        product += a * b;
        lengths[0] += a * a;
        lengths[1] += b * b;
    }
    let length = (lengths[0] * lengths[1]).sqrt();
    Ok((length > 0.0 && product.is_finite() && length.is_finite())
        .then(|| (product / length).clamp(-1.0, 1.0)))
}
