//! Functions whose results may be far larger than what they are made of: how large is asked before they are made.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::compute::concat;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};

use crate::engine::functions::scalar::{formatted_bytes, textcat};
use crate::engine::functions::sizes::{self, Size};
use crate::engine::methods::delegate;

/// The result for one batch of rows takes so many bytes at most, whatever the pool has left.
const BYTES_MAX: u64 = 1 << 30;

/// Results that take no more than this part of the pool need not ask it: statements that spill leave nothing of it.
const UNASKED_SHARE: u64 = 16;

/// Nor do they when they take more than this.
const UNASKED_MAX: u64 = 64 << 20;

/// What a function's rule says of the size of its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// The size.
    Exactly,
    /// A bound that is seldom reached.
    AtMost,
}

/// The functions that grow, and how.
const GROWING: [(&str, Size, Told); 18] = [
    ("repeat", sizes::repeated, Told::Exactly),
    ("lpad", sizes::padded, Told::Exactly),
    ("rpad", sizes::padded, Told::Exactly),
    ("concat", sizes::joined, Told::Exactly),
    ("concat_ws", sizes::separated, Told::Exactly),
    ("overlay", sizes::joined, Told::Exactly),
    ("replace", sizes::replaced, Told::AtMost),
    ("regexp_replace", sizes::replaced_by_pattern, Told::AtMost),
    ("array_to_string", sizes::listed, Told::Exactly),
    ("array_repeat", sizes::repeated_elements, Told::Exactly),
    ("array_resize", sizes::resized, Told::Exactly),
    ("array_concat", sizes::collected, Told::Exactly),
    ("array_append", sizes::collected, Told::Exactly),
    ("array_prepend", sizes::collected, Told::Exactly),
    ("string_to_array", sizes::split, Told::AtMost),
    ("range", sizes::series, Told::Exactly),
    ("generate_series", sizes::series, Told::Exactly),
    ("format", formatted_bytes, Told::AtMost),
];

/// Puts the functions that grow behind a look at the memory that is left.
pub fn watch_growing(state: &mut SessionState) -> Result<()> {
    let pool = Arc::clone(&state.runtime_env().memory_pool);
    for (name, size, told) in GROWING {
        let growing = Growing::new(state.udf(name)?, size, told, &pool);
        state.register_udf(Arc::new(ScalarUDF::new_from_impl(growing)))?;
    }
    Ok(())
}

/// The function behind `a || b` of texts, whose results take their memory from this pool.
pub fn counted_textcat(pool: &Arc<dyn MemoryPool>) -> ScalarUDF {
    ScalarUDF::new_from_impl(Growing::new(Arc::new(textcat()), sizes::joined, Told::Exactly, pool))
}

/// A function of DataFusion that fails before it takes more memory than there is.
#[derive(Clone)]
struct Growing {
    function: Arc<ScalarUDF>,
    size: Size,
    told: Told,
    /// Bytes of a result that need not be asked for.
    unasked: u64,
    pool: Arc<dyn MemoryPool>,
}

impl Growing {
    fn new(function: Arc<ScalarUDF>, size: Size, told: Told, pool: &Arc<dyn MemoryPool>) -> Self {
        let unasked = match pool.memory_limit() {
            MemoryLimit::Finite(limit) => (limit as u64 / UNASKED_SHARE).min(UNASKED_MAX),
            _ => UNASKED_MAX,
        };
        Self { function, size, told, unasked, pool: Arc::clone(pool) }
    }

    /// Takes the memory of a result, or of a part of it; it is for as long as the result is being made.
    fn take(&self, memory: &MemoryReservation, bytes: u64) -> Result<()> {
        let all = bytes.saturating_add(memory.size() as u64);
        if all > BYTES_MAX {
            return Err(self.too_large(all));
        }
        memory.try_grow(bytes as usize)
    }

