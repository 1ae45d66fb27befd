//! Functions of the catalogue as functions of DataFusion: any arguments in, one value a row out.

use std::cell::OnceCell;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use super::functions::FUNCTIONS;
use super::provider;
use super::rows::{Cell, array};
use super::snapshot::{RelationObject, Snapshot};
use super::{Surroundings, relations};
use crate::engine::access::Rights;
use crate::engine::settings::SharedVariables;
use crate::engine::shared::Engine;
use crate::engine::storage::split_name;
use crate::error::Result;

/// One function.
pub struct Function {
    /// Name.
    pub name: &'static str,
    /// PostgreSQL's name of the type of its values.
    pub returns: &'static str,
    /// Its value for one row.
    pub value: fn(&Call<'_>) -> Result<Cell>,
    /// NULL for NULL.
    pub strict: bool,
}

/// The arguments of one row, and what the function may ask.
pub struct Call<'a> {
    arguments: Vec<Cell>,
    around: &'a Surroundings,
    snapshot: &'a OnceCell<Arc<Snapshot>>,
}

impl Call<'_> {
    /// An argument that is a number.
    pub fn int(&self, n: usize) -> Option<i64> {
        match self.arguments.get(n) {
            Some(Cell::Int(value)) => Some(*value),
            _ => None,
        }
    }

    /// An argument as text.
    pub fn text(&self, n: usize) -> Option<String> {
        match self.arguments.get(n)? {
            Cell::Text(text) => Some(text.clone()),
            Cell::Int(value) => Some(value.to_string()),
            Cell::Float(value) => Some(value.to_string()),
            Cell::Bool(value) => Some(value.to_string()),
            _ => None,
        }
    }

    /// How many arguments there are.
    pub fn len(&self) -> usize {
        self.arguments.len()
    }

    /// An argument that is an array of numbers.
    pub fn ints(&self, n: usize) -> Vec<i64> {
        match self.arguments.get(n) {
            Some(Cell::Ints(numbers)) => numbers.clone(),
            _ => vec![],
        }
    }

    /// An argument that is an array of texts.
    pub fn texts(&self, n: usize) -> Vec<String> {
        match self.arguments.get(n) {
            Some(Cell::Texts(texts)) => texts.clone(),
            _ => vec![],
        }
    }

    /// An argument as JSON.
    pub fn json(&self, n: usize) -> serde_json::Value {
        match self.arguments.get(n) {
            None | Some(Cell::Null) => serde_json::Value::Null,
            Some(Cell::Bool(value)) => (*value).into(),
            Some(Cell::Int(value)) => (*value).into(),
            Some(Cell::Float(value)) => (*value).into(),
            Some(Cell::Text(text)) => text.as_str().into(),
            Some(Cell::Ints(numbers)) => numbers.clone().into(),
            Some(Cell::Texts(texts)) => texts.clone().into(),
            Some(Cell::Items(_)) => serde_json::Value::Null,
        }
    }

    /// An argument that is true.
    pub fn bool(&self, n: usize) -> bool {
        matches!(self.arguments.get(n), Some(Cell::Bool(true)))
    }

    /// The state of the catalogue.
    pub fn snapshot(&self) -> &Snapshot {
        self.snapshot.get_or_init(|| {
            let made = tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current()
                    .block_on(provider::snapshot(&self.around.engine, self.around))
            });
            made.unwrap_or_default()
        })
    }

    /// The relation that an argument is the number or the name of.
    pub fn relation(&self, n: usize) -> Result<Option<RelationObject>> {
        let snapshot = self.snapshot();
        if let Some(oid) = self.int(n) {
            return Ok(snapshot.relation(oid as u32).cloned());
        }
        let Some(text) = self.text(n) else { return Ok(None) };
        let (schema, name) = split_name(&text);
        let path = schema.map_or_else(|| self.search_path(), |schema| Ok(vec![schema]))?;
        Ok(path.iter().find_map(|schema| snapshot.relation_named(schema, &name)).cloned())
    }

    /// The schemas that names without one are looked up in.
    pub fn search_path(&self) -> Result<Vec<String>> {
        Ok(self.around.search_path(&*self.engine().catalog.contents()?))
    }

    /// The session.
    pub fn around(&self) -> &Surroundings {
        self.around
    }

    /// The database.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.around.engine
    }

    /// The settings of the session.
    pub fn variables(&self) -> &SharedVariables {
        &self.around.variables
    }

    /// What clients call the database.
    pub fn database(&self) -> String {
        self.around.database()
    }

    /// The role that the session logged in with.
    pub fn session_user(&self) -> String {
        self.variables().read().value("session_authorization")
    }

    /// The role whose rights count.
    pub fn user(&self) -> String {
        self.around.actor.role().unwrap_or_else(|| self.session_user())
    }

    /// The rights of a role by its name, or of whoever acts.
    pub fn rights(&self, role: Option<&str>) -> Result<Rights> {
        match role {
            Some(role) => Ok(Rights::of(Some(role), &*self.engine().catalog.contents()?)),
            None => self.around.actor.rights(&self.engine().catalog),
        }
    }
}

