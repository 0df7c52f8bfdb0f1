//! Responses: how one starts, runs, ends and is read. Everything here writes or reads a
//! [`Log`](crate::log::Log).

pub mod options;
pub mod start;

mod admission;
mod append;
mod batch;
mod builder;
mod context;
pub(crate) mod retry;
mod run;
mod shorten;
pub(crate) mod timeouts;
mod unread;
mod warm_up;

pub(crate) mod cause;
mod end;
pub(crate) mod handle;
pub mod recover;
mod takeover;

mod access;
pub mod compact;
pub mod fault;

pub mod census;
pub(crate) mod labels;
pub(crate) mod meter;
pub(crate) mod metrics;
pub(crate) mod spans;
pub(crate) mod state;
pub mod timeline;
