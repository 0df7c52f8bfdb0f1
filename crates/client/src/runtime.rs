//! The only place of the client that spawns tasks, reads the clock and limits waits. Tests and
//! measurements use it, too.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinHandle;

/// The limit of [`soon`].
pub const SOON: Duration = Duration::from_secs(10);

/// A running task. Dropping it aborts it.
#[derive(Debug)]
#[must_use = "dropping a task aborts it"]
pub struct Task(JoinHandle<()>);

impl Task {
    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts a task that is aborted when the returned handle is dropped.
#[expect(
    clippy::disallowed_methods,
    reason = "the only spawn of the clients: the task ends with its handle"
)]
pub fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Task {
    Task(tokio::spawn(future))
}

/// The current time, for measurements.
#[expect(clippy::disallowed_methods, reason = "measurements need the real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Waits for at most ten seconds ([`SOON`]), so that a test fails instead of hanging.
pub async fn soon<T>(future: impl Future<Output = T>) -> Result<T> {
    within(SOON, future).await
}

/// Waits for at most `limit`.
///
/// # Errors
/// The limit was reached first.
pub async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(limit, future)
        .await
        .with_context(|| format!("nothing happened within {} seconds", limit.as_secs()))
}
