//! The single writing thread: queued changes share a transaction, and callers are notified after
//! its commit.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use engine::store::StoreError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::error::DatabaseError;
use super::failure::JobFailure;
use super::job::{Job, Work, WriteTransaction};
use super::shared::DatabaseShared;
use super::steps::{Stepped, Steps};
use super::{leftovers, open};

/// How many changes may be queued; further callers wait.
const QUEUE: usize = 1024;

/// How many changes share a transaction, so that none waits long for the others.
const BATCH: usize = 256;

/// The handle of the thread.
#[derive(Debug)]
pub(super) struct DatabaseWriter {
    messages: mpsc::Sender<Message>,
}

enum Message {
    Job(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

/// The outcome of a transaction.
#[derive(Default)]
struct Done {
    /// Changes that deleted text.
    deletions: u64,
    /// Changes that failed in the database.
    faults: u64,
}

/// The thread's state.
struct WriterThread {
    connection: Connection,
    messages: mpsc::Receiver<Message>,
    files: Files,
    shared: Arc<DatabaseShared>,
}

impl DatabaseWriter {
    /// Starts the thread. It ends when the writer is closed or dropped.
    pub(super) fn start(
        path: &Path,
        connection: Connection,
        shared: Arc<DatabaseShared>,
    ) -> Result<Self, DatabaseError> {
        let (sender, messages) = mpsc::channel(QUEUE);
        let files = Files::watch(path).map_err(|source| DatabaseError::file(path, source))?;
        let thread = WriterThread { connection, messages, files, shared };
        let started =
            thread::Builder::new().name("weir-db-writer".into()).spawn(move || thread.run());
        started.map_err(|source| DatabaseError::NoThread { path: path.to_path_buf(), source })?;
        Ok(Self { messages: sender })
    }

    /// Makes a change. `Ok`: it is committed; `Err`: it was not made.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut WriteTransaction<'_>) -> Result<T, JobFailure> + Send + 'static,
    {
        let (waiting, answer) = oneshot::channel();
        self.send(Work::new(work, waiting)).await?;
        answer.await.unwrap_or(Err(StoreError::Unavailable))
    }

    /// Makes a large change in steps, with changes of others in between. As [`Self::write`], but
    /// dropping this undoes it unless its last step was made.
    pub(super) async fn write_in_steps(&self, steps: impl Steps) -> Result<(), StoreError> {
        let (waiting, answer) = oneshot::channel();
        self.send(Stepped::new(steps, waiting)).await?;
        answer.await.unwrap_or(Err(StoreError::Unavailable))
    }

    async fn send(&self, job: impl Job + 'static) -> Result<(), StoreError> {
        self.messages
            .send(Message::Job(Box::new(job)))
            .await
            .map_err(|_closed| StoreError::Unavailable)
    }

    /// Resolves when everything queued before is written, the WAL is in the file and the thread has
    /// closed both.
    pub(super) async fn close(&self) {
        let (sender, closed) = oneshot::channel();
        if self.messages.send(Message::Close(sender)).await.is_ok() {
            // Resolves when the thread drops the other end.
            let _closed = closed.await;
        }
    }
}

impl WriterThread {
    fn run(mut self) {
        let mut closing = None;
        // Changes in steps that have started.
        let mut unfinished: VecDeque<Box<dyn Job>> =
            leftovers::of(&self.connection).into_iter().collect();
        loop {
            let message = if unfinished.is_empty() {
                self.messages.blocking_recv()
            } else {
                self.messages.try_recv().ok()
            };
            if message.is_none() && unfinished.is_empty() {
                break;
            }
            let mut batch = Vec::new();
            if let Some(message) = message {
                self.gather(message, &mut batch, &mut closing);
            }
            // One step together with the queued changes, which need not wait for more.
            batch.extend(unfinished.pop_front());
            if !batch.is_empty() {
                unfinished.extend(self.write(batch));
            }
        }
        // Closing the last connection would do this too, but would wait five seconds for readers.
        let _refused =
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_row| Ok(()));
        drop(self.connection);
        drop(closing);
    }

    /// Takes the queued changes.
    fn gather(
        &mut self,
        first: Message,
        batch: &mut Vec<Box<dyn Job>>,
        closing: &mut Option<oneshot::Sender<()>>,
    ) {
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Job(job) => batch.push(job),
                Message::Close(sender) => {
                    self.messages.close();
                    *closing = Some(sender);
                }
            }
            next = if batch.len() < BATCH { self.messages.try_recv().ok() } else { None };
        }
    }

    /// Makes a batch of changes in one transaction and notifies their callers. Returns those with
    /// further steps.
    fn write(&self, mut batch: Vec<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
        let committed = self.transaction(&mut batch);
        let is_committed = match &committed {
            Ok(Done { deletions, faults }) => {
                if *faults == 0 {
                    self.shared.writing.works();
                }
                self.shared.commits.fetch_add(1, Ordering::Relaxed);
                self.shared.changes.fetch_add(batch.len() as u64, Ordering::Relaxed);
                self.shared.deletions.fetch_add(*deletions, Ordering::Release);
                true
            }
            Err(failure) => {
                self.shared.writing.fails(failure);
                if !self.connection.is_autocommit() {
                    // If this fails as well, the next transaction cannot start and tries it again.
                    let _failed = self.connection.execute_batch("ROLLBACK");
                }
                false
            }
        };
        self.shared.chores.add();
        batch.into_iter().filter_map(|job| job.answer(is_committed)).collect()
    }

    /// On an error nothing was changed.
    fn transaction(&self, batch: &mut [Box<dyn Job>]) -> Result<Done, JobFailure> {
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        self.statement("BEGIN IMMEDIATE")?;
        let (mut done, mut item_bytes, mut log_bytes) = (Done::default(), 0, 0);
        for job in batch {
            let mut change = WriteTransaction::new(&self.connection);
            self.statement("SAVEPOINT job")?;
            match job.run(&mut change) {
                Ok(()) => {
                    item_bytes += change.item_bytes;
                    log_bytes += change.log_bytes;
                    done.deletions += u64::from(change.deletes);
                }
                Err(failure) => {
                    done.faults += u64::from(failure.is_fault());
                    self.undo(&failure)?;
                }
            }
            self.statement("RELEASE job")?;
        }
        let totals = count(&self.connection, item_bytes, log_bytes)?;
        self.files.check()?;
        self.statement("COMMIT")?;
        if let Some((item_bytes, log_bytes)) = totals {
            self.shared.item_bytes.store(item_bytes, Ordering::Relaxed);
            self.shared.log_bytes.store(log_bytes, Ordering::Relaxed);
        }
        Ok(done)
    }

    /// Rolls back one job and nothing else.
    fn undo(&self, failure: &JobFailure) -> Result<(), JobFailure> {
        if failure.is_fault() {
            self.shared.writing.fails(failure);
        }
        if self.connection.is_autocommit() {
            return Err(JobFailure::Damaged("SQLite has rolled back the whole transaction"));
        }
        self.statement("ROLLBACK TO job")
    }

    fn statement(&self, sql: &str) -> Result<(), JobFailure> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}

