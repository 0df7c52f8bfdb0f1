//! How the upstreams are, for those who look after the server. Never with a key or an address in it.

use std::sync::Arc;
use std::time::Duration;

/// How an upstream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Its name.
    pub upstream: Arc<str>,
    /// Whether it is asked at all.
    pub circuit: Circuit,
    /// Its keys; one that is called `none` where it wants none.
    pub keys: Vec<KeyState>,
    /// Answers that wait for a key.
    pub waiting: usize,
}

/// What a circuit breaker is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// Calls pass.
    Closed,
    /// None passes for so long.
    Open(Duration),
    /// One has passed, or may pass, to see whether the upstream is back.
    HalfOpen,
}

/// What is known of a key. Never the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyState {
    /// What it is called.
    pub label: Arc<str>,
    /// Answers that run on it.
    pub running: usize,
    /// How it is.
    pub health: Health,
}

/// How a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is used.
    Well,
    /// It was asked too much, and rests for so long.
    Cooling(Duration),
    /// It was refused; it is tried again after so long.
    Refused(Duration),
    /// Its account is empty; it is tried again after so long.
    Empty(Duration),
}

impl Circuit {
    /// The word for it, and for how long it stays so where that is known.
    pub fn said(self) -> (&'static str, Option<Duration>) {
        match self {
            Self::Closed => ("closed", None),
            Self::Open(left) => ("open", Some(left)),
            Self::HalfOpen => ("half_open", None),
        }
    }
}

impl Health {
    /// The word for it, and for how long it stays so where that is known.
    pub fn said(self) -> (&'static str, Option<Duration>) {
        match self {
            Self::Well => ("well", None),
            Self::Cooling(left) => ("cooling", Some(left)),
            Self::Refused(left) => ("refused", Some(left)),
            Self::Empty(left) => ("empty", Some(left)),
        }
    }
}
