//! The format of the journal, version 1: the meaning of a segment's bytes, without any I/O.
//!
//! A segment is a header and frames, all numbers little-endian. Every frame names its log, so a
//! frame means the same in any segment: a frame that failed to be written, or has to move, is
//! copied unchanged.
//!
//! ```text
//! segment header, 32 bytes        frame header, 20 bytes
//!  0  magic "weirjrnl"             0  marker FF 57 4A FE
//!  8  version of the format, u16   4  kind: 1 entries, 2 removal
//! 10  zero, u16                    5  flags, see below
//! 12  number of the segment, u32   6  bytes of the id, u16
//! 16  generation, u32              8  bytes of the payload, u32
//! 20  zero, 8 bytes               12  CRC-32 (IEEE) of the payload, u32
//! 28  CRC-32 of 0..28             16  CRC-32 of 0..16, u32
//!
//! flags of entries:   1 if the last one ends the log
//! flags of a removal: 1 deleted, 0 archived
//! payload of entries: id, generation u32, first position u64, count u32,
//!                     then for each entry: bytes u32, data
//! payload of a removal: id
//! ```
//!
//! The *generation* counts the starts of the process. Entries of a later generation replace those
//! of an earlier one from the position on where the later one starts; those came after a hole, and
//! no reader has seen them. `FF` and `FE` occur in no UTF-8, so no text of a model can look like a
//! frame.

use bytes::Bytes;
use protocol::entry::Entry;

/// Bytes of a segment's header.
pub(super) const HEADER: usize = 32;

/// Bytes of a frame's header.
pub(super) const FRAME_HEADER: usize = 20;

const MAGIC: &[u8; 8] = b"weirjrnl";
const VERSION: u16 = 1;
const MARKER: [u8; 4] = [0xff, b'W', b'J', 0xfe];
const ENTRIES: u8 = 1;
const REMOVAL: u8 = 2;

/// Bytes between the id and the data of the first entry.
const FIXED: usize = 16;

/// The outcome of parsing a segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SegmentHeader {
    Whole {
        generation: u32,
    },
    /// A later version of Weir wrote it, in this version of the format.
    Newer(u16),
    /// A torn header: the power was lost while it was written.
    Damaged,
    /// Not a segment.
    Foreign,
}

/// A parsed frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JournalFrame<'a> {
    Entries { id: &'a str, generation: u32, first: u64, count: u32, ends: bool },
    Removal { id: &'a str, reason: RemovalReason },
}

/// Why a log has left the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RemovalReason {
    /// It is in the archive.
    Archived,
    /// It was deleted, and its text has to be removed.
    Deleted,
}

pub(super) fn header(number: u32, generation: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..10].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&number.to_le_bytes());
    header[16..20].copy_from_slice(&generation.to_le_bytes());
    let checksum = crc32fast::hash(&header[..28]);
    header[28..].copy_from_slice(&checksum.to_le_bytes());
    header
}

pub(super) fn read_header(bytes: &[u8]) -> SegmentHeader {
    // A torn header holds a part of our bytes and zeros.
    if bytes.iter().zip(MAGIC).any(|(byte, ours)| *byte != 0 && byte != ours) {
        return SegmentHeader::Foreign;
    }
    let Some(header) = bytes.first_chunk::<HEADER>() else { return SegmentHeader::Damaged };
    if u32_at(header, 28) != Some(crc32fast::hash(&header[..28])) {
        return SegmentHeader::Damaged;
    }
    let version = u16::from_le_bytes([header[8], header[9]]);
    if version != VERSION {
        return SegmentHeader::Newer(version);
    }
    u32_at(header, 16)
        .map_or(SegmentHeader::Damaged, |generation| SegmentHeader::Whole { generation })
}

/// Bytes that [`put_entries`] adds.
pub(super) fn entries_length(id: &str, entries: &[Entry]) -> usize {
    FRAME_HEADER
        + id.len()
        + FIXED
        + entries.iter().map(|entry| 4 + entry.data.len()).sum::<usize>()
}

