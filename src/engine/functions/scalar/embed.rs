//! `embed(model, text)`: what a text model makes of a text.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Float32Builder, ListBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::engine::access::Guard;
use crate::engine::pg_catalog::Surroundings;
use crate::engine::query::CurrentQuery;
use crate::engine::storage::Privilege;
use crate::error::{Error, Subject};
use crate::ml::Control;
use crate::ml::text::TextEncoder;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Embed {
    signature: Signature,
}

impl Embed {
    pub fn new() -> Self {
        let signature = Signature::new(TypeSignature::String(2), Volatility::Stable);
        Self { signature }
    }
}

impl ScalarUDFImpl for Embed {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(Arc::new(Field::new_list_field(DataType::Float32, true))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(model), texts] = args.args.as_slice() else {
            let message = "embed takes the name of one model: embed('product_text', title)";
            return Err(Error::input(Subject::Option, message).into());
        };
        let Some(Some(name)) = model.try_as_str() else {
            return Err(Error::input(Subject::Option, "embed needs the name of a model, got NULL").into());
        };
        let around = Surroundings::of(&args.config_options)?;
        let encoder = encoder(around, name)?;
        let query = args.config_options.extensions.get::<CurrentQuery>();
        let control = query.map(|query| Arc::clone(&query.0.control)).unwrap_or_default();
        match texts {
            ColumnarValue::Scalar(text) => {
                let vectors = vectors(&encoder, &text.to_array()?, &control)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&vectors, 0)?))
            }
            ColumnarValue::Array(texts) => Ok(ColumnarValue::Array(vectors(&encoder, texts, &control)?)),
        }
    }
}

/// The encoder of a model that whoever asks may read.
fn encoder(around: &Surroundings, name: &str) -> crate::error::Result<Arc<TextEncoder>> {
    Guard::new(&around.engine, &around.actor)?.model(name, Privilege::Select)?;
    around.engine.registry.get(name, None)?.encoder()
}

/// A vector for each text, NULL for NULL.
fn vectors(encoder: &TextEncoder, texts: &ArrayRef, control: &Control) -> Result<ArrayRef> {
    let texts = cast(texts, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    let there: Vec<&str> = texts.iter().flatten().collect();
    let mut made = encoder.embed(&there, control)?.into_iter();
    let mut vectors = ListBuilder::new(Float32Builder::with_capacity(there.len() * encoder.width()));
    for text in texts {
        match text.and_then(|_| made.next()) {
            Some(vector) => {
                vectors.values().append_slice(&vector);
                vectors.append(true);
            }
            None => vectors.append(false),
        }
    }
    Ok(Arc::new(vectors.finish()))
}