/// Updates the totals, and returns them if they have changed.
pub(super) fn count(
    connection: &Connection,
    item_bytes: i64,
    log_bytes: i64,
) -> Result<Option<(u64, u64)>, JobFailure> {
    if item_bytes == 0 && log_bytes == 0 {
        return Ok(None);
    }
    let add = "UPDATE totals SET item_bytes = max(0, item_bytes + ?1), log_bytes = max(0, log_bytes + ?2)";
    connection.prepare_cached(add)?.execute((item_bytes, log_bytes))?;
    let mut totals = connection.prepare_cached("SELECT item_bytes, log_bytes FROM totals")?;
    Ok(Some(totals.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?))
}

/// The identity of both files when they were opened. SQLite would go on writing into files that
/// were unlinked.
struct Files {
    watched: Vec<(PathBuf, Identity)>,
}

impl Files {
    fn watch(path: &Path) -> io::Result<Self> {
        let watched = [path.to_path_buf(), open::wal(path)].into_iter();
        let watched = watched
            .map(|path| identity(&path).map(|identity| (path, identity)))
            .collect::<io::Result<_>>()?;
        Ok(Self { watched })
    }

    fn check(&self) -> Result<(), JobFailure> {
        let is_there =
            |(path, known): &(PathBuf, Identity)| identity(path).is_ok_and(|found| found == *known);
        if self.watched.iter().all(is_there) {
            return Ok(());
        }
        Err(JobFailure::Damaged(
            "its file was moved or deleted while in use; put it back, or start weir again",
        ))
    }
}

/// The device and the inode of a file.
#[cfg(unix)]
type Identity = (u64, u64);

#[cfg(unix)]
fn identity(path: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;

    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Windows does not move open files.
#[cfg(not(unix))]
type Identity = ();

#[cfg(not(unix))]
fn identity(path: &Path) -> io::Result<Identity> {
    fs::metadata(path).map(|_found| ())
}
