//! DataFusion's errors in our words, and ours through DataFusion.

use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use datafusion::common::{Column, Diagnostic, SchemaError, Span as DfSpan};
use datafusion::error::DataFusionError;
use datafusion::object_store;
use datafusion::parquet::errors::ParquetError;
use datafusion::sql::sqlparser::tokenizer::{Location, Span as TokenSpan};

use crate::engine::sql::Source;
use crate::engine::storage::sql_name;
use crate::error::{Error, ErrorKind, Subject, did_you_mean_name, identifier};

/// Ours travels through DataFusion as a passenger.
impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        translate(&error)
    }
}

/// The error at this place of the statement, unless it has one.
pub fn at(error: impl Into<DataFusionError>, place: TokenSpan) -> DataFusionError {
    let error = error.into();
    match DfSpan::try_from_sqlparser_span(place) {
        Some(span) if error.diagnostic().is_none() => {
            error.with_diagnostic(Diagnostic::new_error("here", Some(span)))
        }
        _ => error,
    }
}

/// The error in our words, with the place in the text when DataFusion knows it.
pub fn located(error: &DataFusionError, source: &Source) -> Error {
    let ours = translate(error);
    if ours.span().is_some() {
        return ours;
    }
    let place = error.diagnostic().and_then(|d| d.span).and_then(|span| {
        let start = Location { line: span.start.line, column: span.start.column };
        source.span(TokenSpan { start, end: Location { line: span.end.line, column: span.end.column } })
    });
    ours.at(place)
}

/// The error with the place of the name that there is not, where the text has that name once.
pub fn placed(error: Error, source: &Source) -> Error {
    const KINDS: [&str; 4] = ["column", "table function", "table", "function"];
    if error.span().is_some() || error.kind() != ErrorKind::NotFound {
        return error;
    }
    let rest = error.message().strip_prefix("no ").unwrap_or_default();
    let named = KINDS.iter().find_map(|kind| rest.strip_prefix(kind)?.strip_prefix(' '));
    let name = named.and_then(|rest| rest.split([' ', ';', ',']).next()).map(str::to_owned);
    let place = name.and_then(|name| source.only_place(name.rsplit('.').next().unwrap_or(&name)));
    error.at(place)
}

fn translate(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => from_external(inner.as_ref()),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => translate(inner),
        DataFusionError::Shared(inner) => translate(inner),
        DataFusionError::Collection(all) => {
            all.first().map_or_else(|| Error::internal("no error"), translate)
        }
        DataFusionError::ArrowError(inner, _) => from_arrow(inner),
        DataFusionError::SchemaError(inner, _) => from_schema(inner),
        DataFusionError::NotImplemented(m) if m == "TOP" => {
            Error::unsupported("TOP is not supported").with_hint("write LIMIT n at the end of the query")
        }
        DataFusionError::NotImplemented(m) => recognised(m).unwrap_or_else(|| Error::unsupported(plain(m))),
        DataFusionError::Plan(m) => from_plan(m),
        DataFusionError::Execution(m) => recognised(m).unwrap_or_else(|| Error::data(plain(m))),
        DataFusionError::Configuration(m) => Error::input(Subject::Option, plain(m)),
        DataFusionError::SQL(e, _) => Error::input(Subject::Syntax, e.to_string()),
        DataFusionError::ResourcesExhausted(m) => out_of_memory(m),
        DataFusionError::IoError(e) => Error::disk(e.to_string(), e),
        DataFusionError::ObjectStore(e) => from_store(e),
        DataFusionError::ParquetError(e) => match e.as_ref() {
            ParquetError::External(inner) => from_external(inner.as_ref()),
            other => Error::corrupt(Subject::File, unprefixed(&other.to_string())),
        },
        other => {
            let message = other.strip_backtrace();
            recognised(&message).unwrap_or_else(|| Error::internal(plain(&message)))
        }
    }
}

