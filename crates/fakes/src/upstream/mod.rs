//! The fake model server: its state and scripts, one session for each connection, and the vendors'
//! formats and rules.

pub(crate) mod event;
pub(crate) mod scenario;
pub(crate) mod script;
pub(crate) mod server;
pub(crate) mod state;
pub(crate) mod vendor;
pub(crate) mod vendor_error;

mod http2;
mod http2_writer;
mod models;
mod play;
mod played;
mod respond;
mod response_writer;
mod session;

mod check;
pub(crate) mod encode;

#[cfg(test)]
mod tests;
