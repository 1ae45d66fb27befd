//! `TRAIN FORECAST MODEL`: the statement, its clauses in any order, and its canonical text.

use std::fmt::{self, Display};

use datafusion::sql::sqlparser::ast::{
    self, Ident, ObjectName, Query, SetExpr, Spanned, TableFactor, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::engine::sql::source::Source;
use crate::engine::sql::words::{accept, at_end, fold, is_word_at, starts_with};
use crate::error::{Error, Result, Span, Subject, did_you_mean};
use crate::ml::features::Outliers;
use crate::ml::forecaster::Family;
use crate::ml::holidays::parse_country;
use crate::ml::models::{Search, family_name, parse_family};
use crate::ml::objective::ObjectiveKind;
use crate::ml::reconciliation::Reconciliation;
use crate::ml::series::{Frequency, Gaps};

/// Quote style of names that only our own statements can produce: the tokenizer never yields it.
pub const MARK: char = '[';

/// The clauses of this release, as users write them.
pub const CLAUSES: &[&str] = &[
    "ON",
    "TARGET",
    "PARTITION BY",
    "ORDER BY",
    "KNOWN",
    "PAST",
    "STATIC",
    "TEXT",
    "IGNORE",
    "CENSORED WHEN",
    "GAPS",
    "HIERARCHY",
    "OUTLIERS",
    "HOLIDAYS",
    "HORIZON",
    "QUANTILES",
    "VALIDATE",
    "USING",
    "FROM",
    "TUNE",
    "OBJECTIVE",
    "WITH",
    "COMMENT",
];

/// Clauses of the language that this release does not do.
const LATER: &[&str] = &["FEATURES", "METRIC", "TEST", "BACKTEST", "REFRESH"];

/// An expression with the name of its column, and its place in the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The expression over the columns of the relation.
    pub expr: ast::Expr,
    /// `AS name`.
    pub alias: Option<Ident>,
    /// Where it stands.
    pub span: Option<Span>,
}

/// What is trained on.
#[derive(Debug, Clone, PartialEq)]
pub enum Relation {
    /// A table or view.
    Table(ObjectName),
    /// A query in parentheses.
    Query(Box<Query>),
}

/// `HOLIDAYS`: whose holidays a model sees.
#[derive(Debug, Clone, PartialEq)]
pub enum HolidaysClause {
    /// Those of countries, by their codes.
    Countries(Vec<String>),
    /// Those of the country in a column, from our rules or from a table.
    Column(Box<Item>, Option<Relation>),
    /// Those of a table.
    Table(Relation),
}

impl HolidaysClause {
    /// The column that holds the country of a series.
    pub fn column(&self) -> Option<&Item> {
        match self {
            Self::Column(item, _) => Some(item),
            _ => None,
        }
    }

    /// The table of holidays.
    pub fn table(&self) -> Option<&Relation> {
        match self {
            Self::Column(_, table) => table.as_ref(),
            Self::Table(table) => Some(table),
            Self::Countries(_) => None,
        }
    }

    /// The same, to change its names.
    pub fn table_mut(&mut self) -> Option<&mut Relation> {
        match self {
            Self::Column(_, table) => table.as_mut(),
            Self::Table(table) => Some(table),
            Self::Countries(_) => None,
        }
    }
}

/// `TUNE`: options whose best values are searched for.
#[derive(Debug, Clone, PartialEq)]
pub struct TuneClause {
    /// The options, and what they may be.
    pub parameters: Vec<(Ident, TuneValues)>,
    /// `SEARCH`: how the values are chosen.
    pub search: Option<Search>,
    /// `TRIALS`: how many combinations are tried.
    pub trials: Option<ast::Expr>,
    /// `WITHIN`: how long the search may take.
    pub within: Option<ast::Expr>,
}

impl TuneClause {
    fn values_mut(&mut self) -> impl Iterator<Item = &mut ast::Expr> {
        let values = self.parameters.iter_mut().flat_map(|(_, values)| match values {
            TuneValues::In(list) => list.iter_mut().collect::<Vec<_>>(),
            TuneValues::Between(bounds) => bounds.iter_mut().collect(),
        });
        values.chain(&mut self.trials).chain(&mut self.within)
    }
}

/// What an option may be.
#[derive(Debug, Clone, PartialEq)]
pub enum TuneValues {
    /// One of these.
    In(Vec<ast::Expr>),
    /// Any between two.
    Between(Box<[ast::Expr; 2]>),
}

/// The word of a search.
fn parse_search(word: &str) -> Result<Search> {
    let known = SEARCHES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    known.map(|(_, search)| *search).ok_or_else(|| {
        let names = SEARCHES.map(|(name, _)| name);
        let message = format!("unknown search {word}{}", did_you_mean(word, names));
        Error::input(Subject::Option, message).with_hint(format!("SEARCH knows {}", names.join(", ")))
    })
}

const SEARCHES: [(&str, Search); 3] =
    [("GRID", Search::Grid), ("RANDOM", Search::Random), ("HALVING", Search::Halving)];

