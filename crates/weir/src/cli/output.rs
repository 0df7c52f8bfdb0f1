//! The only place that prints: what was asked for on standard output, everything else on standard error.

use std::io::{self, ErrorKind, Write};

/// What a command has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Printed {
    /// What was asked for, fit for a pipe.
    pub(crate) out: String,
    /// Hints for the person.
    pub(crate) hints: String,
}

/// Prints both. A reader who has seen enough (`weir config | head`) is no error.
pub(crate) fn print(printed: &Printed) -> io::Result<()> {
    write(&mut io::stdout().lock(), &printed.out)?;
    write(&mut io::stderr().lock(), &printed.hints)
}

/// Prints a piece of what was asked for, at once. Here a reader who has seen enough is an error, of that kind: it ends what
/// would otherwise go on.
pub(crate) fn write_out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Says what went wrong, one line or more.
pub(crate) fn complain(error: &dyn std::fmt::Display) {
    // Where even that cannot be said, the exit status says it.
    let _ = write(&mut io::stderr().lock(), &format!("{error}\n"));
}

fn write(stream: &mut dyn Write, text: &str) -> io::Result<()> {
    match stream.write_all(text.as_bytes()).and_then(|()| stream.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Rows with their cells under each other. The last cell of a row is not padded.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
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
        let text = columns(&[row(["a", "字字字字", "x"]), row(["bbb", "", "y"]), row(["c", "z", ""])]);
        assert_eq!(text, "a    字字字字  x\nbbb        y\nc    z\n");
    }
}