/// A function; it asks the session in whose settings it runs.
struct CatalogFunction {
    function: &'static Function,
    signature: Signature,
}

impl std::fmt::Debug for CatalogFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.function.name)
    }
}

impl PartialEq for CatalogFunction {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name
    }
}

impl Eq for CatalogFunction {}

impl Hash for CatalogFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

/// What must happen when a statement runs, once for each row, and not while it is planned.
const ACTIONS: [&str; 5] = ["set_config", "pg_cancel_backend", "pg_terminate_backend", "nextval", "setval"];

/// All of them.
pub fn all() -> impl Iterator<Item = ScalarUDF> {
    FUNCTIONS.iter().map(|function| {
        let any = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
        let volatility =
            if ACTIONS.contains(&function.name) { Volatility::Volatile } else { Volatility::Stable };
        ScalarUDF::new_from_impl(CatalogFunction { function, signature: Signature::one_of(any, volatility) })
    })
}

impl ScalarUDFImpl for CatalogFunction {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(relations::arrow_type(self.function.returns))
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        Ok(Arc::new(relations::field(self.function.name, self.function.returns)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let action = self.signature.volatility == Volatility::Volatile;
        let constant = !action && args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arrays =
            args.args.iter().map(|value| value.clone().into_array(rows)).collect::<DfResult<Vec<_>>>()?;
        let columns = arrays.iter().map(cells).collect::<DfResult<Vec<_>>>()?;
        let (around, snapshot) = (Surroundings::of(&args.config_options)?, OnceCell::new());
        let mut values = Vec::with_capacity(rows);
        for row in 0..rows {
            let arguments: Vec<Cell> = columns.iter().map(|column| column[row].clone()).collect();
            if self.function.strict && arguments.contains(&Cell::Null) {
                values.push(Cell::Null);
                continue;
            }
            let call = Call { arguments, around, snapshot: &snapshot };
            values.push((self.function.value)(&call)?);
        }
        let field: &Field = args.return_field.as_ref();
        let result = array(field, &values)?;
        match constant {
            true => Ok(ColumnarValue::Scalar(datafusion::scalar::ScalarValue::try_from_array(&result, 0)?)),
            false => Ok(ColumnarValue::Array(result)),
        }
    }
}

/// The values of an array of arrays.
fn lists(array: &ArrayRef) -> DfResult<Vec<Cell>> {
    let lists = array.as_list::<i32>();
    let list = |row: usize| -> DfResult<Cell> {
        if lists.is_null(row) {
            return Ok(Cell::Null);
        }
        let values = cells(&lists.value(row))?;
        let ints: Option<Vec<i64>> =
            values.iter().map(|cell| if let Cell::Int(n) = cell { Some(*n) } else { None }).collect();
        let text = |cell: Cell| match cell {
            Cell::Text(text) => text,
            other => format!("{other:?}"),
        };
        Ok(match ints {
            Some(ints) => Cell::Ints(ints),
            None => Cell::Texts(values.into_iter().map(text).collect()),
        })
    };
    (0..lists.len()).map(list).collect()
}

/// The values of an array.
fn cells(array: &ArrayRef) -> DfResult<Vec<Cell>> {
    let text = || -> DfResult<Vec<Cell>> {
        let texts = cast(array, &DataType::Utf8)?;
        Ok(texts.as_string::<i32>().iter().map(|text| text.map_or(Cell::Null, Into::into)).collect())
    };
    match array.data_type() {
        DataType::Null => Ok(vec![Cell::Null; array.len()]),
        DataType::Boolean => Ok(array.as_boolean().iter().map(Cell::from).collect()),
        other if other.is_integer() => {
            let numbers = cast(array, &DataType::Int64)?;
            Ok(numbers.as_primitive::<Int64Type>().iter().map(Cell::from).collect())
        }
        DataType::Float32 | DataType::Float64 => {
            let numbers = cast(array, &DataType::Float64)?;
            Ok(numbers.as_primitive::<Float64Type>().iter().map(Cell::from).collect())
        }
        DataType::List(_) => lists(array),
        _ => text(),
    }
}
