//! What a probe finds: a sentence with a code, and the lines that repair it.

use crate::fix::Fix;
use crate::text::Text;

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something to know; the exit status stays 0.
    Note,
    /// Something that users notice; the exit status is 1.
    Problem,
}

impl Level {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Problem => "problem",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// A stable name, for programs.
    pub code: &'static str,
    /// How serious it is.
    pub level: Level,
    /// What was found.
    pub text: Text,
    /// The lines that repair it, for each hop that may be the cause; the likeliest first.
    pub fixes: Vec<Fix>,
}

impl Finding {
    /// A problem.
    pub fn problem(code: &'static str, text: Text) -> Self {
        Self { code, level: Level::Problem, text, fixes: Vec::new() }
    }

    /// Something to know.
    pub fn note(code: &'static str, text: Text) -> Self {
        Self { code, level: Level::Note, text, fixes: Vec::new() }
    }

    /// With the lines that repair it.
    #[must_use]
    pub fn fixed_by(mut self, fixes: Vec<Fix>) -> Self {
        self.fixes = fixes;
        self
    }
}
