//! Durable storage: the journal of running responses, the database of everything finished, and the
//! file of API keys.

pub mod archive;
pub mod directory;
pub mod journal;
pub mod keys;
pub mod lock;
pub mod sqlite;
pub mod storage;

/// What an event survives once a reader may have seen it (promise 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: running responses end with the process.
    Memory,
    /// Any end of the process: it was written to the operating system.
    #[default]
    Process,
    /// A loss of power: it was synced to the disk.
    Disk,
}
