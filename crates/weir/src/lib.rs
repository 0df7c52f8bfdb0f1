//! The program: the only crate that sees all the others. It reads the settings, puts the parts together and runs them.

pub mod assemble;
mod certificate;
mod chat;
mod cli;
mod config;
mod descriptors;
mod run;
mod shutdown;

pub use run::run;
