//! The engine: it runs responses, keeps their logs and feeds their readers, without HTTP or SQL.
//!
//! A response is an append-only log of events. [`response`] writes it and [`feed`] reads it.

pub mod config;
pub mod cores;
mod engine;

pub mod conversation;
pub mod passthrough;
pub mod response;

pub mod feed;
mod retention;
pub mod shares;
mod storage;

pub mod keys;
pub mod log;
pub mod provider;
pub mod store;
pub mod times;
pub mod trace;
pub mod upstreams;

pub mod exposition;
pub mod instruments;

pub mod memory;
#[cfg(feature = "testing")]
pub mod testing;

mod atomic_time;
mod caller_queues;
pub mod clock;
mod count;
mod id;
mod loads;
pub mod secret;
pub mod tasks;
mod workers;

pub use config::Config;
pub use engine::Engine;
