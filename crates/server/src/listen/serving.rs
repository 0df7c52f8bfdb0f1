//! The context in which the connections of a listener are served.

use std::sync::Arc;

use engine::tasks::Tasks;

use super::connections::Connections;
use super::tls::TlsServer;
use crate::config::Config;
use crate::drain::Drain;

/// The context shared by all connections of a listener.
#[derive(Clone)]
pub(crate) struct Listening {
    /// Counts and limits the connections.
    pub connections: Arc<Connections>,
    /// Runs the connections.
    pub tasks: Tasks,
    /// The signal to stop.
    pub drain: Drain,
    /// How connections are encrypted; `None`: not at all.
    pub tls: Option<Arc<TlsServer>>,
}

/// The context of one connection.
#[derive(Clone)]
pub(super) struct Serving<F> {
    pub(super) factory: F,
    /// As it was when the connection was accepted.
    pub(super) config: Arc<Config>,
    pub(super) listening: Arc<Listening>,
}
