//! Statements about the session itself: transactions, cursors, settings, prepared statements.

use datafusion::sql::sqlparser::ast::{self, Ident};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::engine::sql::words::{accept, at_end, is_word_at, starts_with};
use crate::error::identifier;

/// The setting whose value is a list of names.
const SEARCH_PATH: &str = "search_path";

/// What a transaction asks for besides beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransactionModes {
    /// `ISOLATION LEVEL …`, in lower case.
    pub isolation: Option<String>,
    /// `READ ONLY` or `READ WRITE`.
    pub read_only: Option<bool>,
    /// `[NOT] DEFERRABLE`.
    pub deferrable: Option<bool>,
}

/// How far FETCH and MOVE go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distance {
    /// So many rows on.
    Rows(u64),
    /// To the end.
    All,
}

/// What DISCARD lets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    /// `ALL`.
    All,
    /// `PLANS`.
    Plans,
    /// `SEQUENCES`.
    Sequences,
    /// `TEMP`.
    Temp,
}

/// The value that SET gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewValue {
    /// A list of words and literals, joined by `, `.
    Text(String),
    /// `DEFAULT`.
    Default,
}

/// A statement about the session.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionStatement {
    /// `BEGIN`, `START TRANSACTION`.
    Begin { modes: TransactionModes, start: bool },
    /// `COMMIT`, `END`.
    Commit { chain: bool },
    /// `ROLLBACK`, `ABORT`.
    Rollback { chain: bool },
    /// `SAVEPOINT name`.
    Savepoint(Ident),
    /// `RELEASE [SAVEPOINT] name`.
    Release(Ident),
    /// `ROLLBACK TO [SAVEPOINT] name`.
    RollbackTo(Ident),
    /// `SET TRANSACTION modes`, or of the whole session.
    SetTransaction { modes: TransactionModes, session: bool },
    /// `DECLARE name CURSOR … FOR query`.
    Declare { name: Ident, hold: bool, query: Box<ast::Query> },
    /// `FETCH … cursor`, or MOVE, which shows nothing.
    Fetch { cursor: Ident, distance: Distance, show: bool },
    /// `CLOSE name`, or ALL.
    Close(Option<Ident>),
    /// `DISCARD …`.
    Discard(Discard),
    /// `SET [LOCAL] name = value`.
    Set { name: String, value: NewValue, local: bool },
    /// `RESET name`, or ALL.
    Reset(Option<String>),
    /// `SHOW name`, or ALL.
    Show(Option<String>),
    /// `LISTEN channel`, `UNLISTEN channel | *`.
    Listen { on: bool },
    /// `NOTIFY channel`.
    Notify,
    /// `PREPARE name [(types)] AS statement`; the statement is a [`super::Body`] of its own text.
    Prepare { name: Ident, types: Vec<ast::DataType>, begins: usize },
    /// `EXECUTE name [(values)]`.
    Execute { name: Ident, values: Vec<ast::Expr> },
    /// `DEALLOCATE name`, or ALL.
    Deallocate(Option<Ident>),
}

