//! Logs in memory. An append is committed at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{BoxFuture, FutureExt, ready};
use protocol::entry::Entry;
use protocol::id::ResponseId;
use tokio::sync::watch;

use crate::log::{Log, LogError, LogProgress, LogReader, LogState, LogWriter};

/// Bytes of an entry beside its data: its place in the list and the header of the shared bytes.
const ENTRY_OVERHEAD: u64 = 72;

/// Logs that live as long as the process.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    logs: Arc<Mutex<HashMap<ResponseId, Arc<One>>>>,
    bytes: Arc<AtomicU64>,
}

#[derive(Debug)]
struct One {
    held: Mutex<Held>,
    progress: watch::Sender<LogProgress>,
    bytes: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Held {
    epoch: u64,
    entries: Vec<Entry>,
    bytes: u64,
}

struct Writer {
    log: Arc<One>,
    epoch: u64,
}

/// A reader does not keep its log alive: when the log is removed, the channel closes.
struct Reader {
    log: std::sync::Weak<One>,
    progress: watch::Receiver<LogProgress>,
}

impl MemoryLog {
    /// No logs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is such a log.
    pub(crate) fn contains(&self, id: &ResponseId) -> bool {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).contains_key(id)
    }
}

impl Log for MemoryLog {
    fn take(&self, id: &ResponseId) -> Result<Box<dyn LogWriter>, LogError> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let log = logs.entry(id.clone()).or_insert_with(|| {
            Arc::new(One {
                held: Mutex::default(),
                progress: watch::Sender::default(),
                bytes: Arc::clone(&self.bytes),
            })
        });
        let mut held = log.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.epoch += 1;
        Ok(Box::new(Writer { log: Arc::clone(log), epoch: held.epoch }))
    }

    fn open(&self, id: &ResponseId) -> BoxFuture<'_, Result<Box<dyn LogReader>, LogError>> {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = logs.get(id).map(|log| {
            Box::new(Reader { log: Arc::downgrade(log), progress: log.progress.subscribe() })
        });
        ready(reader.map(|reader| reader as Box<dyn LogReader>).ok_or(LogError::Missing)).boxed()
    }

    fn remove(&self, id: &ResponseId) -> BoxFuture<'_, Result<(), LogError>> {
        let removed = self.logs.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        if let Some(log) = removed {
            // A remaining writer must not fill a log that can no longer be opened.
            log.held.lock().unwrap_or_else(PoisonError::into_inner).epoch += 1;
        }
        ready(Ok(())).boxed()
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for One {
    fn drop(&mut self) {
        let held = self.held.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.bytes.fetch_sub(held.bytes, Ordering::Relaxed);
    }
}

impl LogWriter for Writer {
    fn next_position(&self) -> u64 {
        self.log.progress.borrow().committed
    }

    fn append(&mut self, entries: &[Entry]) -> Result<(), LogError> {
        let mut held = self.log.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.epoch != self.epoch {
            return Err(LogError::Fenced);
        }
        let before = *self.log.progress.borrow();
        if before.state == LogState::Ended {
            return Err(LogError::Ended);
        }
        if !entries
            .iter()
            .map(|entry| entry.position)
            .eq(before.committed..before.committed + entries.len() as u64)
        {
            return Err(LogError::Gap);
        }
        let bytes: u64 = entries.iter().map(|entry| entry.data.len() as u64 + ENTRY_OVERHEAD).sum();
        held.entries.extend_from_slice(entries);
        held.bytes += bytes;
        self.log.bytes.fetch_add(bytes, Ordering::Relaxed);
        let ended = entries.last().is_some_and(|entry| entry.kind.is_terminal());
        self.log.progress.send_replace(LogProgress {
            committed: before.committed + entries.len() as u64,
            state: if ended { LogState::Ended } else { LogState::Open },
        });
        Ok(())
    }
}

impl LogReader for Reader {
    fn progress(&self) -> watch::Receiver<LogProgress> {
        self.progress.clone()
    }

    fn read(&self, position: u64, budget: usize) -> BoxFuture<'_, Result<Vec<Entry>, LogError>> {
        let entries = self.log.upgrade().ok_or(LogError::Missing).map(|log| {
            let held = log.held.lock().unwrap_or_else(PoisonError::into_inner);
            let from = usize::try_from(position).unwrap_or(usize::MAX).min(held.entries.len());
            take_budget(&held.entries[from..], budget)
        });
        ready(entries).boxed()
    }
}

/// The first entries that fit `budget` bytes, and at least one.
fn take_budget(entries: &[Entry], budget: usize) -> Vec<Entry> {
    let mut left = budget;
    let fitting = entries.iter().take_while(|entry| {
        let fits = entry.data.len() <= left;
        left = left.saturating_sub(entry.data.len());
        fits
    });
    let count = fitting.count().max(1).min(entries.len());
    entries[..count].to_vec()
}
