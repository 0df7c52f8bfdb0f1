//! For tests: a disk that loses unsynced writes, tears and reorders them, and fails on request.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::disk::{SegmentDisk, SegmentFile};
use super::mutex::lock;
use super::simulated_inode::{Change, Inode};
use super::splitmix64::SplitMix64;

/// A disk in memory. Cheap to clone; clones are the same disk.
#[derive(Clone, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<SimulatedState>>,
    faults_changed: Arc<Condvar>,
}

/// The faults of the disk; none by default.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "the faults are independent of each other")]
pub struct DiskFaults {
    /// The free bytes; without any, writes and new files fail (`ENOSPC`).
    pub room: Option<u64>,
    /// The most bytes that one write accepts.
    pub short: Option<usize>,
    /// Writes fail (`EIO`).
    pub write_fails: bool,
    /// How many syncs fail (`EIO`). As on Linux, their unsynced changes are lost for good.
    pub sync_fails: u32,
    /// Reads fail (`EIO`).
    pub read_fails: bool,
    /// Truncations fail (`EIO`).
    pub truncate_fails: bool,
    /// Syncs block until this is unset.
    pub sync_hangs: bool,
}

#[derive(Default)]
struct SimulatedState {
    files: BTreeMap<u32, Arc<Mutex<Inode>>>,
    /// The names that would survive a loss of power.
    named: BTreeMap<u32, Arc<Mutex<Inode>>>,
    faults: DiskFaults,
    /// The number of operations before everything stops.
    left: Option<u64>,
    has_stopped: bool,
    random: SplitMix64,
    syncs: u64,
}

struct SimulatedFile {
    disk: SimulatedDisk,
    inode: Arc<Mutex<Inode>>,
}

impl SimulatedDisk {
    /// An empty disk whose random choices come from `seed`.
    pub fn new(seed: u64) -> Self {
        let disk = Self::default();
        disk.state().random = SplitMix64::new(seed);
        disk
    }

    /// Changes the faults.
    pub fn faults(&self, change: impl FnOnce(&mut DiskFaults)) {
        change(&mut self.state().faults);
        self.faults_changed.notify_all();
    }

    /// After this many more operations, one is torn and all others fail, as when the process is
    /// killed or the power is lost.
    pub fn stop_after(&self, operations: u64) {
        self.state().left = Some(operations);
    }

    /// Whether the disk has stopped.
    pub fn has_stopped(&self) -> bool {
        self.state().has_stopped
    }

    /// The number of syncs of segments.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// The disk as the next process finds it after a crash: everything written is there.
    #[must_use]
    pub fn after_crash(&self) -> Self {
        let state = self.state();
        let next = Self::new(state.random.0);
        for (number, inode) in &state.files {
            let inode = lock(inode);
            let pending = inode.pending.iter().map(Change::duplicate).collect();
            let copy =
                Inode { current: inode.current.clone(), synced: inode.synced.clone(), pending };
            next.state().files.insert(*number, Arc::new(Mutex::new(copy)));
        }
        let mut after = next.state();
        let named: Vec<u32> = state.named.keys().copied().collect();
        for number in named {
            // An existing file, or one whose removal is not synced yet.
            let inode = after.files.get(&number).cloned();
            let removed = || {
                state.named.get(&number).map(|inode| {
                    Arc::new(Mutex::new(lock(inode).after_power_loss(&mut SplitMix64::new(1))))
                })
            };
            let inode = inode.or_else(removed).unwrap_or_default();
            after.named.insert(number, inode);
        }
        drop(after);
        next
    }

    /// The disk after a loss of power: any part of the unsynced changes is there, or none.
    #[must_use]
    pub fn after_power_loss(&self) -> Self {
        let state = self.state();
        let mut random = state.random;
        let next = Self::new(random.number());
        let numbers: BTreeSet<u32> =
            state.files.keys().chain(state.named.keys()).copied().collect();
        for number in numbers {
            let inode = match (state.files.get(&number), state.named.get(&number)) {
                (Some(file), Some(_)) => Some(file),
                // Created or removed without a sync: either may have survived.
                (Some(file), None) | (None, Some(file)) => Some(file).filter(|_| random.once_in(2)),
                (None, None) => None,
            };
            if let Some(inode) = inode {
                let inode = Arc::new(Mutex::new(lock(inode).after_power_loss(&mut random)));
                let mut after = next.state();
                after.files.insert(number, Arc::clone(&inode));
                after.named.insert(number, inode);
            }
        }
        next
    }

    /// Changes the bytes of a segment directly, without an operation of the disk.
    pub fn tamper(&self, number: u32, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(inode) = self.state().files.get(&number) {
            let mut inode = lock(inode);
            change(&mut inode.current);
            let Inode { current, synced, .. } = &mut *inode;
            synced.clone_from(current);
            inode.pending.clear();
        }
    }

    /// Whether `text` is in any segment.
    pub fn contains(&self, text: &[u8]) -> bool {
        let holds = |inode: &Arc<Mutex<Inode>>| {
            lock(inode).current.windows(text.len()).any(|window| window == text)
        };
        self.state().files.values().any(holds)
    }

