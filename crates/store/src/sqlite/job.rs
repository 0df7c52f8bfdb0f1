//! Jobs of the writer's thread: each is one atomic change.

use engine::store::StoreError;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::failure::JobFailure;

/// The state of a running job.
#[derive(Debug)]
pub(super) struct WriteTransaction<'a> {
    pub(super) connection: &'a Connection,
    /// The change of the items' total size.
    pub(super) item_bytes: i64,
    /// The change of the logs' total size.
    pub(super) log_bytes: i64,
    /// Whether text is deleted.
    pub(super) deletes: bool,
}

impl<'a> WriteTransaction<'a> {
    pub(super) fn new(connection: &'a Connection) -> Self {
        Self { connection, item_bytes: 0, log_bytes: 0, deletes: false }
    }
}

/// One atomic change, or the next step of a larger one.
pub(super) trait Job: Send {
    fn run(&mut self, change: &mut WriteTransaction<'_>) -> Result<(), JobFailure>;

    /// Sends the result to the caller, or returns the job if another step follows.
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
                self.result = Err(failure.to_store_error());
                Err(failure)
            }
        }
    }

    fn answer(self: Box<Self>, is_committed: bool) -> Option<Box<dyn Job>> {
        // An outcome read in a transaction that was rolled back may be wrong.
        let result = if is_committed { self.result } else { Err(StoreError::Unavailable) };
        // The caller may have been dropped; the change is made all the same.
        let _gone = self.waiting.send(result);
        None
    }
}
