//! Long work on requests: outside the runtime's threads, one job for each core at most, and one job of each caller, so that a
//! caller with much work delays only itself.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::available_parallelism;

use protocol::id::Owner;
use tokio::sync::Semaphore;

use crate::tasks::Tasks;

/// Runs long work.
#[derive(Debug)]
pub(crate) struct Workers {
    tasks: Tasks,
    /// A permit for each core, in the order of requests.
    cores: Semaphore,
    /// The queue of each caller.
    owners: Mutex<HashMap<Owner, Weak<Semaphore>>>,
}

impl Workers {
    /// One worker for each core.
    pub(crate) fn new(tasks: Tasks) -> Self {
        let cores = available_parallelism().map_or(1, NonZeroUsize::get);
        Self { tasks, cores: Semaphore::new(cores), owners: Mutex::default() }
    }

    /// Runs `work` after the earlier work of its caller. `None` if it panicked.
    pub(crate) async fn run<T: Send + 'static>(&self, owner: &Owner, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let own = self.of(owner);
        // The semaphores are never closed.
        let _turn = own.acquire().await.ok()?;
        let _core = self.cores.acquire().await.ok()?;
        self.tasks.blocking(work).await
    }

    fn of(&self, owner: &Owner) -> Arc<Semaphore> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = owners.get(owner).and_then(Weak::upgrade) {
            return own;
        }
        owners.retain(|_, own| own.strong_count() > 0);
        // A server without keys has one caller, which may use all cores.
        let turns = if *owner == Owner::local() { Semaphore::MAX_PERMITS } else { 1 };
        let own = Arc::new(Semaphore::new(turns));
        owners.insert(owner.clone(), Arc::downgrade(&own));
        own
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
            let (workers, running, most) = (Arc::clone(&workers), Arc::clone(&running), Arc::clone(&most));
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
        assert!(workers.run(&Owner::new("key_bob"), || -> () { panic!("it panics") }).await.is_none());
    }
}
