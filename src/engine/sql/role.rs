//! Roles, what is granted to them, and whom things belong to: CREATE ROLE, GRANT, REVOKE, OWNER TO.

use datafusion::sql::sqlparser::ast::ObjectName;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::engine::sql::words::{accept, at_end, fold, is_word_at, starts_with};

/// A statement about roles.
#[derive(Debug, Clone, PartialEq)]
pub enum RoleStatement {
    /// `CREATE ROLE | USER name …`.
    Create { name: String, options: RoleOptions },
    /// `ALTER ROLE | USER name …`.
    Alter { name: String, options: RoleOptions },
    /// `DROP ROLE | USER [IF EXISTS] name, …`.
    Drop { names: Vec<String>, if_exists: bool },
    /// `GRANT rights ON … TO …` and `REVOKE rights ON … FROM …`; no words stand for ALL.
    Grant { privileges: Vec<String>, on: Granted, roles: Vec<String>, revoke: bool },
    /// `GRANT role, … TO …` and `REVOKE role, … FROM …`.
    Member { groups: Vec<String>, members: Vec<String>, revoke: bool },
    /// `ALTER … OWNER TO role`.
    Owner { of: Granted, owner: String },
}

/// What CREATE ROLE and ALTER ROLE say; what is not said stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RoleOptions {
    /// `LOGIN`, `NOLOGIN`.
    pub login: Option<bool>,
    /// `SUPERUSER`, `NOSUPERUSER`.
    pub superuser: Option<bool>,
    /// `PASSWORD 'text'`; `PASSWORD NULL` removes it.
    pub password: Option<Option<String>>,
    /// `IN ROLE a, b`.
    pub groups: Vec<String>,
}

/// Things that rights are granted on.
#[derive(Debug, Clone, PartialEq)]
pub enum Granted {
    /// Tables and views.
    Tables(Vec<ObjectName>),
    /// `ALL TABLES IN SCHEMA s, …`.
    TablesOf(Vec<String>),
    /// Models.
    Models(Vec<String>),
    /// `ALL MODELS`.
    AllModels,
    /// Schemas.
    Schemas(Vec<String>),
    /// Sequences.
    Sequences(Vec<ObjectName>),
    /// `ALL SEQUENCES IN SCHEMA s, …`.
    SequencesOf(Vec<String>),
}

type Parsed<T = RoleStatement> = Result<T, ParserError>;

/// The statement that comes next, when it is one of these.
pub fn parse(parser: &mut Parser<'_>) -> Option<Parsed> {
    let on_any = |verb: &str, kinds: &[&str]| kinds.iter().any(|kind| starts_with(parser, &[verb, kind]));
    let roles = ["role", "user", "group"];
    let build: fn(&mut Parser<'_>) -> Parsed = if on_any("create", &roles) {
        create
    } else if on_any("alter", &roles) {
        alter
    } else if on_any("drop", &roles) {
        drop_role
    } else if starts_with(parser, &["grant"]) || starts_with(parser, &["revoke"]) {
        grant
    } else if on_any("alter", &["table", "view", "model", "schema"]) && names_an_owner(parser) {
        change_owner
    } else {
        return None;
    };
    Some(build(parser))
}

fn create(parser: &mut Parser<'_>) -> Parsed {
    parser.next_token();
    let user = accept(parser, &["user"]);
    if !user {
        parser.next_token();
    }
    let name = role_name(parser)?;
    let mut options = options(parser)?;
    options.login = options.login.or(Some(user));
    Ok(RoleStatement::Create { name, options })
}

fn alter(parser: &mut Parser<'_>) -> Parsed {
    parser.next_token();
    parser.next_token();
    let name = role_name(parser)?;
    let options = options(parser)?;
    if options == RoleOptions::default() {
        let found = parser.peek_token();
        return parser.expected("LOGIN, NOLOGIN, SUPERUSER, NOSUPERUSER or PASSWORD after ALTER ROLE", found);
    }
    Ok(RoleStatement::Alter { name, options })
}

fn drop_role(parser: &mut Parser<'_>) -> Parsed {
    parser.next_token();
    parser.next_token();
    let if_exists = accept(parser, &["if", "exists"]);
    Ok(RoleStatement::Drop { names: parser.parse_comma_separated(role_name)?, if_exists })
}