type Parsed = Result<SessionStatement, ParserError>;
type Reader = fn(&mut Parser<'_>) -> Parsed;

/// The statement that comes next, when it is about the session.
pub fn parse(parser: &mut Parser<'_>) -> Option<Parsed> {
    const READERS: &[(&[&str], Reader)] = &[
        (&["begin"], begin),
        (&["start", "transaction"], begin),
        (&["commit"], commit),
        (&["end"], commit),
        (&["rollback"], rollback),
        (&["abort"], rollback),
        (&["savepoint"], savepoint),
        (&["release"], release),
        (&["declare"], declare),
        (&["fetch"], fetch),
        (&["move"], fetch),
        (&["close"], close),
        (&["discard"], discard),
        (&["set"], set),
        (&["reset"], reset),
        (&["show"], show),
        (&["listen"], listen),
        (&["unlisten"], listen),
        (&["notify"], notify),
        (&["prepare"], prepare),
        (&["execute"], execute),
        (&["deallocate"], deallocate),
    ];
    let (_, read) = READERS.iter().find(|(words, _)| starts_with(parser, words))?;
    if is_word_at(parser, 0, "show") && is_ours(parser) {
        return None;
    }
    Some(read(parser))
}

/// SHOW of things that are no settings.
fn is_ours(parser: &Parser<'_>) -> bool {
    ["models", "model", "training", "tables", "columns", "functions", "create"]
        .iter()
        .any(|word| is_word_at(parser, 1, word))
}

fn name(parser: &mut Parser<'_>) -> Result<Ident, ParserError> {
    parser.parse_identifier()
}

fn modes(parser: &mut Parser<'_>) -> Result<TransactionModes, ParserError> {
    let mut modes = TransactionModes::default();
    loop {
        if accept(parser, &["isolation", "level"]) {
            let level = ["serializable", "repeatable read", "read committed", "read uncommitted"]
                .into_iter()
                .find(|level| accept(parser, &level.split(' ').collect::<Vec<_>>()));
            let Some(level) = level else {
                let found = parser.peek_token();
                return parser.expected("an isolation level", found);
            };
            modes.isolation = Some(level.to_owned());
        } else if accept(parser, &["read", "only"]) {
            modes.read_only = Some(true);
        } else if accept(parser, &["read", "write"]) {
            modes.read_only = Some(false);
        } else if accept(parser, &["not", "deferrable"]) {
            modes.deferrable = Some(false);
        } else if accept(parser, &["deferrable"]) {
            modes.deferrable = Some(true);
        } else if !parser.consume_token(&Token::Comma) {
            return Ok(modes);
        }
    }
}

fn work(parser: &mut Parser<'_>) {
    let _ = accept(parser, &["work"]) || accept(parser, &["transaction"]);
}

fn chain(parser: &mut Parser<'_>) -> bool {
    work(parser);
    let chain = accept(parser, &["and", "chain"]);
    accept(parser, &["and", "no", "chain"]);
    chain
}

fn begin(parser: &mut Parser<'_>) -> Parsed {
    let start = accept(parser, &["start"]) || !accept(parser, &["begin"]);
    work(parser);
    Ok(SessionStatement::Begin { modes: modes(parser)?, start })
}

fn commit(parser: &mut Parser<'_>) -> Parsed {
    parser.advance_token();
    Ok(SessionStatement::Commit { chain: chain(parser) })
}

fn rollback(parser: &mut Parser<'_>) -> Parsed {
    parser.advance_token();
    work(parser);
    if accept(parser, &["to"]) {
        accept(parser, &["savepoint"]);
        return Ok(SessionStatement::RollbackTo(name(parser)?));
    }
    Ok(SessionStatement::Rollback { chain: chain(parser) })
}

fn savepoint(parser: &mut Parser<'_>) -> Parsed {
    parser.advance_token();
    Ok(SessionStatement::Savepoint(name(parser)?))
}

fn release(parser: &mut Parser<'_>) -> Parsed {
    parser.advance_token();
    accept(parser, &["savepoint"]);
    Ok(SessionStatement::Release(name(parser)?))
}

fn declare(parser: &mut Parser<'_>) -> Parsed {
    parser.advance_token();
    let name = name(parser)?;
    while !accept(parser, &["cursor"]) {
        let known = ["binary", "asensitive", "insensitive", "no", "scroll"];
        if !known.iter().any(|word| accept(parser, &[word])) {
            let found = parser.peek_token();
            return parser.expected("CURSOR", found);
        }
    }
    let hold = accept(parser, &["with", "hold"]);
    accept(parser, &["without", "hold"]);
    parser.expect_keyword(Keyword::FOR)?;
    Ok(SessionStatement::Declare { name, hold, query: parser.parse_query()? })
}

fn fetch(parser: &mut Parser<'_>) -> Parsed {
    let show = is_word_at(parser, 0, "fetch");
    parser.advance_token();
    let distance = distance(parser)?;
    let _ = accept(parser, &["from"]) || accept(parser, &["in"]);
    Ok(SessionStatement::Fetch { cursor: name(parser)?, distance, show })
}

fn distance(parser: &mut Parser<'_>) -> Result<Distance, ParserError> {
    if ["backward", "prior", "first", "last", "absolute", "relative"]
        .iter()
        .any(|word| is_word_at(parser, 0, word))
    {
        let message = "cursor can only scan forward: FETCH n FROM cursor";
        return Err(ParserError::ParserError(message.to_owned()));
    }
    let forward = accept(parser, &["forward"]);
    if accept(parser, &["next"]) {
        return Ok(Distance::Rows(1));
    }
    if accept(parser, &["all"]) {
        return Ok(Distance::All);
    }
    match parser.peek_token_ref().token {
        Token::Number(..) => parser.parse_literal_uint().map(Distance::Rows),
        Token::Minus => {
            parser.expected("a number of rows: a cursor can only scan forward", parser.peek_token())
        }
        _ => {
            let _ = forward;
            Ok(Distance::Rows(1))
        }
    }
}

fn close(parser: &mut Parser<'_>) -> Parsed {
    parser.advance_token();
    Ok(SessionStatement::Close(if accept(parser, &["all"]) { None } else { Some(name(parser)?) }))
}

fn discard(parser: &mut Parser<'_>) -> Parsed {
    parser.advance_token();
    let what = if accept(parser, &["all"]) {
        Discard::All
    } else if accept(parser, &["plans"]) {
        Discard::Plans
    } else if accept(parser, &["sequences"]) {
        Discard::Sequences
    } else if accept(parser, &["temp"]) || accept(parser, &["temporary"]) {
        Discard::Temp
    } else {
        let found = parser.peek_token();
        return parser.expected("ALL, PLANS, SEQUENCES or TEMP after DISCARD", found);
    };
    Ok(SessionStatement::Discard(what))
}

fn set(parser: &mut Parser<'_>) -> Parsed {
    parser.advance_token();
    if accept(parser, &["session", "characteristics", "as", "transaction"]) {
        return Ok(SessionStatement::SetTransaction { modes: modes(parser)?, session: true });
    }
    let local = accept(parser, &["local"]);
    accept(parser, &["session"]);
    if accept(parser, &["transaction"]) {
        return Ok(SessionStatement::SetTransaction { modes: modes(parser)?, session: false });
    }
    if accept(parser, &["time", "zone"]) {
        return Ok(SessionStatement::Set { name: "timezone".to_owned(), value: zone(parser)?, local });
    }
    if accept(parser, &["names"]) {
        return Ok(SessionStatement::Set {
            name: "client_encoding".to_owned(),
            value: value(parser)?,
            local,
        });
    }
    if accept(parser, &["schema"]) {
        return Ok(SessionStatement::Set { name: SEARCH_PATH.to_owned(), value: names(parser)?, local });
    }
    if accept(parser, &["constraints"]) {
        while !at_end(parser) {
            parser.advance_token();
        }
        return Ok(SessionStatement::Listen { on: true });
    }
    if accept(parser, &["authorization"]) {
        let name = "session_authorization".to_owned();
        return Ok(SessionStatement::Set { name, value: role(parser)?, local });
    }
    if accept(parser, &["role"]) {
        return Ok(SessionStatement::Set { name: "role".to_owned(), value: role(parser)?, local });
    }
    let name = setting(parser)?;
    if !accept(parser, &["to"]) {
        parser.expect_token(&Token::Eq)?;
    }
    let value = if name == SEARCH_PATH { names(parser)? } else { value(parser)? };
    Ok(SessionStatement::Set { name, value, local })
}

/// `a.b.c`, in lower case.
fn setting(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    let name = parser.parse_object_name(false)?;
    let parts = name.0.iter().filter_map(|part| part.as_ident()).map(|part| part.value.to_lowercase());
    Ok(parts.collect::<Vec<_>>().join("."))
}

fn zone(parser: &mut Parser<'_>) -> Result<NewValue, ParserError> {
    if accept(parser, &["local"]) {
        return Ok(NewValue::Default);
    }
    if accept(parser, &["interval"]) {
        let text = parser.parse_literal_string()?;
        while !at_end(parser) {
            parser.advance_token();
        }
        return Ok(NewValue::Text(text));
    }
    value(parser)
}

fn value(parser: &mut Parser<'_>) -> Result<NewValue, ParserError> {
    if accept(parser, &["default"]) {
        return Ok(NewValue::Default);
    }
    let mut parts = vec![];
    loop {
        parts.push(word(parser)?);
        if !parser.consume_token(&Token::Comma) {
            return Ok(NewValue::Text(parts.join(", ")));
        }
    }
}

/// A value that is a list of names, each as SQL writes it.
fn names(parser: &mut Parser<'_>) -> Result<NewValue, ParserError> {
    if accept(parser, &["default"]) {
        return Ok(NewValue::Default);
    }
    let name = |parser: &mut Parser<'_>| folded(parser).map(|name| identifier(&name));
    Ok(NewValue::Text(parser.parse_comma_separated(name)?.join(", ")))
}

/// A value that is the name of a role, or `none`.
fn role(parser: &mut Parser<'_>) -> Result<NewValue, ParserError> {
    if accept(parser, &["default"]) {
        return Ok(NewValue::Default);
    }
    folded(parser).map(NewValue::Text)
}

/// A name, in lower case unless it is quoted.
fn folded(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    let folds = matches!(&parser.peek_token_ref().token, Token::Word(word) if word.quote_style.is_none());
    word(parser).map(|name| if folds { name.to_lowercase() } else { name })
}

/// One word, number or text of a setting's value.
fn word(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    let token = parser.next_token();
    Ok(match token.token {
        Token::Word(word) => word.value,
        Token::Number(digits, _) => digits,
        Token::Minus => format!("-{}", word(parser)?),
        Token::Plus => word(parser)?,
        Token::SingleQuotedString(text)
        | Token::EscapedStringLiteral(text)
        | Token::DollarQuotedString(ast::DollarQuotedString { value: text, .. }) => text,
        _ => return parser.expected("a value", token),
    })
}

fn reset(parser: &mut Parser<'_>) -> Parsed {
    parser.advance_token();
    Ok(SessionStatement::Reset(if accept(parser, &["all"]) {
        None
    } else if accept(parser, &["time", "zone"]) {
        Some("timezone".to_owned())
    } else if accept(parser, &["session", "authorization"]) {
        Some("session_authorization".to_owned())
    } else {
        Some(setting(parser)?)
    }))
}

fn show(parser: &mut Parser<'_>) -> Parsed {
    parser.advance_token();
    Ok(SessionStatement::Show(if accept(parser, &["all"]) {
        None
    } else if accept(parser, &["time", "zone"]) {
        Some("timezone".to_owned())
    } else if accept(parser, &["transaction", "isolation", "level"]) {
        Some("transaction_isolation".to_owned())
    } else if accept(parser, &["session", "authorization"]) {
        Some("session_authorization".to_owned())
    } else {
        Some(setting(parser)?)
    }))
}

fn listen(parser: &mut Parser<'_>) -> Parsed {
    let on = is_word_at(parser, 0, "listen");
    parser.advance_token();
    if on || !parser.consume_token(&Token::Mul) {
        name(parser)?;
    }
    Ok(SessionStatement::Listen { on })
}

fn notify(parser: &mut Parser<'_>) -> Parsed {
    parser.advance_token();
    name(parser)?;
    if parser.consume_token(&Token::Comma) {
        parser.parse_literal_string()?;
    }
    Ok(SessionStatement::Notify)
}

/// The statement after AS is left where it stands: it is parsed like any other, by its place in the text.
fn prepare(parser: &mut Parser<'_>) -> Parsed {
    parser.advance_token();
    let name = name(parser)?;
    let types = if parser.consume_token(&Token::LParen) {
        let types = parser.parse_comma_separated(Parser::parse_data_type)?;
        parser.expect_token(&Token::RParen)?;
        types
    } else {
        vec![]
    };
    parser.expect_keyword(Keyword::AS)?;
    let begins = parser.index();
    while !at_end(parser) {
        parser.advance_token();
    }
    Ok(SessionStatement::Prepare { name, types, begins })
}

fn execute(parser: &mut Parser<'_>) -> Parsed {
    parser.advance_token();
    let name = name(parser)?;
    let values = if parser.consume_token(&Token::LParen) {
        let values = parser.parse_comma_separated(Parser::parse_expr)?;
        parser.expect_token(&Token::RParen)?;
        values
    } else {
        vec![]
    };
    Ok(SessionStatement::Execute { name, values })
}

fn deallocate(parser: &mut Parser<'_>) -> Parsed {
    parser.advance_token();
    accept(parser, &["prepare"]);
    Ok(SessionStatement::Deallocate(if accept(parser, &["all"]) { None } else { Some(name(parser)?) }))
}
