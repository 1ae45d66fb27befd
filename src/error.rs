//! The one error of the product: who must act, on what, and the way out.

use std::fmt;

/// Who must act, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The statement must change: syntax, options, types.
    Input,
    /// A named thing does not exist.
    NotFound,
    /// A thing of that name exists already.
    Exists,
    /// The rows do not permit it: duplicates, NaN, too short.
    Data,
    /// Retry later or free something: memory, a lock, a device, the disk.
    Unavailable,
    /// The statement was cancelled by the user or a deadline.
    Cancelled,
    /// A privilege is missing.
    Denied,
    /// Stored bytes are not what was written.
    Corrupt,
    /// The statement is legal SQL that this engine does not do.
    Unsupported,
    /// A bug of ours.
    Internal,
}

/// What the error is about; together with [`ErrorKind`] it decides the SQLSTATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The text of the statement.
    Syntax,
    /// A table or view.
    Table,
    /// A schema.
    Schema,
    /// A column.
    Column,
    /// A model or one of its versions.
    Model,
    /// A function.
    Function,
    /// An option, clause or named argument.
    Option,
    /// A data type.
    Type,
    /// A value in the rows.
    Value,
    /// A constraint of a table.
    Constraint,
    /// A file or directory.
    File,
    /// A disk that is full.
    Disk,
    /// Memory.
    Memory,
    /// The database directory or its lock.
    Database,
    /// The statement as a whole.
    Statement,
    /// A parameter of a prepared statement.
    Parameter,
    /// A prepared statement.
    Prepared,
    /// A cursor.
    Cursor,
    /// A transaction or savepoint.
    Transaction,
    /// A sequence.
    Sequence,
    /// An index.
    Index,
    /// A login.
    Login,
    /// A role or its password.
    Role,
    /// The connection and its protocol.
    Connection,
}

/// Characters `start..end` (byte offsets) of the SQL text that the error points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    subject: Subject,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    span: Option<Span>,
}

/// What went wrong, in the user's words: message, optional detail, hint and place in the SQL.
#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of this kind about that subject.
    pub fn new(kind: ErrorKind, subject: Subject, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Inner { kind, subject, message, detail: None, hint: None, span: None }))
    }

    /// The statement must change.
    pub fn input(subject: Subject, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Input, subject, message)
    }

    /// A named thing does not exist.
    pub fn not_found(subject: Subject, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, subject, message)
    }

    /// The rows do not permit it.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, Subject::Value, message)
    }

    /// Stored bytes are not what was written.
    pub fn corrupt(subject: Subject, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, subject, message)
    }

    /// Legal SQL that this engine does not do.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, Subject::Statement, message)
    }

    /// The statement was cancelled.
    pub fn cancelled(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Cancelled, Subject::Statement, message)
    }

    /// A bug of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, Subject::Statement, message)
    }

    /// An operating system error on the file or directory `path`.
    pub fn io(path: &std::path::Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::AlreadyExists => ErrorKind::Exists,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::Denied,
            _ => return Self::disk(format!("{}: {error}", path.display()), error),
        };
        Self::new(kind, Subject::File, format!("{}: {error}", path.display()))
    }

    /// A file that could not be written or read, for the reason that the error, or one below it, tells: the disk is full,
    /// or does not work.
    pub fn disk(message: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Self {
        match is_full(error) {
            false => Self::new(ErrorKind::Unavailable, Subject::File, message),
            true => Self::new(ErrorKind::Unavailable, Subject::Disk, message)
                .with_hint("DROP a table or a model, or VACUUM a table, to have room again"),
        }
    }

    /// Adds the way out.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds a sentence that explains the message.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds the place in the SQL text.
    pub fn with_span(mut self, span: Span) -> Self {
        self.0.span = Some(span);
        self
    }

    /// Adds the place in the SQL text where it is known.
    pub fn at(self, span: Option<Span>) -> Self {
        match span {
            Some(span) => self.with_span(span),
            None => self,
        }
    }

    /// Puts what the error happened in before the message.
    pub fn with_context(mut self, context: impl fmt::Display) -> Self {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }

    /// The error with its place moved by `bytes`: the text that it is in begins there in a longer one.
    pub fn shifted(mut self, bytes: usize) -> Self {
        self.0.span = self.0.span.map(|span| Span { start: span.start + bytes, end: span.end + bytes });
        self
    }

    /// Without the name of another thing that was perhaps meant.
    pub fn without_suggestion(mut self) -> Self {
        let named =
            matches!(self.0.subject, Subject::Table | Subject::Schema | Subject::Model | Subject::Role);
        if named && let Some(at) = self.0.message.rfind(SUGGESTS) {
            self.0.message.truncate(at);
        }
        self
    }

    /// Adds `; did you mean X?` to the message where one of the candidates is close to the missing `word`.
    pub fn with_suggestion<'a>(mut self, word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        self.0.message.push_str(&did_you_mean(word, candidates));
        self
    }

    /// Who must act.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What it is about.
    pub fn subject(&self) -> Subject {
        self.0.subject
    }

    /// The message, without hint or detail.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The way out, when there is one.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// A sentence that explains the message, when there is one.
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// The place in the SQL text, when it is known.
    pub fn span(&self) -> Option<Span> {
        self.0.span
    }
}

/// True where an error, or one below it, says that a disk or a quota is full.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::{Error as IoError, ErrorKind as Io};
    let full = |e: &IoError| matches!(e.kind(), Io::StorageFull | Io::QuotaExceeded);
    let below = std::iter::successors(Some(error), |error| match error.downcast_ref::<IoError>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static)),
        None => error.source(),
    });
    below.filter_map(|error| error.downcast_ref()).any(full)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

/// What comes before a suggestion in a message.
const SUGGESTS: &str = "; did you mean ";

/// `; did you mean X?` for the candidate closest to `word`, or nothing when none is close.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    closest(word, candidates).map(|c| format!("{SUGGESTS}{c}?")).unwrap_or_default()
}

/// As [`did_you_mean`], for names of columns and tables, which need quotes where they have capitals.
pub fn did_you_mean_name<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    closest(word, candidates).map(|c| format!("{SUGGESTS}{}?", identifier(c))).unwrap_or_default()
}

fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let first_word = |c: &str| c.split_once(' ').is_some_and(|(first, _)| first.to_lowercase() == word);
    let candidates: Vec<&str> = candidates.into_iter().collect();
    if let Some(longer) = candidates.iter().find(|c| first_word(c)) {
        return Some(longer);
    }
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&word, c.to_lowercase().trim_matches('"')), c))
        .filter(|(distance, c)| *distance <= 1 + c.len().max(word.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}

/// A name of several parts as it must be written in SQL.
pub fn qualified_identifier(name: &str) -> String {
    name.split('.').map(identifier).collect::<Vec<_>>().join(".")
}

/// A name as it must be written in SQL: in double quotes unless it is a word in lower case.
pub fn identifier(name: &str) -> String {
    let plain = |c: char| c.is_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.is_empty() && name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit()) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closest_candidate_is_suggested_and_far_ones_are_not() {
        let clauses = ["HORIZON", "TARGET", "PARTITION"];
        assert_eq!(did_you_mean("horizons", clauses), "; did you mean HORIZON?");
        assert_eq!(did_you_mean("zebra", clauses), "");
        let names = ["Units", "day", "net sales"];
        assert_eq!(did_you_mean_name("units", names), "; did you mean \"Units\"?");
        assert_eq!(did_you_mean_name("days", names), "; did you mean day?");
        assert_eq!(did_you_mean_name("netsales", names), "; did you mean \"net sales\"?");
    }
}
