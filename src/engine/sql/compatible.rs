//! PostgreSQL's ways of writing that DataFusion does not read, most of them from queries on the catalogue.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, ArrayElemTypeDef, BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem,
    SetExpr, TableFactor, Value, VisitMut, VisitorMut,
};

use crate::engine::sql::literal::literal;
use crate::engine::sql::parameters::cast;
use crate::engine::sql::words::{fold, last_word};

/// Schemas of functions and types that need no schema here.
const SYSTEM: [&str; 2] = ["pg_catalog", "information_schema"];

/// Types whose values are numbers of things that have names.
const NAMED_THINGS: [&str; 5] = ["regclass", "regtype", "regnamespace", "regproc", "regrole"];

/// Columns that every table of PostgreSQL has, and what they are here.
const HIDDEN: [&str; 6] = ["tableoid", "xmin", "xmax", "cmin", "cmax", "ctid"];

/// Rewrites the statement, or the query, and everything in it.
pub fn make_compatible(node: &mut impl VisitMut) {
    let _ = node.visit(&mut Rewrites);
}

struct Rewrites;

impl VisitorMut for Rewrites {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        replace_hidden(select);
        label_schemas(select);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: Some(_), .. } = factor {
            strip_schema(name);
        }
        rewrite_table_function(factor);
        rewrite_unnest(factor);
        select_from_scalar(factor);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        unwrap_array_query(expr);
        if let Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } = expr {
            take_array_query(right);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        rewrite(expr);
        ControlFlow::Continue(())
    }
}

/// `(SELECT ARRAY (SELECT …))` is `ARRAY (SELECT …)`, which reaches the tables around it; so is
/// `(SELECT array_to_string(ARRAY (SELECT …), ','))` without the outer SELECT.
fn unwrap_array_query(expr: &mut Expr) {
    let Expr::Subquery(query) = &*expr else { return };
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    let plain = select.from.is_empty() && select.selection.is_none() && query.with.is_none();
    if let [SelectItem::UnnamedExpr(only) | SelectItem::ExprWithAlias { expr: only, .. }] =
        select.projection.as_slice()
        && plain
        && is_array_query(only)
    {
        *expr = only.clone();
    }
}

fn is_array_query(expr: &Expr) -> bool {
    let Expr::Function(Function { name, args, .. }) = expr else { return false };
    match (last_word(name).as_deref(), args) {
        (Some("array"), FunctionArguments::Subquery(_)) => true,
        (Some("array_to_string"), FunctionArguments::List(list)) => {
            plain_arguments(list).first().is_some_and(is_array_query)
        }
        _ => false,
    }
}

/// `ANY (ARRAY (SELECT …))` is `ANY (SELECT …)`.
fn take_array_query(array: &mut Expr) {
    while let Expr::Nested(inner) = array {
        *array = taken(inner);
    }
    if let Expr::Function(Function { name, args: FunctionArguments::Subquery(query), .. }) = array
        && last_word(name).as_deref() == Some("array")
    {
        *array = Expr::Subquery(query.clone());
    }
}

fn null() -> Expr {
    Expr::Value(Value::Null.with_empty_span())
}

fn taken(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, null())
}

/// A call of a function by its bare name.
fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

fn rewrite(expr: &mut Expr) {
    match expr {
        Expr::Collate { expr: inner, .. } => *expr = taken(inner),
        Expr::Function(function) => {
            rewrite_function(function);
            rewrite_call(expr);
        }
        Expr::BinaryOp { left, op: BinaryOperator::PGOverlap, right } => {
            *expr = call("array_has_any", vec![taken(left), taken(right)]);
        }
        Expr::BinaryOp { op, .. } => rewrite_operator(op),
        Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
            escape_by_backslash(pattern, escape_char);
        }
        Expr::Cast { .. } => rewrite_cast(expr),
        Expr::UnaryOp { op: ast::UnaryOperator::Not, expr: condition } => make_boolean(condition),
        Expr::AnyOp { .. } | Expr::AllOp { .. } => rewrite_quantified(expr),
        Expr::Identifier(word)
            if word.quote_style.is_none()
                && ["current_schema", "current_role"].contains(&word.value.to_lowercase().as_str()) =>
        {
            *expr = call(&word.value.to_lowercase(), vec![]);
        }
        Expr::AtTimeZone { timestamp, time_zone } => {
            *expr = call("timezone", vec![taken(time_zone), taken(timestamp)]);
        }
        Expr::Subquery(query) => {
            if let Some(inner) = only_expression(query) {
                *expr = Expr::Nested(Box::new(inner));
            } else if let Some(condition) = make_scalar(query) {
                let query = Expr::Subquery(query.clone());
                let when = ast::CaseWhen { condition, result: query };
                *expr = case(vec![when]);
            }
        }
        Expr::Case { .. } => search_cases(expr),
        Expr::Substring { expr: text, substring_from: Some(pattern), substring_for: None, .. }
            if is_text(pattern) =>
        {
            *expr = call("regexp_substring", vec![taken(text), taken(pattern)]);
        }
        Expr::CompoundFieldAccess { root, access_chain } => {
            if let [ast::AccessExpr::Dot(Expr::Identifier(field))] = access_chain.as_slice()
                && matches!(root.as_ref(), Expr::Nested(_) | Expr::Function(_))
            {
                let name = Expr::Value(Value::SingleQuotedString(fold(field)).with_empty_span());
                *expr = call("get_field", vec![taken(root), name]);
            }
        }
        _ => {}
    }
}