/// One `TRAIN FORECAST MODEL` statement; clauses that were not written are `None` or empty.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainStatement {
    /// `OR REPLACE`: add a version to an existing model.
    pub or_replace: bool,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// The model.
    pub name: Ident,
    /// `ON`.
    pub relation: Relation,
    /// `WHERE`, after `ON`.
    pub filter: Option<ast::Expr>,
    /// `TARGET`.
    pub target: Item,
    /// `PARTITION BY`: the series keys.
    pub partition_by: Vec<Item>,
    /// `ORDER BY`: the time column.
    pub order_by: Option<Item>,
    /// `EVERY`: the time grid.
    pub every: Option<Frequency>,
    /// `KNOWN`: covariates known in the future.
    pub known: Option<Vec<Item>>,
    /// `PAST`: covariates known in the past only.
    pub past: Option<Vec<Item>>,
    /// `STATIC`: attributes of a series.
    pub statics: Option<Vec<Item>>,
    /// `TEXT`: texts of a series, which become numbers by what they say.
    pub texts: Option<Vec<Item>>,
    /// `ENCODER`, after `TEXT`: the text model that reads them.
    pub encoder: Option<Ident>,
    /// `IGNORE`: columns that inference leaves out.
    pub ignore: Vec<Ident>,
    /// `CENSORED WHEN`: rows whose target is not what would have been, such as sales without stock.
    pub censored: Option<ast::Expr>,
    /// `GAPS`: what missing periods become.
    pub gaps: Option<Gaps>,
    /// `HIERARCHY`: lists of keys that are rolled up.
    pub hierarchy: Vec<Vec<Ident>>,
    /// `RECONCILE`, after `HIERARCHY`.
    pub reconcile: Option<Reconciliation>,
    /// `OUTLIERS`: what values far from all others become.
    pub outliers: Option<Outliers>,
    /// `HOLIDAYS`: whose holidays a model sees.
    pub holidays: Option<HolidaysClause>,
    /// `HORIZON`: steps to forecast.
    pub horizon: Option<ast::Expr>,
    /// `QUANTILES`: levels to learn.
    pub quantiles: Option<Vec<ast::Expr>>,
    /// `VALIDATE LAST`: steps held out.
    pub validate: Option<ast::Expr>,
    /// `USING`: the families, none where the choice is ours.
    pub using: Vec<Family>,
    /// `FROM`: the pretrained model that the network of the family `foundation` begins with, and adapts from; with `distill`
    /// the model whose forecasts are learnt from.
    pub from: Option<Ident>,
    /// `TUNE`: options whose best values are searched for.
    pub tune: Option<TuneClause>,
    /// `OBJECTIVE`: what is minimised.
    pub objective: Option<ObjectiveKind>,
    /// `WITH`: options.
    pub with: Vec<(Ident, ast::Expr)>,
    /// `COMMENT`.
    pub comment: Option<String>,
}

impl TrainStatement {
    /// The families that were named, or that FROM names.
    pub fn families(&self) -> Vec<Family> {
        match (&self.from, self.using.is_empty()) {
            (Some(_), true) if self.distills() => vec![Family::Tide],
            (Some(_), true) => vec![Family::Foundation],
            _ => self.using.clone(),
        }
    }

    /// It learns from the forecasts of the model that FROM names.
    pub fn distills(&self) -> bool {
        let says = |(key, value): &(Ident, ast::Expr)| {
            fold(key) == "distill" && value.to_string().eq_ignore_ascii_case("true")
        };
        self.with.iter().any(says)
    }

    /// Visits all its expressions.
    pub fn visit(&mut self, visitor: &mut impl VisitorMut) {
        let calendar = self.holidays.as_mut().and_then(HolidaysClause::table_mut);
        for relation in std::iter::once(&mut self.relation).chain(calendar) {
            if let Relation::Query(query) = relation {
                let _ = query.visit(visitor);
            }
        }
        if let Some(HolidaysClause::Column(item, _)) = &mut self.holidays {
            let _ = item.expr.visit(visitor);
        }
        let items = [&mut self.known, &mut self.past, &mut self.statics, &mut self.texts];
        let items = items.into_iter().flatten().flatten();
        let items = items.chain([&mut self.target]).chain(&mut self.partition_by).chain(&mut self.order_by);
        let exprs = items.map(|item| &mut item.expr);
        let tune = self.tune.iter_mut().flat_map(TuneClause::values_mut);
        let values = [&mut self.filter, &mut self.censored, &mut self.horizon, &mut self.validate];
        let values = values.into_iter().flatten().chain(tune);
        let values = values.chain(self.quantiles.iter_mut().flatten());
        let values = values.chain(self.with.iter_mut().map(|(_, value)| value));
        exprs.chain(values).for_each(|expr| drop(expr.visit(visitor)));
    }
}

/// Why a statement could not be read.
pub enum ParseError {
    /// PostgreSQL's own grammar failed.
    Parser(ParserError),
    /// One of our rules failed.
    Ours(Box<Error>),
}

impl From<ParserError> for ParseError {
    fn from(error: ParserError) -> Self {
        Self::Parser(error)
    }
}

impl From<Error> for ParseError {
    fn from(error: Error) -> Self {
        Self::Ours(Box::new(error))
    }
}

type Parsed<T> = Result<T, ParseError>;

/// Reads the statement from its first word on.
pub fn parse(parser: &mut Parser<'_>, source: &Source) -> Parsed<TrainStatement> {
    accept(parser, &["train"]);
    let or_replace = accept(parser, &["or", "replace"]);
    if !accept(parser, &["forecast", "model"]) {
        return Err(kind_error(parser, source).into());
    }
    let if_not_exists = accept(parser, &["if", "not", "exists"]);
    let name = model_name(parser, source)?;
    let mut clauses = Clauses::new(source);
    while !at_end(parser) {
        clauses.parse_next(parser)?;
    }
    clauses.finish(or_replace, if_not_exists, name)
}

