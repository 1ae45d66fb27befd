//! `pg_sleep(seconds)`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::{AsArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::error::Result;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Waits for so many seconds in every row, without keeping a thread from other work.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Sleep(Signature);

/// The function.
pub fn udf() -> ScalarUDF {
    let signature = Signature::exact(vec![DataType::Float64], Volatility::Volatile);
    AsyncScalarUDF::new(Arc::new(Sleep(signature))).into_scalar_udf()
}

impl ScalarUDFImpl for Sleep {
    fn name(&self) -> &str {
        "pg_sleep"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(crate::error::Error::internal("pg_sleep waits").into())
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Sleep {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let seconds = args.args[0].clone().into_array(args.number_rows)?;
        let seconds = cast(&seconds, &DataType::Float64)?;
        for seconds in seconds.as_primitive::<Float64Type>().iter().flatten() {
            if let Ok(time) = Duration::try_from_secs_f64(seconds.max(0.0)) {
                tokio::time::sleep(time).await;
            }
        }
        let slept: StringArray = (0..args.number_rows).map(|_| Some("")).collect();
        Ok(ColumnarValue::Array(Arc::new(slept)))
    }
}