/// What `(SELECT x)` gives, without any relation.
fn only_expression(query: &Query) -> Option<Expr> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let plain = query.with.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && select.from.is_empty()
        && select.selection.is_none()
        && select.having.is_none()
        && select.group_by_is_empty();
    match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }]
            if plain && !is_aggregate(expr) && !calls(expr, "unnest") =>
        {
            Some(expr.clone())
        }
        _ => None,
    }
}

/// True when a function is called in an expression.
fn calls(expr: &Expr, function: &str) -> bool {
    let mut found = false;
    let _ = ast::visit_expressions(expr, |expr| {
        if let Expr::Function(call) = expr {
            found |= last_word(&call.name).as_deref() == Some(function);
        }
        ControlFlow::<()>::Continue(())
    });
    found
}

fn case(conditions: Vec<ast::CaseWhen>) -> Expr {
    let token = ast::helpers::attached_token::AttachedToken::empty;
    Expr::Case { case_token: token(), end_token: token(), operand: None, conditions, else_result: None }
}

/// `CASE x WHEN 't' THEN …` as `CASE WHEN x = 't' THEN …`, which compares what it compares by their types.
fn search_cases(expr: &mut Expr) {
    let Expr::Case { operand, conditions, .. } = expr else { return };
    let text = |when: &ast::CaseWhen| matches!(&when.condition, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)));
    if !conditions.iter().all(text) {
        return;
    }
    let Some(operand) = operand.take() else { return };
    for when in conditions {
        let right = Box::new(taken(&mut when.condition));
        when.condition = Expr::BinaryOp { left: operand.clone(), op: BinaryOperator::Eq, right };
    }
}

/// Takes the schema of PostgreSQL's own functions away.
fn strip_schema(name: &mut ObjectName) {
    if let [ObjectNamePart::Identifier(schema), ObjectNamePart::Identifier(_)] = name.0.as_slice()
        && SYSTEM.contains(&fold(schema).as_str())
    {
        name.0.remove(0);
    }
}

fn rewrite_function(function: &mut Function) {
    strip_schema(&mut function.name);
    let Some(ObjectNamePart::Identifier(word)) = function.name.0.last_mut() else { return };
    // Special words are functions without parentheses.
    let special = ["current_user", "session_user", "user", "current_catalog"];
    if matches!(function.args, FunctionArguments::None)
        && special.contains(&word.value.to_lowercase().as_str())
    {
        word.value = word.value.to_lowercase();
        let args = FunctionArgumentList { duplicate_treatment: None, args: vec![], clauses: vec![] };
        function.args = FunctionArguments::List(args);
    }
}

/// Calls that are written as other expressions here.
fn rewrite_call(expr: &mut Expr) {
    let Expr::Function(function) = expr else { return };
    let Some(name) = function.name.0.last().and_then(|part| part.as_ident()) else { return };
    if name.quote_style.is_some() {
        return;
    }
    let name = fold(name);
    if name == "array"
        && let FunctionArguments::Subquery(query) = &mut function.args
    {
        if let Some(numbers) = names_of_roles(query) {
            *expr = call("role_names", vec![numbers]);
            return;
        }
        collect_rows(query);
        // No rows are an empty array.
        let empty = Expr::Value(Value::SingleQuotedString("{}".to_owned()).with_empty_span());
        *expr = call("coalesce", vec![Expr::Subquery(query.clone()), empty]);
        return;
    }
    let mut arguments = match &function.args {
        FunctionArguments::List(list) if function.over.is_none() => plain_arguments(list),
        _ => return,
    };
    let one = || Expr::Value(Value::Number("1".to_owned(), false).with_empty_span());
    match (name.as_str(), arguments.len()) {
        ("array_upper", 2) => *expr = cast(call("array_length", arguments), DataType::BigInt(None)),
        ("array_lower", 2) => *expr = one(),
        ("generate_subscripts", 2 | 3) => {
            arguments.truncate(2);
            let length = cast(call("array_length", arguments), DataType::BigInt(None));
            *expr = call("unnest", vec![call("generate_series", vec![one(), length])]);
        }
        ("generate_series", _) => *expr = call("unnest", vec![call("generate_series", arguments)]),
        ("substring" | "substr", 2) if is_text(&arguments[1]) => *expr = call("regexp_substring", arguments),
        ("aclexplode", 1) => *expr = call("unnest", vec![call("acl_items", arguments)]),
        ("pg_partition_ancestors", 1) => {
            *expr = call("unnest", vec![call("pg_partition_ancestors", arguments)])
        }
        ("_pg_expandarray", 1) => *expr = call("unnest", vec![call("expanded_array", arguments)]),
        _ => {}
    }
}

/// A text or a parameter behind NOT is a boolean: `NOT 'f'`, `NOT ($1)`.
fn make_boolean(condition: &mut Expr) {
    let inner = match condition {
        Expr::Nested(inner) => inner.as_mut(),
        plain => plain,
    };
    if is_text(inner) || is_parameter(inner) {
        *inner = Expr::Cast {
            kind: ast::CastKind::DoubleColon,
            expr: Box::new(taken(inner)),
            data_type: DataType::Boolean,
            array: false,
            format: None,
        };
    }
}

