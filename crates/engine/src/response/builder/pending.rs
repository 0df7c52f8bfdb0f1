//! The entries of a response that are not in its log yet.

use protocol::entry::{Entry, EntryWriter};
use protocol::event::Event;

/// Numbers events and serialises each once.
#[derive(Debug)]
pub(super) struct PendingEntries {
    position: u64,
    writer: EntryWriter,
    entries: Vec<Entry>,
}

impl PendingEntries {
    /// No entries; the next one is at `position`.
    pub(super) fn at(position: u64) -> Self {
        Self { position, writer: EntryWriter::default(), entries: Vec::new() }
    }

    /// Appends an event.
    pub(super) fn push(&mut self, event: &Event<'_>) {
        self.entries.push(self.writer.entry(self.position, event));
        self.position += 1;
    }

    /// The entries since the last call.
    pub(super) fn take(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }
}
