//! Loads from a backend that may be large (conversations, items, ended logs): a few of each caller
//! at once, so that one caller cannot occupy all readers of a store.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use protocol::entry::Entry;
use protocol::id::Owner;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::caller_queues::CallerQueues;
use crate::log::{LogError, LogProgress, LogReader, LogState};
use crate::tasks::Tasks;

/// How many loads of one caller run at once: one fewer than the embedded store has readers.
const AT_ONCE: usize = 2;

/// The loads of all callers.
#[derive(Debug)]
pub(crate) struct Loads {
    queues: CallerQueues,
    tasks: Tasks,
}

impl Loads {
    /// No loads.
    pub(crate) fn new(tasks: Tasks) -> Self {
        Self { queues: CallerQueues::new(AT_ONCE), tasks }
    }

    /// Runs a load in its caller's turn. `None` if it panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        owner: &Owner,
        load: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        in_turn(self.queues.of(owner), self.tasks.clone(), load).await
    }

    /// A reader whose reads are loads of `owner` if the log has ended: then it may have been
    /// archived. The newest entries of a running one are in memory.
    pub(crate) fn reader(&self, owner: &Owner, reader: Box<dyn LogReader>) -> Box<dyn LogReader> {
        if reader.progress().borrow().state != LogState::Ended {
            return reader;
        }
        Box::new(EndedReader {
            inner: Arc::from(reader),
            queue: self.queues.of(owner),
            tasks: self.tasks.clone(),
        })
    }
}

/// A reader of an ended log, whose reads wait for their caller's turn.
struct EndedReader {
    inner: Arc<dyn LogReader>,
    queue: Arc<Semaphore>,
    tasks: Tasks,
}

impl LogReader for EndedReader {
    fn progress(&self) -> watch::Receiver<LogProgress> {
        self.inner.progress()
    }

    fn read(&self, position: u64, budget: usize) -> BoxFuture<'_, Result<Vec<Entry>, LogError>> {
        let inner = Arc::clone(&self.inner);
        let load = async move { inner.read(position, budget).await };
        let read = in_turn(Arc::clone(&self.queue), self.tasks.clone(), load);
        read.map(|read| read.unwrap_or(Err(LogError::Unavailable))).boxed()
    }
}

/// Runs a load as soon as its caller has a turn, which lasts until the load ends: a caller that
/// leaves does not end it.
async fn in_turn<T: Send + 'static>(
    queue: Arc<Semaphore>,
    tasks: Tasks,
    load: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    // The semaphores are never closed.
    let turn = queue.acquire_owned().await.ok()?;
    let (done, loaded) = oneshot::channel();
    tasks.spawn("load", async move {
        let _caller_has_left = done.send(load.await);
        drop(turn);
    });
    loaded.await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store with three readers.
    struct Readers(Arc<Semaphore>);

    impl Readers {
        fn load(&self, end: &Arc<Semaphore>) -> impl Future<Output = ()> + Send + 'static {
            let (readers, end) = (Arc::clone(&self.0), Arc::clone(end));
            async move {
                let _reader = readers.acquire().await;
                let _ended = end.acquire().await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_caller_leaves_a_reader_to_the_others_even_when_it_leaves() {
        let loads = Loads::new(Tasks::new());
        let (ada, bob) = (Owner::new("key_ada"), Owner::new("key_bob"));
        let readers = Readers(Arc::new(Semaphore::new(AT_ONCE + 1)));
        let (slow, quick) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(1)));
        for _ in 0..4 {
            let mut load = Box::pin(loads.run(&ada, readers.load(&slow)));
            assert!(futures_util::poll!(&mut load).is_pending());
        }
        // Ada has left all of them. Paused time passes only when everything waits.
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        assert_eq!(readers.0.available_permits(), 1, "two loads still run");
        let mut own = Box::pin(loads.run(&ada, readers.load(&quick)));
        assert!(futures_util::poll!(&mut own).is_pending(), "and they are Ada's turns");
        assert_eq!(loads.run(&bob, readers.load(&quick)).await, Some(()), "Bob waits for none");
        slow.add_permits(1);
        assert_eq!(own.await, Some(()));
    }
}
