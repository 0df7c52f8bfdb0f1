//! Appends frames to the journal and continues in a new segment when one is full or has failed. It
//! never waits, has no thread and buffers nothing: frames that failed have to be written again as a
//! whole.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::disk::{SegmentDisk, SegmentFile, write_all};
use super::frame;
use super::segments::Segments;
use crate::Durability;

/// Appends to the newest segment.
pub(super) struct Appender {
    disk: Arc<dyn SegmentDisk>,
    segments: Arc<Segments>,
    durability: Durability,
    /// The length from which a segment is full.
    full: u64,
    generation: u32,
    next: u32,
    current: Option<Current>,
}

struct Current {
    number: u32,
    file: Arc<dyn SegmentFile>,
    /// Everything below is as durable as configured.
    length: u64,
    /// Whether its name is durable too.
    is_named: bool,
}

/// The location of written frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct AppendedAt {
    pub(super) segment: u32,
    pub(super) offset: u64,
}

impl Appender {
    /// Continues after the existing segments, in a new one.
    pub(super) fn new(
        disk: Arc<dyn SegmentDisk>,
        segments: Arc<Segments>,
        durability: Durability,
        full: u64,
        generation: u32,
        next: u32,
    ) -> Self {
        Self { disk, segments, durability, full, generation, next, current: None }
    }

    /// Appends frames with one write. When it returns, they are as durable as configured.
    ///
    /// # Errors
    /// Any part of the frames may be on the disk. The segment is closed: the same frames go whole
    /// into the next one.
    pub(super) fn put(&mut self, frames: &[u8]) -> io::Result<AppendedAt> {
        if let Some(current) = self.current.take_if(|current| {
            current.length >= self.full || self.segments.is_marked_deleted(current.number)
        }) {
            self.segments.closed(current.number, current.length, false);
        }
        if frames.is_empty() {
            return Ok(AppendedAt { segment: 0, offset: 0 });
        }
        let mut current = match self.current.take() {
            Some(current) => current,
            None => self.create()?,
        };
        let offset = current.length;
        match self.write(&mut current, frames) {
            Ok(()) => {
                let put = AppendedAt { segment: current.number, offset };
                self.current = Some(current);
                Ok(put)
            }
            Err(error) => {
                self.abandon(&current);
                Err(error)
            }
        }
    }

    /// The path of the current segment, for messages.
    pub(super) fn path(&self) -> PathBuf {
        self.disk.path(Some(self.current.as_ref().map_or(self.next, |current| current.number)))
    }

    fn create(&mut self) -> io::Result<Current> {
        let number = self.next;
        let file = self.disk.create(number)?;
        self.next += 1;
        let mut current = Current { number, file, length: 0, is_named: false };
        if let Err(error) = write_all(&*current.file, &frame::header(number, self.generation), 0) {
            // The segment is empty: a full disk must not fill with empty segments. One that cannot
            // be removed is found at the next start.
            let _stays = self.disk.remove(number);
            return Err(error);
        }
        current.length = frame::HEADER as u64;
        self.segments.opened(number, Arc::clone(&current.file));
        Ok(current)
    }

    fn write(&self, current: &mut Current, frames: &[u8]) -> io::Result<()> {
        write_all(&*current.file, frames, current.length)?;
        match self.durability {
            Durability::Memory | Durability::Process => {}
            Durability::Disk => {
                current.file.sync()?;
                if !current.is_named {
                    self.disk.sync()?;
                    current.is_named = true;
                }
            }
        }
        current.length += frames.len() as u64;
        Ok(())
    }

    fn abandon(&self, current: &Current) {
        // If it cannot be truncated either, the next start finds frames there that are also in the
        // next segment. It stays dirty in any case: a truncation may be lost with the power.
        let _stays = current.file.truncate(current.length);
        self.segments.closed(current.number, current.length, true);
    }
}
