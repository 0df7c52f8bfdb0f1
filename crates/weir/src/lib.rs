//! The program, the only crate that depends on all others: reads the settings, assembles the parts
//! and runs them.

mod address;
pub mod assemble;
mod certificate;
mod chat;
mod cli;
mod compare;
mod config;
mod descriptors;
mod log;
mod notify;
mod probe;
mod reload;
mod run;
pub mod shutdown;
mod signals;
mod tap;

pub use run::run;
