//! The state of the upstreams, for operators. It contains no key and no address.

use std::sync::Arc;
use std::time::Duration;

/// The state of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamState {
    /// Its name.
    pub upstream: Arc<str>,
    /// Its circuit breaker.
    pub circuit: Circuit,
    /// Its keys; one called `none` if it needs none.
    pub keys: Vec<KeyState>,
    /// Responses that wait for a key.
    pub waiting: usize,
}

/// The state of a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// Calls are made.
    Closed,
    /// No calls are made for this time.
    Open(Duration),
    /// One call is made, to see whether the upstream has recovered.
    HalfOpen,
}

/// The state of a key. It does not contain the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyState {
    /// Its label.
    pub label: Arc<str>,
    /// Responses that run on it.
    pub running: usize,
    /// Its health.
    pub health: KeyHealth,
}

/// The health of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyHealth {
    /// It is usable.
    Well,
    /// It is rate limited for this time.
    Cooling(Duration),
    /// It was refused; it is tried again after this time.
    Refused(Duration),
    /// Its account is empty; it is tried again after this time.
    Empty(Duration),
}

impl Circuit {
    /// Its name, and how long it stays so, if known.
    pub fn said(self) -> (&'static str, Option<Duration>) {
        match self {
            Self::Closed => ("closed", None),
            Self::Open(left) => ("open", Some(left)),
            Self::HalfOpen => ("half_open", None),
        }
    }
}

impl KeyHealth {
    /// Its name, and how long it stays so, if known.
    pub fn said(self) -> (&'static str, Option<Duration>) {
        match self {
            Self::Well => ("well", None),
            Self::Cooling(left) => ("cooling", Some(left)),
            Self::Refused(left) => ("refused", Some(left)),
            Self::Empty(left) => ("empty", Some(left)),
        }
    }
}
