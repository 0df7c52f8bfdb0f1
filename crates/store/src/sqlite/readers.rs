//! A small pool of read connections, each lent to one query at a time.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use engine::store::StoreError;
use engine::tasks::Tasks;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::error::DatabaseError;
use super::failure::JobFailure;
use super::open;
use super::shared::DatabaseShared;

/// How many queries run at the same time. Most take some ten microseconds; of those that may take
/// longer, the engine asks for fewer at once for one caller.
const READERS: usize = 3;

/// The connections.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    seats: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn open(path: &Path) -> Result<Self, DatabaseError> {
        let idle =
            (0..READERS).map(|_| open::connect_reader(path)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            path: path.to_path_buf(),
            idle: Mutex::new(idle),
            seats: Arc::new(Semaphore::new(READERS)),
        })
    }

    /// Runs a query off the runtime's threads, in one read transaction.
    pub(super) async fn read<T, F>(
        self: &Arc<Self>,
        tasks: &Tasks,
        shared: &Arc<DatabaseShared>,
        work: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, JobFailure> + Send + 'static,
    {
        let seat = Arc::clone(&self.seats)
            .acquire_owned()
            .await
            .map_err(|_closed| StoreError::Unavailable)?;
        let readers = Arc::clone(self);
        // The permit moves into the task: the caller may be dropped before the query ends.
        let answer = tasks.blocking(move || {
            let answer = readers.ask(work);
            drop(seat);
            answer
        });
        let answer = answer.await;
        match answer.unwrap_or(Err(JobFailure::Damaged(
            "a question to the database panicked, or the process ends",
        ))) {
            Ok(answer) => {
                shared.reading.works();
                Ok(answer)
            }
            Err(failure) => {
                if failure.is_fault() {
                    shared.reading.fails(&failure);
                }
                Err(failure.to_store_error())
            }
        }
    }

    /// Waits for running queries, accepts no more and closes the connections.
    pub(super) async fn close(&self) {
        let all = self.seats.acquire_many(u32::try_from(READERS).unwrap_or(u32::MAX)).await;
        self.seats.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        drop(all);
    }

    fn ask<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, JobFailure>,
    ) -> Result<T, JobFailure> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open::connect_reader(&self.path)
                .map_err(|_error| JobFailure::Damaged("the database cannot be opened again"))?,
        };
        let answer = ask(&connection, work);
        // A connection that met a fault is not reused: a new one finds the current state of the
        // file.
        if answer.as_ref().is_ok_and(|_| connection.is_autocommit())
            || answer.as_ref().is_err_and(|failure| !failure.is_fault())
        {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        answer
    }
}

fn ask<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, JobFailure>,
) -> Result<T, JobFailure> {
    let transaction = connection.unchecked_transaction()?;
    work(&transaction)
    // Nothing was written: the rollback on drop is equivalent to a commit.
}