/// The error that a message is known to mean, whatever kind DataFusion gives it; the first of these that fits.
fn recognised(message: &str) -> Option<Error> {
    let readers = [
        wrong_arguments,
        no_type,
        no_field,
        ungrouped,
        unreadable,
        out_of_range,
        unreadable_cell,
        in_filter,
        many_rows,
        many_columns,
        misplaced_aggregate,
    ];
    readers.iter().find_map(|read| read(message))
}

/// A type that DataFusion does not have.
fn no_type(message: &str) -> Option<Error> {
    let name = message.strip_prefix("Unsupported SQL type ")?;
    let message = format!("type {} is not supported", name.to_lowercase());
    Some(Error::unsupported(message).with_hint("TEXT keeps any value as it is written"))
}

/// A name behind a column that has no parts: `c.x`, where c is a column and no table.
fn no_field(message: &str) -> Option<Error> {
    let data_type =
        message.split_once("Cannot access field at argument 1: type ")?.1.split_once(" is not")?.0;
    let message = format!("a column of type {} has no parts to name behind a point", sql_types(data_type));
    Some(Error::input(Subject::Column, message))
}

/// A column that GROUP BY does not name.
fn ungrouped(message: &str) -> Option<Error> {
    let column = message.split_once("must be in GROUP BY or an aggregate function")?.1.split('"').nth(1)?;
    let message =
        format!("column {column} must appear in the GROUP BY clause or be used in an aggregate function");
    Some(Error::input(Subject::Column, message))
}

/// A text that is no value of its type, wherever in the message arrow says so.
fn unreadable(message: &str) -> Option<Error> {
    let told =
        message.split_once("Cannot cast string '").or_else(|| message.split_once("Cannot cast value '"))?;
    let (value, rest) = told.1.split_once("' to value of ")?;
    let data_type = sql_types(rest.split_once(" type")?.0).to_lowercase();
    let is_number = value.trim().parse::<f64>().is_ok_and(f64::is_finite);
    if is_number && ["smallint", "integer", "bigint"].contains(&data_type.as_str()) && !value.contains('.') {
        return Some(Error::data(format!("{value} is out of range for type {data_type}")));
    }
    Some(Error::input(Subject::Value, format!("'{value}' is no value of type {data_type}")))
}

/// Arrow's number is out of the range of its type.
fn out_of_range(message: &str) -> Option<Error> {
    if let Some((value, rest)) = message.split_once(" is too large to store in a Decimal") {
        let most = rest.split_once("Max is ").map_or("", |(_, most)| most.trim_end_matches('.'));
        let value = value.rsplit(' ').next().unwrap_or(value);
        return Some(Error::data(format!(
            "numeric field overflow: {value} is out of range, the most is {most}"
        )));
    }
    let (value, data_type) = message.split_once("Can't cast value ")?.1.split_once(" to type ")?;
    Some(Error::data(format!("{value} is out of range for type {}", sql_types(data_type))))
}

/// What arrow tells, in its own notation, of a condition that is evaluated while a file is read.
fn in_filter(message: &str) -> Option<Error> {
    let cause = message.split_once("Error evaluating filter predicate: ")?.1;
    if let Some((_, told)) = cause.split_once("ResourcesExhausted(\"") {
        let told = told.split("\")").next().unwrap_or(told);
        return Some(out_of_memory(&told.replace("\\n", "\n")));
    }
    Some(match cause.contains("DivideByZero") {
        true => Error::data("division by zero"),
        false => Error::data(plain(cause.split('"').nth(1).unwrap_or(cause))),
    })
}

/// A subquery that is a value, and has more than one.
fn many_rows(message: &str) -> Option<Error> {
    let found = message.contains("Scalar subquery returned more than one row");
    found.then(|| Error::data("more than one row returned by a subquery used as an expression"))
}

/// A subquery that is a value, or that values are looked for in, and has another number of columns than one.
fn many_columns(message: &str) -> Option<Error> {
    if let Some(columns) =
        message.strip_prefix("Too many columns! The subquery should only return one column: ")
    {
        let error = Error::input(Subject::Syntax, "subquery must return only one column");
        return Some(error.with_detail(format!("it returns {columns}")));
    }
    let count = message.split_once("should only return one column, but found ")?.1.split(':').next()?;
    let amount = if count == "0" { "few" } else { "many" };
    Some(Error::input(Subject::Syntax, format!("subquery has too {amount} columns")))
}

