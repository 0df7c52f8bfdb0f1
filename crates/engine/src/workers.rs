//! Long work on requests: outside the runtime's threads, one job for each core at most, and one job
//! of each caller, so that a caller with much work delays only itself.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;

use protocol::id::Owner;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::caller_queues::CallerQueues;
use crate::tasks::Tasks;

/// Work on a request runs on the current thread up to this many reserved bytes (its body, its
/// values and its conversation): it takes less than a millisecond, and a change of thread would be
/// a large part of that.
pub(crate) const QUICK: u64 = 192 << 10;

/// Runs long work.
#[derive(Debug)]
pub(crate) struct Workers {
    tasks: Tasks,
    /// A permit for each core, in the order of requests.
    cores: Arc<Semaphore>,
    /// One job of each caller at a time.
    queues: CallerQueues,
}

impl Workers {
    /// One worker for each core.
    pub(crate) fn new(tasks: Tasks) -> Self {
        let cores = available_parallelism().map_or(1, NonZeroUsize::get);
        Self { tasks, cores: Arc::new(Semaphore::new(cores)), queues: CallerQueues::new(1) }
    }

    /// Runs `work` after the earlier work of its caller. `None` if it panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        owner: &Owner,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        // The semaphores are never closed.
        let turn = self.turn(owner).await?;
        let core = Arc::clone(&self.cores).acquire_owned().await.ok()?;
        // The permits go with the work: a caller that leaves does not end it.
        let work = move || {
            let done = work();
            drop((turn, core));
            done
        };
        self.tasks.blocking(work).await
    }

    /// Runs `work` on a request for which `bytes` are reserved: on this thread up to [`QUICK`],
    /// else as [`Self::run`]. `None` if it panicked there.
    pub(crate) async fn run_sized<T: Send + 'static>(
        &self,
        owner: &Owner,
        bytes: u64,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if bytes <= QUICK { Some(work()) } else { self.run(owner, work).await }
    }

    /// The caller's turn, for large work that is done elsewhere.
    pub(crate) async fn turn(&self, owner: &Owner) -> Option<OwnedSemaphorePermit> {
        self.queues.turn(owner).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn one_caller_has_one_at_a_time() {
        let workers = Arc::new(Workers::new(Tasks::new()));
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs = (0..8).map(|_| {
            let (workers, running, most) =
                (Arc::clone(&workers), Arc::clone(&running), Arc::clone(&most));
            async move {
                #[expect(clippy::disallowed_methods, reason = "it runs on a thread that may block")]
                let work = move || {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    running.fetch_sub(1, Ordering::SeqCst);
                };
                workers.run(&Owner::new("key_ada"), work).await
            }
        });
        assert!(futures_util::future::join_all(jobs).await.iter().all(Option::is_some));
        assert_eq!(most.load(Ordering::SeqCst), 1);
        assert!(
            workers.run(&Owner::new("key_bob"), || -> () { panic!("it panics") }).await.is_none()
        );
    }

    #[tokio::test]
    async fn only_large_work_changes_threads() {
        let (workers, owner) = (Workers::new(Tasks::new()), Owner::new("key_ada"));
        let place = || std::thread::current().id();
        assert_eq!(workers.run_sized(&owner, QUICK, place).await, Some(place()));
        assert_ne!(workers.run_sized(&owner, QUICK + 1, place).await, Some(place()));
    }

    #[tokio::test]
    async fn a_caller_that_leaves_does_not_get_its_turn_back_before_the_work_ends() {
        let (workers, owner) = (Workers::new(Tasks::new()), Owner::new("key_ada"));
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let mut first = Box::pin(workers.run(&owner, move || ended.recv().is_err()));
        assert!(futures_util::poll!(&mut first).is_pending());
        drop(first);
        let mut second = Box::pin(workers.run(&owner, || ()));
        assert!(futures_util::poll!(&mut second).is_pending(), "the first still works");
        drop(end);
        assert_eq!(second.await, Some(()));
    }
}
