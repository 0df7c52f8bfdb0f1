//! What is wrong with the settings: each problem with its place, all of them at once.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Where a value was typed. The order is the order of the report.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ValueSource {
    /// Nowhere: it is the default.
    Default,
    /// In the file.
    File {
        /// The file, as it was named.
        name: Arc<str>,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
    },
    /// In a variable of the environment.
    Variable(String),
    /// In a flag, named without its dashes.
    Flag(&'static str),
}

/// As `weir config` shows it; a problem names the column, too.
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

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    place: ValueSource,
    what: String,
}

impl Problem {
    /// Something is wrong at `place`.
    pub(crate) fn new(place: ValueSource, what: impl Into<String>) -> Self {
        Self { place, what: what.into() }
    }

    /// The value of `path` at `place` is wrong. A variable and a flag say themselves what they are; a line does not.
    pub(crate) fn value(place: &ValueSource, path: &str, what: &str) -> Self {
        match place {
            ValueSource::Default | ValueSource::File { .. } => {
                Self::new(place.clone(), format!("{path}: {what}"))
            }
            ValueSource::Variable(_) | ValueSource::Flag(_) => Self::new(place.clone(), what),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            ValueSource::Default => {}
            ValueSource::File { column, .. } => write!(formatter, "{}:{column}: ", self.place)?,
            ValueSource::Variable(_) | ValueSource::Flag(_) => {
                write!(formatter, "{}: ", self.place)?
            }
        }
        formatter.write_str(&self.what)
    }
}

/// Everything that is wrong, one line each, in the order of the file, then variables, then flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// These problems; `None` where there are none.
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

/// "; did you mean …?" where one of `candidates` is near `typed`, else nothing. `separator` stands before a name's last
/// part: who typed only that, or put it into the wrong table, means the one setting that ends so.
pub(crate) fn did_you_mean(typed: &str, separator: char, candidates: &[&str]) -> String {
    let last = typed.rsplit(separator).next().unwrap_or(typed);
    let whole = typed.strip_prefix("WEIR_").unwrap_or(typed);
    let ends_so = |end: &str| {
        let mut found = candidates.iter().filter(|candidate| {
            candidate.strip_suffix(end).is_some_and(|rest| rest.ends_with(separator))
        });
        found.next().filter(|_| found.next().is_none())
    };
    // Every third letter may be wrong, and one always.
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

/// How many letters must be put in, left out or replaced to make `b` of `a` (Levenshtein's distance).
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
    fn near_names_are_offered() {
        let paths =
            ["data", "server.listen", "server.heartbeat", "engine.running", "timeouts.idle"];
        let check = |typed: &str, expected: &str| {
            assert_eq!(did_you_mean(typed, '.', &paths), expected, "{typed}")
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
            assert_eq!(did_you_mean(typed, '_', &variables), expected, "{typed}")
        };
        check("WEIR_LISEN", "; did you mean WEIR_LISTEN?");
        check("WEIR_HEARTBEAT", "; did you mean WEIR_SERVER_HEARTBEAT?");
        check("WEIR_BODY_TIMEOUT", "; did you mean WEIR_SERVER_BODY_TIMEOUT?");
        check("WEIR_COLOUR", "");
    }

    #[test]
    fn the_report_has_an_order() {
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
