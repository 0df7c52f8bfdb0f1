//! The handlers, one file per resource. They are thin: read the request, call the engine, hand over
//! to a transport.

pub(crate) mod chat_completions;
pub(crate) mod classic;
pub(crate) mod event_times;
pub(crate) mod events;
pub(crate) mod lens;
pub(crate) mod metrics;
pub(crate) mod models;
pub(crate) mod operations;
pub(crate) mod passthrough;
pub(crate) mod responses;
pub(crate) mod socket;
pub(crate) mod source;
pub(crate) mod tickets;
pub(crate) mod upstreams;

mod generate;
mod headers;
mod hold;
