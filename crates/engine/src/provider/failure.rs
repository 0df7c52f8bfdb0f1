//! How a call of an upstream fails, and what that means for the next attempt (promise 8).

use std::time::Duration;

use protocol::fault::Fault;

/// The code of a fault for a connection that broke in the middle of a response.
pub const UPSTREAM_CUT: &str = "upstream_cut";

/// The code of a fault for a conversation that is longer than the context of the model.
pub const CONTEXT_LENGTH: &str = "context_length_exceeded";

/// A failed call: the fault for the caller, and the scope of the failure, which decides what is
/// tried next (promise 8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderFailure {
    /// The fault for the caller. It never contains a key.
    pub fault: Fault,
    /// The scope of the failure.
    pub scope: FailureScope,
}

/// The scope of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureScope {
    /// The request is invalid for every upstream, or the upstream forbids a retry.
    Request,
    /// This upstream does not support the request or the model. Another may.
    Unsupported,
    /// The key is invalid, or its account is closed. That is permanent until the configuration
    /// changes.
    Credential,
    /// The account of the key has no credit or quota left.
    Quota,
    /// The key is rate limited, with the time after which to retry, if known.
    RateLimited(Option<Duration>),
    /// The upstream is unreachable, overloaded, broken or silent, with the time after which to
    /// retry, if known.
    Upstream(Option<Duration>),
}

impl ProviderFailure {
    /// A failure with the scope `scope`.
    pub fn new(fault: Fault, scope: FailureScope) -> Self {
        Self { fault, scope }
    }

    /// A failure of the upstream, without a time after which to retry.
    pub fn upstream(fault: Fault) -> Self {
        Self::new(fault, FailureScope::Upstream(None))
    }
}
