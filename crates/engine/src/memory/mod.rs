//! The reference implementations: everything in memory, as small as the contract allows.

mod log;
mod store;

pub use log::MemoryLog;
pub use store::MemoryStore;
