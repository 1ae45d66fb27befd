//! The line editor: history, statements over several lines, completion and colours.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::PathBuf;

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use crate::engine::Session;

use super::completion::complete;
use super::lexer::{TokenKind, tokens};
use super::meta;
use super::terminal::Style;

const PROMPT: &str = "foretell> ";
const HISTORY_LENGTH: usize = 10_000;

/// What the user did at the prompt.
pub(super) enum Line {
    /// Typed a statement, several, or a command.
    Entered(String),
    /// Pressed Ctrl-C: start over.
    Cleared,
    /// Pressed Ctrl-D: leave.
    Left,
}

/// The editor with its history file.
pub(super) struct LineEditor {
    editor: Editor<SqlHelper, DefaultHistory>,
    history: Option<PathBuf>,
}

impl LineEditor {
    /// An editor that completes from what the session knows.
    pub(super) fn new(session: Session, style: Style) -> rustyline::Result<Self> {
        let config = Config::builder()
            .max_history_size(HISTORY_LENGTH)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .build();
        let mut editor = Editor::with_config(config)?;
        let keywords = session.words().keywords.iter().map(|word| word.to_lowercase()).collect();
        editor.set_helper(Some(SqlHelper { session, keywords, files: FilenameCompleter::new(), style }));
        let history = history_file();
        if let Some(path) = &history {
            // A missing or unreadable history only means that there is nothing to recall.
            let _ = editor.load_history(path);
        }
        Ok(Self { editor, history })
    }

    /// Reads until a statement is complete, starting from `initial`.
    pub(super) fn read(&mut self, initial: &str) -> rustyline::Result<Line> {
        let prompt = self.editor.helper().map_or(PROMPT.to_owned(), |helper| helper.style.bold(PROMPT));
        match self.editor.readline_with_initial(&(PROMPT, prompt.as_str()), (initial, "")) {
            Ok(line) => {
                if self.editor.add_history_entry(line.trim_end())? {
                    self.save_history();
                }
                Ok(Line::Entered(line))
            }
            Err(ReadlineError::Interrupted) => Ok(Line::Cleared),
            Err(ReadlineError::Eof) => Ok(Line::Left),
            Err(error) => Err(error),
        }
    }

    /// Keeps what was typed for the next time, now, whatever becomes of this one; says once where it cannot.
    fn save_history(&mut self) {
        let Some(path) = &self.history else { return };
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let saved = made.map_err(ReadlineError::from).and_then(|()| self.editor.append_history(path));
        if let Err(error) = saved {
            eprintln!("WARNING: history not saved to {}: {error}", path.display());
            self.history = None;
        }
    }
}

/// `$FORETELL_HISTORY`, else a file in the user's state directory.
fn history_file() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("FORETELL_HISTORY") {
        return (!path.is_empty()).then(|| PathBuf::from(path));
    }
    let state = std::env::var_os("XDG_STATE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    Some(state.or_else(home)?.join("foretell/history"))
}

struct SqlHelper {
    session: Session,
    keywords: HashSet<String>,
    files: FilenameCompleter,
    style: Style,
}

impl Helper for SqlHelper {}

impl Hinter for SqlHelper {
    type Hint = String;
}

impl Validator for SqlHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let input = context.input();
        let done = input.trim().is_empty()
            || input.trim_start().starts_with('\\')
            || meta::leaves(input)
            || meta::at_end_of(input).is_some()
            || self.session.is_complete(input);
        Ok(if done { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Completer for SqlHelper {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        if line.trim_start().starts_with("\\i ") {
            return self.files.complete(line, at, context);
        }
        let (start, offers) = complete(&line[..at], &self.session.words());
        let pair = |offer: String| Pair {
            display: offer.trim_end_matches([' ', '=', '>']).to_owned(),
            replacement: offer,
        };
        Ok((start, offers.into_iter().map(pair).collect()))
    }
}

impl Highlighter for SqlHelper {
    fn highlight<'l>(&self, line: &'l str, _cursor: usize) -> Cow<'l, str> {
        if !self.style.is_coloured() || line.starts_with('\\') {
            return Cow::Borrowed(line);
        }
        let coloured = |kind: TokenKind, text: &str| match kind {
            TokenKind::Word if self.keywords.contains(&text.to_lowercase()) => self.style.wrap("1;34", text),
            TokenKind::String => self.style.wrap("32", text),
            TokenKind::Number => self.style.wrap("36", text),
            TokenKind::Comment => self.style.dim(text),
            _ => text.to_owned(),
        };
        Cow::Owned(tokens(line).iter().map(|token| coloured(token.kind, token.text)).collect())
    }

    fn highlight_char(&self, _line: &str, _cursor: usize, _kind: CmdKind) -> bool {
        self.style.is_coloured()
    }
}
