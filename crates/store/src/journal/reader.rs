//! Reads a log: its newest entries from memory, older ones from the files, and from the archive
//! once it has moved there.

use std::collections::hash_map::{self, HashMap};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use engine::log::{LogError, LogProgress, LogReader};
use futures_util::future::{BoxFuture, FutureExt};
use protocol::entry::Entry;
use tokio::sync::watch;

use super::disk::{SegmentFile, read_full};
use super::frame;
use super::log::{EntryLocation, FrameLocation, JournalLog, within};
use super::shared::JournalInner;

/// How much one call reads from a file: frames of one log are close to each other, and one call
/// costs more than a few KiB.
const CHUNK: usize = 16 << 10;

/// How often one read looks up the location of entries. One lookup returns thousands of frames, so
/// only a very long log needs several.
const LOOKUPS: usize = 1 << 16;

/// Entries, and whether they exhaust the budget.
type Part = (Vec<Entry>, bool);

/// Reads one log in windows.
pub(super) struct JournalReader {
    shared: Arc<JournalInner>,
    response: Arc<JournalLog>,
    progress: watch::Receiver<LogProgress>,
}

impl JournalReader {
    /// `None`: the log was removed in the meantime.
    pub(super) fn new(shared: Arc<JournalInner>, response: Arc<JournalLog>) -> Option<Self> {
        let progress = response.progress()?;
        Some(Self { shared, response, progress })
    }
}

impl LogReader for JournalReader {
    fn progress(&self) -> watch::Receiver<LogProgress> {
        self.progress.clone()
    }

    fn read(&self, position: u64, budget: usize) -> BoxFuture<'_, Result<Vec<Entry>, LogError>> {
        match self.response.locate(position, budget, true) {
            // Most reads need neither a task nor a file.
            EntryLocation::Here(entries) => std::future::ready(Ok(entries)).boxed(),
            EntryLocation::Files(_) | EntryLocation::Archive | EntryLocation::Nowhere => {
                self.shared.read(&self.response, position, budget).boxed()
            }
        }
    }
}

impl JournalInner {
    /// Reads up to the budget, from wherever the entries are.
    pub(super) async fn read(
        &self,
        response: &JournalLog,
        position: u64,
        budget: usize,
    ) -> Result<Vec<Entry>, LogError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut left = budget;
        for _ in 0..LOOKUPS {
            let next = entries.last().map_or(position, |entry| entry.position + 1);
            let (more, is_all) = match response.locate(next, left, entries.is_empty()) {
                EntryLocation::Here(more) => (more, true),
                EntryLocation::Files(places) => {
                    match self.read_files(places, next, left, entries.is_empty()).await? {
                        Some(read) => read,
                        // The frames were copied and their segment was removed: look up their new
                        // location.
                        None => continue,
                    }
                }
                // The archive has the whole log, so nothing is lost with the files.
                EntryLocation::Archive if entries.is_empty() => {
                    return self.archive.read(&response.id, next, left).await;
                }
                EntryLocation::Archive => return Ok(entries),
                EntryLocation::Nowhere => return Err(LogError::Missing),
            };
            let is_all = is_all || more.is_empty();
            left = left.saturating_sub(more.iter().map(|entry| entry.data.len()).sum());
            entries.extend(more);
            if is_all {
                return Ok(entries);
            }
        }
        // The reader continues where this ends.
        if entries.is_empty() { Err(LogError::Unavailable) } else { Ok(entries) }
    }

    /// Entries from frames, and whether they exhaust the budget. `None`: a segment was removed in
    /// the meantime.
    async fn read_files(
        &self,
        places: Vec<FrameLocation>,
        from: u64,
        budget: usize,
        at_least_one: bool,
    ) -> Result<Option<Part>, LogError> {
        // Files stay open while they are read, even if the segment is removed.
        let mut files = HashMap::new();
        for place in &places {
            if let hash_map::Entry::Vacant(vacant) = files.entry(place.segment) {
                let Some(file) = self.segments.file(place.segment) else { return Ok(None) };
                vacant.insert(file);
            }
        }
        let read = self
            .tasks
            .blocking(move || read_frames(&files, &places, from, budget, at_least_one))
            .await;
        match read {
            Some(Ok(part)) => Ok(Some(part)),
            Some(Err(error)) => {
                tracing::error!(%error, "the journal cannot be read");
                Err(LogError::Unavailable)
            }
            None => Err(LogError::Unavailable),
        }
    }
}

pub(super) fn read_frames(
    files: &HashMap<u32, Arc<dyn SegmentFile>>,
    places: &[FrameLocation],
    from: u64,
    budget: usize,
    at_least_one: bool,
) -> io::Result<Part> {
    let mut chunk = FrameWindow::default();
    let mut entries: Vec<Entry> = Vec::new();
    let mut left = budget;
    for place in places {
        let Some(file) = files.get(&place.segment) else { continue };
        let frame = chunk.frame(&**file, *place)?;
        let all = frame::entries(&frame).ok_or(io::ErrorKind::InvalidData)?;
        let wanted: Vec<&Entry> = all.iter().filter(|entry| entry.position >= from).collect();
        let fitting = within(wanted.iter().copied(), left, at_least_one && entries.is_empty());
        let is_all = fitting.len() < wanted.len();
        left = left.saturating_sub(fitting.iter().map(|entry| entry.data.len()).sum());
        entries.extend(fitting);
        if is_all {
            return Ok((entries, true));
        }
    }
    Ok((entries, false))
}

/// The bytes around the frame that was read last.
#[derive(Default)]
pub(super) struct FrameWindow {
    segment: u32,
    start: u64,
    bytes: Bytes,
}

impl FrameWindow {
    /// The bytes of the frame at `place`.
    pub(super) fn frame(
        &mut self,
        file: &dyn SegmentFile,
        place: FrameLocation,
    ) -> io::Result<Bytes> {
        if let Some(frame) = self.cut(place) {
            return Ok(frame);
        }
        self.fill(file, place, CHUNK)?;
        if let Some(frame) = self.cut(place) {
            return Ok(frame);
        }
        let length = frame::length(&self.bytes).ok_or(io::ErrorKind::InvalidData)?;
        self.fill(file, place, length)?;
        self.cut(place).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn fill(
        &mut self,
        file: &dyn SegmentFile,
        place: FrameLocation,
        length: usize,
    ) -> io::Result<()> {
        let mut buffer = vec![0; length];
        let read = read_full(file, &mut buffer, u64::from(place.offset))?;
        buffer.truncate(read);
        *self =
            Self { segment: place.segment, start: u64::from(place.offset), bytes: buffer.into() };
        Ok(())
    }

    fn cut(&self, place: FrameLocation) -> Option<Bytes> {
        if self.segment != place.segment {
            return None;
        }
        let from = usize::try_from(u64::from(place.offset).checked_sub(self.start)?).ok()?;
        let length = frame::length(self.bytes.get(from..)?)?;
        let to = from.checked_add(length).filter(|to| *to <= self.bytes.len())?;
        Some(self.bytes.slice(from..to))
    }
}
