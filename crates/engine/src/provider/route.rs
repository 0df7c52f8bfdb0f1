//! Where a model's name leads: the targets in order, their timeouts and the retries.

use std::sync::Arc;
use std::time::Duration;

use protocol::on_leave::OnLeave;

use super::Provider;

/// Where a model's name leads.
#[derive(Clone)]
pub struct Route {
    /// Whom to ask, the first before the others; never empty.
    pub legs: Arc<[Leg]>,
    /// How often and how long it is tried again.
    pub retries: Retries,
    /// What happens to an answer when its last reader leaves, where the route says it.
    pub on_leave: Option<OnLeave>,
    /// Whether the settings or an upstream itself name the model, so that its name may be a label of metrics. What a caller
    /// makes up may not.
    pub is_listed: bool,
}

/// One of those that may be asked.
#[derive(Clone)]
pub struct Leg {
    /// The name of the upstream, for logs.
    pub upstream: Arc<str>,
    /// The provider to ask.
    pub provider: Arc<dyn Provider>,
    /// Its own name for the model, where that is another.
    pub model: Option<Arc<str>>,
    /// How long to wait for it.
    pub timeouts: Timeouts,
}

/// How often and how long a call that failed is made again, before anything of an answer has come (promise 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// How often all legs are tried again. Going on to another leg or another key is no retry.
    pub count: u32,
    /// How long after the first call nothing is tried any more.
    pub deadline: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self { count: 2, deadline: Duration::from_secs(60) }
    }
}

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the connection, TLS included.
    pub connect: Duration,
    /// From asking to the upstream's head; the provider sees to it, as it sees to `connect`.
    pub headers: Duration,
    /// From the head to the first word of the model.
    pub first_token: Duration,
    /// Between two signs of life, once the model has started: a connection that is silent for longer is dead.
    pub idle: Duration,
    /// Between two words of the model while the upstream sends keep-alives only: it may withhold long arguments, or queue.
    pub keep_alive: Duration,
    /// From the first asking to the end, retries included; zero is no limit.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            // Reasoning models and queues of busy providers answer late; DeepSeek itself gives up after ten minutes.
            headers: Duration::from_secs(120),
            first_token: Duration::from_secs(600),
            idle: Duration::from_secs(120),
            keep_alive: Duration::from_secs(600),
            total: Duration::ZERO,
        }
    }
}
