//! The laws that every log and store must keep, and two logs that keep them in hard weather: one that commits late, and
//! one that fails. Backends run the laws in their tests.

mod failing;
mod late;

pub mod log_laws;
pub mod store_laws;

pub use failing::FailingLog;
pub use late::LateLog;
