//! What a probe of an upstream finds.

use std::time::Duration;

use engine::provider::failure::ProviderFailure;
use protocol::fault::Fault;

use crate::http::ConnectError;

/// Why a probe failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No response.
    Connect(ConnectError),
    /// An error response.
    Refused(Box<Refusal>),
    /// A response in another format.
    Unparsed {
        /// Whether it was an HTML page.
        is_page: bool,
    },
    /// The stream failed after its response headers.
    Failed(ProviderFailure),
    /// The wire does not support the request.
    Unsupported(Fault),
}

/// An error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// What it means.
    pub failure: ProviderFailure,
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
            Self::Connect(unreached) => unreached.code(),
            Self::Refused(refusal) => &refusal.failure.fault.code,
            Self::Unparsed { .. } => "not_understood",
            Self::Failed(ProviderFailure { fault, .. }) | Self::Unsupported(fault) => &fault.code,
        }
    }
}
