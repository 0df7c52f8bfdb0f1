//! All printing: results on standard output, everything else on standard error.

use std::io::{self, ErrorKind, IsTerminal, Write};

use protocol::visible::visible;

/// The output of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Printed {
    /// The result, suitable for a pipe.
    pub(crate) out: String,
    /// Hints for the user.
    pub(crate) hints: String,
}

/// Prints both. Control characters are shown as symbols, since parts come from upstreams and files.
/// A closed pipe (`weir config | head`) is not an error.
pub(crate) fn print(printed: &Printed) -> io::Result<()> {
    write(&mut io::stdout().lock(), &visible(&printed.out))?;
    write(&mut io::stderr().lock(), &visible(&printed.hints))
}

/// Prints a part of the result at once. Here a closed pipe is an error, `BrokenPipe`, which stops
/// the producer.
pub(crate) fn write_out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// How many columns a table may have: those of the terminal; in a pipe, where lines do not wrap, a
/// number that no table reaches.
pub(crate) fn width() -> usize {
    if !io::stdout().is_terminal() {
        return usize::MAX;
    }
    #[cfg(unix)]
    if let Ok(size) = rustix::termios::tcgetwinsize(io::stdout())
        && size.ws_col > 0
    {
        return size.ws_col.into();
    }
    USUAL_WIDTH
}

/// That of a VT100, the customary default.
const USUAL_WIDTH: usize = 80;

/// Prints an error of one line or more, with control characters as symbols.
pub(crate) fn complain(error: &dyn std::fmt::Display) {
    complain_drawn(&visible(&error.to_string()));
}

/// Prints an error in rows rendered for a terminal: their only escape sequences are colours.
pub(crate) fn complain_drawn(rows: &str) {
    // If standard error is closed, only the exit status reports the error.
    let _ = write(&mut io::stderr().lock(), &format!("{rows}\n"));
}

/// The progress of long work: one updated line on a terminal, otherwise a line for every tenth.
pub(crate) struct ProgressMeter {
    what: &'static str,
    is_seen: bool,
    last: Option<u64>,
}

impl ProgressMeter {
    /// Progress that is not shown yet.
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, is_seen: io::stderr().is_terminal(), last: None }
    }

    /// Shows the progress if it changed: in percent, or as a count if the total is unknown.
    pub(crate) fn show(&mut self, done: u64, total: Option<u64>) {
        let now = match total {
            Some(total) => done.saturating_mul(100) / total.max(1),
            None => done / 1000,
        };
        let news = if self.is_seen || total.is_none() { now } else { now / 10 * 10 };
        if self.last == Some(news) {
            return;
        }
        self.last = Some(news);
        let text = match total {
            Some(_) => format!("{} {news:>3} %", self.what),
            None => format!("{} {news} thousand", self.what),
        };
        say(&if self.is_seen { format!("\r{text}") } else { format!("{text}\n") });
    }

    /// Clears the line.
    pub(crate) fn done(&mut self) {
        if self.is_seen && self.last.is_some() {
            say("\r\x1b[K");
        }
    }
}

fn say(text: &str) {
    // Errors are ignored: work continues without a display.
    let _ = write(&mut io::stderr().lock(), text);
}

fn write(stream: &mut dyn Write, text: &str) -> io::Result<()> {
    match stream.write_all(text.as_bytes()).and_then(|()| stream.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Rows with aligned columns. The last cell of a row is not padded.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let text =
            columns(&[row(["a", "字字字字", "x"]), row(["bbb", "", "y"]), row(["c", "z", ""])]);
        assert_eq!(text, "a    字字字字  x\nbbb        y\nc    z\n");
    }
}