    fn too_large(&self, bytes: u64) -> DataFusionError {
        let (name, made, most) = (self.name(), bytes >> 20, BYTES_MAX >> 20);
        DataFusionError::ResourcesExhausted(format!(
            "{name} would make {made} MiB at once, the most is {most} MiB"
        ))
    }

    /// Makes the result of so few rows at a time that they need not ask for memory, if what is made of them all does.
    fn in_parts(
        &self,
        args: &ScalarFunctionArgs,
        bytes: u64,
        memory: &MemoryReservation,
    ) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let at_once = (rows as u64).saturating_mul(self.unasked) / bytes.max(1);
        let at_once = (at_once as usize).clamp(1, rows.max(1));
        let mut parts: Vec<ArrayRef> = vec![];
        for start in (0..rows).step_by(at_once) {
            let length = at_once.min(rows - start);
            let part = slice(args, start, length);
            let bound = (self.size)(&part.args, length).unwrap_or_default();
            if bound > BYTES_MAX {
                return Err(self.too_large(bound));
            }
            let made = self.function.invoke_with_args(part)?.into_array(length)?;
            self.take(memory, made.get_array_memory_size() as u64)?;
            parts.push(made);
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(concat(&parts)?))
    }
}

/// The arguments in some of the rows.
fn slice(args: &ScalarFunctionArgs, start: usize, length: usize) -> ScalarFunctionArgs {
    let sliced = |value: &ColumnarValue| match value {
        ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(start, length)),
        ColumnarValue::Scalar(value) => ColumnarValue::Scalar(value.clone()),
    };
    ScalarFunctionArgs {
        args: args.args.iter().map(sliced).collect(),
        arg_fields: args.arg_fields.clone(),
        number_rows: length,
        return_field: Arc::clone(&args.return_field),
        config_options: Arc::clone(&args.config_options),
    }
}

impl fmt::Debug for Growing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Growing({})", self.function.name())
    }
}

impl PartialEq for Growing {
    fn eq(&self, other: &Self) -> bool {
        self.function == other.function
    }
}

impl Eq for Growing {}

impl Hash for Growing {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.hash(state);
    }
}

