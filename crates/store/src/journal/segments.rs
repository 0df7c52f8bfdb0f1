//! Accounts of all segments: which live bytes and which logs they hold, and when they can be
//! removed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use super::disk::SegmentFile;
use super::mutex::lock;

/// The segments that are on the disk.
#[derive(Default)]
pub(super) struct Segments {
    all: Mutex<BTreeMap<u32, SegmentInfo>>,
}

/// One segment.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and any may come with any"
)]
pub(super) struct SegmentInfo {
    pub(super) file: Arc<dyn SegmentFile>,
    /// Its length when it was closed.
    pub(super) length: u64,
    /// Bytes of frames that a log in memory refers to.
    pub(super) live: u64,
    /// The keys of all logs with text in it. A hash collision costs a copy, no more.
    pub(super) logs: HashSet<u64>,
    /// Older segments with frames of logs that a frame in this one marks as removed. It must
    /// outlive them, or those logs would reappear.
    pub(super) guards: BTreeSet<u32>,
    /// Closed: no longer appended to.
    pub(super) is_closed: bool,
    /// It has to be removed soon: it contains deleted text.
    pub(super) is_marked_deleted: bool,
    /// It has unaccounted bytes: damage, or a failed write. It has to be removed soon, and may
    /// contain text of any log.
    pub(super) is_dirty: bool,
    /// One of its frames could not be copied, so it stays.
    pub(super) is_unreadable: bool,
}

impl SegmentInfo {
    /// An empty segment that is appended to.
    pub(super) fn new(file: Arc<dyn SegmentFile>) -> Self {
        Self {
            file,
            length: 0,
            live: 0,
            logs: HashSet::new(),
            guards: BTreeSet::new(),
            is_closed: false,
            is_marked_deleted: false,
            is_dirty: false,
            is_unreadable: false,
        }
    }
}

impl Segments {
    pub(super) fn new(all: BTreeMap<u32, SegmentInfo>) -> Self {
        Self { all: Mutex::new(all) }
    }

    pub(super) fn opened(&self, number: u32, file: Arc<dyn SegmentFile>) {
        self.all().insert(number, SegmentInfo::new(file));
    }

    /// Closes a segment. `is_dirty`: because a write failed.
    pub(super) fn closed(&self, number: u32, length: u64, is_dirty: bool) {
        if let Some(segment) = self.all().get_mut(&number) {
            segment.length = length;
            segment.is_closed = true;
            segment.is_dirty |= is_dirty;
        }
    }

    /// Whether it was marked for removal while it was appended to.
    pub(super) fn is_marked_deleted(&self, number: u32) -> bool {
        self.all().get(&number).is_some_and(|segment| segment.is_marked_deleted)
    }

    /// Records frames of a segment: the key of each log and the bytes.
    pub(super) fn enter(&self, number: u32, frames: impl Iterator<Item = (u64, u64)>) {
        let mut all = self.all();
        let Some(segment) = all.get_mut(&number) else { return };
        let mut last = None;
        for (key, bytes) in frames {
            segment.live += bytes;
            if last != Some(key) {
                segment.logs.insert(key);
                last = Some(key);
            }
        }
    }

    /// Nothing refers to these bytes any more.
    pub(super) fn release(&self, segments: &[(u32, u64)]) {
        let mut all = self.all();
        for (number, bytes) in segments {
            if let Some(segment) = all.get_mut(number) {
                segment.live = segment.live.saturating_sub(*bytes);
            }
        }
    }

    /// Whether any segment may hold text of this log.
    pub(super) fn may_contain(&self, key: u64) -> bool {
        self.all().values().any(|segment| segment.is_dirty || segment.logs.contains(&key))
    }

    /// A frame in `number` marks a log as removed: that segment guards those that hold the log.
    pub(super) fn guard(&self, number: u32, key: u64) {
        let mut all = self.all();
        let others = all.iter().filter(|(other, segment)| {
            **other != number && (segment.is_dirty || segment.logs.contains(&key))
        });
        let guards: Vec<u32> = others.map(|(other, _)| *other).collect();
        if let Some(segment) = all.get_mut(&number) {
            segment.guards.extend(guards);
        }
    }