/// Appends a frame of entries with consecutive positions.
pub(super) fn put_entries(buffer: &mut Vec<u8>, id: &str, generation: u32, entries: &[Entry]) {
    let ends = entries.last().is_some_and(|entry| entry.kind.is_terminal());
    put(buffer, ENTRIES, u8::from(ends), id, |buffer| {
        buffer.extend_from_slice(&generation.to_le_bytes());
        buffer.extend_from_slice(&entries.first().map_or(0, |entry| entry.position).to_le_bytes());
        buffer.extend_from_slice(&size(entries.len()).to_le_bytes());
        for entry in entries {
            buffer.extend_from_slice(&size(entry.data.len()).to_le_bytes());
            buffer.extend_from_slice(&entry.data);
        }
    });
}

/// Appends a frame that marks a log as removed: all its earlier frames, in this segment and those
/// before, are obsolete.
pub(super) fn put_removal(buffer: &mut Vec<u8>, id: &str, reason: RemovalReason) {
    put(buffer, REMOVAL, u8::from(reason == RemovalReason::Deleted), id, |_| {});
}

fn put(buffer: &mut Vec<u8>, kind: u8, flags: u8, id: &str, body: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; FRAME_HEADER]);
    buffer.extend_from_slice(id.as_bytes());
    body(buffer);
    let Some((header, payload)) =
        buffer.get_mut(start..).and_then(|frame| frame.split_first_chunk_mut::<FRAME_HEADER>())
    else {
        return;
    };
    header[..4].copy_from_slice(&MARKER);
    header[4] = kind;
    header[5] = flags;
    header[6..8].copy_from_slice(&u16::try_from(id.len()).unwrap_or(u16::MAX).to_le_bytes());
    header[8..12].copy_from_slice(&size(payload.len()).to_le_bytes());
    header[12..16].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
    let checksum = crc32fast::hash(&header[..16]);
    header[16..].copy_from_slice(&checksum.to_le_bytes());
}

/// The length of the frame at the start of `bytes`, with its header. `None` without a whole header.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let header = bytes.first_chunk::<FRAME_HEADER>()?;
    let whole = header[..4] == MARKER && u32_at(header, 16) == Some(crc32fast::hash(&header[..16]));
    whole.then_some(FRAME_HEADER + usize::try_from(u32_at(header, 8)?).ok()?)
}

/// The frame at the start of `bytes` and its length. `None` if any of it is missing or altered.
pub(super) fn parse(bytes: &[u8]) -> Option<(JournalFrame<'_>, usize)> {
    let length = length(bytes)?;
    let (header, payload) = bytes.get(..length)?.split_first_chunk::<FRAME_HEADER>()?;
    if u32_at(header, 12) != Some(crc32fast::hash(payload)) {
        return None;
    }
    let (id, body) =
        payload.split_at_checked(usize::from(u16::from_le_bytes([header[6], header[7]])))?;
    let id = std::str::from_utf8(id).ok()?;
    let frame = match (header[4], header[5]) {
        (ENTRIES, flags @ (0 | 1)) => {
            let count = u32_at(body, 12)?;
            let first = u64::from_le_bytes(*body.get(4..)?.first_chunk()?);
            first.checked_add(u64::from(count))?;
            JournalFrame::Entries {
                id,
                generation: u32_at(body, 0)?,
                first,
                count,
                ends: flags == 1,
            }
        }
        (REMOVAL, 0) => JournalFrame::Removal { id, reason: RemovalReason::Archived },
        (REMOVAL, 1) => JournalFrame::Removal { id, reason: RemovalReason::Deleted },
        _ => return None,
    };
    Some((frame, length))
}

/// The entries of the frame in `bytes`, sharing its memory. `None` if it is damaged.
pub(super) fn entries(bytes: &Bytes) -> Option<Vec<Entry>> {
    let (JournalFrame::Entries { id, first, count, .. }, length) = parse(bytes)? else {
        return None;
    };
    let mut offset = FRAME_HEADER + id.len() + FIXED;
    // Each entry has at least the four bytes of its length: a larger count is damage.
    let mut entries = Vec::with_capacity(usize::try_from(count).ok()?.min(length / 4));
    for position in first..first + u64::from(count) {
        let from = offset + 4;
        offset = from.checked_add(usize::try_from(u32_at(bytes, offset)?).ok()?)?;
        if offset > length {
            return None;
        }
        entries.push(Entry::read(position, bytes.slice(from..offset))?);
    }
    (offset == length).then_some(entries)
}