/// An aggregate where there are no groups yet.
fn misplaced_aggregate(message: &str) -> Option<Error> {
    message.strip_prefix("Aggregate functions are not allowed in the WHERE clause")?;
    let error = Error::input(Subject::Statement, "aggregate functions are not allowed in WHERE");
    Some(error.with_hint("write the condition into HAVING, or compute the aggregate in a subquery in FROM"))
}

/// A value of a CSV file that is none of its column's type.
fn unreadable_cell(message: &str) -> Option<Error> {
    let (value, rest) = message.split_once("Error while parsing value '")?.1.split_once("' as type '")?;
    let (data_type, rest) = rest.split_once("' for column ")?;
    let column: usize = rest.split(' ').next()?.parse().ok()?;
    let row = rest.split_once("Row data: '[")?.1.trim_end_matches(['\'', ']']);
    let data_type = sql_types(data_type);
    let message = format!("'{value}' in column {} of the file is no value of type {data_type}", column + 1);
    Some(Error::data(message).with_detail(format!("the row is {row}")).with_hint(
        "a table over files has the types of their first rows: declare its columns where later rows differ",
    ))
}

/// A function that does not take values of these types, which DataFusion may call a bug of its own.
fn wrong_arguments(message: &str) -> Option<Error> {
    let rest = message.split("No function matches the given name and argument types '").nth(1)?;
    let call = sql_types(rest.split('\'').next()?);
    Some(
        Error::input(Subject::Function, format!("no function {call} takes values of these types"))
            .with_hint("cast them: CAST(x AS double precision)"),
    )
}

fn from_external(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
    if let Some(ours) = error.downcast_ref::<Error>() {
        return ours.clone();
    }
    if let Some(inner) = error.downcast_ref::<DataFusionError>() {
        return translate(inner);
    }
    if let Some(inner) = error.downcast_ref::<ArrowError>() {
        return from_arrow(inner);
    }
    Error::internal(plain(&error.to_string()))
}

fn from_arrow(error: &ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(inner) => from_external(inner.as_ref()),
        ArrowError::DivideByZero => Error::data("division by zero"),
        ArrowError::ArithmeticOverflow(m) => {
            let what = m.strip_prefix("Overflow happened on: ").unwrap_or(m);
            Error::data(format!("value out of range: {what}"))
        }
        ArrowError::CastError(m)
        | ArrowError::ParseError(m)
        | ArrowError::ComputeError(m)
        | ArrowError::CsvError(m)
        | ArrowError::JsonError(m) => recognised(m).unwrap_or_else(|| Error::data(plain(m))),
        ArrowError::MemoryError(m) => out_of_memory(m),
        ArrowError::NotYetImplemented(m) => Error::unsupported(plain(m)),
        other => {
            let message = other.to_string();
            recognised(&message).unwrap_or_else(|| Error::internal(plain(&message)))
        }
    }
}

fn from_schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => column_not_found(field, valid_fields),
        SchemaError::AmbiguousReference { field } => {
            Error::input(Subject::Column, format!("column {} is ambiguous", field.name()))
                .with_hint("write the table in front of it: t.column")
        }
        other => Error::input(Subject::Column, plain(&other.to_string())),
    }
}

/// `no column unit in sales; did you mean units?`
fn column_not_found(field: &Column, valid: &[Column]) -> Error {
    let mut tables: Vec<String> =
        valid.iter().filter_map(|c| c.relation.as_ref()).map(|r| r.table().to_owned()).collect();
    tables.dedup();
    let place = match (&field.relation, tables.as_slice()) {
        (Some(relation), _) => format!(" in {}", relation.table()),
        (None, [table]) => format!(" in {table}"),
        _ => String::new(),
    };
    let suggestion = did_you_mean_name(field.name(), valid.iter().map(Column::name));
    let error = Error::not_found(Subject::Column, format!("no column {}{place}{suggestion}", field.name()));
    let mut names: Vec<String> = vec![];
    for name in valid.iter().map(|column| identifier(column.name())) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    match names.len() {
        0 => error,
        _ => error.with_hint(format!("columns: {}", shorten(names.into_iter()))),
    }
}

