//! Thirty common claims about HTTP, server-sent events and WebSocket: measured, and judged by the
//! measurements.

pub mod evidence;
pub mod verdict;

pub(crate) mod cite;
pub mod packets;

pub mod gather;
pub mod judge;
