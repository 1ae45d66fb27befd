//! Errors and notices as messages: SQLSTATE, place, hint and detail.

use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::{ErrorResponse, NoticeResponse};

use crate::engine::Notice;
use crate::error::{Error, ErrorKind, Subject};

/// Longest text of a field: pgwire's limit for a message is 30,000 bytes.
const FIELD_MAX: usize = 6_000;

/// PostgreSQL's code of an error.
///
/// Source: PostgreSQL 15 documentation, Appendix A.
pub fn sqlstate(kind: ErrorKind, subject: Subject) -> &'static str {
    use ErrorKind as K;
    use Subject as S;
    match (kind, subject) {
        (K::Input, S::Syntax) => "42601",
        (K::Input, S::Column) => "42703",
        (K::Input, S::Type) => "42804",
        (K::Input, S::Value) => "22P02",
        (K::Input, S::Option) => "22023",
        (K::Input, S::Function) => "42883",
        (K::Input, S::Transaction) => "25P01",
        (K::Input, S::Parameter | S::Connection) => "08P01",
        (K::Input, S::Statement) => "42P10",
        (K::Input, S::Constraint) => "42P16",
        (K::Input, S::Role) => "22023",
        (K::Input, S::Sequence) => "42809",
        (K::Input, _) => "42601",
        (K::NotFound, S::Table | S::Sequence) => "42P01",
        (K::NotFound, S::Schema) => "3F000",
        (K::NotFound, S::Column) => "42703",
        (K::NotFound, S::Model | S::Type | S::Role | S::Option) => "42704",
        (K::NotFound, S::Function) => "42883",
        (K::NotFound, S::File) => "58P01",
        (K::NotFound, S::Database) => "3D000",
        (K::NotFound, S::Prepared) => "26000",
        (K::NotFound, S::Cursor) => "34000",
        (K::NotFound, S::Transaction) => "3B001",
        (K::NotFound, S::Parameter) => "42P02",
        (K::NotFound, _) => "42704",
        (K::Exists, S::Table | S::Sequence) => "42P07",
        (K::Exists, S::Schema) => "42P06",
        (K::Exists, S::Column) => "42701",
        (K::Exists, S::Cursor) => "42P03",
        (K::Exists, S::Prepared) => "42P05",
        (K::Exists, _) => "42710",
        (K::Data, S::Constraint) => "23514",
        (K::Data, S::Sequence) => "2200H",
        (K::Data, S::File) => "22P04",
        (K::Data, _) => "22000",
        (K::Unavailable, S::Memory) => "53200",
        (K::Unavailable, S::Disk) => "53100",
        (K::Unavailable, S::File) => "58030",
        (K::Unavailable, S::Connection) => "53300",
        (K::Unavailable, S::Transaction) => "25P02",
        (K::Unavailable, S::Prepared) => "54000",
        (K::Unavailable, _) => "55006",
        (K::Cancelled, S::Database) => "57P01",
        (K::Cancelled, S::Connection) => "57P05",
        (K::Cancelled, S::Transaction) => "25P03",
        (K::Cancelled, S::Table) => "55P03",
        (K::Cancelled, _) => "57014",
        (K::Denied, S::Transaction) => "25006",
        (K::Denied, S::Role) => "28P01",
        (K::Denied, S::Connection) => "08P01",
        (K::Denied, S::Option) => "55P02",
        (K::Denied, S::Login) => "28000",
        (K::Denied, _) => "42501",
        (K::Corrupt, _) => "XX001",
        (K::Unsupported, _) => "0A000",
        (K::Internal, _) => "XX000",
    }
}

/// How errors about statements that are too large begin.
const TOO_MUCH: [&str; 4] = ["statement has ", "statement nests ", "statement chains ", "text has "];

/// How errors about the texts of dates and times begin.
const DATES: [&str; 5] = [
    "invalid format specification for an interval",
    "hour \"",
    "invalid input syntax for type date",
    "invalid input syntax for type time",
    "invalid input syntax for type interval",
];

/// How errors about windows that extend others begin.
const WINDOWS: [&str; 3] = ["cannot override ", "cannot copy window \"", "window \""];

/// How errors about times that are too early, too late or not there begin.
const TIMES_OUT_OF_RANGE: [&str; 5] = [
    "date/time field value out of range",
    "date field value out of range",
    "time field value out of range",
    "interval out of range",
    "timestamp out of range",
];

