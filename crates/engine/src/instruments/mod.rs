//! Metrics primitives: numbers that any task may change and read at any time. They know nothing of what they count, and nothing
//! of the format in which they are exposed.

pub mod counter;
pub mod family;
pub mod histogram;
