//! One log in memory: its writer, its watermark, its newest entries, and the location of the
//! others.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Mutex;

use engine::log::{LogError, LogProgress, LogState};
use protocol::entry::Entry;
use protocol::id::ResponseId;
use tokio::sync::watch;

use super::mutex::lock;
use super::queued::Queued;

/// The location of a frame and the position of its first entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameLocation {
    pub(super) first: u64,
    pub(super) segment: u32,
    pub(super) offset: u32,
}

/// One log of a response.
pub(super) struct JournalLog {
    pub(super) id: ResponseId,
    /// A hash of the id, which identifies the log in the segments' accounts.
    pub(super) key: u64,
    /// Held while the log is archived, so that a removal happens before or after it, never between.
    pub(super) archiving: tokio::sync::Mutex<()>,
    inner: Mutex<LogInner>,
}

/// The location of the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogLocation {
    Journal,
    Archive,
    Nowhere,
}

struct LogInner {
    location: LogLocation,
    epoch: u64,
    /// The number of accepted entries; those after the watermark are being written.
    next: u64,
    has_ended: bool,
    /// Dropped with the log, which notifies its readers.
    progress: Option<watch::Sender<LogProgress>>,
    /// The newest entries, up to the one before `next`.
    tail: VecDeque<Entry>,
    tail_bytes: usize,
    /// The frames in the files, by position.
    index: Vec<FrameLocation>,
    /// Bytes of its frames in each segment.
    segments: Vec<(u32, u64)>,
    /// Bytes of all its frames.
    bytes: u64,
}

/// What a log releases when it is removed.
#[derive(Debug, Default)]
pub(super) struct Freed {
    pub(super) bytes: u64,
    pub(super) segments: Vec<(u32, u64)>,
}

/// A log that was recovered at start.
#[derive(Debug)]
pub(super) struct FoundLog {
    pub(super) id: ResponseId,
    pub(super) next: u64,
    pub(super) has_ended: bool,
    pub(super) index: Vec<FrameLocation>,
    pub(super) segments: Vec<(u32, u64)>,
}

/// The outcome of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Committed {
    Running,
    Ended,
    /// The log was removed in the meantime: nothing refers to the frame.
    Orphan,
}

/// The location of entries from a position on.
pub(super) enum EntryLocation {
    /// These entries, from memory.
    Here(Vec<Entry>),
    /// In these frames of the files; there may be more after them.
    Files(Vec<FrameLocation>),
    Archive,
    Nowhere,
}

impl JournalLog {
    /// A log without entries.
    pub(super) fn new(id: ResponseId) -> Self {
        Self::with(id, LogLocation::Journal, LogProgress::default(), Vec::new(), Vec::new())
    }

    /// A log that was recovered at start.
    pub(super) fn recovered(found: FoundLog) -> Self {
        let state = if found.has_ended { LogState::Ended } else { LogState::Open };
        Self::with(
            found.id,
            LogLocation::Journal,
            LogProgress { committed: found.next, state },
            found.index,
            found.segments,
        )
    }

    /// An archived log.
    pub(super) fn archived(id: ResponseId, committed: u64) -> Self {
        Self::with(
            id,
            LogLocation::Archive,
            LogProgress { committed, state: LogState::Ended },
            Vec::new(),
            Vec::new(),
        )
    }

    fn with(
        id: ResponseId,
        location: LogLocation,
        progress: LogProgress,
        index: Vec<FrameLocation>,
        segments: Vec<(u32, u64)>,
    ) -> Self {
        let inner = LogInner {
            location,
            epoch: 0,
            next: progress.committed,
            has_ended: progress.state == LogState::Ended,
            progress: Some(watch::Sender::new(progress)),
            tail: VecDeque::new(),
            tail_bytes: 0,
            index,
            bytes: segments.iter().map(|(_, bytes)| bytes).sum(),
            segments,
        };
        Self { key: key(&id), id, archiving: tokio::sync::Mutex::new(()), inner: Mutex::new(inner) }
    }

    /// Transfers the right to append to a new writer; returns its epoch.
    pub(super) fn acquire(&self) -> u64 {
        let mut inner = lock(&self.inner);
        inner.epoch += 1;
        inner.epoch
    }

    pub(super) fn next(&self) -> u64 {
        lock(&self.inner).next
    }

    pub(super) fn bytes(&self) -> u64 {
        lock(&self.inner).bytes
    }