fn is_parameter(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::Placeholder(_)))
}

/// True for a text that is written out.
fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)))
}

/// The array of which `SELECT rolname FROM pg_roles WHERE oid = ANY (array)` tells the names: psql asks so for every
/// table, and the array is one of the outer query.
fn names_of_roles(query: &Query) -> Option<Expr> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let [table] = select.from.as_slice() else { return None };
    let TableFactor::Table { name, .. } = &table.relation else { return None };
    let roles = last_word(name)? == "pg_roles";
    let Some(Expr::Function(Function { name, args: FunctionArguments::List(list), .. })) = &select.selection
    else {
        return None;
    };
    let contained = last_word(name)? == "array_has";
    (roles && contained).then(|| plain_arguments(list).into_iter().next()).flatten()
}

fn plain_arguments(list: &FunctionArgumentList) -> Vec<Expr> {
    let plain = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    list.args.iter().filter_map(plain).collect()
}

/// `(SELECT x … ORDER BY y)` as `(SELECT array_agg(x ORDER BY y) …)`.
fn collect_rows(query: &mut Query) {
    let order = match query.order_by.take().map(|order| order.kind) {
        Some(ast::OrderByKind::Expressions(exprs)) => exprs,
        _ => vec![],
    };
    if let SetExpr::Select(select) = query.body.as_mut()
        && let [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] =
            select.projection.as_mut_slice()
    {
        *expr = call("array_agg", vec![taken(expr)]);
        if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = expr
            && !order.is_empty()
        {
            list.clauses.push(ast::FunctionArgumentClause::OrderBy(order));
        }
    }
}

/// LIKE with another escape than a backslash: the pattern with backslashes.
fn escape_by_backslash(pattern: &mut Box<Expr>, escape: &mut Option<ast::ValueWithSpan>) {
    let text = |text: &str| Expr::Value(Value::SingleQuotedString(text.to_owned()).with_empty_span());
    let Some(Value::SingleQuotedString(character)) = escape.as_ref().map(|value| value.value.clone()) else {
        return;
    };
    if character == "\\" {
        return;
    }
    *escape = None;
    if let Expr::Value(value) = pattern.as_ref()
        && let Value::SingleQuotedString(plain) = &value.value
    {
        **pattern = text(&with_backslashes(plain, character.chars().next()));
        return;
    }
    // What the pattern says of itself is marked first, so that it stays apart from what marks it.
    let replaced = |pattern, from: &str, to: &str| call("replace", vec![pattern, text(from), text(to)]);
    let pattern_of = taken(pattern);
    **pattern = match character.as_str() {
        "" => replaced(pattern_of, "\\", "\\\\"),
        escape => {
            let twice = replaced(pattern_of, &escape.repeat(2), "\u{1}");
            let doubled = replaced(twice, "\\", "\\\\");
            replaced(replaced(doubled, escape, "\\"), "\u{1}", escape)
        }
    };
}

/// The pattern with a backslash before what another character escapes.
fn with_backslashes(pattern: &str, escape: Option<char>) -> String {
    let (mut written, mut characters) = (String::new(), pattern.chars());
    while let Some(character) = characters.next() {
        match character {
            c if Some(c) == escape => written.extend(characters.next().into_iter().flat_map(escaped)),
            '\\' => written.push_str("\\\\"),
            c => written.push(c),
        }
    }
    written
}

/// A character that stands for itself in a pattern.
fn escaped(character: char) -> impl Iterator<Item = char> {
    let special = matches!(character, '%' | '_' | '\\');
    special.then_some('\\').into_iter().chain([character])
}

/// Functions in FROM that are read otherwise here.
fn rewrite_table_function(factor: &mut TableFactor) {
    let TableFactor::Table { name, args, alias, with_ordinality, .. } = factor else { return };
    let (Some(arguments), [ObjectNamePart::Identifier(word)]) = (args.as_mut(), name.0.as_slice()) else {
        return;
    };
    let (word, list) = (word.clone(), table_arguments(arguments));
    if COLUMN_IN_FROM.contains(&fold(&word).as_str()) && !*with_ordinality {
        name_column(alias, &word);
    }
    match fold(&word).as_str() {
        "pg_show_all_settings" => {
            *name = ObjectName::from(vec![Ident::new("pg_settings")]);
            *args = None;
        }
        "pg_get_keywords" => {
            *name = ObjectName::from(vec![Ident::new("pg_catalog"), Ident::new("pg_get_keywords")]);
            *args = None;
        }
        // What is known only while the query runs is a list, and the list's elements.
        "generate_series" if list.iter().any(depends) => {
            let bounds = list.into_iter().map(|bound| cast(bound, DataType::BigInt(None))).collect();
            *factor = elements_of(vec![as_list("generate_series", bounds)], alias, *with_ordinality);
        }
        "generate_subscripts" if list.len() > 1 => {
            let list = subscripts(list[0].clone());
            *factor = elements_of(vec![list], alias, *with_ordinality);
        }
        name @ "pg_partition_ancestors" => {
            *factor = elements_of(vec![as_list(name, list)], alias, *with_ordinality);
        }
        "unnest" => *factor = elements_of(list, alias, *with_ordinality),
        _ => {}
    }
}

