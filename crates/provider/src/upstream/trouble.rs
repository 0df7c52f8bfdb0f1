//! What a probe of an upstream finds.

use std::time::Duration;

use engine::provider::failure::Failure;
use protocol::fault::Fault;

use crate::http::Unreached;

/// What is wrong with an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It gave no answer at all.
    Unreached(Unreached),
    /// It answered with an error.
    Refused(Box<Refusal>),
    /// It answered with something else than was asked for.
    Misunderstood {
        /// Whether that was a page for people.
        is_page: bool,
    },
    /// The answer of the model failed after its head.
    Failed(Failure),
    /// Its wire has no word for the question.
    Unsaid(Fault),
}

/// An answer with an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// What it means.
    pub failure: Failure,
    /// Where a redirect leads, without its query.
    pub location: Option<String>,
    /// Whether the body was a page for people.
    pub is_page: bool,
}

/// How long a model took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// From the question to the first word.
    pub first_token: Duration,
    /// From the question to the end.
    pub total: Duration,
}

impl Trouble {
    /// A word for it, for machines.
    pub fn code(&self) -> &str {
        match self {
            Self::Unreached(unreached) => unreached.code(),
            Self::Refused(refusal) => &refusal.failure.fault.code,
            Self::Misunderstood { .. } => "not_understood",
            Self::Failed(Failure { fault, .. }) | Self::Unsaid(fault) => &fault.code,
        }
    }
}