/// Reads a canonical text again, as it was stored with a model.
pub fn parse_text(sql: &str) -> Result<TrainStatement> {
    let source = Source::new(sql);
    let corrupt = |m: String| Error::corrupt(Subject::Model, format!("stored TRAIN statement: {m}"));
    let mut parser =
        Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).map_err(|e| corrupt(e.to_string()))?;
    parse(&mut parser, &source).map_err(|e| match e {
        ParseError::Parser(e) => corrupt(e.to_string()),
        ParseError::Ours(e) => corrupt(e.message().to_owned()),
    })
}

/// Reads a text that is not the user's own; errors have no places.
pub fn parse_written(sql: &str) -> Result<TrainStatement> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize();
    let tokens = tokens.map_err(|e| Error::input(Subject::Syntax, format!("{e} in {sql}")))?;
    let mut parser = Parser::new(&PostgreSqlDialect {}).with_tokens(tokens);
    parse(&mut parser, &Source::default()).map_err(|e| match e {
        ParseError::Parser(ParserError::ParserError(m) | ParserError::TokenizerError(m)) => {
            Error::input(Subject::Syntax, format!("{m} in {sql}"))
        }
        ParseError::Parser(e) => Error::input(Subject::Syntax, format!("{e} in {sql}")),
        ParseError::Ours(e) => *e,
    })
}

/// Reads expressions with commas between them that are not the user's own text; errors have no places.
pub fn items_written(text: &str) -> Result<Vec<Item>> {
    let broken = |e: String| Error::input(Subject::Syntax, format!("{e} in {text}"));
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize().map_err(|e| broken(e.to_string()))?;
    let mut parser = Parser::new(&PostgreSqlDialect {}).with_tokens(tokens);
    let source = Source::default();
    let items = parser.parse_comma_separated(|parser| item(parser, &source));
    let items = items.map_err(|e| match e {
        ParserError::ParserError(m) | ParserError::TokenizerError(m) => broken(m),
        e => broken(e.to_string()),
    })?;
    match parser.next_token().token {
        Token::EOF => Ok(items),
        token => Err(broken(format!("unexpected {token}"))
            .with_hint("expressions are separated by commas; or is it the word of a clause, misspelt?")),
    }
}

/// The query that stands for the statement: `SELECT * FROM [train](number, (rows))`.
pub fn marker(statement: &TrainStatement, number: usize) -> ast::Statement {
    let arguments = [
        ast::Expr::value(ast::Value::Number(number.to_string(), false)),
        ast::Expr::Subquery(Box::new(rows(statement))),
    ];
    let arguments = arguments.map(|e| ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e)));
    let name = ObjectName::from(vec![Ident::with_quote(MARK, "train")]);
    let arguments = ast::TableFunctionArgs { args: arguments.to_vec(), settings: None };
    let factor = relation(name, Some(arguments));
    ast::Statement::Query(Box::new(select_from(factor, None)))
}

/// `SELECT * FROM relation WHERE filter`.
pub fn rows(statement: &TrainStatement) -> Query {
    all_of(&statement.relation, statement.filter.as_ref())
}

/// `SELECT * FROM relation WHERE filter`.
pub fn all_of(relation: &Relation, filter: Option<&ast::Expr>) -> Query {
    match (relation, filter) {
        (Relation::Query(query), None) => (**query).clone(),
        (Relation::Query(query), filter) => select_from(derived((**query).clone(), "input"), filter.cloned()),
        (Relation::Table(name), filter) => select_from(table(name.clone()), filter.cloned()),
    }
}

/// A plain table of this name.
pub fn table(name: ObjectName) -> TableFactor {
    relation(name, None)
}

fn relation(name: ObjectName, args: Option<ast::TableFunctionArgs>) -> TableFactor {
    TableFactor::Table {
        name,
        alias: None,
        args,
        with_hints: vec![],
        version: None,
        with_ordinality: false,
        partitions: vec![],
        json_path: None,
        sample: None,
        index_hints: vec![],
    }
}

/// The rows of a query under a name.
pub fn derived(query: Query, name: &str) -> TableFactor {
    let alias = ast::TableAlias { explicit: true, name: Ident::new(name), columns: vec![], at: None };
    TableFactor::Derived { lateral: false, subquery: Box::new(query), alias: Some(alias), sample: None }
}

/// `SELECT columns FROM factor`, all of them where none is named.
pub fn select_columns(factor: TableFactor, columns: Vec<Ident>) -> Query {
    let mut query = select_from(factor, None);
    if let SetExpr::Select(select) = query.body.as_mut()
        && !columns.is_empty()
    {
        let columns = columns.into_iter().map(ast::Expr::Identifier);
        select.projection = columns.map(ast::SelectItem::UnnamedExpr).collect();
    }
    query
}

/// `SELECT * FROM factor WHERE filter`; the template keeps us from naming forty AST fields.
pub fn select_from(factor: TableFactor, filter: Option<ast::Expr>) -> Query {
    let mut query = Parser::new(&PostgreSqlDialect {})
        .try_with_sql("SELECT * FROM t")
        .and_then(|mut p| p.parse_query())
        .expect("the template is valid SQL");
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.from[0].relation = factor;
        select.selection = filter;
    }
    *query
}

/// A SELECT as a query.
pub fn query_of(select: ast::Select) -> Query {
    let mut query = select_from(table(ObjectName::from(vec![])), None);
    *query.body = SetExpr::Select(Box::new(select));
    query
}

