//! The only place that prints: what was asked for on standard output, everything else on standard error.

use std::io::{self, ErrorKind, IsTerminal, Write};

use protocol::visible::visible;

/// What a command has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Printed {
    /// What was asked for, fit for a pipe.
    pub(crate) out: String,
    /// Hints for the person.
    pub(crate) hints: String,
}

/// Prints both. Much of it was not written here (what upstreams say, names in files), so that control characters are shown as symbols.
/// A reader who has seen enough (`weir config | head`) is no error.
pub(crate) fn print(printed: &Printed) -> io::Result<()> {
    write(&mut io::stdout().lock(), &visible(&printed.out))?;
    write(&mut io::stderr().lock(), &visible(&printed.hints))
}

/// Prints a piece of what was asked for, at once. Here a reader who has seen enough is an error, of that kind: it ends what
/// would otherwise go on.
pub(crate) fn write_out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Says what went wrong, one line or more, with control characters as symbols.
pub(crate) fn complain(error: &dyn std::fmt::Display) {
    complain_drawn(&visible(&error.to_string()));
}

/// Says what went wrong in rows that were drawn for a terminal: they have colours, and nothing else of it.
pub(crate) fn complain_drawn(rows: &str) {
    // Where even that cannot be said, the exit status says it.
    let _ = write(&mut io::stderr().lock(), &format!("{rows}\n"));
}

/// How far long work has come: one line that renews itself where a person looks at it, a line for every tenth elsewhere.
pub(crate) struct ProgressMeter {
    what: &'static str,
    is_seen: bool,
    last: Option<u64>,
}

impl ProgressMeter {
    /// Nothing is shown yet.
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, is_seen: io::stderr().is_terminal(), last: None }
    }

    /// Shows it, if that is news. Where the end is not known, what is done is.
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
    // Work goes on, whether or not anybody can see how far it is.
    let _ = write(&mut io::stderr().lock(), text);
}

fn write(stream: &mut dyn Write, text: &str) -> io::Result<()> {
    match stream.write_all(text.as_bytes()).and_then(|()| stream.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Rows with their cells under each other. The last cell of a row is not padded.
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
    fn cells_stand_under_each_other() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let text =
            columns(&[row(["a", "字字字字", "x"]), row(["bbb", "", "y"]), row(["c", "z", ""])]);
        assert_eq!(text, "a    字字字字  x\nbbb        y\nc    z\n");
    }
}
