//! How a call of an upstream fails, and what that means for the next attempt (promise 8).

use std::time::Duration;

use protocol::fault::Fault;

/// The code of a fault that says no more than that the connection broke in the middle of the answer.
pub const UPSTREAM_CUT: &str = "upstream_cut";

/// The code of a fault that says that the conversation is longer than the model can read.
pub const CONTEXT_LENGTH: &str = "context_length_exceeded";

/// A call that failed: what the caller is told, and on whom it was, which decides what is tried next (promise 8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Fit for the caller: never with a key in it.
    pub fault: Fault,
    /// On whom it was.
    pub blame: Blame,
}

/// On whom a failure was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// On the request, which nobody would take; or the upstream asks not to be asked again.
    Request,
    /// On the match of the two: this upstream lacks the model, or a word for what was asked. Another may have it.
    Match,
    /// On the key: it is wrong, or its account is closed. It stays so until somebody changes it.
    Key,
    /// On the key's account: no credit, no quota left. It may be filled up.
    Money,
    /// On the key's pace: it was asked too much, and may be asked again after a while.
    Rate(Option<Duration>),
    /// On the upstream: it cannot be reached, is overloaded, broken or silent; it may be asked again after a while.
    Upstream(Option<Duration>),
}

impl Failure {
    /// A failure that is on `blame`.
    pub fn new(fault: Fault, blame: Blame) -> Self {
        Self { fault, blame }
    }

    /// A failure that is on the upstream, which says nothing of when to come back.
    pub fn upstream(fault: Fault) -> Self {
        Self::new(fault, Blame::Upstream(None))
    }
}