/// The names of the columns of UNNEST, and its ordinality as one more array.
fn rewrite_unnest(factor: &mut TableFactor) {
    let TableFactor::UNNEST { alias, array_exprs, with_ordinality, .. } = factor else { return };
    let [array] = array_exprs.as_slice() else { return };
    let word = Ident::new("unnest");
    name_column(alias, &word);
    if std::mem::take(with_ordinality) {
        array_exprs.push(subscripts(array.clone()));
        if let Some(alias) = alias
            && alias.columns.len() == 1
        {
            let name = Ident::new("ordinality");
            alias.columns.push(ast::TableAliasColumnDef { name, data_type: None });
        }
    }
}

/// The numbers of the elements of an array.
fn subscripts(array: Expr) -> Expr {
    let one = Expr::Value(Value::Number("1".to_owned(), false).with_empty_span());
    let length = call("array_length", vec![array, one.clone()]);
    as_list("generate_series", vec![one, cast(length, DataType::BigInt(None))])
}

/// A call of a function that gives a list, not the list's elements.
fn as_list(name: &str, arguments: Vec<Expr>) -> Expr {
    let mut list = call(name, arguments);
    if let Expr::Function(function) = &mut list {
        function.name = ObjectName::from(vec![Ident::with_quote('"', name)]);
    }
    list
}

/// Functions that give one column, which has their name or their alias.
const COLUMN_IN_FROM: [&str; 4] =
    ["generate_series", "generate_subscripts", "pg_partition_ancestors", "unnest"];

/// `f(x)` as `f(x) AS f(f)`, and `f(x) AS a` as `f(x) AS a(a)`.
fn name_column(alias: &mut Option<ast::TableAlias>, function: &Ident) {
    let alias = alias.get_or_insert_with(|| ast::TableAlias {
        explicit: true,
        name: function.clone(),
        columns: vec![],
        at: None,
    });
    if alias.columns.is_empty() {
        alias.columns.push(ast::TableAliasColumnDef { name: alias.name.clone(), data_type: None });
    }
}

fn table_arguments(arguments: &ast::TableFunctionArgs) -> Vec<Expr> {
    let args = arguments.args.clone();
    plain_arguments(&FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] })
}

/// True for an expression with a column or a call in it.
fn depends(expr: &Expr) -> bool {
    let mut found = false;
    let _ = ast::visit_expressions(expr, |expr| {
        found |= matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Function(_));
        ControlFlow::<()>::Continue(())
    });
    found
}

fn elements_of(arrays: Vec<Expr>, alias: &Option<ast::TableAlias>, with_ordinality: bool) -> TableFactor {
    TableFactor::UNNEST {
        alias: alias.clone(),
        array_exprs: arrays,
        with_offset: false,
        with_offset_alias: None,
        with_ordinality,
    }
}

/// Scalar functions that clients call in FROM.
const SCALARS_IN_FROM: [&str; 11] = [
    "current_database",
    "current_schema",
    "version",
    "upper",
    "lower",
    "current_setting",
    "set_config",
    "now",
    "pg_backend_pid",
    "string_to_array",
    "parse_ident",
];

/// `FROM f(x) AS a` of a scalar function, as a query of one row.
fn select_from_scalar(factor: &mut TableFactor) {
    let TableFactor::Table { name, args: Some(arguments), alias, .. } = factor else { return };
    let [ObjectNamePart::Identifier(word)] = name.0.as_slice() else { return };
    let function = fold(word);
    if !SCALARS_IN_FROM.contains(&function.as_str()) {
        return;
    }
    let column = alias.as_ref().and_then(|alias| alias.columns.first()).map(|column| column.name.clone());
    let label =
        column.or_else(|| alias.as_ref().map(|alias| alias.name.clone())).unwrap_or_else(|| word.clone());
    let expr = call(&function, table_arguments(arguments));
    let mut query = crate::engine::sql::train::select_from(
        crate::engine::sql::train::table(ObjectName::from(vec![Ident::new("t")])),
        None,
    );
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.from = vec![];
        select.projection = vec![SelectItem::ExprWithAlias { expr, alias: label }];
    }
    let alias = alias
        .clone()
        .or_else(|| Some(ast::TableAlias { explicit: true, name: word.clone(), columns: vec![], at: None }));
    *factor = TableFactor::Derived { lateral: false, subquery: Box::new(query), alias, sample: None };
}

/// `t.*` of a table that FROM writes with its schema: the table gets its last word as an alias.
fn label_schemas(select: &mut Select) {
    let starred: Vec<String> = select
        .projection
        .iter()
        .filter_map(|item| match item {
            SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                if name.0.len() == 1 {
                    name.0[0].as_ident().map(fold)
                } else {
                    None
                }
            }
            _ => None,
        })
        .collect();
    let tables = select.from.iter_mut().flat_map(|table| {
        std::iter::once(&mut table.relation).chain(table.joins.iter_mut().map(|join| &mut join.relation))
    });
    for factor in tables {
        if let TableFactor::Table { name, alias: alias @ None, args: None, .. } = factor
            && name.0.len() > 1
            && let Some(last) = name.0.last().and_then(|part| part.as_ident())
            && starred.contains(&fold(last))
        {
            *alias = Some(ast::TableAlias { explicit: true, name: last.clone(), columns: vec![], at: None });
        }
    }
}

