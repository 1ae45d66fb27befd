//! `coalesce`, `greatest`, `least` and `nullif`: texts beside times, intervals and truth values are such, too, and intervals
//! are as long as their months of 30 days, days of 24 hours and hours together.

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, IntervalMonthDayNanoArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, IntervalMonthDayNanoType, IntervalUnit};
use datafusion::error::Result;
use datafusion::functions::core;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use crate::engine::functions::scalar::answer::{answer, is_one, rows};
use crate::engine::functions::scalar::coalesce::Coalesce;
use crate::engine::functions::scalar::interval_length::micros_of_interval;
use crate::engine::methods::delegate;

/// A function whose arguments are of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OneType {
    function: Arc<ScalarUDF>,
    signature: Signature,
}

/// Those functions.
pub fn all() -> Vec<ScalarUDF> {
    let coalesce = Arc::new(ScalarUDF::new_from_impl(Coalesce::default()));
    let functions = [coalesce, core::greatest(), core::least(), core::nullif()];
    let signature = || Signature::user_defined(Volatility::Immutable);
    let typed = |function| ScalarUDF::new_from_impl(OneType { function, signature: signature() });
    functions.into_iter().map(typed).collect()
}

impl ScalarUDFImpl for OneType {
    delegate! {
        to function:
        name() -> &str;
        aliases() -> &[String];
        return_type(arg_types: &[DataType]) -> Result<DataType>;
        return_field_from_args(args: ReturnFieldArgs<'_>) -> Result<FieldRef>;
        simplify(args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult>;
        short_circuits() -> bool;
        documentation() -> Option<&Documentation>;
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let field = |data_type| Arc::new(Field::new("value", data_type, true));
        let fields: Vec<FieldRef> = beside_texts(arg_types).into_iter().map(field).collect();
        let coerced = fields_with_udf(&fields, self.function.as_ref())?;
        Ok(coerced.iter().map(|field| field.data_type().clone()).collect())
    }

    fn conditional_arguments<'a>(&self, args: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.function.conditional_arguments(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let sought = match self.name() {
            "greatest" => Ordering::Greater,
            "least" => Ordering::Less,
            _ => return self.function.invoke_with_args(args),
        };
        match args.return_field.data_type() {
            DataType::Interval(IntervalUnit::MonthDayNano) => extreme_interval(&args, sought),
            _ => self.function.invoke_with_args(args),
        }
    }
}

/// The types of arguments, those of texts beside one of these kinds as it is; a difference of times is an interval then.
fn beside_texts(types: &[DataType]) -> Vec<DataType> {
    let kind = types.iter().find(|given| given.is_temporal() || **given == DataType::Boolean);
    let Some(kind) = kind.filter(|_| types.iter().any(DataType::is_string)) else { return types.to_vec() };
    let typed = match kind {
        DataType::Duration(_) => DataType::Interval(IntervalUnit::MonthDayNano),
        kind => kind.clone(),
    };
    let retyped =
        |given: &DataType| if given.is_string() || given == kind { typed.clone() } else { given.clone() };
    types.iter().map(retyped).collect()
}

/// The longest or the shortest interval of each row; the first of those that are as long.
fn extreme_interval(args: &ScalarFunctionArgs, sought: Ordering) -> Result<ColumnarValue> {
    let rows = rows(args);
    let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
    let intervals: Vec<&IntervalMonthDayNanoArray> =
        arrays.iter().map(|array| array.as_primitive::<IntervalMonthDayNanoType>()).collect();
    let extremes = (0..rows).map(|row| {
        let values = intervals.iter().filter(|array| array.is_valid(row)).map(|array| array.value(row));
        values.reduce(|best, value| {
            let order = micros_of_interval(value).cmp(&micros_of_interval(best));
            if order == sought { value } else { best }
        })
    });
    let extremes: IntervalMonthDayNanoArray = extremes.collect();
    answer(Arc::new(extremes), is_one(args))
}
