//! Recovery of the segments at start: checks every frame, truncates a torn tail, reports and skips
//! damage, and builds an index of the logs. Idempotent.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use protocol::id::ResponseId;

use super::disk::{SegmentDisk, SegmentFile, read_full};
use super::error::JournalError;
use super::frame::{self, JournalFrame, RemovalReason, SegmentHeader};
use super::log::{self, FoundLog, FrameLocation};
use super::segments::SegmentInfo;
use crate::Durability;

/// The outcome of a recovery.
pub(super) struct RecoveredJournal {
    pub(super) logs: Vec<FoundLog>,
    pub(super) segments: BTreeMap<u32, SegmentInfo>,
    /// The generation of this start.
    pub(super) generation: u32,
    /// The number of the next segment.
    pub(super) next: u32,
    pub(super) damage: Vec<Damage>,
}

/// Damaged bytes in the middle of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub path: PathBuf,
    /// The offset of the damage.
    pub offset: u64,
    /// The number of bytes before the next intact frame.
    pub bytes: u64,
}

struct Scan<'a> {
    disk: &'a dyn SegmentDisk,
    traces: HashMap<Box<str>, Trace>,
    segments: BTreeMap<u32, SegmentInfo>,
    generation: u32,
    damage: Vec<Damage>,
}

/// The frames of one log in the segments.
#[derive(Default)]
struct Trace {
    frames: Vec<Seen>,
    /// The segments that hold any of its frames, including obsolete ones.
    segments: Vec<u32>,
}

/// One frame of entries.
#[derive(Clone, Copy)]
struct Seen {
    generation: u32,
    segment: u32,
    offset: u32,
    length: u32,
    first: u64,
    count: u32,
    ends: bool,
}

/// Scans all segments, oldest first.
pub(super) fn recover(
    disk: &dyn SegmentDisk,
    durability: Durability,
) -> Result<RecoveredJournal, JournalError> {
    let mut numbers =
        disk.list().map_err(|source| JournalError::Io { path: disk.path(None), source })?;
    numbers.sort_unstable();
    let mut scan = Scan {
        disk,
        traces: HashMap::new(),
        segments: BTreeMap::new(),
        generation: 0,
        damage: Vec::new(),
    };
    let mut buffer = Vec::new();
    for number in &numbers {
        scan.segment(*number, &mut buffer)?;
    }
    match durability {
        Durability::Memory | Durability::Process => {}
        // Bytes that the last process wrote but did not sync can be read, but would not survive a
        // loss of power.
        Durability::Disk => scan.sync()?,
    }
    let mut logs = Vec::new();
    for (id, trace) in std::mem::take(&mut scan.traces) {
        logs.extend(scan.resolve(&id, trace));
    }
    // An order that does not depend on a hash, because the caller ends them one by one.
    logs.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(RecoveredJournal {
        logs,
        segments: scan.segments,
        generation: scan.generation.saturating_add(1),
        next: numbers.last().map_or(1, |last| last.saturating_add(1)),
        damage: scan.damage,
    })
}

