//! Stored entries: many to a chunk, compressed, with a checksum.

use bytes::Bytes;
use protocol::entry::Entry;

use super::failure::JobFailure;

/// Raw bytes from which a chunk is full. An event has some 200 bytes and repeats most of the
/// previous one: compression gains no more beyond 32 KiB, and a reader in the middle unpacks no
/// more than this.
const FULL: usize = 32 << 10;

/// LZ4 expands one byte to at most this many; a row that claims more is damaged.
const MOST: usize = 255;

/// Some entries of a log.
#[derive(Debug)]
pub(super) struct LogChunk {
    /// The position of the first one.
    pub(super) first: u64,
    pub(super) raw_bytes: usize,
    pub(super) crc32: u32,
    pub(super) data: Vec<u8>,
}

/// Packs a whole log. `None` if its positions are not 0, 1, 2….
pub(super) fn pack(entries: &[Entry]) -> Option<Vec<LogChunk>> {
    let mut chunks = Vec::new();
    let (mut raw, mut first) = (Vec::with_capacity(FULL + FULL / 8), 0);
    for (position, entry) in (0_u64..).zip(entries) {
        if entry.position != position {
            return None;
        }
        raw.extend_from_slice(&u32::try_from(entry.data.len()).ok()?.to_le_bytes());
        raw.extend_from_slice(&entry.data);
        if raw.len() >= FULL {
            chunks.push(LogChunk::pack(first, &raw));
            raw.clear();
            first = position + 1;
        }
    }
    if !raw.is_empty() {
        chunks.push(LogChunk::pack(first, &raw));
    }
    Some(chunks)
}

impl LogChunk {
    fn pack(first: u64, raw: &[u8]) -> Self {
        let packed = lz4_flex::block::compress(raw);
        let data = if packed.len() < raw.len() { packed } else { raw.to_vec() };
        Self { first, raw_bytes: raw.len(), crc32: crc32fast::hash(raw), data }
    }

    /// The original entries.
    pub(super) fn unpack(self) -> Result<Vec<Entry>, JobFailure> {
        let raw = Bytes::from(self.raw()?);
        let mut entries = Vec::new();
        let mut left = raw;
        let mut position = self.first;
        while !left.is_empty() {
            let (length, rest) = left
                .split_first_chunk()
                .ok_or(JobFailure::Damaged("an entry of a log is truncated"))?;
            let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
            if rest.len() < length {
                return Err(JobFailure::Damaged("an entry of a log is truncated"));
            }
            let mut rest = left.slice(size_of::<u32>()..);
            let data = rest.split_to(length);
            left = rest;
            entries.push(
                Entry::read(position, data)
                    .ok_or(JobFailure::Damaged("an entry of a log is not valid"))?,
            );
            position += 1;
        }
        Ok(entries)
    }

    fn raw(&self) -> Result<Vec<u8>, JobFailure> {
        let raw = if self.raw_bytes == self.data.len() {
            self.data.clone()
        } else if self.raw_bytes / MOST > self.data.len() {
            return Err(JobFailure::Damaged("a chunk of a log has an impossible length"));
        } else {
            let unpacked = lz4_flex::block::decompress(&self.data, self.raw_bytes);
            unpacked.map_err(|_error| JobFailure::Damaged("a chunk of a log cannot be unpacked"))?
        };
        if crc32fast::hash(&raw) == self.crc32 {
            Ok(raw)
        } else {
            Err(JobFailure::Damaged("the checksum of a chunk of a log is wrong"))
        }
    }
}