fn kind_error(parser: &Parser<'_>, source: &Source) -> Error {
    let token = parser.peek_token_ref();
    let error = match &token.token {
        Token::Word(w)
            if ["classification", "regression"].iter().any(|k| w.value.eq_ignore_ascii_case(k)) =>
        {
            Error::unsupported(format!(
                "TRAIN {} MODEL is not supported; TRAIN FORECAST MODEL is",
                w.value.to_uppercase()
            ))
        }
        other => Error::input(
            Subject::Syntax,
            format!("expected FORECAST, CLASSIFICATION or REGRESSION MODEL after TRAIN, found {other}"),
        )
        .with_hint("TRAIN FORECAST MODEL name ON table TARGET column"),
    };
    error.at(source.span(token.span))
}

fn model_name(parser: &mut Parser<'_>, source: &Source) -> Parsed<Ident> {
    let name = parser.parse_object_name(false)?;
    let span = source.span(name.span());
    match name.0.as_slice() {
        [ast::ObjectNamePart::Identifier(ident)] => Ok(ident.clone()),
        _ => Err(Error::input(Subject::Model, format!("model names have no schema: {name}")).at(span).into()),
    }
}

/// The clauses read so far; each may come once.
struct Clauses<'a> {
    source: &'a Source,
    seen: Vec<&'static str>,
    relation: Option<Relation>,
    filter: Option<ast::Expr>,
    target: Option<Item>,
    partition_by: Vec<Item>,
    order_by: Option<Item>,
    every: Option<Frequency>,
    known: Option<Vec<Item>>,
    past: Option<Vec<Item>>,
    statics: Option<Vec<Item>>,
    texts: Option<Vec<Item>>,
    encoder: Option<Ident>,
    ignore: Vec<Ident>,
    censored: Option<ast::Expr>,
    gaps: Option<Gaps>,
    hierarchy: Vec<Vec<Ident>>,
    reconcile: Option<Reconciliation>,
    outliers: Option<Outliers>,
    holidays: Option<HolidaysClause>,
    horizon: Option<ast::Expr>,
    quantiles: Option<Vec<ast::Expr>>,
    validate: Option<ast::Expr>,
    using: Vec<Family>,
    from: Option<Ident>,
    tune: Option<TuneClause>,
    objective: Option<ObjectiveKind>,
    with: Vec<(Ident, ast::Expr)>,
    comment: Option<String>,
}

impl<'a> Clauses<'a> {
    fn new(source: &'a Source) -> Self {
        Self {
            source,
            seen: vec![],
            relation: None,
            filter: None,
            target: None,
            partition_by: vec![],
            order_by: None,
            every: None,
            known: None,
            past: None,
            statics: None,
            texts: None,
            encoder: None,
            ignore: vec![],
            censored: None,
            gaps: None,
            hierarchy: vec![],
            reconcile: None,
            outliers: None,
            holidays: None,
            horizon: None,
            quantiles: None,
            validate: None,
            using: vec![],
            from: None,
            tune: None,
            objective: None,
            with: vec![],
            comment: None,
        }
    }

    fn parse_next(&mut self, parser: &mut Parser<'_>) -> Parsed<()> {
        let clause = self.clause_word(parser)?;
        match clause {
            "ON" => self.parse_on(parser)?,
            "TARGET" => self.target = Some(self.single_item(parser, "TARGET")?),
            "PARTITION BY" => self.partition_by = self.items(parser)?,
            "ORDER BY" => self.parse_order_by(parser)?,
            "KNOWN" => self.known = Some(self.items(parser)?),
            "PAST" => self.past = Some(self.items(parser)?),
            "STATIC" => self.statics = Some(self.items(parser)?),
            "TEXT" => {
                self.texts = Some(self.items(parser)?);
                if accept(parser, &["encoder"]) {
                    self.encoder = Some(parser.parse_identifier()?);
                }
            }
            "IGNORE" => self.ignore = self.idents(parser)?,
            "CENSORED WHEN" => self.censored = Some(parser.parse_expr()?),
            "GAPS" => self.gaps = Some(self.word(parser, Gaps::parse)?),
            "HIERARCHY" => self.parse_hierarchy(parser)?,
            "OUTLIERS" => self.outliers = Some(self.word(parser, Outliers::parse)?),
            "HOLIDAYS" => self.holidays = Some(self.parse_holidays(parser)?),
            "HORIZON" => self.horizon = Some(parser.parse_expr()?),
            "QUANTILES" => self.quantiles = Some(parenthesised(parser, |p| p.parse_expr())?),
            "VALIDATE" => self.parse_validate(parser)?,
            "USING" => self.using = self.families(parser)?,
            "FROM" => self.from = Some(parser.parse_identifier()?),
            "TUNE" => self.tune = Some(self.parse_tune(parser)?),
            "OBJECTIVE" => self.objective = Some(self.word(parser, ObjectiveKind::parse)?),
            "WITH" => self.with = parenthesised(parser, option)?,
            _ => self.comment = Some(parser.parse_literal_string()?),
        }
        Ok(())
    }

