//! Conversations: the items that a turn continues, named conversations, and what a socket remembers
//! by itself.

pub(crate) mod assemble;
pub mod history;
pub mod named;
