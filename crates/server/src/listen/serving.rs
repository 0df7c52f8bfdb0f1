//! What every connection of a listener is served with.

use std::sync::Arc;

use engine::tasks::Tasks;

use super::connections::Connections;
use super::tls::TlsServer;
use crate::config::Config;
use crate::drain::Drain;

/// What all connections of a listener share.
#[derive(Clone)]
pub(crate) struct Listening {
    /// Counts and limits the connections.
    pub connections: Arc<Connections>,
    /// Runs the connections.
    pub tasks: Tasks,
    /// Says when to stop.
    pub drain: Drain,
    /// How connections are encrypted; `None`: not at all.
    pub tls: Option<Arc<TlsServer>>,
}

/// What one connection needs.
#[derive(Clone)]
pub(super) struct Serving<F> {
    pub(super) factory: F,
    /// As it was when the connection was accepted.
    pub(super) config: Arc<Config>,
    pub(super) listening: Arc<Listening>,
}
