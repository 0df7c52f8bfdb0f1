//! For tests: a file of the simulated disk, and what a loss of power leaves of it.

use super::splitmix64::SplitMix64;

/// A file: its current bytes, and those that would survive a loss of power.
#[derive(Default)]
pub(super) struct Inode {
    pub(super) current: Vec<u8>,
    pub(super) synced: Vec<u8>,
    /// Changes that are not synced, in their order.
    pub(super) pending: Vec<Change>,
}

pub(super) enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl Inode {
    /// The file after a loss of power: any part of the unsynced changes, in any order.
    pub(super) fn after_power_loss(&self, random: &mut SplitMix64) -> Self {
        let mut synced = self.synced.clone();
        let mut order: Vec<&Change> = self.pending.iter().collect();
        while !order.is_empty() {
            let change = order.swap_remove(random.below(order.len()));
            change.apply_partly(&mut synced, random);
        }
        Self { current: synced.clone(), synced, pending: Vec::new() }
    }
}

impl Change {
    pub(super) fn duplicate(&self) -> Self {
        match self {
            Self::Write(at, bytes) => Self::Write(*at, bytes.clone()),
            Self::Truncate(length) => Self::Truncate(*length),
        }
    }

    pub(super) fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Write(at, bytes) => write(file, *at, bytes),
            Self::Truncate(length) => file.truncate(*length),
        }
    }

    /// Applies all of the change, any part of it, only the length without the bytes, or nothing.
    pub(super) fn apply_partly(&self, file: &mut Vec<u8>, random: &mut SplitMix64) {
        match (self, random.below(4)) {
            (_, 0) => {}
            (_, 1) | (Self::Truncate(_), _) => self.apply(file),
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
