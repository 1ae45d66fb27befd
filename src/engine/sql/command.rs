//! Statements that change tables and models and that DataFusion does not plan.

use datafusion::sql::sqlparser::ast::{self, Ident, ObjectName, SequenceOptions};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{IsOptional, Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::engine::sql::copy::{self, Copy};
use crate::engine::sql::form::is_compression;
use crate::engine::sql::role::{self, RoleStatement};
use crate::engine::sql::words::{accept, is_word_at, starts_with};

/// One change of a model.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelChange {
    /// `RENAME TO name`.
    Rename(Ident),
    /// `ROLLBACK`: the version before the active one becomes active.
    Rollback,
    /// `PROMOTE VERSION n`.
    Promote(u64),
    /// `DROP VERSION n`.
    DropVersion(u64),
}

/// One change of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum TableChange {
    /// `ADD COLUMN`.
    AddColumn { column: Box<ast::ColumnDef>, if_not_exists: bool },
    /// `DROP COLUMN`.
    DropColumn { column: Ident, if_exists: bool },
    /// `RENAME COLUMN a TO b`.
    RenameColumn { from: Ident, to: Ident },
    /// `RENAME TO name`.
    Rename(ObjectName),
}

/// What a comment is on.
#[derive(Debug, Clone, PartialEq)]
pub enum Commented {
    /// A model.
    Model(Ident),
    /// A table.
    Table(ObjectName),
    /// A column of a table.
    Column(ObjectName, Ident),
    /// A constraint of a table.
    Constraint(ObjectName, Ident),
}

/// A statement of ours that is not a query.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandStatement {
    /// `DROP MODEL [IF EXISTS] name`.
    DropModel { name: Ident, if_exists: bool },
    /// `ALTER MODEL name …`.
    AlterModel { name: Ident, change: ModelChange },
    /// `ALTER TABLE name …`.
    AlterTable { name: ObjectName, change: TableChange },
    /// `COMMENT ON … IS 'text' | NULL`.
    Comment { on: Commented, text: Option<String> },
    /// `COPY …`.
    Copy(Copy),
    /// `CANCEL TRAINING n`.
    CancelTraining(u64),
    /// `CREATE SEQUENCE [IF NOT EXISTS] name …`.
    CreateSequence {
        name: ObjectName,
        data_type: Option<ast::DataType>,
        options: Vec<SequenceOptions>,
        if_not_exists: bool,
    },
    /// `CREATE EXTENSION [IF NOT EXISTS] name …`.
    CreateExtension { name: Ident, if_not_exists: bool },
    /// `DROP SEQUENCE [IF EXISTS] name, …`.
    DropSequences { names: Vec<ObjectName>, if_exists: bool },
    /// About roles and their rights.
    Role(RoleStatement),
    /// `VACUUM [table, …] [RETAIN n HOURS]`, with PostgreSQL's options; all tables without a name.
    Vacuum { tables: Vec<ObjectName>, retain_hours: Option<u64> },
    /// `ANALYZE [table, …]`, with PostgreSQL's options.
    Analyze { tables: Vec<ObjectName> },
    /// `OPTIMIZE table [CLUSTER BY (columns)]`.
    Optimize { table: ObjectName, cluster_by: Vec<Ident> },
}

type Parsed = Result<CommandStatement, ParserError>;

/// The command that comes next, when it is one of ours.
pub fn parse(parser: &mut Parser<'_>) -> Option<Parsed> {
    if let Some(statement) = role::parse(parser) {
        return Some(statement.map(CommandStatement::Role));
    }
    let build: fn(&mut Parser<'_>) -> Parsed = if starts_with(parser, &["drop", "model"]) {
        drop_model
    } else if starts_with(parser, &["alter", "model"]) && !is_compression(parser) {
        alter_model
    } else if starts_with(parser, &["alter", "table"]) {
        alter_table
    } else if starts_with(parser, &["create", "sequence"]) {
        create_sequence
    } else if starts_with(parser, &["create", "extension"]) {
        create_extension
    } else if starts_with(parser, &["drop", "sequence"]) {
        drop_sequences
    } else if starts_with(parser, &["comment", "on"]) {
        comment
    } else if is_word_at(parser, 0, "copy") {
        copy
    } else if starts_with(parser, &["cancel", "training"]) {
        cancel_training
    } else if starts_with(parser, &["vacuum"]) {
        vacuum
    } else if starts_with(parser, &["analyze"]) {
        analyze
    } else if starts_with(parser, &["optimize"]) {
        optimize
    } else {
        return None;
    };
    Some(build(parser))
}

