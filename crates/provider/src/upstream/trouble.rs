//! What a probe of an upstream finds.

use std::time::Duration;

use engine::provider::failure::Failure;
use protocol::fault::Fault;

use crate::http::Unreached;

/// Why a probe failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No response.
    Unreached(Unreached),
    /// An error response.
    Refused(Box<Refusal>),
    /// A response in another format.
    Misunderstood {
        /// Whether it was an HTML page.
        is_page: bool,
    },
    /// The stream failed after its response headers.
    Failed(Failure),
    /// The wire does not support the request.
    Unsaid(Fault),
}

/// An error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// What it means.
    pub failure: Failure,
    /// The target of a redirect, without its query.
    pub location: Option<String>,
    /// Whether the body was an HTML page.
    pub is_page: bool,
}

/// How long a probe took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// From the request to the first output.
    pub first_token: Duration,
    /// From the request to the end.
    pub total: Duration,
}

impl Trouble {
    /// A machine-readable code.
    pub fn code(&self) -> &str {
        match self {
            Self::Unreached(unreached) => unreached.code(),
            Self::Refused(refusal) => &refusal.failure.fault.code,
            Self::Misunderstood { .. } => "not_understood",
            Self::Failed(Failure { fault, .. }) | Self::Unsaid(fault) => &fault.code,
        }
    }
}
