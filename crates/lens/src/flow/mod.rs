//! Connections, put together from packets in the order of their capture.

pub mod close;
pub mod connection;
pub mod counts;
pub mod direction;
pub mod limits;
pub mod mark;
pub mod segment;
mod sequence;
pub mod side;
pub mod state;
pub mod stream;
mod table;

pub use table::{CapturedSegment, ConnectionId, FlowTable};

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "streams of tests are short")]
mod tests;
