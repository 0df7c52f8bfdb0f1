//! The reference implementations: everything in memory, as small as the contract allows.

pub mod keys;
pub mod log;
pub mod store;