impl ScalarUDFImpl for Growing {
    delegate! {
        to function:
        name() -> &str;
        aliases() -> &[String];
        signature() -> &Signature;
        return_type(arg_types: &[DataType]) -> Result<DataType>;
        return_field_from_args(args: ReturnFieldArgs<'_>) -> Result<FieldRef>;
        coerce_types(arg_types: &[DataType]) -> Result<Vec<DataType>>;
        documentation() -> Option<&Documentation>;
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(match self.function.simplify(args, info)? {
            // What it makes of itself is to be watched as well.
            ExprSimplifyResult::Simplified(Expr::ScalarFunction(call)) if call.name() == self.name() => {
                let function = Arc::new(ScalarUDF::new_from_impl(self.clone()));
                let call = ScalarFunction::new_udf(function, call.args);
                ExprSimplifyResult::Simplified(Expr::ScalarFunction(call))
            }
            simplified => simplified,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        // Of arguments that the rule cannot read, the function says what is wrong with them.
        let bytes = (self.size)(&args.args, rows).unwrap_or_default();
        if bytes <= self.unasked {
            return self.function.invoke_with_args(args);
        }
        let memory = MemoryConsumer::new(self.name()).register(&self.pool);
        if self.told == Told::AtMost && !constant {
            return self.in_parts(&args, bytes, &memory);
        }
        self.take(&memory, bytes)?;
        self.function.invoke_with_args(args)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{AsArray, Int64Array, StringArray};
    use datafusion::arrow::datatypes::Field;
    use datafusion::config::ConfigOptions;
    use datafusion::execution::memory_pool::GreedyMemoryPool;
    use datafusion::functions::string::{repeat, replace};
    use datafusion::scalar::ScalarValue;

    use super::*;

    /// What a function makes of three texts of 100 bytes when the pool has so many bytes.
    fn made(
        function: Arc<ScalarUDF>,
        size: Size,
        told: Told,
        others: &[ScalarValue],
        left: usize,
    ) -> Result<usize> {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(left));
        let growing = Growing { function, size, told, unasked: 1_000, pool: Arc::clone(&pool) };
        let texts = StringArray::from(vec!["ab".repeat(50); 3]);
        let mut values = vec![ColumnarValue::Array(Arc::new(texts))];
        values.extend(others.iter().cloned().map(ColumnarValue::Scalar));
        let fields = values.iter().map(|v| Arc::new(Field::new("x", v.data_type(), true))).collect();
        let args = ScalarFunctionArgs {
            args: values,
            arg_fields: fields,
            number_rows: 3,
            return_field: Arc::new(Field::new("x", DataType::Utf8, true)),
            config_options: Arc::new(ConfigOptions::default()),
        };
        let made = growing.invoke_with_args(args)?.into_array(3)?;
        assert_eq!(pool.reserved(), 0);
        Ok(made.as_string::<i32>().iter().flatten().map(str::len).sum())
    }

    #[test]
    fn what_fits_is_made_and_what_does_not_is_not_begun() {
        let times = |n: i64| [ScalarValue::from(n)];
        let repeated = |n, left| made(repeat(), sizes::repeated, Told::Exactly, &times(n), left);
        assert_eq!(repeated(2, 0).unwrap(), 600);
        assert_eq!(repeated(100, 30_000).unwrap(), 30_000);
        assert!(matches!(repeated(100, 29_999).unwrap_err(), DataFusionError::ResourcesExhausted(_)));
        let error = repeated(10_000_000, usize::MAX).unwrap_err().to_string();
        assert!(error.contains("repeat would make 2861 MiB at once, the most is 1024 MiB"), "{error}");
    }

    #[test]
    fn a_bound_that_is_not_reached_refuses_nothing() {
        let texts = |from: &str, to: &str| [ScalarValue::from(from), ScalarValue::from(to)];
        let replaced = |from: &str, to: &str, left| {
            made(replace(), sizes::replaced, Told::AtMost, &texts(from, to), left)
        };
        assert_eq!(replaced("c", &"d".repeat(1_000), 10_000).unwrap(), 300);
        assert_eq!(replaced("a", &"d".repeat(100), 100_000).unwrap(), 3 * (50 + 5_000));
        assert!(replaced("a", &"d".repeat(100), 10_000).is_err());
    }

    #[test]
    fn numbers_of_rows_are_counted() {
        let array = ColumnarValue::Array(Arc::new(Int64Array::from(vec![Some(2), None, Some(-3)])));
        let of = |n: i64| ColumnarValue::Scalar(ScalarValue::from(n));
        assert_eq!(sizes::repeated_elements(&[of(7), array], 3).unwrap(), 2 * 16);
        assert_eq!(sizes::series(&[of(1), of(1_000)], 1).unwrap(), 8_000);
        assert_eq!(sizes::series(&[of(1_000), of(1)], 1).unwrap(), 0);
        assert_eq!(sizes::series(&[of(i64::MIN), of(i64::MAX), of(-1)], 1).unwrap(), 0);
        assert_eq!(sizes::series(&[of(i64::MIN), of(i64::MAX)], 1).unwrap(), u64::MAX);
        let three = vec![ScalarValue::from(1_i64); 3];
        let list = ScalarValue::List(ScalarValue::new_list_nullable(&three, &DataType::Int64));
        assert_eq!(sizes::collected(&[ColumnarValue::Scalar(list), of(7)], 1).unwrap(), 3 * 8 + 16 + 8);
        let text = |text: &str| ColumnarValue::Scalar(ScalarValue::from(text));
        assert_eq!(sizes::split(&[text("a,b,c"), text(",")], 2).unwrap(), 2 * (6 * 16 + 5));
    }
}
