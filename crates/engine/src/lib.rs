//! The heart: it runs answers, keeps their logs and feeds their readers, without HTTP, SQL or Redis.
//!
//! An answer is an append-only log of events. [`turn`] writes it, [`feed`] reads it, and everything else here says who may.

pub mod config;

pub mod answers;
mod conversation;
pub mod local;
pub mod thread;

mod retention;
pub mod shares;
pub mod turn;

pub mod passthrough;

pub mod feed;
pub mod log;
pub mod store;

pub mod keys;
pub mod provider;
pub mod upstreams;

pub mod metrics;
pub mod trace;

pub mod contract;
pub mod memory;

pub mod clock;
mod count;
mod id;
pub mod secret;
pub mod tasks;
mod workers;

pub use answers::{Engine, Started};
pub use config::Config;