impl Scan<'_> {
    fn sync(&self) -> Result<(), JournalError> {
        for (number, segment) in &self.segments {
            segment.file.sync().map_err(|source| JournalError::Io {
                path: self.disk.path(Some(*number)),
                source,
            })?;
        }
        self.disk.sync().map_err(|source| JournalError::Io { path: self.disk.path(None), source })
    }

    /// Scans one segment. `buffer` is reused between segments.
    fn segment(&mut self, number: u32, buffer: &mut Vec<u8>) -> Result<(), JournalError> {
        let refused = |source| JournalError::Io { path: self.disk.path(Some(number)), source };
        let file = self.disk.open(number).map_err(refused)?;
        read_whole(&*file, buffer).map_err(refused)?;
        let header = frame::read_header(buffer);
        let mut offset = match header {
            SegmentHeader::Whole { generation } => {
                self.generation = self.generation.max(generation);
                frame::HEADER
            }
            SegmentHeader::Newer(version) => {
                return Err(JournalError::Newer { path: self.disk.path(Some(number)), version });
            }
            SegmentHeader::Damaged | SegmentHeader::Foreign => match next_frame(buffer, 0) {
                Some(at) => {
                    self.damaged(number, 0, at);
                    at
                }
                None if header == SegmentHeader::Foreign => {
                    return Err(JournalError::Foreign { path: self.disk.path(Some(number)) });
                }
                None => 0,
            },
        };
        let mut segment = SegmentInfo::new(Arc::clone(&file));
        segment.is_closed = true;
        segment.is_dirty = !matches!(header, SegmentHeader::Whole { .. });
        self.segments.insert(number, segment);
        while let Some(rest) = buffer.get(offset..).filter(|rest| !rest.is_empty()) {
            if let Some((frame, length)) = frame::parse(rest) {
                self.frame(number, offset, length, &frame);
                offset += length;
            } else if let Some(at) = next_frame(buffer, offset) {
                self.damaged(number, offset, at);
                offset = at;
            } else {
                // The end of an unfinished write: no reader has seen any of it.
                tracing::info!(path = %self.disk.path(Some(number)).display(), offset, bytes = rest.len(), "a torn tail was truncated");
                file.truncate(offset as u64).map_err(refused)?;
                break;
            }
        }
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.length = offset as u64;
        }
        Ok(())
    }

    fn frame(&mut self, number: u32, offset: usize, length: usize, frame: &JournalFrame<'_>) {
        match *frame {
            JournalFrame::Entries { id, generation, first, count, ends } => {
                self.generation = self.generation.max(generation);
                let (at, length) = (
                    u32::try_from(offset).unwrap_or(u32::MAX),
                    u32::try_from(length).unwrap_or(u32::MAX),
                );
                let seen =
                    Seen { generation, segment: number, offset: at, length, first, count, ends };
                let is_new = match self.traces.get_mut(id) {
                    Some(trace) => trace.enter(seen),
                    None => self.traces.entry(id.into()).or_default().enter(seen),
                };
                if is_new {
                    let key = log::key(&ResponseId::new(id));
                    self.with_segment(number, |segment| segment.logs.insert(key));
                }
            }
            JournalFrame::Removal { id, reason } => {
                let Some(trace) = self.traces.get_mut(id) else { return };
                trace.frames = Vec::new();
                let held = trace.segments.clone();
                self.with_segment(number, |segment| {
                    segment.guards.extend(held.iter().filter(|other| **other != number));
                });
                if reason == RemovalReason::Deleted {
                    for other in &held {
                        self.with_segment(*other, |segment| segment.is_marked_deleted = true);
                    }
                }
            }
        }
    }

    /// Builds one log from its frames: dense from the first position up to a hole or the end.
    fn resolve(&mut self, id: &str, mut trace: Trace) -> Option<FoundLog> {
        // Of two copies the newer one comes first: the older is in a segment to be removed.
        trace.frames.sort_by_key(|seen| {
            (seen.generation, seen.first, std::cmp::Reverse((seen.segment, seen.offset)))
        });
        let mut chain: Vec<Seen> = Vec::new();
        let mut dropped = Vec::new();
        for generation in trace.frames.chunk_by(|one, other| one.generation == other.generation) {
            let start = generation.first().map_or(0, |seen| seen.first);
            while let Some(void) = chain.pop_if(|seen| seen.end() > start) {
                dropped.push(void);
            }
            for seen in generation {
                if chain.last().is_none_or(|last| last.end() <= seen.first) {
                    chain.push(*seen);
                }
            }
        }
        let mut found = FoundLog {
            id: ResponseId::new(id),
            next: 0,
            has_ended: false,
            index: Vec::new(),
            segments: Vec::new(),
        };
        for seen in chain {
            if seen.first != found.next || found.has_ended {
                dropped.push(seen);
                continue;
            }
            found.next = seen.end();
            found.has_ended = seen.ends;
            found.index.push(FrameLocation {
                first: seen.first,
                segment: seen.segment,
                offset: seen.offset,
            });
            found.enter(seen.segment, u64::from(seen.length));
        }
        if let Some(hole) = dropped.first() {
            // After a power loss, these entries were never durable and no reader has seen them;
            // otherwise they were lost to damage.
            tracing::warn!(
                response = id,
                from = found.next,
                resumes_at = hole.first,
                frames = dropped.len(),
                "entries after a gap were dropped"
            );
        }
        for seen in &dropped {
            self.with_segment(seen.segment, |segment| segment.is_dirty = true);
        }
        for (number, bytes) in &found.segments {
            self.with_segment(*number, |segment| segment.live += bytes);
        }
        (found.next > 0).then_some(found)
    }

    fn damaged(&mut self, number: u32, from: usize, to: usize) {
        let damage = Damage {
            path: self.disk.path(Some(number)),
            offset: from as u64,
            bytes: (to - from) as u64,
        };
        tracing::error!(path = %damage.path.display(), offset = damage.offset, bytes = damage.bytes, "the journal is damaged: these bytes are left out");
        self.damage.push(damage);
        self.with_segment(number, |segment| segment.is_dirty = true);
    }

    fn with_segment<T>(&mut self, number: u32, change: impl FnOnce(&mut SegmentInfo) -> T) {
        if let Some(segment) = self.segments.get_mut(&number) {
            change(segment);
        }
    }
}

impl Trace {
    /// Returns whether this is the first frame of the log in the segment.
    fn enter(&mut self, seen: Seen) -> bool {
        let is_new = self.segments.last() != Some(&seen.segment);
        if is_new {
            self.segments.push(seen.segment);
        }
        self.frames.push(seen);
        is_new
    }
}

impl Seen {
    fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }
}

impl FoundLog {
    fn enter(&mut self, segment: u32, bytes: u64) {
        match self.segments.iter_mut().find(|(other, _)| *other == segment) {
            Some((_, held)) => *held += bytes,
            None => self.segments.push((segment, bytes)),
        }
    }
}

fn read_whole(file: &dyn SegmentFile, buffer: &mut Vec<u8>) -> io::Result<()> {
    let length = usize::try_from(file.length()?)
        .map_err(|_too_long| io::Error::from(io::ErrorKind::FileTooLarge))?;
    buffer.resize(length, 0);
    let read = read_full(file, buffer, 0)?;
    buffer.truncate(read);
    Ok(())
}

/// The next intact frame after `from`.
fn next_frame(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = frame::next_marker(bytes, from)?;
    while frame::parse(bytes.get(at..)?).is_none() {
        at = frame::next_marker(bytes, at)?;
    }
    Some(at)
}
