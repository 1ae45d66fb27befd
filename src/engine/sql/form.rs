//! Statements of clauses that are short for a SELECT from a function: PRETRAIN, IMPORT, TRAIN of models of rows.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::engine::options::{
    OptionSpec, PRETRAIN_OPTIONS, REFRESH_OPTIONS, ROWS_OPTIONS, SEQUENCE_OPTIONS, TEXT_OPTIONS,
};
use crate::engine::sql::dialect::ForetellDialect;
use crate::engine::sql::words::{accept, at_end, is_word_at, starts_with};
use crate::error::did_you_mean;

/// How the value of a clause is written.
#[derive(Debug, Clone, Copy)]
enum Value {
    /// Tables and queries in parentheses.
    Relations,
    /// `(name = value, …)`.
    Options,
    /// A name.
    Name,
    /// A name as a text.
    Word,
    /// A whole number.
    Count,
    /// A number.
    Number,
    /// Nothing: the word tells all.
    Flag,
    /// A text in quotes.
    Quoted,
    /// All up to the next clause.
    Text,
}

/// A clause, and the argument that it is.
type Clause = (&'static str, &'static str, Value);

/// One kind of statement.
struct Form {
    /// What its first words are called.
    title: &'static str,
    verb: &'static str,
    kind: &'static [&'static str],
    function: &'static str,
    clauses: &'static [Clause],
    options: &'static [&'static [OptionSpec]],
}

/// Clauses of TRAIN of a model of rows.
const OF_ROWS: &[Clause] = &[
    ("FROM", "base", Value::Name),
    ("ON", "on", Value::Relations),
    ("WHERE", "filter", Value::Text),
    ("TARGET", "target", Value::Text),
    ("FEATURES", "features", Value::Text),
    ("TEXT", "text", Value::Text),
    ("IGNORE", "ignore", Value::Text),
    ("USING", "using", Value::Text),
    ("WITH", "with", Value::Options),
    ("COMMENT", "comment", Value::Quoted),
];

/// Those of TRAIN CLASSIFICATION, whose rows may be sequences.
const OF_SEQUENCES: &[Clause] = &[
    ("FROM", "base", Value::Name),
    ("ON", "on", Value::Relations),
    ("WHERE", "filter", Value::Text),
    ("TARGET", "target", Value::Text),
    ("PARTITION BY", "partition_by", Value::Text),
    ("ORDER BY", "order_by", Value::Text),
    ("FEATURES", "features", Value::Text),
    ("TEXT", "text", Value::Text),
    ("IGNORE", "ignore", Value::Text),
    ("USING", "using", Value::Text),
    ("WITH", "with", Value::Options),
    ("COMMENT", "comment", Value::Quoted),
];

const FORMS: [Form; 8] = [
    Form {
        title: "PRETRAIN",
        verb: "pretrain",
        kind: &["forecast", "model"],
        function: "pretrain_forecast_model",
        clauses: &[
            ("FROM", "base", Value::Name),
            ("ON", "on", Value::Relations),
            ("WHERE", "filter", Value::Text),
            ("TARGET", "target", Value::Text),
            ("PARTITION BY", "partition_by", Value::Text),
            ("ORDER BY", "order_by", Value::Text),
            ("KNOWN", "known", Value::Text),
            ("PAST", "past", Value::Text),
            ("IGNORE", "ignore", Value::Text),
            ("GAPS", "gaps", Value::Text),
            ("HORIZON", "horizon", Value::Count),
            ("OBJECTIVE", "objective", Value::Word),
            ("WITH", "with", Value::Options),
            ("COMMENT", "comment", Value::Quoted),
        ],
        options: &[PRETRAIN_OPTIONS],
    },
    Form {
        title: "PRETRAIN TEXT",
        verb: "pretrain",
        kind: &["text", "model"],
        function: "pretrain_text_model",
        clauses: &[
            ("FROM", "base", Value::Name),
            ("ON", "on", Value::Relations),
            ("WHERE", "filter", Value::Text),
            ("TEXT", "text", Value::Text),
            ("OBJECTIVE", "objective", Value::Word),
            ("WITH", "with", Value::Options),
            ("COMMENT", "comment", Value::Quoted),
        ],
        options: &[TEXT_OPTIONS],
    },
    Form {
        title: "PRETRAIN SEQUENCE",
        verb: "pretrain",
        kind: &["sequence", "model"],
        function: "pretrain_sequence_model",
        clauses: &[
            ("ON", "on", Value::Relations),
            ("WHERE", "filter", Value::Text),
            ("TARGET", "target", Value::Text),
            ("PARTITION BY", "partition_by", Value::Text),
            ("ORDER BY", "order_by", Value::Text),
            ("FEATURES", "features", Value::Text),
            ("OBJECTIVE", "objective", Value::Word),
            ("WITH", "with", Value::Options),
            ("COMMENT", "comment", Value::Quoted),
        ],
        options: &[SEQUENCE_OPTIONS],
    },
    Form {
        title: "TRAIN CLASSIFICATION",
        verb: "train",
        kind: &["classification", "model"],
        function: "train_classification_model",
        clauses: OF_SEQUENCES,
        options: &[ROWS_OPTIONS, SEQUENCE_OPTIONS],
    },
    Form {
        title: "TRAIN REGRESSION",
        verb: "train",
        kind: &["regression", "model"],
        function: "train_regression_model",
        clauses: OF_ROWS,
        options: &[ROWS_OPTIONS],
    },
    Form {
        title: "REFRESH MODEL",
        verb: "refresh",
        kind: &["model"],
        function: "refresh_model",
        clauses: &[("FULL", "full", Value::Flag), ("WITH", "with", Value::Options)],
        options: &[REFRESH_OPTIONS],
    },
    Form {
        title: "ALTER MODEL",
        verb: "alter",
        kind: &["model"],
        function: "compress_model",
        clauses: &[("QUANTIZE TO", "quantize", Value::Word), ("PRUNE TO", "prune", Value::Number)],
        options: &[],
    },
    Form {
        title: "IMPORT MODEL",
        verb: "import",
        kind: &["model"],
        function: "import_model",
        clauses: &[("FROM", "path", Value::Quoted), ("COMMENT", "comment", Value::Quoted)],
        options: &[],
    },
];

