//! The operator's tools for a database: check, compact, back up, export, import.
//!
//! All but [`compact`] may be used while a server uses the same file: they read in small steps and
//! write in smaller ones.

pub mod error;
pub mod read;

mod check;
mod copy;
mod export;
mod export_line;
mod import;
mod markdown;

pub use check::{Checked, check};
pub use copy::{CompactionReport, backup, compact};
pub use export::export;
pub use import::{Imported, import};
pub use markdown::export_markdown;