fn drop_model(parser: &mut Parser<'_>) -> Parsed {
    accept(parser, &["drop", "model"]);
    let if_exists = accept(parser, &["if", "exists"]);
    Ok(CommandStatement::DropModel { name: parser.parse_identifier()?, if_exists })
}

fn alter_model(parser: &mut Parser<'_>) -> Parsed {
    accept(parser, &["alter", "model"]);
    let name = parser.parse_identifier()?;
    let change = if accept(parser, &["rename", "to"]) {
        ModelChange::Rename(parser.parse_identifier()?)
    } else if accept(parser, &["rollback"]) {
        ModelChange::Rollback
    } else if accept(parser, &["promote", "version"]) {
        ModelChange::Promote(parser.parse_literal_uint()?)
    } else if accept(parser, &["drop", "version"]) {
        ModelChange::DropVersion(parser.parse_literal_uint()?)
    } else {
        let found = parser.peek_token();
        return parser.expected(
            "RENAME TO, ROLLBACK, PROMOTE VERSION, DROP VERSION, QUANTIZE TO or PRUNE TO after ALTER MODEL",
            found,
        );
    };
    Ok(CommandStatement::AlterModel { name, change })
}

fn alter_table(parser: &mut Parser<'_>) -> Parsed {
    accept(parser, &["alter", "table"]);
    let name = parser.parse_object_name(false)?;
    let change = if accept(parser, &["rename", "to"]) {
        TableChange::Rename(parser.parse_object_name(false)?)
    } else if accept(parser, &["rename"]) {
        accept(parser, &["column"]);
        let from = parser.parse_identifier()?;
        parser.expect_keyword(Keyword::TO)?;
        TableChange::RenameColumn { from, to: parser.parse_identifier()? }
    } else if accept(parser, &["add"]) {
        accept(parser, &["column"]);
        let if_not_exists = accept(parser, &["if", "not", "exists"]);
        TableChange::AddColumn { column: Box::new(parser.parse_column_def()?), if_not_exists }
    } else if accept(parser, &["drop"]) {
        accept(parser, &["column"]);
        let if_exists = accept(parser, &["if", "exists"]);
        TableChange::DropColumn { column: parser.parse_identifier()?, if_exists }
    } else {
        let found = parser.peek_token();
        return parser
            .expected("ADD COLUMN, DROP COLUMN, RENAME COLUMN or RENAME TO after ALTER TABLE", found);
    };
    Ok(CommandStatement::AlterTable { name, change })
}

fn comment(parser: &mut Parser<'_>) -> Parsed {
    accept(parser, &["comment", "on"]);
    let on = if accept(parser, &["model"]) {
        Commented::Model(parser.parse_identifier()?)
    } else if accept(parser, &["table"]) {
        Commented::Table(parser.parse_object_name(false)?)
    } else if accept(parser, &["constraint"]) {
        let constraint = parser.parse_identifier()?;
        parser.expect_keyword(Keyword::ON)?;
        Commented::Constraint(parser.parse_object_name(false)?, constraint)
    } else if accept(parser, &["column"]) {
        let mut name = parser.parse_object_name(false)?;
        match name.0.pop() {
            Some(ast::ObjectNamePart::Identifier(column)) if !name.0.is_empty() => {
                Commented::Column(name, column)
            }
            _ => {
                return Err(ParserError::ParserError("expected table.column after COMMENT ON COLUMN".into()));
            }
        }
    } else {
        let found = parser.peek_token();
        return parser.expected("MODEL, TABLE, COLUMN or CONSTRAINT after COMMENT ON", found);
    };
    parser.expect_keyword(Keyword::IS)?;
    let text = if parser.parse_keyword(Keyword::NULL) { None } else { Some(parser.parse_literal_string()?) };
    Ok(CommandStatement::Comment { on, text })
}

fn create_sequence(parser: &mut Parser<'_>) -> Parsed {
    accept(parser, &["create", "sequence"]);
    let if_not_exists = accept(parser, &["if", "not", "exists"]);
    let name = parser.parse_object_name(false)?;
    let data_type = if accept(parser, &["as"]) { Some(parser.parse_data_type()?) } else { None };
    let mut options = vec![];
    while let Some(option) = sequence_option(parser)? {
        options.push(option);
    }
    Ok(CommandStatement::CreateSequence { name, data_type, options, if_not_exists })
}