/// The next offset after `from` where a frame may start.
pub(super) fn next_marker(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from + 1..)?;
    rest.windows(MARKER.len()).position(|window| window == MARKER).map(|at| from + 1 + at)
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// A length as it is written. The queue accepts nothing near the limit.
fn size(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::event::{Event, TextDelta};
    use protocol::id::ItemId;

    use super::*;

    fn deltas(first: u64, texts: &[String]) -> Vec<Entry> {
        let entry = |(index, text): (usize, &String)| {
            let delta = TextDelta {
                item_id: ItemId::new("msg_1"),
                output_index: 0,
                content_index: 0,
                delta: text,
                logprobs: &[],
            };
            Entry::new(first + index as u64, &Event::OutputTextDelta(delta))
        };
        texts.iter().enumerate().map(entry).collect()
    }

    fn frame(first: u64, texts: &[String]) -> (Vec<Entry>, Vec<u8>) {
        let entries = deltas(first, texts);
        let mut bytes = Vec::new();
        put_entries(&mut bytes, "resp_1", 7, &entries);
        assert_eq!(bytes.len(), entries_length("resp_1", &entries));
        (entries, bytes)
    }

    proptest! {
        #[test]
        fn a_frame_round_trips(first in 0_u64..1_000_000, texts in prop::collection::vec(".*", 1..8)) {
            let (expected, bytes) = frame(first, &texts);
            prop_assert_eq!(entries(&bytes.into()), Some(expected));
        }

        #[test]
        fn a_frame_truncated_anywhere_is_rejected(texts in prop::collection::vec(".*", 1..4), cut in any::<prop::sample::Index>()) {
            let (_, bytes) = frame(3, &texts);
            let cut = cut.index(bytes.len());
            prop_assert!(parse(&bytes[..cut]).is_none());
            prop_assert!(entries(&bytes[..cut].to_vec().into()).is_none());
        }

        #[test]
        fn a_flipped_bit_is_detected(texts in prop::collection::vec(".*", 1..4), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let (_, mut bytes) = frame(3, &texts);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(parse(&bytes).is_none());
        }

        #[test]
        fn random_bytes_are_not_a_frame(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(parse(&noise).is_none());
        }

        #[test]
        fn no_text_parses_as_a_frame(texts in prop::collection::vec(".*", 1..4)) {
            let (_, bytes) = frame(3, &texts);
            let after_id = FRAME_HEADER + "resp_1".len() + FIXED;
            prop_assert!(next_marker(&bytes, after_id - 1).is_none());
        }
    }

    #[test]
    fn a_header_identifies_its_writer() {
        let whole = header(3, 9);
        assert_eq!(read_header(&whole), SegmentHeader::Whole { generation: 9 });
        assert_eq!(read_header(&whole[..31]), SegmentHeader::Damaged);
        assert_eq!(read_header(&[0; 40]), SegmentHeader::Damaged);
        assert_eq!(
            read_header(b"SQLite format 3\0 and more of it, much more"),
            SegmentHeader::Foreign
        );
        let mut newer = whole;
        newer[8] = 2;
        let checksum = crc32fast::hash(&newer[..28]);
        newer[28..].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(read_header(&newer), SegmentHeader::Newer(2));
    }

    #[test]
    fn a_removal_frame_has_its_reason() {
        for reason in [RemovalReason::Archived, RemovalReason::Deleted] {
            let mut bytes = Vec::new();
            put_removal(&mut bytes, "resp_1", reason);
            assert_eq!(
                parse(&bytes),
                Some((JournalFrame::Removal { id: "resp_1", reason }, bytes.len()))
            );
        }
    }
}