/// `OPERATOR(pg_catalog.~)` is the operator.
fn rewrite_operator(op: &mut BinaryOperator) {
    let BinaryOperator::PGCustomBinaryOperator(parts) = op else { return };
    let plain = match parts.last().map(String::as_str) {
        Some("~") => BinaryOperator::PGRegexMatch,
        Some("~*") => BinaryOperator::PGRegexIMatch,
        Some("!~") => BinaryOperator::PGRegexNotMatch,
        Some("!~*") => BinaryOperator::PGRegexNotIMatch,
        Some("=") => BinaryOperator::Eq,
        Some("<>") => BinaryOperator::NotEq,
        Some("<") => BinaryOperator::Lt,
        Some(">") => BinaryOperator::Gt,
        Some("<=") => BinaryOperator::LtEq,
        Some(">=") => BinaryOperator::GtEq,
        Some("+") => BinaryOperator::Plus,
        Some("-") => BinaryOperator::Minus,
        Some("||") => BinaryOperator::StringConcat,
        Some("~~") => BinaryOperator::PGLikeMatch,
        _ => return,
    };
    *op = plain;
}

/// The last word of a type that is not one of SQL's.
fn custom(data_type: &DataType) -> Option<String> {
    match data_type {
        DataType::Regclass => Some("regclass".to_owned()),
        DataType::Custom(name, arguments) if arguments.is_empty() => {
            let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident().map(fold)).collect();
            match parts.as_slice() {
                [name] => Some(name.clone()),
                [schema, name] if SYSTEM.contains(&schema.as_str()) => Some(name.clone()),
                _ => None,
            }
        }
        _ => None,
    }
}

fn rewrite_cast(expr: &mut Expr) {
    let Expr::Cast { expr: inner, data_type, .. } = expr else { return };
    // '{a,b}'::text[] of a literal.
    if let (DataType::Array(_), Expr::Value(value)) = (&*data_type, inner.as_ref())
        && let Value::SingleQuotedString(text) = &value.value
    {
        let plain = plain_array(data_type);
        if let Ok(array) = literal(Some(text), &plain) {
            *expr = array;
        }
        return;
    }
    let text = matches!(data_type, DataType::Text | DataType::Varchar(_))
        || matches!(custom(data_type).as_deref(), Some("text" | "varchar" | "name"));
    if text && let Some(name) = named_thing(inner) {
        *expr = call(&format!("{name}_text"), vec![taken(inner)]);
        return;
    }
    let Some(name) = custom(data_type) else {
        match data_type {
            DataType::JSON | DataType::JSONB => *data_type = told("json"),
            DataType::Uuid => *data_type = DataType::Text,
            _ => {}
        }
        if let DataType::Array(_) = data_type {
            *data_type = if is_oids(data_type) { array_of(told("oid")) } else { plain_array(data_type) };
        }
        return;
    };
    if NAMED_THINGS.contains(&name.as_str()) {
        *expr = call(&name, vec![taken(inner)]);
        return;
    }
    match name.as_str() {
        "oid" | "cid" => *expr = call("oid", vec![taken(inner)]),
        "xid" => *expr = call("xid", vec![taken(inner)]),
        "name" | "char" => *data_type = told(&name),
        "json" | "jsonb" => *data_type = told("json"),
        "varchar" => *data_type = DataType::Varchar(None),
        "tid" | "cstring" | "text" | "unknown" | "citext" | "aclitem" | "uuid" | "regconfig"
        | "regprocedure" | "character_data" | "sql_identifier" | "yes_or_no" | "bpchar" => {
            *data_type = DataType::Text;
        }
        "int2" => *data_type = DataType::SmallInt(None),
        "int4" | "cardinal_number" => *data_type = DataType::Int(None),
        "int8" => *data_type = DataType::BigInt(None),
        "float4" => *data_type = DataType::Real,
        "float8" => *data_type = DataType::DoublePrecision,
        "bool" => *data_type = DataType::Boolean,
        "numeric" => *data_type = DataType::Numeric(ast::ExactNumberInfo::None),
        "timestamptz" => *data_type = DataType::Timestamp(None, ast::TimezoneInfo::Tz),
        "timestamp" => *data_type = DataType::Timestamp(None, ast::TimezoneInfo::None),
        "date" => *data_type = DataType::Date,
        _ => {}
    }
}

/// A type that is stored as text, and that clients are told.
fn told(name: &str) -> DataType {
    let name = if name == "char" { Ident::with_quote('"', name) } else { Ident::new(name) };
    DataType::Custom(ObjectName::from(vec![name]), vec![])
}

/// The type that a call has made of an expression, where it is a number of a thing with a name.
fn named_thing(expr: &Expr) -> Option<&'static str> {
    match expr {
        Expr::Nested(inner) => named_thing(inner),
        Expr::Function(function) => {
            let name = last_word(&function.name)?;
            NAMED_THINGS.into_iter().find(|known| *known == name)
        }
        _ => None,
    }
}

/// True for an array of numbers of things.
fn is_oids(data_type: &DataType) -> bool {
    let DataType::Array(ArrayElemTypeDef::SquareBracket(inner, _)) = data_type else { return false };
    custom(inner).as_deref() == Some("oid")
}

fn array_of(element: DataType) -> DataType {
    DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(element), None))
}