/// The code of this error; some need a look at more than kind and subject.
fn code(error: &Error) -> &'static str {
    match (error.kind(), error.message()) {
        (ErrorKind::Data, "division by zero") => "22012",
        (ErrorKind::Data, "more than one row returned by a subquery used as an expression") => "21000",
        (ErrorKind::Input, message) if TOO_MUCH.iter().any(|begin| message.starts_with(begin)) => "54000",
        (_, message) if message.starts_with("invalid byte sequence for encoding") => "22021",
        (_, message) if TIMES_OUT_OF_RANGE.iter().any(|begin| message.starts_with(begin)) => "22008",
        (_, message) if message.starts_with("percentile value ") => "22003",
        (_, message) if message.starts_with("null values cannot be formatted") => "22004",
        (ErrorKind::Data | ErrorKind::Input, message) if message.contains("out of range") => "22003",
        (ErrorKind::Input, message)
            if message.starts_with("invalid value \"") && message.contains("\" for \"") =>
        {
            "22007"
        }
        (ErrorKind::Input, message) if DATES.iter().any(|begin| message.starts_with(begin)) => "22007",
        (ErrorKind::Input, message) if WINDOWS.iter().any(|begin| message.starts_with(begin)) => "42P20",
        (ErrorKind::Data, message) if message.contains("out of bounds for sequence") => "22003",
        (ErrorKind::Data, message) if message.contains("NOT NULL") || message.contains("not-null") => "23502",
        (ErrorKind::Input, message) if message.contains("cannot be dropped because") => "2BP01",
        (ErrorKind::Input, message) if message.ends_with("is ambiguous") => "42702",
        (ErrorKind::Input, message)
            if message.contains("GROUP BY clause") || message.starts_with("aggregate function") =>
        {
            "42803"
        }
        (kind, _) => sqlstate(kind, error.subject()),
    }
}

/// How bad an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The statement has failed.
    Error,
    /// The connection ends.
    Fatal,
}

/// The message of an error; `sql` is the text that its place is in.
pub fn error_response(error: &Error, sql: &str, severity: Severity) -> PgWireBackendMessage {
    let word = if severity == Severity::Fatal { "FATAL" } else { "ERROR" };
    let mut fields = vec![
        (b'S', word.to_owned()),
        (b'V', word.to_owned()),
        (b'C', code(error).to_owned()),
        (b'M', cut(error.message())),
    ];
    fields.extend(error.detail().map(|detail| (b'D', cut(detail))));
    fields.extend(error.hint().map(|hint| (b'H', cut(hint))));
    // By this name drivers know that it helps to prepare the statement again.
    if (error.kind(), error.subject()) == (ErrorKind::Unsupported, Subject::Prepared) {
        fields.push((b'R', "RevalidateCachedQuery".to_owned()));
    }
    fields.extend(error.span().and_then(|span| position(sql, span.start)).map(|n| (b'P', n.to_string())));
    PgWireBackendMessage::ErrorResponse(ErrorResponse::new(fields))
}

/// The message of a notice or a warning.
pub fn notice_response(notice: &Notice) -> PgWireBackendMessage {
    let (word, code) = if notice.warning { ("WARNING", "01000") } else { ("NOTICE", "00000") };
    let mut fields = vec![
        (b'S', word.to_owned()),
        (b'V', word.to_owned()),
        (b'C', code.to_owned()),
        (b'M', cut(&notice.text)),
    ];
    fields.extend(notice.detail.as_deref().map(|detail| (b'D', cut(detail))));
    PgWireBackendMessage::NoticeResponse(NoticeResponse::new(fields))
}

/// The place as a number of characters, counted from 1.
fn position(sql: &str, byte: usize) -> Option<usize> {
    sql.get(..byte).map(|before| before.chars().count() + 1)
}

fn cut(text: &str) -> String {
    let text = text.replace('\0', "");
    if text.len() <= FIELD_MAX {
        return text;
    }
    let end = (0..=FIELD_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_wait_for_a_lock_is_told_apart() {
        assert_eq!(sqlstate(ErrorKind::Cancelled, Subject::Table), "55P03");
        assert_eq!(sqlstate(ErrorKind::Cancelled, Subject::Statement), "57014");
    }

    #[test]
    fn places_count_characters() {
        assert_eq!(position("SELECT 'é', x", "SELECT 'é', ".len()), Some(13));
        assert_eq!(position("x", 9), None);
    }
}
