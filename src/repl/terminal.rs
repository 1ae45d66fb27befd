//! What the terminal can show: its size and its colours.

use std::io::IsTerminal;

use console::Term;

/// Colours and weights as ANSI escapes, or nothing where they would be noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    coloured: bool,
}

impl Style {
    /// Text without any escapes.
    #[cfg(test)]
    pub(super) const PLAIN: Self = Self { coloured: false };

    /// Escapes when standard output is a terminal and nobody asked for none.
    pub(super) fn of_stdout() -> Self {
        Self { coloured: std::io::stdout().is_terminal() && colours_allowed() }
    }

    /// Escapes when standard error is a terminal and nobody asked for none.
    pub(super) fn of_stderr() -> Self {
        Self { coloured: std::io::stderr().is_terminal() && colours_allowed() }
    }

    /// True when escapes are written.
    pub(super) fn is_coloured(self) -> bool {
        self.coloured
    }

    /// Heavier than the rest.
    pub(super) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// Fainter than the rest.
    pub(super) fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    /// The colour of errors.
    pub(super) fn red(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    /// The colour of the `index`-th of several things, the same for the same index.
    pub(super) fn nth(self, index: usize, text: &str) -> String {
        const CODES: [&str; 6] = ["36", "33", "35", "32", "34", "31"];
        self.wrap(CODES[index % CODES.len()], text)
    }

    /// `text` between the escape of `code` and the reset.
    pub(super) fn wrap(self, code: &str, text: &str) -> String {
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Columns of the terminal behind standard output, or none when it is a file or a pipe.
pub(super) fn width() -> Option<usize> {
    size().map(|(_, columns)| columns)
}

/// Rows of the terminal behind standard output, or none when it is a file or a pipe.
pub(super) fn height() -> Option<usize> {
    size().map(|(rows, _)| rows)
}

/// Begins a new line on a terminal, so that what comes does not stand behind the `^C` that it echoes.
pub(super) fn end_line() {
    if std::io::stderr().is_terminal() {
        eprintln!();
    }
}

fn size() -> Option<(usize, usize)> {
    let (rows, columns) = Term::stdout().size_checked()?;
    (rows > 0 && columns > 0).then_some((usize::from(rows), usize::from(columns)))
}

fn colours_allowed() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
