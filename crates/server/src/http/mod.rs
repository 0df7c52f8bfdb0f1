//! HTTP: the routes, the layers around them, and what every handler reads of a request.

pub(crate) mod middleware;

pub(crate) mod auth;
pub(crate) mod forwarded;
pub(crate) mod host;
pub(crate) mod origin;

pub(crate) mod admission;
pub(crate) mod context;
pub(crate) mod extract;

pub(crate) mod body;
pub(crate) mod fallback;
pub(crate) mod label;
pub(crate) mod relay;
pub(crate) mod validators;

mod trace_context;
mod unread;
