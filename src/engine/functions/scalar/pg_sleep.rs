//! `pg_sleep(seconds)`.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use datafusion::arrow::array::{AsArray, StringArray};
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use tokio::task::block_in_place;

use crate::engine::query::CurrentQuery;
use crate::ml::Control;

/// How often it looks whether its statement is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits for so many seconds in every row, wherever it stands; other work of its thread goes on in another one.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Sleep(Signature);

impl Default for Sleep {
    fn default() -> Self {
        Self(Signature::exact(vec![DataType::Float64], Volatility::Volatile))
    }
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

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let query = args.config_options.extensions.get::<CurrentQuery>();
        let control = query.map(|query| Arc::clone(&query.0.control)).unwrap_or_default();
        let seconds = args.args[0].to_array(args.number_rows)?;
        let slept = seconds.as_primitive::<Float64Type>().iter().map(|seconds| {
            let time = seconds.map(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)));
            time.map(|time| sleep(time.unwrap_or(Duration::MAX), &control).map(|()| "")).transpose()
        });
        let slept: StringArray = slept.collect::<Result<_>>()?;
        Ok(ColumnarValue::Array(Arc::new(slept)))
    }
}

fn sleep(time: Duration, control: &Control) -> Result<()> {
    let begun = Instant::now();
    block_in_place(|| -> Result<()> {
        loop {
            control.check()?;
            let left = time.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(LOOK_EVERY));
        }
    })
}