/// One option of CREATE SEQUENCE; they come in any order.
fn sequence_option(parser: &mut Parser<'_>) -> Result<Option<SequenceOptions>, ParserError> {
    Ok(Some(if accept(parser, &["increment"]) {
        accept(parser, &["by"]);
        SequenceOptions::IncrementBy(parser.parse_number()?, true)
    } else if accept(parser, &["start"]) {
        accept(parser, &["with"]);
        SequenceOptions::StartWith(parser.parse_number()?, true)
    } else if accept(parser, &["minvalue"]) {
        SequenceOptions::MinValue(Some(parser.parse_number()?))
    } else if accept(parser, &["maxvalue"]) {
        SequenceOptions::MaxValue(Some(parser.parse_number()?))
    } else if accept(parser, &["no", "minvalue"]) {
        SequenceOptions::MinValue(None)
    } else if accept(parser, &["no", "maxvalue"]) {
        SequenceOptions::MaxValue(None)
    } else if accept(parser, &["cache"]) {
        SequenceOptions::Cache(parser.parse_number()?)
    } else if accept(parser, &["no", "cycle"]) {
        SequenceOptions::Cycle(true)
    } else if accept(parser, &["cycle"]) {
        SequenceOptions::Cycle(false)
    } else if accept(parser, &["owned", "by", "none"]) {
        return sequence_option(parser);
    } else {
        return Ok(None);
    }))
}

fn create_extension(parser: &mut Parser<'_>) -> Parsed {
    accept(parser, &["create", "extension"]);
    let if_not_exists = accept(parser, &["if", "not", "exists"]);
    let name = parser.parse_identifier()?;
    accept(parser, &["with"]);
    while accept(parser, &["schema"]) || accept(parser, &["version"]) {
        parser.next_token();
    }
    accept(parser, &["cascade"]);
    Ok(CommandStatement::CreateExtension { name, if_not_exists })
}

fn drop_sequences(parser: &mut Parser<'_>) -> Parsed {
    accept(parser, &["drop", "sequence"]);
    let if_exists = accept(parser, &["if", "exists"]);
    let names = parser.parse_comma_separated(|parser| parser.parse_object_name(false))?;
    let _ = accept(parser, &["restrict"]) || accept(parser, &["cascade"]);
    Ok(CommandStatement::DropSequences { names, if_exists })
}

fn copy(parser: &mut Parser<'_>) -> Parsed {
    copy::parse(parser).map(CommandStatement::Copy)
}

fn cancel_training(parser: &mut Parser<'_>) -> Parsed {
    accept(parser, &["cancel", "training"]);
    Ok(CommandStatement::CancelTraining(parser.parse_literal_uint()?))
}

fn vacuum(parser: &mut Parser<'_>) -> Parsed {
    accept(parser, &["vacuum"]);
    let tables = maintained(parser, &["full", "freeze", "verbose", "analyze"])?;
    let retain_hours = if accept(parser, &["retain"]) {
        let hours = parser.parse_literal_uint()?;
        if !accept(parser, &["hours"]) {
            let found = parser.peek_token();
            return parser.expected("HOURS", found);
        }
        Some(hours)
    } else {
        None
    };
    Ok(CommandStatement::Vacuum { tables, retain_hours })
}

fn analyze(parser: &mut Parser<'_>) -> Parsed {
    accept(parser, &["analyze"]);
    Ok(CommandStatement::Analyze { tables: maintained(parser, &["verbose"])? })
}

/// `[(options)] [words] [table [(columns)], …]`: what is said beside the tables changes nothing here.
fn maintained(parser: &mut Parser<'_>, words: &[&str]) -> Result<Vec<ObjectName>, ParserError> {
    let options = |parser: &mut Parser<'_>| -> Result<(), ParserError> {
        if parser.consume_token(&Token::LParen) {
            while parser.next_token().token != Token::RParen {
                if parser.peek_token().token == Token::EOF {
                    let found = parser.peek_token();
                    return parser.expected(")", found);
                }
            }
        }
        Ok(())
    };
    options(parser)?;
    while words.iter().any(|word| accept(parser, &[word])) {}
    let mut tables = vec![];
    let is_end = |token: &Token| matches!(token, Token::EOF | Token::SemiColon);
    let is_retention = |parser: &Parser<'_>| {
        is_word_at(parser, 0, "retain") && matches!(parser.peek_nth_token(1).token, Token::Number(..))
    };
    while !is_end(&parser.peek_token().token) && !is_retention(parser) {
        tables.push(parser.parse_object_name(false)?);
        options(parser)?;
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    Ok(tables)
}

fn optimize(parser: &mut Parser<'_>) -> Parsed {
    accept(parser, &["optimize"]);
    accept(parser, &["table"]);
    let table = parser.parse_object_name(false)?;
    let cluster_by = if accept(parser, &["cluster", "by"]) {
        parser.parse_parenthesized_column_list(IsOptional::Mandatory, false)?
    } else {
        vec![]
    };
    Ok(CommandStatement::Optimize { table, cluster_by })
}