    /// Consumes the words of the next clause and says which it is.
    fn clause_word(&mut self, parser: &mut Parser<'_>) -> Parsed<&'static str> {
        let token = parser.peek_token_ref().clone();
        let span = self.source.span(token.span);
        let found = CLAUSES.iter().find(|c| {
            let words: Vec<&str> = c.split(' ').collect();
            starts_with(parser, &words)
        });
        let Some(clause) = found else {
            return Err(self.unknown_clause(&token.token).at(span).into());
        };
        if self.seen.contains(clause) {
            return Err(Error::input(Subject::Syntax, format!("clause {clause} is given twice"))
                .at(span)
                .into());
        }
        self.seen.push(clause);
        for _ in clause.split(' ') {
            parser.advance_token();
        }
        Ok(clause)
    }

    fn unknown_clause(&self, token: &Token) -> Error {
        let Token::Word(word) = token else {
            return match token {
                Token::Comma => stray_comma(),
                _ => Error::input(Subject::Syntax, format!("expected a clause of TRAIN, found {token}")),
            };
        };
        let upper = word.value.to_uppercase();
        if LATER.contains(&upper.as_str()) {
            return Error::unsupported(format!("clause {upper} of TRAIN is not supported"));
        }
        if let Some(place) = misplaced(&upper) {
            return Error::input(Subject::Syntax, format!("{upper} does not stand here")).with_hint(place);
        }
        let firsts = CLAUSES.iter().filter_map(|c| c.split(' ').next());
        let suggestion = did_you_mean(&upper, firsts);
        let clauses = CLAUSES.join(", ").replace("ORDER BY", "ORDER BY … EVERY");
        Error::input(Subject::Syntax, format!("unknown clause {upper}{suggestion}"))
            .with_hint(format!("clauses of TRAIN: {clauses}"))
    }

    fn parse_on(&mut self, parser: &mut Parser<'_>) -> Parsed<()> {
        self.relation = Some(relation_of(parser)?);
        if parser.parse_keyword(Keyword::WHERE) {
            self.filter = Some(parser.parse_expr()?);
        }
        Ok(())
    }

    /// `('DE', 'US')`, a column, or `FROM` a table, with a column before where the table has countries.
    fn parse_holidays(&self, parser: &mut Parser<'_>) -> Parsed<HolidaysClause> {
        let quoted = |n: usize, parser: &Parser<'_>| {
            matches!(parser.peek_nth_token_ref(n).token, Token::SingleQuotedString(_))
        };
        let wrapped = parser.peek_token_ref().token == Token::LParen;
        if quoted(usize::from(wrapped), parser) {
            return Ok(HolidaysClause::Countries(self.countries(parser, wrapped)?));
        }
        if accept(parser, &["from"]) {
            return Ok(HolidaysClause::Table(relation_of(parser)?));
        }
        if self.at_clause(parser) {
            let error = Error::input(Subject::Syntax, "HOLIDAYS does not say whose")
                .with_hint("HOLIDAYS ('DE', 'US') · HOLIDAYS column with the country · HOLIDAYS FROM table");
            return Err(error.at(self.source.span(parser.peek_token_ref().span)).into());
        }
        let column = item(parser, self.source)?;
        let table = if accept(parser, &["from"]) { Some(relation_of(parser)?) } else { None };
        Ok(HolidaysClause::Column(Box::new(column), table))
    }

