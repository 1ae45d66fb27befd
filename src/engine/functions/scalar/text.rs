//! `text(x)`, which casts to text become: a value as PostgreSQL writes it.

use std::sync::Arc;

use bytes::BytesMut;
use datafusion::arrow::array::{Array, ArrayRef, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use crate::engine::functions::scalar::answer::{answer, is_one, rows};
use crate::postgres::{Format, Style, Zone, column};

/// A value as text of this type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Text {
    signature: Signature,
    target: DataType,
}

impl Text {
    /// As text of this type.
    pub fn to(target: DataType) -> Self {
        // An instant is written in the session's zone.
        Self { signature: Signature::any(1, Volatility::Stable), target }
    }
}

/// True for values whose text arrow writes otherwise than PostgreSQL.
pub fn is_written_otherwise(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_written_otherwise(values),
        other => {
            other.is_floating()
                || other.is_list()
                || matches!(
                    other,
                    DataType::Timestamp(..)
                        | DataType::Date32
                        | DataType::Date64
                        | DataType::Time32(_)
                        | DataType::Time64(_)
                        | DataType::Interval(_)
                        | DataType::Duration(_)
                        | DataType::Binary
                        | DataType::LargeBinary
                        | DataType::BinaryView
                        | DataType::FixedSizeBinary(_)
                )
        }
    }
}

impl ScalarUDFImpl for Text {
    fn name(&self) -> &str {
        "text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.target.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else { return Ok(ColumnarValue::Scalar(ScalarValue::Null)) };
        let values = value.to_array(rows(&args))?;
        if !is_written_otherwise(values.data_type()) {
            return value.cast_to(&self.target, None);
        }
        let zone = args.config_options.execution.time_zone.as_deref().unwrap_or("UTC");
        let style = Style { zone: Zone::of(zone), escape_bytes: false };
        let writer = column(&values, &args.arg_fields[0], Format::Text, style)?;
        let (mut texts, mut out) = (StringBuilder::new(), BytesMut::new());
        for row in 0..values.len() {
            if writer.is_null(row) {
                texts.append_null();
                continue;
            }
            out.clear();
            writer.write(row, &mut out);
            texts.append_value(String::from_utf8_lossy(&out));
        }
        let texts: ArrayRef = Arc::new(texts.finish());
        let texts = cast(&texts, &self.target)?;
        answer(texts, is_one(&args))
    }
}
