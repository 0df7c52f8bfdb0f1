//! What the writer's thread is asked to do: one change, all of which happens or nothing.

use engine::store::StoreError;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::failure::JobFailure;

/// What a job has in hand.
#[derive(Debug)]
pub(super) struct WriteTransaction<'a> {
    pub(super) connection: &'a Connection,
    /// By how much the weight of the items changes.
    pub(super) item_bytes: i64,
    /// By how much the weight of the logs changes.
    pub(super) log_bytes: i64,
    /// Whether text goes.
    pub(super) deletes: bool,
}

impl<'a> WriteTransaction<'a> {
    pub(super) fn new(connection: &'a Connection) -> Self {
        Self { connection, item_bytes: 0, log_bytes: 0, deletes: false }
    }
}

/// One change, or the next step of one. All of it happens or nothing.
pub(super) trait Job: Send {
    fn run(&mut self, change: &mut WriteTransaction<'_>) -> Result<(), JobFailure>;

    /// Sends the result to the caller, or gives the job back where another step is to be made.
    fn answer(self: Box<Self>, is_committed: bool) -> Option<Box<dyn Job>>;
}

/// A change of one step.
pub(super) struct Work<T, F> {
    todo: Option<F>,
    result: Result<T, StoreError>,
    waiting: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Work<T, F> {
    pub(super) fn new(work: F, waiting: oneshot::Sender<Result<T, StoreError>>) -> Self {
        Self { todo: Some(work), result: Err(StoreError::Unavailable), waiting }
    }
}

impl<T, F> Job for Work<T, F>
where
    T: Send,
    F: FnOnce(&mut WriteTransaction<'_>) -> Result<T, JobFailure> + Send,
{
    fn run(&mut self, change: &mut WriteTransaction<'_>) -> Result<(), JobFailure> {
        let Some(work) = self.todo.take() else { return Ok(()) };
        match work(change) {
            Ok(done) => {
                self.result = Ok(done);
                Ok(())
            }
            Err(failure) => {
                self.result = Err(failure.told());
                Err(failure)
            }
        }
    }

    fn answer(self: Box<Self>, is_committed: bool) -> Option<Box<dyn Job>> {
        // What was found in a transaction that did not come to be may not be so.
        let result = if is_committed { self.result } else { Err(StoreError::Unavailable) };
        // The caller may have gone; it has happened all the same.
        let _gone = self.waiting.send(result);
        None
    }
}
