//! The only place that spawns tasks: each has a name, is counted, and is awaited at shutdown.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::cores::{CoreSlot, Cores};

/// The tasks of one process, or of one test.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stopping: CancellationToken,
    cores: Option<Arc<Cores>>,
}

impl Tasks {
    /// No tasks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// No tasks yet; those of connections run on `cores`.
    pub fn on_cores(cores: Arc<Cores>) -> Self {
        Self { cores: Some(cores), ..Self::default() }
    }

    /// A slot on the core with the fewest connections. `None` without cores.
    pub fn core(&self) -> Option<CoreSlot> {
        self.cores.as_ref().and_then(Cores::slot)
    }

    /// As [`Self::spawn`], on another runtime. Tasks that it spawns run there, too.
    pub fn spawn_on(
        &self,
        runtime: Option<&Handle>,
        name: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        match runtime {
            None => self.spawn(name, future),
            Some(runtime) => {
                let _entered = runtime.enter();
                self.spawn(name, future);
            }
        }
    }

    /// Runs `future` to its end, or to the end of the process.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one spawn: tracked, named and awaited"
    )]
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let running = self.tracker.token();
        // Boxed here, because the runtime moves it five times on its way to its first poll.
        let future = Box::pin(future);
        drop(tokio::spawn(async move {
            future.await;
            tracing::trace!(task = name, "task ended");
            drop::<TaskTrackerToken>(running);
        }));
    }

    /// Runs work that would block the runtime for more than half a millisecond. `None` if it
    /// panicked.
    #[expect(clippy::disallowed_methods, reason = "this is the one spawn: tracked and awaited")]
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let running = self.tracker.token();
        let done = tokio::task::spawn_blocking(work).await.ok();
        drop(running);
        done
    }

    /// Resolves when the process is to stop.
    pub async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    /// The number of running tasks.
    pub fn running(&self) -> usize {
        self.tracker.len()
    }

    /// Tells every task to stop and waits for them, at most `deadline`. Returns the number still
    /// running.
    pub async fn shutdown(&self, deadline: Duration) -> usize {
        self.stopping.cancel();
        self.tracker.close();
        // Tasks that miss the deadline are counted below.
        let _ended = tokio::time::timeout(deadline, self.tracker.wait()).await;
        self.tracker.len()
    }
}