    /// Codes of countries, each known and named once.
    fn countries(&self, parser: &mut Parser<'_>, wrapped: bool) -> Parsed<Vec<String>> {
        let mut codes: Vec<String> = vec![];
        if wrapped {
            parser.advance_token();
        }
        loop {
            let span = self.source.span(parser.peek_token_ref().span);
            let text = parser.parse_literal_string()?;
            let country = parse_country(&text).map_err(|e| e.at(span))?;
            if codes.iter().any(|code| code == country.code) {
                let message = format!("HOLIDAYS names {} twice", country.code);
                return Err(Error::input(Subject::Value, message).at(span).into());
            }
            codes.push(country.code.to_owned());
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        if wrapped {
            parser.expect_token(&Token::RParen)?;
        }
        Ok(codes)
    }

    fn parse_order_by(&mut self, parser: &mut Parser<'_>) -> Parsed<()> {
        self.order_by = Some(self.single_item(parser, "ORDER BY")?);
        if accept(parser, &["every"]) {
            self.every = Some(self.frequency(parser)?);
        }
        Ok(())
    }

    /// `DAY`, `2 WEEKS`, `INTERVAL '15 minutes'`, or a plain count for integer times.
    fn frequency(&self, parser: &mut Parser<'_>) -> Parsed<Frequency> {
        accept(parser, &["interval"]);
        let token = parser.next_token();
        let span = self.source.span(token.span);
        let text = match &token.token {
            Token::SingleQuotedString(text) => text.clone(),
            Token::Number(count, _) if self.at_clause(parser) => count.clone(),
            Token::Number(count, _) => format!("{count} {}", parser.parse_identifier()?.value),
            other => other.to_string(),
        };
        Frequency::parse(&text).map_err(|e| e.at(span).into())
    }

    /// True at the end and where the next clause begins, which has more than its word: what a comma or the end comes after
    /// is a column of that name.
    fn at_clause(&self, parser: &Parser<'_>) -> bool {
        let begins = CLAUSES.iter().any(|c| starts_with(parser, &c.split(' ').collect::<Vec<_>>()));
        let next = &parser.peek_nth_token_ref(1).token;
        let is_column = matches!(next, Token::Comma | Token::EOF | Token::SemiColon)
            // The word of one clause, and right after it that of another.
            || is_word_at(parser, 0, "text")
                && CLAUSES.iter().filter_map(|c| c.split(' ').next()).any(|word| is_word_at(parser, 1, word));
        at_end(parser) || begins && !is_column
    }

    /// A word that is one of a few.
    fn word<T>(&self, parser: &mut Parser<'_>, read: impl Fn(&str) -> Result<T>) -> Parsed<T> {
        let word = parser.parse_identifier()?;
        read(&word.value).map_err(|e| e.at(self.source.span(word.span)).into())
    }

    /// `(region, store_id), (item_id) RECONCILE MINT`.
    fn parse_hierarchy(&mut self, parser: &mut Parser<'_>) -> Parsed<()> {
        let mut seen = vec![];
        loop {
            let span = self.source.span(parser.peek_token_ref().span);
            let hint = "HIERARCHY (region, store_id), (item_id)";
            if parser.peek_token_ref().token != Token::LParen {
                let error = Error::input(Subject::Syntax, "HIERARCHY takes lists of keys in parentheses");
                return Err(error.with_hint(hint).at(span).into());
            }
            if parser.peek_nth_token_ref(1).token == Token::RParen {
                let error = Error::input(Subject::Syntax, "a list of HIERARCHY has no key");
                return Err(error.with_hint(hint).at(span).into());
            }
            let list = parenthesised(parser, |p| p.parse_identifier())?;
            for key in &list {
                if seen.contains(&fold(key)) {
                    let error = Error::input(Subject::Column, format!("HIERARCHY names {key} twice"));
                    return Err(error.at(self.source.span(key.span)).into());
                }
                seen.push(fold(key));
            }
            self.hierarchy.push(list);
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        if accept(parser, &["reconcile"]) {
            self.reconcile = Some(self.word(parser, Reconciliation::parse)?);
        }
        Ok(())
    }

    fn parse_validate(&mut self, parser: &mut Parser<'_>) -> Parsed<()> {
        let span = self.source.span(parser.peek_token_ref().span);
        if !accept(parser, &["last"]) {
            let error = Error::input(Subject::Syntax, "expected LAST after VALIDATE")
                .with_hint("VALIDATE LAST 28 holds out the last 28 steps of every series");
            return Err(error.at(span).into());
        }
        self.validate = Some(parser.parse_expr()?);
        Ok(())
    }

    fn families(&self, parser: &mut Parser<'_>) -> Parsed<Vec<Family>> {
        let mut families = vec![];
        loop {
            let span = self.source.span(parser.peek_token_ref().span);
            let family = self.word(parser, parse_family)?;
            if families.contains(&family) {
                let error =
                    Error::input(Subject::Option, format!("USING names {} twice", family_name(family)));
                return Err(error.at(span).into());
            }
            families.push(family);
            if !parser.consume_token(&Token::Comma) {
                return Ok(families);
            }
        }
    }

    /// `(layers IN (2, 4), learning_rate BETWEEN 0.0001 AND 0.01) SEARCH RANDOM TRIALS 12 WITHIN INTERVAL '5 minutes'`.
    fn parse_tune(&self, parser: &mut Parser<'_>) -> Parsed<TuneClause> {
        let mut tune = TuneClause { parameters: vec![], search: None, trials: None, within: None };
        parser.expect_token(&Token::LParen)?;
        loop {
            let span = self.source.span(parser.peek_token_ref().span);
            let (option, values) = tune_values(parser.parse_expr()?).map_err(|e| e.at(span))?;
            if tune.parameters.iter().any(|(other, _)| fold(other) == fold(&option)) {
                return Err(Error::input(Subject::Option, format!("TUNE names {option} twice"))
                    .at(span)
                    .into());
            }
            tune.parameters.push((option, values));
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        parser.expect_token(&Token::RParen)?;
        loop {
            if tune.search.is_none() && accept(parser, &["search"]) {
                tune.search = Some(self.word(parser, parse_search)?);
            } else if tune.trials.is_none() && accept(parser, &["trials"]) {
                tune.trials = Some(parser.parse_expr()?);
            } else if tune.within.is_none() && accept(parser, &["within"]) {
                tune.within = Some(parser.parse_expr()?);
            } else {
                return Ok(tune);
            }
        }
    }

    fn single_item(&self, parser: &mut Parser<'_>, clause: &str) -> Parsed<Item> {
        let mut items = self.items(parser)?;
        let extra = items.get(1).and_then(|i| i.span);
        if items.len() > 1 {
            let error =
                Error::input(Subject::Syntax, format!("{clause} takes one column, got {}", items.len()));
            return Err(error.at(extra).into());
        }
        Ok(items.remove(0))
    }

    fn items(&self, parser: &mut Parser<'_>) -> Parsed<Vec<Item>> {
        let wrapped = parser.peek_token_ref().token == Token::LParen && closes_after_comma(parser);
        let source = self.source;
        self.list(parser, wrapped, |p| item(p, source))
    }

    fn idents(&self, parser: &mut Parser<'_>) -> Parsed<Vec<Ident>> {
        let wrapped = parser.peek_token_ref().token == Token::LParen;
        self.list(parser, wrapped, |p| p.parse_identifier())
    }

    /// Things with commas between them, in parentheses or not.
    fn list<T>(
        &self,
        parser: &mut Parser<'_>,
        wrapped: bool,
        mut parse: impl FnMut(&mut Parser<'_>) -> Result<T, ParserError>,
    ) -> Parsed<Vec<T>> {
        if wrapped {
            return parenthesised(parser, parse);
        }
        let mut found = vec![parse(parser)?];
        loop {
            let comma = self.source.span(parser.peek_token_ref().span);
            if !parser.consume_token(&Token::Comma) {
                return Ok(found);
            }
            if self.at_clause(parser) {
                return Err(stray_comma().at(comma).into());
            }
            found.push(parse(parser)?);
        }
    }

    fn finish(self, or_replace: bool, if_not_exists: bool, name: Ident) -> Parsed<TrainStatement> {
        let missing = |clause: &str| {
            Error::input(Subject::Syntax, format!("TRAIN FORECAST MODEL {name} has no {clause} clause"))
                .with_hint("TRAIN FORECAST MODEL name ON table TARGET column")
        };
        if or_replace && if_not_exists {
            let both = "OR REPLACE and IF NOT EXISTS exclude each other";
            return Err(Error::input(Subject::Syntax, both).into());
        }
        if self.relation.is_none() && self.from.is_some() {
            let error = Error::input(Subject::Syntax, "TRAIN names its table after ON, not after FROM");
            let hint = "TRAIN FORECAST MODEL name ON table TARGET column; FROM names a pretrained model to begin with";
            return Err(error.with_hint(hint).into());
        }
        Ok(TrainStatement {
            relation: self.relation.ok_or_else(|| missing("ON"))?,
            target: self.target.ok_or_else(|| missing("TARGET"))?,
            or_replace,
            if_not_exists,
            name,
            filter: self.filter,
            partition_by: self.partition_by,
            order_by: self.order_by,
            every: self.every,
            known: self.known,
            past: self.past,
            statics: self.statics,
            texts: self.texts,
            encoder: self.encoder,
            ignore: self.ignore,
            censored: self.censored,
            gaps: self.gaps,
            hierarchy: self.hierarchy,
            reconcile: self.reconcile,
            outliers: self.outliers,
            holidays: self.holidays,
            horizon: self.horizon,
            quantiles: self.quantiles,
            validate: self.validate,
            using: self.using,
            from: self.from,
            tune: self.tune,
            objective: self.objective,
            with: self.with,
            comment: self.comment,
        })
    }
}

/// An option of TUNE and what it may be.
fn tune_values(expr: ast::Expr) -> Result<(Ident, TuneValues)> {
    let told = match expr {
        ast::Expr::InList { expr, list, negated: false } => (*expr, TuneValues::In(list)),
        ast::Expr::Between { expr, low, high, negated: false } => {
            (*expr, TuneValues::Between(Box::new([*low, *high])))
        }
        other => (other, TuneValues::In(vec![])),
    };
    match told {
        (ast::Expr::Identifier(option), values) if values != TuneValues::In(vec![]) => Ok((option, values)),
        (other, _) => {
            let message = format!("TUNE takes options with the values to try, got {other}");
            Err(Error::input(Subject::Syntax, message)
                .with_hint("TUNE (layers IN (2, 4), learning_rate BETWEEN 0.0001 AND 0.01) TRIALS 12"))
        }
    }
}

fn stray_comma() -> Error {
    Error::input(Subject::Syntax, "a comma stands before the next clause of TRAIN")
        .with_hint("clauses follow each other without commas; only the columns of one clause have them")
}

/// Where a word stands that is no clause by itself.
fn misplaced(word: &str) -> Option<&'static str> {
    match word {
        "WHERE" => Some("WHERE stands right after the table: ON table WHERE condition"),
        "RECONCILE" => Some(
            "RECONCILE stands right after the lists of keys: HIERARCHY (region, store_id) RECONCILE MINT",
        ),
        "EVERY" => Some("EVERY stands right after the time: ORDER BY column EVERY WEEK"),
        "ENCODER" => Some("ENCODER stands right after the texts: TEXT title, description ENCODER model"),
        "SEARCH" | "TRIALS" | "WITHIN" => {
            Some("SEARCH, TRIALS and WITHIN stand right after the options: TUNE (layers IN (2, 4)) TRIALS 12")
        }
        _ => None,
    }
}

/// True when the parenthesis that comes next wraps a whole list rather than one expression.
fn closes_after_comma(parser: &Parser<'_>) -> bool {
    let mut depth = 0usize;
    let mut comma = false;
    for n in 0.. {
        match &parser.peek_nth_token_ref(n).token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 1 => return comma || !is_operator_at(parser, n + 1),
            Token::RParen => depth -= 1,
            Token::Comma if depth == 1 => comma = true,
            Token::EOF => break,
            _ => {}
        }
    }
    false
}

fn is_operator_at(parser: &Parser<'_>, n: usize) -> bool {
    !matches!(parser.peek_nth_token_ref(n).token, Token::Word(_) | Token::EOF | Token::SemiColon)
        || ["and", "or", "is", "in", "like", "between"].iter().any(|w| is_word_at(parser, n, w))
}

fn parenthesised<T>(
    parser: &mut Parser<'_>,
    parse: impl FnMut(&mut Parser<'_>) -> Result<T, ParserError>,
) -> Parsed<Vec<T>> {
    parser.expect_token(&Token::LParen)?;
    let items = parser.parse_comma_separated(parse)?;
    parser.expect_token(&Token::RParen)?;
    Ok(items)
}

/// A table, or a query in parentheses.
fn relation_of(parser: &mut Parser<'_>) -> Result<Relation, ParserError> {
    if !parser.consume_token(&Token::LParen) {
        return Ok(Relation::Table(parser.parse_object_name(false)?));
    }
    let query = parser.parse_query()?;
    parser.expect_token(&Token::RParen)?;
    Ok(Relation::Query(query))
}

fn item(parser: &mut Parser<'_>, source: &Source) -> Result<Item, ParserError> {
    let expr = parser.parse_expr()?;
    let alias = if parser.parse_keyword(Keyword::AS) { Some(parser.parse_identifier()?) } else { None };
    let span = source.span(expr.span());
    Ok(Item { expr, alias, span })
}

fn option(parser: &mut Parser<'_>) -> Result<(Ident, ast::Expr), ParserError> {
    let key = parser.parse_identifier()?;
    parser.expect_token(&Token::Eq)?;
    Ok((key, parser.parse_expr()?))
}

impl Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.alias {
            Some(alias) => write!(f, "{} AS {alias}", self.expr),
            None => write!(f, "{}", self.expr),
        }
    }
}

impl Display for HolidaysClause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Countries(codes) => {
                let quoted: Vec<String> = codes.iter().map(|code| format!("'{code}'")).collect();
                write!(f, "({})", quoted.join(", "))
            }
            Self::Column(column, None) => write!(f, "{column}"),
            Self::Column(column, Some(table)) => write!(f, "{column} FROM {table}"),
            Self::Table(table) => write!(f, "FROM {table}"),
        }
    }
}

