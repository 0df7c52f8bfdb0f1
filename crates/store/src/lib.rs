//! What survives: the journal of running answers, the database of everything finished, and the file of API keys.

pub mod archive;
pub mod directory;
pub mod journal;
pub mod keys;
pub mod lock;
pub mod sqlite;
pub mod storage;

/// What a reader may have seen is safe from what (promise 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: running answers end with the process.
    Memory,
    /// The end of the process, however it comes: it is in the hands of the operating system.
    #[default]
    Process,
    /// Loss of power: it is on the disk.
    Disk,
}
