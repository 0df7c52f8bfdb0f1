//! Responses without readers take their events in one after the other on each thread, so that a
//! thousand of them delay another caller's reader by one batch, not by a thousand.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;

thread_local! {
    /// The slot of this thread's runtime. First come, first served.
    static SLOT: Arc<Semaphore> = Arc::new(Semaphore::new(1));
}

/// The right to take in the next batch, while every other response without readers on this thread
/// waits.
#[derive(Debug)]
pub(super) struct UnreadSlot(OwnedSemaphorePermit);

impl UnreadSlot {
    /// Resolves when the slot is free.
    pub(super) async fn wait() -> Option<Self> {
        let slot = SLOT.with(Arc::clone);
        // The semaphore is never closed.
        slot.acquire_owned().await.ok().map(Self)
    }

    /// Frees the slot after everything else that is ready on this thread has run.
    pub(super) async fn release(self) {
        yield_now().await;
        drop(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test]
    async fn others_run_between_two_of_them() {
        let order = RefCell::new(Vec::new());
        let unread = async || {
            let slot = UnreadSlot::wait().await;
            order.borrow_mut().push("unread");
            if let Some(slot) = slot {
                slot.release().await;
            }
        };
        let reader = async || {
            for _ in 0..3 {
                order.borrow_mut().push("reader");
                yield_now().await;
            }
        };
        // Polled in this order in each turn of the runtime.
        tokio::join!(biased; unread(), unread(), unread(), reader());
        let order = order.borrow();
        assert_eq!(*order, ["unread", "reader", "unread", "reader", "unread", "reader"]);
    }
}