impl Display for TuneClause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parameter = |(option, values): &(Ident, TuneValues)| match values {
            TuneValues::In(values) => format!("{option} IN ({})", list(values)),
            TuneValues::Between(bounds) => format!("{option} BETWEEN {} AND {}", bounds[0], bounds[1]),
        };
        let parameters: Vec<String> = self.parameters.iter().map(parameter).collect();
        write!(f, "({})", parameters.join(", "))?;
        if let Some((word, _)) = SEARCHES.iter().find(|(_, search)| Some(*search) == self.search) {
            write!(f, " SEARCH {word}")?;
        }
        write_clause(f, "TRIALS", self.trials.as_ref())?;
        write_clause(f, "WITHIN", self.within.as_ref())
    }
}

impl Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(name) => write!(f, "{name}"),
            Self::Query(query) => write!(f, "({query})"),
        }
    }
}

fn list<T: Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Display for TrainStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TRAIN")?;
        if self.or_replace {
            write!(f, " OR REPLACE")?;
        }
        write!(f, " FORECAST MODEL")?;
        if self.if_not_exists {
            write!(f, " IF NOT EXISTS")?;
        }
        write!(f, " {} ON {}", self.name, self.relation)?;
        write_clause(f, "WHERE", self.filter.as_ref())?;
        write!(f, " TARGET {}", self.target)?;
        write_list(f, "PARTITION BY", Some(&self.partition_by).filter(|items| !items.is_empty()))?;
        write_clause(f, "ORDER BY", self.order_by.as_ref())?;
        write_clause(f, "EVERY", self.every.as_ref())?;
        write_list(f, "KNOWN", self.known.as_ref())?;
        write_list(f, "PAST", self.past.as_ref())?;
        write_list(f, "STATIC", self.statics.as_ref())?;
        write_list(f, "TEXT", self.texts.as_ref())?;
        write_clause(f, "ENCODER", self.encoder.as_ref())?;
        write_list(f, "IGNORE", Some(&self.ignore).filter(|items| !items.is_empty()))?;
        write_clause(f, "CENSORED WHEN", self.censored.as_ref())?;
        write_clause(f, "GAPS", self.gaps.map(Gaps::word).as_ref())?;
        if !self.hierarchy.is_empty() {
            let lists: Vec<String> = self.hierarchy.iter().map(|keys| format!("({})", list(keys))).collect();
            write_list(f, "HIERARCHY", Some(&lists))?;
        }
        write_clause(f, "RECONCILE", self.reconcile.map(Reconciliation::word).as_ref())?;
        write_clause(f, "OUTLIERS", self.outliers.map(Outliers::word).as_ref())?;
        write_clause(f, "HOLIDAYS", self.holidays.as_ref())?;
        write_clause(f, "HORIZON", self.horizon.as_ref())?;
        if let Some(levels) = &self.quantiles {
            write!(f, " QUANTILES ({})", list(levels))?;
        }
        write_clause(f, "VALIDATE LAST", self.validate.as_ref())?;
        let using: Vec<&str> = self.using.iter().copied().map(family_name).collect();
        write_clause(f, "USING", Some(using.join(", ")).filter(|words| !words.is_empty()).as_ref())?;
        write_clause(f, "FROM", self.from.as_ref())?;
        write_clause(f, "TUNE", self.tune.as_ref())?;
        write_clause(f, "OBJECTIVE", self.objective.map(ObjectiveKind::word).as_ref())?;
        if !self.with.is_empty() {
            let pairs: Vec<String> = self.with.iter().map(|(k, v)| format!("{k} = {v}")).collect();
            write!(f, " WITH ({})", pairs.join(", "))?;
        }
        match &self.comment {
            Some(text) => write!(f, " COMMENT '{}'", text.replace('\'', "''")),
            None => Ok(()),
        }
    }
}

fn write_clause(f: &mut fmt::Formatter<'_>, word: &str, value: Option<&impl Display>) -> fmt::Result {
    value.map_or(Ok(()), |v| write!(f, " {word} {v}"))
}

fn write_list<T: Display>(f: &mut fmt::Formatter<'_>, word: &str, items: Option<&Vec<T>>) -> fmt::Result {
    items.map_or(Ok(()), |items| write!(f, " {word} {}", list(items)))
}