fn shorten(names: impl ExactSizeIterator<Item = String>) -> String {
    let total = names.len();
    let shown: Vec<String> = names.take(20).collect();
    let rest = if total > shown.len() { format!(" and {} more", total - shown.len()) } else { String::new() };
    format!("{}{rest}", shown.join(", "))
}

fn from_plan(message: &str) -> Error {
    let message = plain(message);
    if let Some(table) = message.strip_prefix("table '").and_then(|m| m.strip_suffix("' not found")) {
        return Error::not_found(Subject::Table, format!("no table {}", short_name(table)));
    }
    if let Some(error) = recognised(&message) {
        return error;
    }
    let quoted = |prefix: &str| message.strip_prefix(prefix).and_then(|rest| rest.split('\'').next());
    if let Some(name) = quoted("Invalid function '") {
        return Error::not_found(Subject::Function, format!("no function {name}"));
    }
    if let Some(name) = quoted("table function '") {
        return Error::not_found(Subject::Function, format!("no table function {name}"));
    }
    Error::input(Subject::Statement, message)
}

/// A table's name without our catalog and the default schema.
fn short_name(table: &str) -> &str {
    let table = table.strip_prefix("foretell.").unwrap_or(table);
    table.strip_prefix("public.").unwrap_or(table)
}

fn from_store(error: &object_store::Error) -> Error {
    let message = unprefixed(&error.to_string());
    match error {
        object_store::Error::NotFound { .. } => Error::not_found(Subject::File, message),
        _ => Error::disk(message, error),
    }
}

fn out_of_memory(message: &str) -> Error {
    Error::new(ErrorKind::Unavailable, Subject::Memory, format!("out of memory: {}", plain(message)))
        .with_hint("raise --memory-limit, or read fewer rows or columns")
}

/// The message without what is DataFusion's own: prefixes, and arrow's names of types.
fn plain(message: &str) -> String {
    sql_types(&unprefixed(message))
}

/// The first line, without DataFusion's own prefixes and with nothing else changed.
fn unprefixed(message: &str) -> String {
    let mut message = message.split("\n\nbacktrace").next().unwrap_or(message).trim();
    for prefix in
        ["Error during planning: ", "Execution error: ", "Arrow error: ", "External error: ", "Cast error: "]
    {
        message = message.strip_prefix(prefix).unwrap_or(message);
    }
    message.to_owned()
}

/// The text with SQL's names in the places of arrow's types.
fn sql_types(text: &str) -> String {
    let mut named = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        named.push_str(&rest[..start]);
        rest = &rest[start..];
        let word = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (data_type, length) = arrow_type(rest, word);
        match data_type {
            Some(data_type) => named.push_str(&sql_name(&data_type).to_lowercase()),
            None => named.push_str(&rest[..length]),
        }
        rest = &rest[length..];
    }
    named + rest
}

/// Longest name of a type of arrow's in a message.
const TYPE_BYTES_MAX: usize = 200;

/// The type that a text begins with, and its length; else the length of the word. Words that SQL has too, such as
/// Null and Boolean, stay.
fn arrow_type(text: &str, word: usize) -> (Option<DataType>, usize) {
    let near = &text.as_bytes()[word..text.len().min(word + TYPE_BYTES_MAX)];
    let arguments = near.starts_with(b"(").then(|| near.iter().position(|byte| *byte == b')')).flatten();
    let whole = arguments.map(|end| word + end + 1).and_then(|end| Some((text[..end].parse().ok()?, end)));
    let plain = || text[..word].parse().ok().filter(|t| !matches!(t, DataType::Null | DataType::Boolean));
    match whole {
        Some((data_type, end)) => (Some(data_type), end),
        None => (plain(), word),
    }
}
