//! `discount_pct(price, list_price)`.

use std::sync::Arc;

use datafusion::arrow::array::Float64Array;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::cast::as_float64_array;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, DocSection, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// Percent by which a price is below the list price.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct DiscountPct {
    signature: Signature,
    documentation: Documentation,
}

impl DiscountPct {
    /// The function.
    pub fn new() -> Self {
        let section = DocSection { include: true, label: "Prices", description: None };
        let description =
            "Percent by which the price is below the list price; NULL when the list price is 0 or NULL.";
        let documentation = Documentation::builder(section, description, "discount_pct(price, list_price)")
            .with_sql_example("SELECT discount_pct(7.5, 10);")
            .with_argument("price", "the price paid")
            .with_argument("list_price", "the regular price")
            .build();
        let signature = Signature::exact(vec![DataType::Float64; 2], Volatility::Immutable)
            .with_parameter_names(vec!["price", "list_price"])
            .expect("there are two names for two arguments");
        Self { signature, documentation }
    }
}

fn discount_pct(price: f64, list_price: f64) -> Option<f64> {
    let share = 1.0 - price / list_price;
    (list_price != 0.0 && share.is_finite()).then_some(100.0 * share)
}

impl ScalarUDFImpl for DiscountPct {
    fn name(&self) -> &str {
        "discount_pct"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let (prices, lists) = (as_float64_array(&arrays[0])?, as_float64_array(&arrays[1])?);
        let pairs = prices.iter().zip(lists);
        let values: Float64Array = pairs.map(|(price, list)| discount_pct(price?, list?)).collect();
        Ok(ColumnarValue::Array(Arc::new(values)))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_off_and_nothing_without_a_list_price() {
        assert_eq!(discount_pct(7.5, 10.0), Some(25.0));
        assert_eq!(discount_pct(7.5, 0.0), None);
    }
}
