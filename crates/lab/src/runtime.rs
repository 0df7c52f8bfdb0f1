//! The only place of the lab that spawns, reads the clock or bounds a wait.

use std::future::Future;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use lens::moment::Moment;
use tokio::task::JoinHandle;

/// A running task; dropping it ends it.
#[derive(Debug)]
#[must_use = "dropping a task ends it"]
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

/// Starts a task that lives no longer than what is returned.
#[expect(clippy::disallowed_methods, reason = "the one spawn of the lab: it ends with its handle")]
pub fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Task {
    Task(tokio::spawn(future))
}

/// The time, for measurements.
#[expect(clippy::disallowed_methods, reason = "what is measured is the real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// The time of day, as captured packets have it.
#[expect(clippy::disallowed_methods, reason = "packets are stamped with the real time")]
pub(crate) fn wall_clock() -> Moment {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Moment(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// A name that nothing had before.
pub(crate) fn unique(name: &str) -> String {
    format!("{name}-{:x}", wall_clock().0)
}

/// What must happen soon: a test that waits for it fails after ten seconds instead of hanging.
pub async fn soon<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    within(SOON, future).await
}

/// How long that is.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// What must happen within some time.
pub(crate) async fn within<T>(patience: Duration, future: impl Future<Output = T>) -> anyhow::Result<T> {
    tokio::time::timeout(patience, future).await.with_context(|| format!("nothing happened within {} seconds", patience.as_secs()))
}
