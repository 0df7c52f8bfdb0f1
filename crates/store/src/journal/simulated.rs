//! For tests: a disk that loses what was not synced, tears and reorders writes, and fails when it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use engine::log::LogError;
use futures_util::future::{BoxFuture, FutureExt, ready};
use protocol::entry::Entry;
use protocol::id::ResponseId;

use super::disk::{SegmentDisk, SegmentFile};
use super::log::within;
use super::mutex::lock;
use crate::archive::Archive;

/// A disk in memory. Cheap to clone; clones are the same disk.
#[derive(Clone, Default)]
pub struct Simulated {
    state: Arc<Mutex<State>>,
    calm: Arc<Condvar>,
}

/// What goes wrong. Everything that is not set goes well.
#[derive(Clone, Copy, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fault of its own, and any may come with any"
)]
pub struct DiskFaults {
    /// Bytes that still fit, then there is no room (`ENOSPC`) for data or new files.
    pub room: Option<u64>,
    /// No write takes more than so many bytes.
    pub short: Option<usize>,
    /// Writes fail (`EIO`).
    pub write_fails: bool,
    /// So many syncs fail (`EIO`), and what they should have made safe is lost for ever, as Linux does it.
    pub sync_fails: u32,
    /// Reads fail (`EIO`).
    pub read_fails: bool,
    /// Segments cannot be cut (`EIO`).
    pub cut_fails: bool,
    /// Syncs wait until this is unset.
    pub sync_hangs: bool,
}

#[derive(Default)]
struct State {
    files: BTreeMap<u32, Arc<Mutex<Inode>>>,
    /// The names that outlive a loss of power.
    named: BTreeMap<u32, Arc<Mutex<Inode>>>,
    faults: DiskFaults,
    /// Operations that still happen before everything stops.
    left: Option<u64>,
    has_stopped: bool,
    random: SplitMix64,
    syncs: u64,
}

/// A file: what it looks like, and what of that would outlive a loss of power.
#[derive(Default)]
struct Inode {
    seen: Vec<u8>,
    safe: Vec<u8>,
    pending: Vec<Change>,
}

enum Change {
    Write(usize, Vec<u8>),
    Cut(usize),
}

struct File {
    disk: Simulated,
    inode: Arc<Mutex<Inode>>,
}

/// Numbers that look random and are the same for the same seed (`SplitMix64`).
#[derive(Clone, Copy, Debug, Default)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The numbers of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 where there is none.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number() % (limit.max(1) as u64)).unwrap_or(0)
    }

    /// Once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

impl Simulated {
    /// An empty disk, which decides by the numbers of `seed`.
    pub fn new(seed: u64) -> Self {
        let disk = Self::default();
        disk.state().random = SplitMix64::new(seed);
        disk
    }

    /// Changes the faults.
    pub fn faults(&self, change: impl FnOnce(&mut DiskFaults)) {
        change(&mut self.state().faults);
        self.calm.notify_all();
    }

    /// After so many operations more, one is torn and everything stops, as when the process or the power goes.
    pub fn stop_after(&self, operations: u64) {
        self.state().left = Some(operations);
    }

    /// Whether everything has stopped.
    pub fn has_stopped(&self) -> bool {
        self.state().has_stopped
    }

    /// How many syncs of segments there were.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// The disk as the next process finds it: what was written is there.
    #[must_use]
    pub fn after_crash(&self) -> Self {
        let state = self.state();
        let next = Self::new(state.random.0);
        for (number, inode) in &state.files {
            let inode = lock(inode);
            let pending = inode.pending.iter().map(Change::again).collect();
            let copy = Inode { seen: inode.seen.clone(), safe: inode.safe.clone(), pending };
            next.state().files.insert(*number, Arc::new(Mutex::new(copy)));
        }
        let mut after = next.state();
        let named: Vec<u32> = state.named.keys().copied().collect();
        for number in named {
            // A file whose removal is not safe yet, or one whose name is.
            let inode = after.files.get(&number).cloned();
            let gone = || {
                state.named.get(&number).map(|inode| {
                    Arc::new(Mutex::new(lock(inode).after_power_loss(&mut SplitMix64::new(1))))
                })
            };
            let inode = inode.or_else(gone).unwrap_or_default();
            after.named.insert(number, inode);
        }
        drop(after);
        next
    }

    /// The disk after a loss of power: of what was not synced there is any part, or nothing.
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
                // Made or removed, and nobody knows which of it lasted.
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