    /// Whether its terminal entry is committed.
    pub(super) fn has_ended(&self) -> bool {
        lock(&self.inner)
            .progress
            .as_ref()
            .is_some_and(|progress| progress.borrow().state == LogState::Ended)
    }

    pub(super) fn is_in_journal(&self) -> bool {
        lock(&self.inner).location == LogLocation::Journal
    }

    /// A receiver of the watermark. `None`: the log was removed.
    pub(super) fn progress(&self) -> Option<watch::Receiver<LogProgress>> {
        lock(&self.inner).progress.as_ref().map(watch::Sender::subscribe)
    }

    /// Accepts entries and queues them.
    pub(super) fn append(
        &self,
        epoch: u64,
        entries: &[Entry],
        push: impl FnOnce() -> Option<Queued>,
    ) -> Result<Queued, LogError> {
        let mut inner = lock(&self.inner);
        inner.may_append(epoch, entries)?;
        let Some(queued) = push() else {
            // Its readers would otherwise wait for an event that never comes.
            inner.set_state(LogState::Failed);
            return Err(LogError::Unavailable);
        };
        inner.accept(entries, queued.bytes);
        Ok(queued)
    }

    /// Accepts entries that stay in memory, and commits them. `bytes` is their size.
    pub(super) fn append_in_memory(
        &self,
        epoch: u64,
        entries: &[Entry],
        bytes: u64,
    ) -> Result<Committed, LogError> {
        let mut inner = lock(&self.inner);
        inner.may_append(epoch, entries)?;
        inner.accept(entries, bytes);
        let committed = inner.next;
        Ok(inner.move_watermark(committed))
    }

    /// `count` entries are durable, in the frame at `location`.
    pub(super) fn commit(
        &self,
        count: u64,
        location: FrameLocation,
        bytes: u64,
        tail_bytes: usize,
    ) -> Committed {
        let mut inner = lock(&self.inner);
        if inner.location != LogLocation::Journal {
            return Committed::Orphan;
        }
        inner.index.push(location);
        inner.enter(location.segment, bytes);
        let committed = location.first + count;
        inner.trim(committed, tail_bytes);
        inner.move_watermark(committed)
    }

    /// A frame was copied. Returns whether the copy replaces the original.
    pub(super) fn relocate(&self, from: FrameLocation, to: FrameLocation, bytes: u64) -> bool {
        let mut inner = lock(&self.inner);
        let Ok(at) = inner.index.binary_search_by_key(&from.first, |frame| frame.first) else {
            return false;
        };
        let Some(location) = inner.index.get_mut(at).filter(|frame| **frame == from) else {
            return false;
        };
        *location = to;
        if let Some((_, left)) =
            inner.segments.iter_mut().find(|(segment, _)| *segment == from.segment)
        {
            *left = left.saturating_sub(bytes);
        }
        inner.segments.retain(|(_, left)| *left > 0);
        inner.enter(to.segment, bytes);
        true
    }

    /// Its frames in a segment.
    pub(super) fn frames_in(&self, segment: u32) -> Vec<FrameLocation> {
        let inner = lock(&self.inner);
        if inner.segments.iter().all(|(other, _)| *other != segment) {
            return Vec::new();
        }
        inner.index.iter().copied().filter(|frame| frame.segment == segment).collect()
    }

    /// Runs `then` if the log is still in the journal, and keeps it there meanwhile.
    pub(super) fn if_in_journal<T>(&self, then: impl FnOnce() -> T) -> Option<T> {
        let inner = lock(&self.inner);
        (inner.location == LogLocation::Journal).then(then)
    }

    /// Queued entries cannot be written: notifies the readers.
    pub(super) fn fail(&self) {
        lock(&self.inner).set_state(LogState::Failed);
    }

    /// Reopens a failed log, now that the journal can be written again.
    pub(super) fn repair(&self) {
        let mut inner = lock(&self.inner);
        if inner
            .progress
            .as_ref()
            .is_some_and(|progress| progress.borrow().state == LogState::Failed)
        {
            inner.set_state(LogState::Open);
        }
    }

    /// The log is archived and read from the archive from now on. `None` if it was removed in the
    /// meantime.
    pub(super) fn archive(&self) -> Option<Freed> {
        let mut inner = lock(&self.inner);
        if inner.location != LogLocation::Journal {
            return None;
        }
        inner.location = LogLocation::Archive;
        Some(inner.free())
    }

    /// Removes the log and notifies its readers and its writer.
    pub(super) fn delete(&self) -> Freed {
        let mut inner = lock(&self.inner);
        inner.location = LogLocation::Nowhere;
        inner.epoch += 1;
        inner.progress = None;
        inner.free()
    }

