//! How a call of an upstream fails, and what that means for the next attempt (promise 8).

use std::time::Duration;

use protocol::fault::Fault;

/// The code of a fault for a connection that broke in the middle of a response.
pub const UPSTREAM_CUT: &str = "upstream_cut";

/// The code of a fault for a conversation that is longer than the context of the model.
pub const CONTEXT_LENGTH: &str = "context_length_exceeded";

/// A failed call: the fault for the caller, and the scope of the failure, which decides what is tried next (promise 8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The fault for the caller. It never contains a key.
    pub fault: Fault,
    /// The scope of the failure.
    pub blame: Blame,
}

/// The scope of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The request is invalid for every upstream, or the upstream forbids a retry.
    Request,
    /// This upstream does not support the request or the model. Another may.
    Match,
    /// The key is invalid, or its account is closed. That is permanent until the configuration changes.
    Key,
    /// The account of the key has no credit or quota left.
    Money,
    /// The key is rate limited, with the time after which to retry, if known.
    Rate(Option<Duration>),
    /// The upstream is unreachable, overloaded, broken or silent, with the time after which to retry, if known.
    Upstream(Option<Duration>),
}

impl Failure {
    /// A failure with the scope `blame`.
    pub fn new(fault: Fault, blame: Blame) -> Self {
        Self { fault, blame }
    }

    /// A failure of the upstream, without a time after which to retry.
    pub fn upstream(fault: Fault) -> Self {
        Self::new(fault, Blame::Upstream(None))
    }
}
