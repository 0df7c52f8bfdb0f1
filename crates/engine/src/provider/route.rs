//! Where a model's name leads: the targets in order, their timeouts and the retries.

use std::sync::Arc;
use std::time::Duration;

use protocol::on_leave::OnLeave;

use super::Provider;

/// Where a model's name leads.
#[derive(Clone)]
pub struct Route {
    /// The targets, in order of preference; never empty.
    pub targets: Arc<[RouteTarget]>,
    /// How often and how long a call is retried.
    pub retries: Retries,
    /// What happens to a response when its last reader leaves, if the route configures it.
    pub on_leave: Option<OnLeave>,
    /// Whether the configuration or an upstream lists the model. Only then may its name be a label
    /// of metrics.
    pub is_listed: bool,
}

/// One target of a route.
#[derive(Clone)]
pub struct RouteTarget {
    /// The name of the upstream, for logs.
    pub upstream: Arc<str>,
    /// The provider.
    pub provider: Arc<dyn Provider>,
    /// Its name for the model, if that differs.
    pub model: Option<Arc<str>>,
    /// Its timeouts.
    pub timeouts: Timeouts,
}

/// How often and how long a failed call is retried, before any output (promise 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// How often all targets are tried again. Trying another target or another key is not a retry.
    pub count: u32,
    /// The time after the first call at which retries stop.
    pub deadline: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self { count: 2, deadline: Duration::from_secs(60) }
    }
}

/// Timeouts of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the connection, TLS included.
    pub connect: Duration,
    /// From the request to the head of the response. The provider applies it, like `connect`.
    pub headers: Duration,
    /// From the head to the first output of the model.
    pub first_token: Duration,
    /// Between two events or keep-alives, after the first output: a connection that is silent for
    /// longer is dead.
    pub idle: Duration,
    /// Between two events of the model while only keep-alives come: an upstream may buffer long
    /// arguments, or queue.
    pub keep_alive: Duration,
    /// From the first call to the end, retries included; zero is no limit.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            // Reasoning models and queues of busy providers respond late; DeepSeek itself gives up
            // after ten minutes.
            headers: Duration::from_secs(120),
            first_token: Duration::from_secs(600),
            idle: Duration::from_secs(120),
            keep_alive: Duration::from_secs(600),
            total: Duration::ZERO,
        }
    }
}
