//! What is checked beside the arrival of events, and what each check reports.

pub(crate) mod connections;
pub(crate) mod idle;
pub(crate) mod resume;
pub(crate) mod stop;
pub(crate) mod truncation;

use serde_json::Value;

use crate::finding::Finding;
use crate::text::Text;

/// A check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// How events arrive.
    Buffering,
    /// Whether they are framed as their API says.
    Framing,
    /// Whether a stream that was cut goes on without a gap.
    Resume,
    /// How long a stop takes.
    Stop,
    /// Whether a stream that was broken off looks different from one that has ended.
    Truncation,
    /// How many streams are open at once.
    Connections,
    /// How long a connection may be silent.
    Idle,
}

impl Check {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 7] = [
        Self::Buffering,
        Self::Framing,
        Self::Resume,
        Self::Stop,
        Self::Truncation,
        Self::Connections,
        Self::Idle,
    ];

    /// Its name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Buffering => "buffering",
            Self::Framing => "framing",
            Self::Resume => "resume",
            Self::Stop => "stop",
            Self::Truncation => "truncation",
            Self::Connections => "connections",
            Self::Idle => "idle",
        }
    }
}

/// What a check has shown.
#[derive(Clone, Debug)]
pub struct CheckReport {
    /// Which check.
    pub check: Check,
    /// What was measured, in words.
    pub lines: Vec<Text>,
    /// The same for programs.
    pub facts: Value,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Whether it could be made at all.
    pub is_made: bool,
}

impl CheckReport {
    /// A check that was made.
    pub(crate) fn made(
        check: Check,
        facts: Value,
        lines: Vec<Text>,
        findings: Vec<Finding>,
    ) -> Self {
        Self { check, lines, facts, findings, is_made: true }
    }

    /// A check that cannot be made here, and why.
    pub(crate) fn not_made(check: Check, why: Text) -> Self {
        Self { check, lines: vec![why], facts: Value::Null, findings: Vec::new(), is_made: false }
    }
}