    /// The bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.state().files.values().map(|inode| lock(inode).current.len() as u64).sum()
    }

    fn state(&self) -> MutexGuard<'_, SimulatedState> {
        lock(&self.state)
    }
}

impl SimulatedState {
    /// Counts an operation. Returns whether it is the torn one.
    fn operation(&mut self) -> io::Result<bool> {
        if self.has_stopped {
            return Err(io_error());
        }
        let Some(left) = &mut self.left else { return Ok(false) };
        if *left == 0 {
            self.has_stopped = true;
            return Ok(true);
        }
        *left -= 1;
        Ok(false)
    }

    /// Counts an atomic operation.
    fn whole_operation(&mut self) -> io::Result<()> {
        if self.operation()? { Err(io_error()) } else { Ok(()) }
    }
}

impl SegmentDisk for SimulatedDisk {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        Ok(Box::new(()))
    }

    fn list(&self) -> io::Result<Vec<u32>> {
        let mut state = self.state();
        state.whole_operation()?;
        Ok(state.files.keys().copied().collect())
    }

    fn create(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>> {
        let mut state = self.state();
        state.whole_operation()?;
        if state.faults.room == Some(0) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if state.files.contains_key(&number) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = Arc::new(Mutex::new(Inode::default()));
        state.files.insert(number, Arc::clone(&inode));
        Ok(Arc::new(SimulatedFile { disk: self.clone(), inode }))
    }

    fn open(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>> {
        let mut state = self.state();
        state.whole_operation()?;
        let inode = state.files.get(&number).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimulatedFile { disk: self.clone(), inode: Arc::clone(inode) }))
    }

    fn remove(&self, number: u32) -> io::Result<()> {
        let mut state = self.state();
        state.whole_operation()?;
        let inode = state.files.remove(&number).ok_or(io::ErrorKind::NotFound)?;
        if let Some(room) = &mut state.faults.room {
            *room += lock(&inode).current.len() as u64;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.whole_operation()?;
        state.named = state.files.clone();
        Ok(())
    }

    fn path(&self, number: Option<u32>) -> PathBuf {
        number.map_or_else(|| "simulated".into(), |number| format!("simulated/{number}").into())
    }
}

impl SegmentFile for SimulatedFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        let is_torn = state.operation()?;
        let mut accepted = bytes.len();
        if is_torn {
            accepted = state.random.below(bytes.len() + 1);
        } else if state.faults.write_fails {
            return Err(io_error());
        }
        accepted = accepted.min(state.faults.short.unwrap_or(accepted));
        if let Some(room) = &mut state.faults.room {
            accepted = accepted.min(usize::try_from(*room).unwrap_or(usize::MAX));
            if accepted == 0 && !bytes.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            *room -= accepted as u64;
        }
        let at = usize::try_from(offset)
            .map_err(|_too_far| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let written = bytes.get(..accepted).unwrap_or_default();
        let mut inode = lock(&self.inode);
        let change = Change::Write(at, written.to_vec());
        change.apply(&mut inode.current);
        inode.pending.push(change);
        if is_torn { Err(io_error()) } else { Ok(accepted) }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        // Reads change nothing, so they are not counted.
        if state.has_stopped || state.faults.read_fails {
            return Err(io_error());
        }
        let inode = lock(&self.inode);
        let at = usize::try_from(offset).unwrap_or(usize::MAX).min(inode.current.len());
        let there = inode.current.get(at..).unwrap_or_default();
        let read = there.len().min(buffer.len());
        buffer.iter_mut().zip(there).for_each(|(to, from)| *to = *from);
        Ok(read)
    }

    fn sync(&self) -> io::Result<()> {
        let hanging =
            self.disk.faults_changed.wait_while(self.disk.state(), |state| state.faults.sync_hangs);
        let mut state = hanging.unwrap_or_else(PoisonError::into_inner);
        let is_torn = state.operation()?;
        state.syncs += 1;
        let mut inode = lock(&self.inode);
        if is_torn {
            return Err(io_error());
        }
        if state.faults.sync_fails > 0 {
            state.faults.sync_fails -= 1;
            // The pages are marked clean, so no later sync writes them. Any of them may be synced.
            let mut synced = std::mem::take(&mut inode.synced);
            for change in std::mem::take(&mut inode.pending) {
                change.apply_partly(&mut synced, &mut state.random);
            }
            inode.synced = synced;
            return Err(io_error());
        }
        let mut synced = std::mem::take(&mut inode.synced);
        inode.pending.drain(..).for_each(|change| change.apply(&mut synced));
        inode.synced = synced;
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.whole_operation()?;
        if state.faults.truncate_fails {
            return Err(io_error());
        }
        let change = Change::Truncate(usize::try_from(length).unwrap_or(usize::MAX));
        let mut inode = lock(&self.inode);
        let before = inode.current.len();
        change.apply(&mut inode.current);
        if let Some(room) = &mut state.faults.room {
            *room += before.saturating_sub(inode.current.len()) as u64;
        }
        inode.pending.push(change);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        self.disk.state().whole_operation()?;
        Ok(lock(&self.inode).current.len() as u64)
    }
}

/// `EIO`.
fn io_error() -> io::Error {
    io::Error::from_raw_os_error(5)
}