    /// Changes the bytes of a segment behind everybody's back.
    pub fn tamper(&self, number: u32, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(inode) = self.state().files.get(&number) {
            let mut inode = lock(inode);
            change(&mut inode.seen);
            let Inode { seen, safe, .. } = &mut *inode;
            safe.clone_from(seen);
            inode.pending.clear();
        }
    }

    /// Whether `text` is in any segment.
    pub fn contains(&self, text: &[u8]) -> bool {
        let holds = |inode: &Arc<Mutex<Inode>>| {
            lock(inode).seen.windows(text.len()).any(|window| window == text)
        };
        self.state().files.values().any(holds)
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.state().files.values().map(|inode| lock(inode).seen.len() as u64).sum()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    /// Counts an operation. Says whether it is the one that is torn.
    fn operation(&mut self) -> io::Result<bool> {
        if self.has_stopped {
            return Err(broken());
        }
        let Some(left) = &mut self.left else { return Ok(false) };
        if *left == 0 {
            self.has_stopped = true;
            return Ok(true);
        }
        *left -= 1;
        Ok(false)
    }

    /// An operation that happens or not, and has no halves.
    fn whole_operation(&mut self) -> io::Result<()> {
        if self.operation()? { Err(broken()) } else { Ok(()) }
    }
}

impl SegmentDisk for Simulated {
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
        Ok(Arc::new(File { disk: self.clone(), inode }))
    }

    fn open(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>> {
        let mut state = self.state();
        state.whole_operation()?;
        let inode = state.files.get(&number).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(File { disk: self.clone(), inode: Arc::clone(inode) }))
    }

    fn remove(&self, number: u32) -> io::Result<()> {
        let mut state = self.state();
        state.whole_operation()?;
        let inode = state.files.remove(&number).ok_or(io::ErrorKind::NotFound)?;
        if let Some(room) = &mut state.faults.room {
            *room += lock(&inode).seen.len() as u64;
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

impl SegmentFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        let is_torn = state.operation()?;
        let mut taken = bytes.len();
        if is_torn {
            taken = state.random.below(bytes.len() + 1);
        } else if state.faults.write_fails {
            return Err(broken());
        }
        taken = taken.min(state.faults.short.unwrap_or(taken));
        if let Some(room) = &mut state.faults.room {
            taken = taken.min(usize::try_from(*room).unwrap_or(usize::MAX));
            if taken == 0 && !bytes.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            *room -= taken as u64;
        }
        let at = usize::try_from(offset)
            .map_err(|_too_far| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let written = bytes.get(..taken).unwrap_or_default();
        let mut inode = lock(&self.inode);
        let change = Change::Write(at, written.to_vec());
        change.apply(&mut inode.seen);
        inode.pending.push(change);
        if is_torn { Err(broken()) } else { Ok(taken) }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        // Reading changes nothing: where it stops makes no difference to the disk.
        if state.has_stopped || state.faults.read_fails {
            return Err(broken());
        }
        let inode = lock(&self.inode);
        let at = usize::try_from(offset).unwrap_or(usize::MAX).min(inode.seen.len());
        let there = inode.seen.get(at..).unwrap_or_default();
        let read = there.len().min(buffer.len());
        buffer.iter_mut().zip(there).for_each(|(to, from)| *to = *from);
        Ok(read)
    }

    fn sync(&self) -> io::Result<()> {
        let hanging = self.disk.calm.wait_while(self.disk.state(), |state| state.faults.sync_hangs);
        let mut state = hanging.unwrap_or_else(PoisonError::into_inner);
        let is_torn = state.operation()?;
        state.syncs += 1;
        let mut inode = lock(&self.inode);
        if is_torn {
            return Err(broken());
        }
        if state.faults.sync_fails > 0 {
            state.faults.sync_fails -= 1;
            // The pages are marked clean: no later sync writes them. Any of them may have come through.
            let mut safe = std::mem::take(&mut inode.safe);
            for change in std::mem::take(&mut inode.pending) {
                change.apply_partly(&mut safe, &mut state.random);
            }
            inode.safe = safe;
            return Err(broken());
        }
        let mut safe = std::mem::take(&mut inode.safe);
        inode.pending.drain(..).for_each(|change| change.apply(&mut safe));
        inode.safe = safe;
        Ok(())
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.whole_operation()?;
        if state.faults.cut_fails {
            return Err(broken());
        }
        let change = Change::Cut(usize::try_from(length).unwrap_or(usize::MAX));
        let mut inode = lock(&self.inode);
        let before = inode.seen.len();
        change.apply(&mut inode.seen);
        if let Some(room) = &mut state.faults.room {
            *room += before.saturating_sub(inode.seen.len()) as u64;
        }
        inode.pending.push(change);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        self.disk.state().whole_operation()?;
        Ok(lock(&self.inode).seen.len() as u64)
    }
}

/// An archive in memory. Cheap to clone; clones are the same archive.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    held: Arc<Mutex<Shelved>>,
}

#[derive(Debug, Default)]
struct Shelved {
    logs: BTreeMap<ResponseId, Vec<Entry>>,
    is_broken: bool,
}

impl Shelf {
    /// An empty archive.
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses everything from now on, or takes it again.
    pub fn set_broken(&self, is_broken: bool) {
        lock(&self.held).is_broken = is_broken;
    }

