//! What survives: for now, the file of API keys.

pub mod directory;
pub mod keys;
