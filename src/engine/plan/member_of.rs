//! `x IN` the many values that a subquery of a change gave: a set that is looked into, where a list of literals would be
//! copied by every rule of the optimizer.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datafusion::common::ExprSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    cast as cast_expr,
};

/// Bytes that a set takes of a value besides those of the value, about.
const BYTES_EACH: usize = 48;

/// `expr IN (values)`, or `NOT IN`; the memory of the set is taken from `pool`.
pub fn member_of(
    expr: Expr,
    values: &ArrayRef,
    negated: bool,
    schema: &dyn ExprSchema,
    pool: &Arc<dyn MemoryPool>,
) -> Result<Expr> {
    let (left, right) = (expr.get_type(schema)?, values.data_type());
    let common = comparison_coercion(&left, right).ok_or_else(|| {
        DataFusionError::Plan(format!("values of type {left} and {right} are not compared"))
    })?;
    let exactly = CastOptions { safe: false, ..CastOptions::default() };
    let set = MemberOf::new(&cast_with_options(values, &common, &exactly)?, pool)?;
    let is_in = ScalarUDF::new_from_impl(set).call(vec![cast_expr(expr, common)]);
    Ok(if negated { Expr::Not(Box::new(is_in)) } else { is_in })
}

/// The function that is true for the values of a set.
struct MemberOf {
    signature: Signature,
    data_type: DataType,
    values: Arc<HashSet<Box<[u8]>>>,
    has_null: bool,
    _memory: MemoryReservation,
}

impl MemberOf {
    fn new(values: &ArrayRef, pool: &Arc<dyn MemoryPool>) -> Result<Self> {
        let memory = MemoryConsumer::new("values of a subquery").register(pool);
        memory.try_grow(2 * values.get_array_memory_size() + BYTES_EACH * values.len())?;
        let data_type = values.data_type().clone();
        let rows = converter(&data_type)?.convert_columns(std::slice::from_ref(values))?;
        let known = rows.iter().enumerate().filter(|(i, _)| values.is_valid(*i));
        Ok(Self {
            signature: Signature::exact(vec![data_type.clone()], Volatility::Immutable),
            values: Arc::new(known.map(|(_, row)| row.as_ref().into()).collect()),
            has_null: values.null_count() > 0,
            data_type,
            _memory: memory,
        })
    }

    /// NULL where it may or may not be among them.
    fn holds(&self, value: Option<&[u8]>) -> Option<bool> {
        match value {
            _ if self.values.is_empty() && !self.has_null => Some(false),
            Some(value) if self.values.contains(value) => Some(true),
            Some(_) if !self.has_null => Some(false),
            _ => None,
        }
    }
}

fn converter(data_type: &DataType) -> Result<RowConverter> {
    Ok(RowConverter::new(vec![SortField::new(data_type.clone())])?)
}

impl std::fmt::Debug for MemberOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MemberOf({} values)", self.values.len())
    }
}

impl PartialEq for MemberOf {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.values, &other.values)
    }
}

impl Eq for MemberOf {}

impl Hash for MemberOf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.values).hash(state);
    }
}

impl ScalarUDFImpl for MemberOf {
    fn name(&self) -> &str {
        "in_values"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let rows = converter(&self.data_type)?.convert_columns(&arrays)?;
        let value = |i: usize| arrays[0].is_valid(i).then(|| rows.row(i));
        let held = (0..rows.num_rows()).map(|i| self.holds(value(i).as_ref().map(AsRef::as_ref)));
        Ok(ColumnarValue::Array(Arc::new(held.collect::<BooleanArray>())))
    }
}