/// The SELECT behind the statement that comes next, when it is one of these.
pub fn parse(parser: &mut Parser<'_>) -> Option<Result<ast::Statement, ParserError>> {
    let forms: Vec<&Form> = FORMS.iter().filter(|form| starts_with(parser, &[form.verb])).collect();
    let verb = forms.first()?.verb;
    // Other changes of a model have a grammar of their own.
    if verb == "alter" && !is_compression(parser) {
        return None;
    }
    let kind = if starts_with(parser, &[verb, "or", "replace"]) { 3 } else { 1 };
    // TRAIN FORECAST has a grammar of its own.
    if verb == "train" && !forms.iter().any(|form| is_word_at(parser, kind, form.kind[0])) {
        return None;
    }
    parser.advance_token();
    let replaces = accept(parser, &["or", "replace"]);
    let Some(form) = forms.iter().find(|form| starts_with(parser, form.kind)) else {
        let kinds: Vec<String> = forms.iter().map(|form| form.kind.join(" ").to_uppercase()).collect();
        let expected = format!("{} after {}", kinds.join(" or "), verb.to_uppercase());
        return Some(parser.expected(&expected, parser.peek_token()));
    };
    accept(parser, form.kind);
    Some(form.parse(parser, replaces))
}

/// True where QUANTIZE or PRUNE comes after ALTER MODEL and a name: what it returns is rows.
pub fn is_compression(parser: &Parser<'_>) -> bool {
    starts_with(parser, &["alter", "model"])
        && ["quantize", "prune"].iter().any(|word| is_word_at(parser, 3, word))
}

impl Form {
    /// Reads the statement from the model's name on.
    fn parse(&self, parser: &mut Parser<'_>, replaces: bool) -> Result<ast::Statement, ParserError> {
        let mut arguments = vec![];
        if replaces {
            arguments.push("replace => true".to_owned());
        }
        if accept(parser, &["if", "not", "exists"]) {
            arguments.push("if_not_exists => true".to_owned());
        }
        let name = parser.parse_identifier()?;
        let mut seen = vec![];
        while !at_end(parser) {
            let (clause, argument, value) = self.next_clause(parser, &seen)?;
            seen.push(clause);
            arguments.push(match value {
                Value::Relations => format!("{argument} => {}", relations(parser)?),
                Value::Options => self.options(parser)?,
                Value::Name => format!("{argument} => {}", parser.parse_identifier()?),
                Value::Number => format!("{argument} => {}", parser.parse_number_value()?),
                Value::Flag => format!("{argument} => true"),
                Value::Count => format!("{argument} => {}", parser.parse_literal_uint()?),
                Value::Word => format!("{argument} => {}", quoted(&parser.parse_identifier()?.value)),
                Value::Quoted => format!("{argument} => {}", quoted(&parser.parse_literal_string()?)),
                Value::Text => format!("{argument} => {}", quoted(&self.text(parser))),
            });
        }
        let arguments: String = arguments.iter().map(|argument| format!(", {argument}")).collect();
        let sql = format!("SELECT * FROM {}({name}{arguments})", self.function);
        let tokens = Tokenizer::new(&PostgreSqlDialect {}, &sql).tokenize()?;
        let dialect = ForetellDialect::of(&sql);
        let mut parser = Parser::new(&dialect).with_tokens(tokens);
        Ok(ast::Statement::Query(parser.parse_query()?))
    }