    /// The text of this log has to be removed.
    pub(super) fn mark_deleted(&self, key: u64) {
        self.all()
            .values_mut()
            .filter(|segment| segment.is_dirty || segment.logs.contains(&key))
            .for_each(|segment| segment.is_marked_deleted = true);
    }

    /// The numbers of all segments.
    pub(super) fn numbers(&self) -> Vec<u32> {
        self.all().keys().copied().collect()
    }

    /// A segment whose file was removed by others: it can still be read, but no start would find
    /// it, so it is given up. Returns whether that is new.
    pub(super) fn abandon_missing(&self, number: u32) -> bool {
        self.all()
            .get_mut(&number)
            .is_some_and(|segment| !std::mem::replace(&mut segment.is_marked_deleted, true))
    }

    /// Whether deleted text is still in a segment.
    pub(super) fn any_marked_deleted(&self) -> bool {
        self.all().values().any(|segment| segment.is_marked_deleted)
    }

    /// Closed segments without live frames that guard nothing.
    pub(super) fn removable(&self) -> Vec<u32> {
        let all = self.all();
        let idle = |segment: &SegmentInfo| {
            segment.is_closed
                && segment.live == 0
                && segment.guards.iter().all(|guarded| !all.contains_key(guarded))
        };
        all.iter().filter(|(_, segment)| idle(segment)).map(|(number, _)| *number).collect()
    }

    pub(super) fn remove(&self, numbers: &[u32]) {
        let mut all = self.all();
        for number in numbers {
            all.remove(number);
        }
    }

    /// Closed segments to be emptied: all that have to be removed, and, if there are more than
    /// `most`, the oldest one that is mostly garbage. Copying one that is mostly live would gain
    /// nothing.
    pub(super) fn compaction_candidates(&self, most: usize) -> Vec<u32> {
        let all = self.all();
        let closed = || {
            all.iter().filter(|(_, segment)| {
                segment.is_closed && segment.live > 0 && !segment.is_unreadable
            })
        };
        // The segments that it guards have to be removed before it. It guards only older ones.
        let mut required = BTreeSet::new();
        for (number, segment) in all.iter().rev().filter(|(_, segment)| segment.is_closed) {
            if segment.is_marked_deleted || segment.is_dirty || required.contains(number) {
                required.insert(*number);
                required.extend(&segment.guards);
            }
        }
        let mut candidates: Vec<u32> = closed()
            .filter(|(number, _)| required.contains(number))
            .map(|(number, _)| *number)
            .collect();
        if all.values().filter(|segment| segment.is_closed).count() > most {
            let sparse = closed().find(|(number, segment)| {
                segment.live * 2 < segment.length && !candidates.contains(number)
            });
            let sparse = sparse.map(|(number, _)| *number);
            // A mostly live one may keep many garbage ones after it; then copying it pays off.
            let total = |count: fn(&SegmentInfo) -> u64| {
                all.values().filter(|segment| segment.is_closed).map(count).sum::<u64>()
            };
            let pays = total(|segment| segment.live) * 2 < total(|segment| segment.length);
            let oldest = || {
                closed()
                    .map(|(number, _)| *number)
                    .find(|number| !candidates.contains(number))
                    .filter(|_| pays)
            };
            let chosen = sparse.or_else(oldest);
            candidates.extend(chosen);
        }
        candidates
    }

    /// All segments with live frames.
    pub(super) fn with_live_frames(&self) -> Vec<u32> {
        self.all()
            .iter()
            .filter(|(_, segment)| segment.live > 0)
            .map(|(number, _)| *number)
            .collect()
    }

    /// Bytes of its frames that a log refers to.
    pub(super) fn live(&self, number: u32) -> u64 {
        self.all().get(&number).map_or(0, |segment| segment.live)
    }

    pub(super) fn mark_unreadable(&self, number: u32) {
        if let Some(segment) = self.all().get_mut(&number) {
            segment.is_unreadable = true;
        }
    }

    pub(super) fn file(&self, number: u32) -> Option<Arc<dyn SegmentFile>> {
        self.all().get(&number).map(|segment| Arc::clone(&segment.file))
    }

    pub(super) fn count(&self) -> usize {
        self.all().len()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u32, SegmentInfo>> {
        lock(&self.all)
    }
}
