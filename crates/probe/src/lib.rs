//! Examines a streaming endpoint from outside, a Weir or not: when its events arrive, what holds
//! them up, and what repairs it. It knows nothing of the server that it examines but what it sends.

pub mod canvas;
pub mod check;
pub mod clock;
pub mod decode;
pub mod dialect;
pub mod examine;
pub mod finding;
pub mod fix;
pub mod framing;
pub mod hop;
pub mod json;
pub mod measure;
pub mod place;
pub mod reader;
pub mod render;
pub mod report;
pub mod scan;
pub mod stall;
pub mod stats;
pub mod subject;
pub mod target;
pub mod text;
pub mod threshold;
pub mod trace;
pub mod verdict;

mod picture;
mod words;