/// An array type over one of SQL's types.
fn plain_array(data_type: &DataType) -> DataType {
    let DataType::Array(
        ArrayElemTypeDef::SquareBracket(inner, _)
        | ArrayElemTypeDef::AngleBracket(inner)
        | ArrayElemTypeDef::Parenthesis(inner),
    ) = data_type
    else {
        return data_type.clone();
    };
    let plain = match custom(inner).as_deref() {
        Some("oid" | "xid" | "int8") => DataType::BigInt(None),
        Some("int2") => DataType::SmallInt(None),
        Some("int4") => DataType::Int(None),
        Some(_) => DataType::Text,
        None => plain_array(inner),
    };
    array_of(plain)
}

/// `x = ANY (array)` and `x <> ALL (array)`, which are about being an element.
fn rewrite_quantified(expr: &mut Expr) {
    let (left, op, right, any) = match expr {
        Expr::AnyOp { left, compare_op, right, .. } => (left, compare_op, right, true),
        Expr::AllOp { left, compare_op, right } => (left, compare_op, right, false),
        _ => return,
    };
    rewrite_operator(op);
    let contained = match (any, &*op) {
        (true, BinaryOperator::Eq) => true,
        (false, BinaryOperator::NotEq) => false,
        _ => return,
    };
    let mut array = taken(right);
    while let Expr::Nested(inner) = array {
        array = *inner;
    }
    if let Expr::Subquery(query) = array {
        let subquery = Expr::InSubquery { expr: Box::new(taken(left)), subquery: query, negated: !contained };
        *expr = subquery;
        return;
    }
    // A literal of an array has the type of what it is compared with; elements are compared as text where it is not told.
    if let Expr::Value(value) = &array
        && let Value::SingleQuotedString(text) = &value.value
    {
        let texts = DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None));
        if let Ok(list) = literal(Some(text), &texts) {
            *expr = match elements(list) {
                Ok(list) if !list.is_empty() => {
                    Expr::InList { expr: Box::new(taken(left)), list, negated: !contained }
                }
                _ => Expr::Value(Value::Boolean(!contained).with_empty_span()),
            };
            return;
        }
    }
    let (array, left) = match elements(array) {
        Ok(list) if !list.is_empty() => {
            *expr = Expr::InList { expr: Box::new(taken(left)), list, negated: !contained };
            return;
        }
        Ok(_) => {
            *expr = Expr::Value(Value::Boolean(!contained).with_empty_span());
            return;
        }
        Err(array) => (*array, taken(left)),
    };
    let found = call("array_has", vec![array, left]);
    *expr = match contained {
        true => found,
        false => Expr::UnaryOp { op: ast::UnaryOperator::Not, expr: Box::new(found) },
    };
}

/// The elements of an array that is written out, cast to the array's element type where it is cast.
fn elements(array: Expr) -> Result<Vec<Expr>, Box<Expr>> {
    match array {
        Expr::Array(array) => Ok(array.elem),
        Expr::Cast { kind, expr, data_type, array, format } => {
            let element = match &data_type {
                DataType::Array(ArrayElemTypeDef::SquareBracket(inner, _)) => Some(inner.as_ref().clone()),
                _ => None,
            };
            match (*expr, element) {
                (Expr::Array(list), Some(element)) => {
                    Ok(list.elem.into_iter().map(|e| cast(e, element.clone())).collect())
                }
                (inner, _) => {
                    Err(Box::new(Expr::Cast { kind, expr: Box::new(inner), data_type, array, format }))
                }
            }
        }
        other => Err(Box::new(other)),
    }
}

/// DataFusion takes a subquery that refers to the outer query as one value only when it cannot have two rows: an
/// aggregate says so, which fails for two rows, or takes the first where LIMIT 1 does. Conditions on the outer query
/// alone are given back, to be asked before the subquery.
fn make_scalar(query: &mut Query) -> Option<Expr> {
    let first = match (&query.limit_clause, &query.order_by, &query.fetch) {
        (None, None, None) => false,
        (Some(limit), _, None) if is_one(limit) => true,
        _ => return None,
    };
    let order = match query.order_by.as_ref().map(|order| &order.kind) {
        Some(ast::OrderByKind::Expressions(exprs)) => exprs.clone(),
        Some(ast::OrderByKind::All(_)) => return None,
        None => vec![],
    };
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    if !select.group_by_is_empty()
        || select.distinct.is_some()
        || select.having.is_some()
        || !looks_outside(select)
    {
        return None;
    }
    let aggregate = match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] => is_aggregate(expr),
        _ => return None,
    };
    if aggregate {
        return None;
    }
    let outer = split_conditions(select);
    let [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] =
        select.projection.as_mut_slice()
    else {
        return None;
    };
    *expr = call(if first { "first_value" } else { "single_value" }, vec![taken(expr)]);
    if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = expr
        && !order.is_empty()
    {
        list.clauses.push(ast::FunctionArgumentClause::OrderBy(order));
    }
    query.order_by = None;
    query.limit_clause = None;
    outer
}