fn options(parser: &mut Parser<'_>) -> Parsed<RoleOptions> {
    accept(parser, &["with"]);
    let mut options = RoleOptions::default();
    loop {
        let granted = ["inherit", "nocreatedb", "nocreaterole", "noreplication", "nobypassrls"];
        if accept(parser, &["login"]) {
            options.login = Some(true);
        } else if accept(parser, &["nologin"]) {
            options.login = Some(false);
        } else if accept(parser, &["superuser"]) {
            options.superuser = Some(true);
        } else if accept(parser, &["nosuperuser"]) {
            options.superuser = Some(false);
        } else if accept(parser, &["encrypted", "password"]) || accept(parser, &["password"]) {
            let none = parser.parse_keyword(Keyword::NULL);
            options.password = Some(if none { None } else { Some(parser.parse_literal_string()?) });
        } else if accept(parser, &["in", "role"]) || accept(parser, &["in", "group"]) {
            options.groups = parser.parse_comma_separated(role_name)?;
        } else if !granted.iter().any(|word| accept(parser, &[word])) {
            break;
        }
    }
    if !at_end(parser) {
        let found = parser.peek_token();
        return parser.expected("LOGIN, NOLOGIN, SUPERUSER, NOSUPERUSER, PASSWORD or IN ROLE", found);
    }
    Ok(options)
}

fn grant(parser: &mut Parser<'_>) -> Parsed {
    let revoke = starts_with(parser, &["revoke"]);
    parser.next_token();
    if accept(parser, &["grant", "option", "for"]) || accept(parser, &["admin", "option", "for"]) {
        return Err(no_options());
    }
    let words = if accept(parser, &["all"]) {
        accept(parser, &["privileges"]);
        vec![]
    } else {
        parser.parse_comma_separated(|parser| {
            let word = parser.parse_identifier()?;
            if parser.peek_token_ref().token == Token::LParen {
                let message = "rights on single columns are not supported; a view can show some columns only";
                return Err(ParserError::ParserError(message.to_owned()));
            }
            Ok(word)
        })?
    };
    let on = if accept(parser, &["on"]) { Some(granted(parser)?) } else { None };
    parser.expect_keyword(if revoke { Keyword::FROM } else { Keyword::TO })?;
    let roles = parser.parse_comma_separated(role_name)?;
    if accept(parser, &["with", "grant", "option"]) || accept(parser, &["with", "admin", "option"]) {
        return Err(no_options());
    }
    let _ = accept(parser, &["cascade"]) || accept(parser, &["restrict"]);
    match on {
        Some(on) => {
            let privileges = words.into_iter().map(|word| word.value).collect();
            Ok(RoleStatement::Grant { privileges, on, roles, revoke })
        }
        None if words.is_empty() => {
            let found = parser.peek_token();
            parser.expected("ON after ALL", found)
        }
        None => {
            Ok(RoleStatement::Member { groups: words.iter().map(fold).collect(), members: roles, revoke })
        }
    }
}

fn no_options() -> ParserError {
    let message = "GRANT OPTION and ADMIN OPTION are not supported: owners and superusers grant";
    ParserError::ParserError(message.to_owned())
}

fn granted(parser: &mut Parser<'_>) -> Parsed<Granted> {
    let names = |parser: &mut Parser<'_>| parser.parse_comma_separated(role_name);
    if accept(parser, &["all", "tables", "in", "schema"]) {
        return Ok(Granted::TablesOf(names(parser)?));
    }
    if accept(parser, &["all", "sequences", "in", "schema"]) {
        return Ok(Granted::SequencesOf(names(parser)?));
    }
    if accept(parser, &["all", "models"]) {
        return Ok(Granted::AllModels);
    }
    if accept(parser, &["schema"]) {
        return Ok(Granted::Schemas(names(parser)?));
    }
    if accept(parser, &["model"]) {
        return Ok(Granted::Models(names(parser)?));
    }
    if starts_with(parser, &["database"]) || starts_with(parser, &["function"]) {
        let found = parser.peek_token();
        let expected =
            "tables, SEQUENCE, ALL TABLES or SEQUENCES IN SCHEMA, MODEL, ALL MODELS or SCHEMA after ON";
        return parser.expected(expected, found);
    }
    let is_sequence = accept(parser, &["sequence"]);
    accept(parser, &["table"]);
    let names = parser.parse_comma_separated(|parser| parser.parse_object_name(false))?;
    Ok(if is_sequence { Granted::Sequences(names) } else { Granted::Tables(names) })
}

/// True when `OWNER TO` stands behind the kind and the name that come next.
fn names_an_owner(parser: &Parser<'_>) -> bool {
    (3..8).any(|n| is_word_at(parser, n, "owner") && is_word_at(parser, n + 1, "to"))
}

fn change_owner(parser: &mut Parser<'_>) -> Parsed {
    parser.next_token();
    let of = if accept(parser, &["model"]) {
        Granted::Models(vec![role_name(parser)?])
    } else if accept(parser, &["schema"]) {
        Granted::Schemas(vec![role_name(parser)?])
    } else {
        parser.next_token();
        Granted::Tables(vec![parser.parse_object_name(false)?])
    };
    accept(parser, &["owner", "to"]);
    Ok(RoleStatement::Owner { of, owner: role_name(parser)? })
}

fn role_name(parser: &mut Parser<'_>) -> Parsed<String> {
    parser.parse_identifier().map(|name| fold(&name))
}
