//! A log that commits entries when the test requests it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use protocol::entry::Entry;
use protocol::id::ResponseId;

use crate::log::{Log, LogError, LogReader, LogWriter};
use crate::memory::log::MemoryLog;

/// A [`MemoryLog`] whose appends wait for [`LateLog::release`], unless its gate is open.
#[derive(Clone, Default)]
pub struct LateLog {
    inner: MemoryLog,
    gate: Arc<Mutex<Gate>>,
}

#[derive(Default)]
struct Gate {
    open: bool,
    /// Whether the first append to each log is committed at once.
    commits_first: bool,
    waiting: HashMap<ResponseId, Waiting>,
}

struct Waiting {
    epoch: u64,
    writer: Box<dyn LogWriter>,
    entries: Vec<Entry>,
    next: u64,
    ended: bool,
}

struct Writer {
    id: ResponseId,
    epoch: u64,
    gate: Arc<Mutex<Gate>>,
}

impl LateLog {
    /// A log whose gate is closed.
    pub fn new() -> Self {
        Self::default()
    }

    /// A log whose gate is closed to all but the first append of each response: responses start,
    /// and show nothing more.
    pub fn with_first_commits() -> Self {
        let log = Self::default();
        log.gate().commits_first = true;
        log
    }

    /// Commits everything that waits.
    pub fn release(&self) {
        let mut gate = self.gate();
        gate.waiting.values_mut().for_each(Waiting::commit);
    }

    /// Commits everything from now on at once.
    pub fn open_gate(&self) {
        self.gate().open = true;
        self.release();
    }

    /// How many entries wait.
    pub fn waiting(&self) -> usize {
        self.gate().waiting.values().map(|waiting| waiting.entries.len()).sum()
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn commit(&mut self) {
        let entries = std::mem::take(&mut self.entries);
        // Fenced writers can no longer commit; a memory log has no other way to refuse
        // entries in order.
        if !entries.is_empty() {
            let _fenced = self.writer.append(&entries);
        }
    }
}

impl Log for LateLog {
    fn take(&self, id: &ResponseId) -> Result<Box<dyn LogWriter>, LogError> {
        let mut gate = self.gate();
        let writer = self.inner.take(id)?;
        let next = writer.next_position();
        let before = gate.waiting.remove(id);
        let epoch = before.as_ref().map_or(1, |waiting| waiting.epoch + 1);
        let ended = before.is_some_and(|waiting| waiting.ended && waiting.entries.is_empty());
        gate.waiting
            .insert(id.clone(), Waiting { epoch, writer, entries: Vec::new(), next, ended });
        Ok(Box::new(Writer { id: id.clone(), epoch, gate: Arc::clone(&self.gate) }))
    }

    fn open(&self, id: &ResponseId) -> BoxFuture<'_, Result<Box<dyn LogReader>, LogError>> {
        self.inner.open(id)
    }

    fn remove(&self, id: &ResponseId) -> BoxFuture<'_, Result<(), LogError>> {
        self.gate().waiting.remove(id);
        self.inner.remove(id)
    }

    fn bytes(&self) -> u64 {
        self.inner.bytes()
    }
}

impl LogWriter for Writer {
    fn next_position(&self) -> u64 {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        gate.waiting.get(&self.id).map_or(0, |waiting| waiting.next)
    }

    fn append(&mut self, entries: &[Entry]) -> Result<(), LogError> {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let (open, commits_first) = (gate.open, gate.commits_first);
        let waiting = gate
            .waiting
            .get_mut(&self.id)
            .filter(|waiting| waiting.epoch == self.epoch)
            .ok_or(LogError::Fenced)?;
        if waiting.ended {
            return Err(LogError::Ended);
        }
        if !entries
            .iter()
            .map(|entry| entry.position)
            .eq(waiting.next..waiting.next + entries.len() as u64)
        {
            return Err(LogError::Gap);
        }
        waiting.entries.extend_from_slice(entries);
        waiting.next += entries.len() as u64;
        waiting.ended = entries.last().is_some_and(|entry| entry.kind.is_terminal());
        if open || commits_first && entries.first().is_some_and(|entry| entry.position == 0) {
            waiting.commit();
        }
        Ok(())
    }
}