    /// The location of the committed entries from `position` on, within `budget`; at least one if
    /// `at_least_one`.
    pub(super) fn locate(&self, position: u64, budget: usize, at_least_one: bool) -> EntryLocation {
        /// How many frames of the files one lookup returns.
        const FRAMES: usize = 4096;

        let inner = lock(&self.inner);
        match inner.location {
            LogLocation::Journal => {}
            LogLocation::Archive => return EntryLocation::Archive,
            LogLocation::Nowhere => return EntryLocation::Nowhere,
        }
        let committed = inner.progress.as_ref().map_or(0, |progress| progress.borrow().committed);
        if position >= committed {
            return EntryLocation::Here(Vec::new());
        }
        let tail_first = inner.next - inner.tail.len() as u64;
        if let Some(skipped) =
            position.checked_sub(tail_first).and_then(|skipped| usize::try_from(skipped).ok())
        {
            let ready =
                inner.tail.iter().skip(skipped).take_while(|entry| entry.position < committed);
            return EntryLocation::Here(within(ready, budget, at_least_one));
        }
        let from = inner.index.partition_point(|place| place.first <= position).saturating_sub(1);
        let until = inner.index.partition_point(|place| place.first < tail_first);
        let to = until.min(from + FRAMES);
        EntryLocation::Files(inner.index.get(from..to).unwrap_or_default().to_vec())
    }
}

impl LogInner {
    fn may_append(&self, epoch: u64, entries: &[Entry]) -> Result<(), LogError> {
        if self.epoch != epoch {
            return Err(LogError::Fenced);
        }
        if self.has_ended {
            return Err(LogError::Ended);
        }
        let follow = entries
            .iter()
            .map(|entry| entry.position)
            .eq(self.next..self.next + entries.len() as u64);
        if follow { Ok(()) } else { Err(LogError::Gap) }
    }

    fn accept(&mut self, entries: &[Entry], bytes: u64) {
        self.next += entries.len() as u64;
        self.has_ended = entries.last().is_some_and(|entry| entry.kind.is_terminal());
        self.tail_bytes += entries.iter().map(|entry| entry.data.len()).sum::<usize>();
        self.tail.extend(entries.iter().cloned());
        self.bytes += bytes;
    }

    fn enter(&mut self, segment: u32, bytes: u64) {
        match self.segments.iter_mut().rev().find(|(other, _)| *other == segment) {
            Some((_, total)) => *total += bytes,
            None => self.segments.push((segment, bytes)),
        }
    }

    /// Drops the oldest committed entries from memory while the tail exceeds `tail_bytes`.
    fn trim(&mut self, committed: u64, tail_bytes: usize) {
        while self.tail_bytes > tail_bytes {
            let Some(entry) = self.tail.pop_front_if(|entry| entry.position < committed) else {
                return;
            };
            self.tail_bytes -= entry.data.len();
        }
    }

    fn move_watermark(&mut self, committed: u64) -> Committed {
        let has_ended = self.has_ended && committed == self.next;
        let state = if has_ended { LogState::Ended } else { LogState::Open };
        if let Some(progress) = &self.progress {
            progress.send_replace(LogProgress { committed, state });
        }
        if has_ended { Committed::Ended } else { Committed::Running }
    }

    fn set_state(&mut self, state: LogState) {
        if let Some(progress) = &self.progress {
            progress.send_if_modified(|progress| {
                let changes = progress.state != LogState::Ended && progress.state != state;
                if changes {
                    progress.state = state;
                }
                changes
            });
        }
    }

    fn free(&mut self) -> Freed {
        self.tail = VecDeque::new();
        self.tail_bytes = 0;
        self.index = Vec::new();
        Freed {
            bytes: std::mem::take(&mut self.bytes),
            segments: std::mem::take(&mut self.segments),
        }
    }
}

/// The key of a log in the byte counts of the segments.
pub(super) fn key(id: &ResponseId) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// The first entries that fit `budget` bytes, and at least one if `at_least_one`.
pub(super) fn within<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    budget: usize,
    at_least_one: bool,
) -> Vec<Entry> {
    let mut left = budget;
    let mut within = Vec::new();
    for entry in entries {
        if entry.data.len() > left && !(at_least_one && within.is_empty()) {
            break;
        }
        left = left.saturating_sub(entry.data.len());
        within.push(entry.clone());
    }
    within
}