    /// A log, if it was put away.
    pub fn get(&self, id: &ResponseId) -> Option<Vec<Entry>> {
        lock(&self.held).logs.get(id).cloned()
    }

    /// How many logs there are.
    pub fn count(&self) -> usize {
        lock(&self.held).logs.len()
    }

    fn held(&self) -> Result<MutexGuard<'_, Shelved>, LogError> {
        let held = lock(&self.held);
        if held.is_broken { Err(LogError::Unavailable) } else { Ok(held) }
    }
}

impl Archive for Shelf {
    fn put(&self, id: &ResponseId, entries: Vec<Entry>) -> BoxFuture<'_, Result<(), LogError>> {
        let put = self.held().map(|mut held| drop(held.logs.insert(id.clone(), entries)));
        ready(put).boxed()
    }

    fn find(&self, id: &ResponseId) -> BoxFuture<'_, Result<Option<u64>, LogError>> {
        ready(self.held().map(|held| held.logs.get(id).map(|entries| entries.len() as u64))).boxed()
    }

    fn read(
        &self,
        id: &ResponseId,
        position: u64,
        budget: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, LogError>> {
        let read = self.held().and_then(|held| {
            let entries = held.logs.get(id).ok_or(LogError::Missing)?;
            Ok(within(entries.iter().filter(|entry| entry.position >= position), budget, true))
        });
        ready(read).boxed()
    }

    fn remove(&self, id: &ResponseId) -> BoxFuture<'_, Result<(), LogError>> {
        ready(self.held().map(|mut held| drop(held.logs.remove(id)))).boxed()
    }

    fn bytes(&self) -> u64 {
        lock(&self.held).logs.values().flatten().map(|entry| entry.data.len() as u64).sum()
    }
}

impl Inode {
    fn after_power_loss(&self, random: &mut SplitMix64) -> Self {
        let mut safe = self.safe.clone();
        let mut order: Vec<&Change> = self.pending.iter().collect();
        while !order.is_empty() {
            let change = order.swap_remove(random.below(order.len()));
            change.apply_partly(&mut safe, random);
        }
        Self { seen: safe.clone(), safe, pending: Vec::new() }
    }
}

impl Change {
    fn again(&self) -> Self {
        match self {
            Self::Write(at, bytes) => Self::Write(*at, bytes.clone()),
            Self::Cut(length) => Self::Cut(*length),
        }
    }

    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Write(at, bytes) => write(file, *at, bytes),
            Self::Cut(length) => file.truncate(*length),
        }
    }

    /// All of it, a part from anywhere, the length without the bytes, or nothing.
    fn apply_partly(&self, file: &mut Vec<u8>, random: &mut SplitMix64) {
        match (self, random.below(4)) {
            (_, 0) => {}
            (_, 1) | (Self::Cut(_), _) => self.apply(file),
            (Self::Write(at, bytes), 2) => {
                let from = random.below(bytes.len() + 1);
                let to = from + random.below(bytes.len() - from + 1);
                write(file, at + from, bytes.get(from..to).unwrap_or_default());
            }
            (Self::Write(at, bytes), _) => {
                if file.len() < at + bytes.len() {
                    file.resize(at + bytes.len(), 0);
                }
            }
        }
    }
}

fn write(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if file.len() < at + bytes.len() {
        file.resize(at + bytes.len(), 0);
    }
    file.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
}

/// `EIO`.
fn broken() -> io::Error {
    io::Error::from_raw_os_error(5)
}
