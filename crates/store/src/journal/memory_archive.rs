//! For tests: an archive in memory that fails on request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use engine::log::LogError;
use futures_util::future::{BoxFuture, FutureExt, ready};
use protocol::entry::Entry;
use protocol::id::ResponseId;

use super::log::within;
use super::mutex::lock;
use crate::archive::Archive;

/// An archive in memory. Cheap to clone; clones are the same archive.
#[derive(Clone, Debug, Default)]
pub struct MemoryArchive {
    state: Arc<Mutex<MemoryArchiveState>>,
}

#[derive(Debug, Default)]
struct MemoryArchiveState {
    logs: BTreeMap<ResponseId, Vec<Entry>>,
    is_broken: bool,
}

impl MemoryArchive {
    /// An empty archive.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether every operation fails from now on.
    pub fn set_broken(&self, is_broken: bool) {
        lock(&self.state).is_broken = is_broken;
    }

    /// An archived log.
    pub fn get(&self, id: &ResponseId) -> Option<Vec<Entry>> {
        lock(&self.state).logs.get(id).cloned()
    }

    /// The number of logs.
    pub fn count(&self) -> usize {
        lock(&self.state).logs.len()
    }

    fn state(&self) -> Result<MutexGuard<'_, MemoryArchiveState>, LogError> {
        let state = lock(&self.state);
        if state.is_broken { Err(LogError::Unavailable) } else { Ok(state) }
    }
}

impl Archive for MemoryArchive {
    fn put(&self, id: &ResponseId, entries: Vec<Entry>) -> BoxFuture<'_, Result<(), LogError>> {
        let put = self.state().map(|mut state| drop(state.logs.insert(id.clone(), entries)));
        ready(put).boxed()
    }

    fn find(&self, id: &ResponseId) -> BoxFuture<'_, Result<Option<u64>, LogError>> {
        ready(self.state().map(|state| state.logs.get(id).map(|entries| entries.len() as u64)))
            .boxed()
    }

    fn read(
        &self,
        id: &ResponseId,
        position: u64,
        budget: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, LogError>> {
        let read = self.state().and_then(|state| {
            let entries = state.logs.get(id).ok_or(LogError::Missing)?;
            Ok(within(entries.iter().filter(|entry| entry.position >= position), budget, true))
        });
        ready(read).boxed()
    }

    fn remove(&self, id: &ResponseId) -> BoxFuture<'_, Result<(), LogError>> {
        ready(self.state().map(|mut state| drop(state.logs.remove(id)))).boxed()
    }

    fn bytes(&self) -> u64 {
        lock(&self.state).logs.values().flatten().map(|entry| entry.data.len() as u64).sum()
    }
}
