//! The laws that every log and store must keep, and two logs for tests: one that commits late and
//! one that fails. Backends run the laws in their tests, with the feature `testing`.

pub mod failing;
pub mod late;
pub mod log_laws;
pub mod store_laws;
