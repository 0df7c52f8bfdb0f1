//! Problems in the settings, each with its location, reported together.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Where a value was set. The order is that of the report.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ValueSource {
    /// The default.
    Default,
    /// In the file.
    File {
        /// The path of the file, as it was given.
        name: Arc<str>,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
    },
    /// In an environment variable.
    Variable(String),
    /// In a flag, named without its dashes.
    Flag(&'static str),
}

/// As shown by `weir config`; a problem also has the column.
impl fmt::Display for ValueSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File { name, line, .. } => write!(formatter, "{name}:{line}"),
            Self::Variable(name) => formatter.write_str(name),
            Self::Flag(name) => write!(formatter, "--{name}"),
        }
    }
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    source: ValueSource,
    what: String,
}

impl Problem {
    /// A problem at `source`.
    pub(crate) fn new(source: ValueSource, what: impl Into<String>) -> Self {
        Self { source, what: what.into() }
    }

    /// An invalid value of `path` at `source`. The path is shown for lines of the file: variables
    /// and flags already name the setting.
    pub(crate) fn value(source: &ValueSource, path: &str, what: &str) -> Self {
        match source {
            ValueSource::Default | ValueSource::File { .. } => {
                Self::new(source.clone(), format!("{path}: {what}"))
            }
            ValueSource::Variable(_) | ValueSource::Flag(_) => Self::new(source.clone(), what),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            ValueSource::Default => {}
            ValueSource::File { column, .. } => write!(formatter, "{}:{column}: ", self.source)?,
            ValueSource::Variable(_) | ValueSource::Flag(_) => {
                write!(formatter, "{}: ", self.source)?;
            }
        }
        formatter.write_str(&self.what)
    }
}

/// All problems, one line each: those of the file in its order, then of variables, then of flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// These problems; `None` without any.
    pub(crate) fn of(mut problems: Vec<Problem>) -> Option<Self> {
        problems.sort();
        (!problems.is_empty()).then_some(Self(problems))
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(formatter, "{end}{problem}")?;
        }
        Ok(())
    }
}

impl Error for Problems {}

/// "; did you mean …?" if one of `candidates` is close to `typed`, else nothing. `separator`
/// precedes a name's last part, which also matches if it is unique: it may be in the wrong table.
pub(crate) fn did_you_mean(typed: &str, separator: char, candidates: &[&str]) -> String {
    let last = typed.rsplit(separator).next().unwrap_or(typed);
    let whole = typed.strip_prefix("WEIR_").unwrap_or(typed);
    let ends_so = |end: &str| {
        let mut found = candidates.iter().filter(|candidate| {
            candidate.strip_suffix(end).is_some_and(|rest| rest.ends_with(separator))
        });
        found.next().filter(|_| found.next().is_none())
    };
    // One letter in three may differ, and always at least one.
    let allowed = (last.chars().count() / 3).clamp(1, 4);
    let near = || {
        let distances = candidates.iter().map(|candidate| (distance(typed, candidate), candidate));
        distances.filter(|(distance, _)| *distance <= allowed).min().map(|(_, candidate)| candidate)
    };
    match near().or_else(|| ends_so(whole)).or_else(|| ends_so(last)) {
        Some(candidate) => format!("; did you mean {candidate}?"),
        None => String::new(),
    }
}

/// The Levenshtein distance: the insertions, deletions and substitutions that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for column in 0..b.len() {
            let replaced = diagonal + usize::from(b[column] != letter);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn similar_names_are_suggested() {
        let paths =
            ["data", "server.listen", "server.heartbeat", "engine.running", "timeouts.idle"];
        let check = |typed: &str, expected: &str| {
            assert_eq!(did_you_mean(typed, '.', &paths), expected, "{typed}");
        };
        check("server.hartbeat", "; did you mean server.heartbeat?");
        check("heartbeat", "; did you mean server.heartbeat?");
        check("engine.heartbeat", "; did you mean server.heartbeat?");
        check("dta", "; did you mean data?");
        check("server.colour", "");
        let variables = [
            "WEIR_LISTEN",
            "WEIR_SERVER_LISTEN",
            "WEIR_SERVER_HEARTBEAT",
            "WEIR_SERVER_BODY_TIMEOUT",
        ];
        let check = |typed: &str, expected: &str| {
            assert_eq!(did_you_mean(typed, '_', &variables), expected, "{typed}");
        };
        check("WEIR_LISEN", "; did you mean WEIR_LISTEN?");
        check("WEIR_HEARTBEAT", "; did you mean WEIR_SERVER_HEARTBEAT?");
        check("WEIR_BODY_TIMEOUT", "; did you mean WEIR_SERVER_BODY_TIMEOUT?");
        check("WEIR_COLOUR", "");
    }

    #[test]
    fn the_report_is_sorted() {
        let line = |line| ValueSource::File { name: "weir.toml".into(), line, column: 5 };
        let problems = Problems::of(vec![
            Problem::value(&ValueSource::Flag("listen"), "server.listen", "wrong"),
            Problem::value(&ValueSource::Variable("WEIR_DATA".to_owned()), "data", "wrong"),
            Problem::value(&line(12), "server.heartbeat", "wrong"),
            Problem::value(&line(3), "data", "wrong"),
        ]);
        let expected = "weir.toml:3:5: data: wrong\nweir.toml:12:5: server.heartbeat: wrong\nWEIR_DATA: wrong\n--listen: wrong";
        assert_eq!(problems.map(|problems| problems.to_string()).as_deref(), Some(expected));
        assert_eq!(Problems::of(Vec::new()), None);
    }
}
