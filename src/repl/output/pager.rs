//! Where results go: standard output, through the pager when they are longer than the screen.

use std::io::{self, BufWriter, ErrorKind, Stdout, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

/// Standard output that notices when nobody reads it any more.
#[derive(Debug)]
pub(crate) struct Output {
    target: Target,
    closed: bool,
}

#[derive(Debug)]
enum Target {
    /// Everything goes out directly.
    Direct(BufWriter<Stdout>),
    /// Kept until it is longer than the screen.
    Held { text: Vec<u8>, lines: usize, screen_height: usize },
    /// Longer than the screen: the pager has it.
    Paged { child: Child, input: ChildStdin },
}

impl Output {
    /// Everything to standard output.
    pub(crate) fn direct() -> Self {
        Self { target: Target::Direct(BufWriter::with_capacity(1 << 16, io::stdout())), closed: false }
    }

    /// To standard output when it fits on the screen, else to the pager.
    pub(crate) fn paged(screen_height: usize) -> Self {
        Self { target: Target::Held { text: Vec::new(), lines: 0, screen_height }, closed: false }
    }

    /// True once the reader has gone: it has seen enough, and that is no error.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Hands over what is still held and waits for the pager to end.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self.target {
            Target::Direct(mut out) => out.flush(),
            Target::Held { text, .. } => {
                let mut out = io::stdout().lock();
                out.write_all(&text)?;
                out.flush()
            }
            Target::Paged { mut child, input } => {
                drop(input);
                child.wait().map(|_| ())
            }
        }
    }

    fn write_to_target(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.target {
            Target::Direct(out) => out.write_all(bytes),
            Target::Paged { input, .. } => input.write_all(bytes),
            Target::Held { text, lines, screen_height } => {
                text.extend_from_slice(bytes);
                *lines += bytes.iter().filter(|b| **b == b'\n').count();
                if *lines < *screen_height {
                    return Ok(());
                }
                let held = std::mem::take(text);
                self.target = start_pager().unwrap_or_else(|| Target::Direct(BufWriter::new(io::stdout())));
                self.write_to_target(&held)
            }
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.write_to_target(bytes);
        self.closed |= matches!(&written, Err(e) if e.kind() == ErrorKind::BrokenPipe);
        written.map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = match &mut self.target {
            Target::Direct(out) => out.flush(),
            Target::Paged { input, .. } => input.flush(),
            Target::Held { .. } => Ok(()),
        };
        self.closed |= matches!(&flushed, Err(e) if e.kind() == ErrorKind::BrokenPipe);
        flushed
    }
}

/// The user's pager, else `less`; nothing when it is switched off or cannot be started.
fn start_pager() -> Option<Target> {
    let variable = |name: &str| std::env::var(name).ok();
    let command =
        variable("FORETELL_PAGER").or_else(|| variable("PAGER")).unwrap_or_else(|| "less".to_owned());
    let mut words = command.split_whitespace();
    let program = words.next()?;
    let mut pager = Command::new(program);
    pager.args(words).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        pager.env("LESS", "-FRSX");
    }
    let mut child = pager.spawn().ok()?;
    let input = child.stdin.take()?;
    Some(Target::Paged { child, input })
}