/// Takes the conditions on the outer query alone out of WHERE, and writes the inner side of an equality where other
/// conditions have its outer side: what is left refers to the outer query by equalities only.
fn split_conditions(select: &mut Select) -> Option<Expr> {
    let labels = labels(select);
    let mut conditions = vec![];
    conjuncts(select.selection.take()?, &mut conditions);
    let outer_only = |expr: &Expr| {
        let tables = tables_of(expr);
        !tables.is_empty() && !tables.iter().any(|table| labels.contains(table)) && is_plain(expr)
    };
    let (outer, mut inner): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(outer_only);
    let is_outer = |expr: &Expr| matches!(expr, Expr::CompoundIdentifier(_)) && outer_only(expr);
    let equal: Vec<(Expr, Expr)> = inner
        .iter()
        .filter_map(|condition| match condition {
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if is_outer(right) && !is_outer(left) => {
                Some((right.as_ref().clone(), left.as_ref().clone()))
            }
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if is_outer(left) && !is_outer(right) => {
                Some((left.as_ref().clone(), right.as_ref().clone()))
            }
            _ => None,
        })
        .collect();
    for condition in &mut inner {
        if !matches!(condition, Expr::BinaryOp { op: BinaryOperator::Eq, .. }) {
            let _ = ast::visit_expressions_mut(condition, |expr| {
                if let Some((_, inside)) = equal.iter().find(|(outside, _)| same_column(outside, expr)) {
                    *expr = inside.clone();
                }
                ControlFlow::<()>::Continue(())
            });
        }
    }
    select.selection = joined(inner);
    joined(outer)
}

/// True for the same column, wherever it stands.
fn same_column(a: &Expr, b: &Expr) -> bool {
    match (a, b) {
        (Expr::CompoundIdentifier(a), Expr::CompoundIdentifier(b)) => {
            a.iter().map(fold).eq(b.iter().map(fold))
        }
        _ => false,
    }
}

fn conjuncts(expr: Expr, found: &mut Vec<Expr>) {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conjuncts(*left, found);
            conjuncts(*right, found);
        }
        Expr::Nested(inner) => conjuncts(*inner, found),
        other => found.push(other),
    }
}

fn joined(conditions: Vec<Expr>) -> Option<Expr> {
    conditions.into_iter().reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    })
}

/// The tables that the columns of an expression are written after.
fn tables_of(expr: &Expr) -> Vec<String> {
    let mut tables = vec![];
    let _ = ast::visit_expressions(expr, |expr| {
        if let Expr::CompoundIdentifier(parts) = expr
            && parts.len() > 1
        {
            tables.push(fold(&parts[parts.len() - 2]));
        }
        ControlFlow::<()>::Continue(())
    });
    tables
}

/// True for an expression without a subquery and without a column whose table is not told.
fn is_plain(expr: &Expr) -> bool {
    let mut plain = true;
    let _ = ast::visit_expressions(expr, |expr| {
        plain &= !matches!(
            expr,
            Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } | Expr::Identifier(_)
        );
        ControlFlow::<()>::Continue(())
    });
    plain
}

fn is_one(limit: &ast::LimitClause) -> bool {
    match limit {
        ast::LimitClause::LimitOffset { limit: Some(Expr::Value(limit)), offset: None, limit_by } => {
            limit_by.is_empty() && matches!(&limit.value, Value::Number(digits, _) if digits == "1")
        }
        _ => false,
    }
}

/// True when a column is written after a table that FROM does not have.
fn looks_outside(select: &Select) -> bool {
    let labels = labels(select);
    let mut outside = false;
    let _ = ast::visit_expressions(select, |expr| {
        if let Expr::CompoundIdentifier(parts) = expr
            && parts.len() > 1
        {
            outside |= !labels.contains(&fold(&parts[parts.len() - 2]));
        }
        ControlFlow::<()>::Continue(())
    });
    outside
}

/// What the columns of the tables of FROM may be written after.
fn labels(select: &Select) -> Vec<String> {
    let factors = select.from.iter().flat_map(|table| {
        std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation))
    });
    factors
        .filter_map(|factor| match factor {
            TableFactor::Table { alias: Some(alias), .. }
            | TableFactor::Derived { alias: Some(alias), .. }
            | TableFactor::Function { alias: Some(alias), .. }
            | TableFactor::UNNEST { alias: Some(alias), .. } => Some(fold(&alias.name)),
            TableFactor::Table { name, .. } => last_word(name),
            _ => None,
        })
        .collect()
}

trait GroupByIsEmpty {
    fn group_by_is_empty(&self) -> bool;
}

impl GroupByIsEmpty for Select {
    fn group_by_is_empty(&self) -> bool {
        matches!(&self.group_by, ast::GroupByExpr::Expressions(exprs, modifiers) if exprs.is_empty() && modifiers.is_empty())
    }
}

/// True for an expression with an aggregate that is known by name.
fn is_aggregate(expr: &Expr) -> bool {
    const NAMES: &[&str] = &[
        "count",
        "sum",
        "min",
        "max",
        "avg",
        "array_agg",
        "string_agg",
        "bool_and",
        "bool_or",
        "first_value",
        "last_value",
        "median",
        "stddev",
        "var_pop",
        "single_value",
        "json_agg",
    ];
    let mut found = false;
    let _ = ast::visit_expressions(expr, |expr| {
        if let Expr::Function(function) = expr {
            found |= last_word(&function.name).is_some_and(|name| NAMES.contains(&name.as_str()));
        }
        ControlFlow::<()>::Continue(())
    });
    found
}