    fn next_clause(&self, parser: &mut Parser<'_>, seen: &[&str]) -> Result<Clause, ParserError> {
        let Some(found) = self.clauses.iter().find(|(clause, ..)| begins(parser, clause)) else {
            let word = parser.peek_token_ref().token.to_string().to_uppercase();
            let begun = self.clauses.iter().find(|(clause, ..)| clause.split(' ').next() == Some(&word));
            if let Some((clause, ..)) = begun {
                return Err(ParserError::ParserError(format!("{word} alone is no clause: write {clause}")));
            }
            let firsts = self.clauses.iter().filter_map(|(clause, ..)| clause.split(' ').next());
            let suggestion = did_you_mean(&word, firsts);
            let all = self.clauses.iter().map(|(clause, ..)| *clause).collect::<Vec<_>>().join(", ");
            let message = format!("unknown clause {word} of {}{suggestion}; clauses: {all}", self.title);
            return Err(ParserError::ParserError(message));
        };
        if seen.contains(&found.0) {
            return Err(ParserError::ParserError(format!("clause {} is given twice", found.0)));
        }
        found.0.split(' ').for_each(|_| parser.advance_token());
        Ok(*found)
    }

    /// `(name = value, …)` as arguments.
    fn options(&self, parser: &mut Parser<'_>) -> Result<String, ParserError> {
        parser.expect_token(&Token::LParen)?;
        let mut found = vec![];
        loop {
            let name = parser.parse_identifier()?;
            let known = self.options.iter().copied().flatten().map(|option| option.name);
            if !known.clone().any(|option| option.eq_ignore_ascii_case(&name.value)) {
                let suggestion = did_you_mean(&name.value, known.clone());
                // Rows and sequences have some in common.
                let all: std::collections::BTreeSet<&str> = known.collect();
                let all = all.into_iter().collect::<Vec<_>>().join(", ");
                let title = self.title;
                let message = format!("unknown option {name}{suggestion}; options of {title}: {all}");
                return Err(ParserError::ParserError(message));
            }
            parser.expect_token(&Token::Eq)?;
            found.push(format!("{name} => {}", parser.parse_expr()?));
            if !parser.consume_token(&Token::Comma) {
                parser.expect_token(&Token::RParen)?;
                return Ok(found.join(", "));
            }
        }
    }

    /// The words up to the next clause outside parentheses.
    fn text(&self, parser: &mut Parser<'_>) -> String {
        let (mut words, mut depth) = (vec![], 0i32);
        let ends = |parser: &Parser<'_>| self.clauses.iter().any(|(clause, ..)| begins(parser, clause));
        let mut casts = false;
        // A type after :: may have the word of a clause.
        while !at_end(parser) && (depth > 0 || casts || !ends(parser)) {
            let token = parser.next_token().token;
            casts = token == Token::DoubleColon;
            depth += match token {
                Token::LParen => 1,
                Token::RParen => -1,
                _ => 0,
            };
            words.push(token.to_string());
        }
        words.join(" ")
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn begins(parser: &Parser<'_>, clause: &str) -> bool {
    starts_with(parser, &clause.split(' ').collect::<Vec<_>>())
}

/// Tables and queries in parentheses.
fn relations(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    let mut found = vec![];
    loop {
        found.push(if parser.consume_token(&Token::LParen) {
            let query = parser.parse_query()?;
            parser.expect_token(&Token::RParen)?;
            format!("({query})")
        } else {
            parser.parse_object_name(false)?.to_string()
        });
        if !parser.consume_token(&Token::Comma) {
            return Ok(match found.as_slice() {
                [one] => one.clone(),
                several => format!("({})", several.join(", ")),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sql: &str) -> Result<String, ParserError> {
        let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql)?;
        parse(&mut parser).unwrap().map(|statement| statement.to_string())
    }

    #[test]
    fn clauses_become_arguments() {
        let sql = "PRETRAIN OR REPLACE FORECAST MODEL base ON sales, (SELECT * FROM web WHERE x > 1) WHERE ok \
                   TARGET sum(units) AS units PARTITION BY store, item ORDER BY day EVERY DAY OBJECTIVE masked_patch \
                   WITH (steps = 100, device = cpu) COMMENT 'it''s'";
        assert_eq!(
            read(sql).unwrap(),
            "SELECT * FROM pretrain_forecast_model(base, replace => true, \
             on => (sales, (SELECT * FROM web WHERE x > 1)), filter => 'ok', target => 'sum ( units ) AS units', \
             partition_by => 'store , item', order_by => 'day EVERY DAY', objective => 'masked_patch', steps => 100, \
             device => cpu, comment => 'it''s')"
        );
        assert_eq!(read("PRETRAIN FORECAST MODEL m").unwrap(), "SELECT * FROM pretrain_forecast_model(m)");
    }

    #[test]
    fn mistakes_are_named() {
        let says = |sql: &str, text: &str| {
            let error = read(sql).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        };
        says(
            "PRETRAIN FORECAST MODEL m ON a TARGT b",
            "unknown clause TARGT of PRETRAIN; did you mean TARGET?",
        );
        says("PRETRAIN FORECAST MODEL m ON a ON b", "clause ON is given twice");
        says("PRETRAIN MODEL m", "FORECAST MODEL or TEXT MODEL or SEQUENCE MODEL after PRETRAIN");
        says("ALTER MODEL m QUANTIZE f16", "QUANTIZE alone is no clause: write QUANTIZE TO");
        says("IMPORT TABLE m", "MODEL after IMPORT");
        says("IMPORT MODEL m FORM 'x'", "unknown clause FORM of IMPORT MODEL; did you mean FROM?");
    }
}
