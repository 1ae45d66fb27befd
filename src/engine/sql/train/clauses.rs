//! The clauses, in any order, each at most once.

use datafusion::sql::sqlparser::ast::{self, Ident};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::engine::sql::source::Source;
use crate::engine::sql::train::error::Parsed;
use crate::engine::sql::train::holidays::HolidaysClause;
use crate::engine::sql::train::items::{
    Item, Relation, closes_after_comma, item, option, parenthesised, relation_of,
};
use crate::engine::sql::train::statement::TrainStatement;
use crate::engine::sql::train::tune::TuneClause;
use crate::engine::sql::words::{accept, at_end, is_word_at, starts_with};
use crate::error::{Error, Result, Subject, did_you_mean};
use crate::ml::features::Outliers;
use crate::ml::forecaster::Family;
use crate::ml::models::{family_name, parse_family};
use crate::ml::objective::ObjectiveKind;
use crate::ml::reconciliation::Reconciliation;
use crate::ml::series::{Frequency, Gaps};

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

/// The clauses read so far; each may come once.
pub(super) struct Clauses<'a> {
    pub(super) source: &'a Source,
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
    pub(super) hierarchy: Vec<Vec<Ident>>,
    pub(super) reconcile: Option<Reconciliation>,
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
    /// None was read yet.
    pub(super) fn new(source: &'a Source) -> Self {
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

    /// Reads one clause.
    pub(super) fn parse_next(&mut self, parser: &mut Parser<'_>) -> Parsed<()> {
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
    pub(super) fn at_clause(&self, parser: &Parser<'_>) -> bool {
        let begins = CLAUSES.iter().any(|c| starts_with(parser, &c.split(' ').collect::<Vec<_>>()));
        let next = &parser.peek_nth_token_ref(1).token;
        let is_column = matches!(next, Token::Comma | Token::EOF | Token::SemiColon)
            // The word of one clause, and right after it that of another.
            || is_word_at(parser, 0, "text")
                && CLAUSES.iter().filter_map(|c| c.split(' ').next()).any(|word| is_word_at(parser, 1, word));
        at_end(parser) || begins && !is_column
    }

    /// A word that is one of a few.
    pub(super) fn word<T>(&self, parser: &mut Parser<'_>, read: impl Fn(&str) -> Result<T>) -> Parsed<T> {
        let word = parser.parse_identifier()?;
        read(&word.value).map_err(|e| e.at(self.source.span(word.span)).into())
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

    /// The statement, where no clause lacks that it needs.
    pub(super) fn finish(self, or_replace: bool, if_not_exists: bool, name: Ident) -> Parsed<TrainStatement> {
        let missing = |clause: &str| {
            Error::input(Subject::Syntax, format!("TRAIN FORECAST MODEL {name} has no {clause} clause"))
                .with_hint("TRAIN FORECAST MODEL name ON table TARGET column")
        };
        if or_replace && if_not_exists {
            let both = "OR REPLACE and IF NOT EXISTS exclude each other";
            return Err(Error::input(Subject::Syntax, both).into());
        }
        if self.relation.is_none() && self.from.is_some() {
            let message = format!(
                "TRAIN FORECAST MODEL {name} has no ON clause: ON names the table, FROM a pretrained model to begin with"
            );
            let error = Error::input(Subject::Syntax, message);
            let hint = "TRAIN FORECAST MODEL name FROM model ON table TARGET column";
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