/// Replaces the hidden columns of the tables of a SELECT by what they are.
fn replace_hidden(select: &mut Select) {
    let tables: Vec<(String, ObjectName)> = select.from.iter().flat_map(labelled).collect();
    struct Replace<'a> {
        tables: &'a [(String, ObjectName)],
    }
    impl VisitorMut for Replace<'_> {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            let (table, column) = match expr {
                Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                    [table, column] => (Some(fold(table)), fold(column)),
                    _ => return ControlFlow::Continue(()),
                },
                Expr::Identifier(column) => (None, fold(column)),
                _ => return ControlFlow::Continue(()),
            };
            if !HIDDEN.contains(&column.as_str()) {
                return ControlFlow::Continue(());
            }
            let found =
                self.tables.iter().find(|(label, _)| table.as_ref().is_none_or(|table| table == label));
            if let Some((_, name)) = found {
                *expr = hidden(&column, name);
            }
            ControlFlow::Continue(())
        }
    }
    if tables.is_empty() {
        return;
    }
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) = item
            && let Some(column) = hidden_column(expr)
        {
            *item = SelectItem::ExprWithAlias { expr: taken(expr), alias: column };
        }
    }
    let _ = VisitMut::visit(select, &mut Replace { tables: &tables });
}

/// The name of a hidden column, when an expression is one.
fn hidden_column(expr: &Expr) -> Option<Ident> {
    let column = match expr {
        Expr::Identifier(column) => column,
        Expr::CompoundIdentifier(parts) => parts.last()?,
        _ => return None,
    };
    HIDDEN.contains(&fold(column).as_str()).then(|| column.clone())
}

fn hidden(column: &str, table: &ObjectName) -> Expr {
    let text = |text: String| Expr::Value(Value::SingleQuotedString(text).with_empty_span());
    match column {
        "tableoid" => call("regclass", vec![text(table.to_string())]),
        "ctid" => text("(0,1)".to_owned()),
        _ => call("xid", vec![Expr::Value(Value::Number("1".to_owned(), false).with_empty_span())]),
    }
}

fn labelled(table: &ast::TableWithJoins) -> Vec<(String, ObjectName)> {
    let factors = std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation));
    let named = factors.filter_map(|factor| match factor {
        TableFactor::Table { name, alias, args: None, .. } => {
            let label = match alias {
                Some(alias) => fold(&alias.name),
                None => last_word(name)?,
            };
            Some((label, name.clone()))
        }
        _ => None,
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn postgresql_is_written_as_datafusion_reads_it() {
        for (sql, expected) in [
            ("SELECT pg_catalog.f(a COLLATE pg_catalog.default)", "SELECT f(a)"),
            ("SELECT a OPERATOR(pg_catalog.~) 'x'", "SELECT a ~ 'x'"),
            ("SELECT 'pg_class'::regclass", "SELECT regclass('pg_class')"),
            ("SELECT a::pg_catalog.regclass::pg_catalog.text", "SELECT regclass_text(regclass(a))"),
            ("SELECT NOT ($1), NOT 'f', NOT a", "SELECT NOT ($1::BOOLEAN), NOT 'f'::BOOLEAN, NOT a"),
            ("SELECT a::pg_catalog.int4, b::name", "SELECT a::INT, b::name"),
            ("SELECT a = ANY (ARRAY['r', 'v'])", "SELECT a IN ('r', 'v')"),
            ("SELECT a = ANY ('{r,v}')", "SELECT a IN (CAST('r' AS TEXT), CAST('v' AS TEXT))"),
            ("SELECT a <> ALL (b)", "SELECT NOT array_has(b, a)"),
            ("SELECT a = ANY ('{1,2}'::oid[])", "SELECT a IN (CAST(1 AS BIGINT), CAST(2 AS BIGINT))"),
            (
                "SELECT (SELECT d.x FROM d WHERE d.i = o.i) FROM o",
                "SELECT (SELECT single_value(d.x) FROM d WHERE d.i = o.i) FROM o",
            ),
            (
                "SELECT (SELECT count(*) FROM d WHERE d.i = o.i) FROM o",
                "SELECT (SELECT count(*) FROM d WHERE d.i = o.i) FROM o",
            ),
            ("SELECT c.tableoid FROM pg_class c", "SELECT regclass('pg_class') AS tableoid FROM pg_class c"),
            ("SELECT (SELECT a + 1) FROM t", "SELECT (a + 1) FROM t"),
            ("SELECT a = ANY (ARRAY (SELECT b FROM c))", "SELECT a IN (SELECT b FROM c)"),
            ("SELECT (t.k).x FROM t", "SELECT get_field((t.k), 'x') FROM t"),
            ("SELECT substring(a from 'b(.)')", "SELECT regexp_substring(a, 'b(.)')"),
            ("SELECT g FROM generate_series(1, 2) g", "SELECT g FROM generate_series(1, 2) g (g)"),
            ("SELECT * FROM unnest(f(1))", "SELECT * FROM UNNEST(f(1)) AS unnest (unnest)"),
            ("SELECT xmin FROM t", "SELECT xid(1) AS xmin FROM t"),
            ("SELECT t AT TIME ZONE 'UTC'", "SELECT timezone('UTC', t)"),
            ("SELECT current_user, current_schema", "SELECT current_user(), current_schema()"),
        ] {
            let mut statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
            make_compatible(&mut statement);
            assert_eq!(statement.to_string(), expected);
        }
    }
}
