//! Metrics primitives: numbers that any task may change and read at any time. They depend
//! neither on what they count nor on the format in which they are exposed.

pub mod counter;
pub mod family;
pub mod histogram;
