//! Thirty claims that one reads about HTTP, server-sent events and WebSocket: measured, and judged by what was measured.

pub mod evidence;
mod gather;
mod judge;
mod verdict;

pub use gather::{EXPERIMENTS, gather};
pub use judge::judge;
pub use verdict::{Bilingual, Ruling, Verdict};
