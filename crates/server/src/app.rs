//! What the handlers share.

use std::ops::Deref;
use std::sync::Arc;

use engine::Engine;
use engine::keys::KeyStore;
use engine::tasks::Tasks;

use crate::capture::PortCapture;
use crate::classic::Classic;
use crate::config::Config;
use crate::drain::Drain;
use crate::grants::Grants;
use crate::listen::Connections;
use crate::metrics::ServerMetrics;
use crate::rates::Rates;
use crate::sources::Sources;
use crate::tickets::Tickets;

/// What the handlers share. A clone is one reference.
#[derive(Clone)]
pub struct App(Arc<AppParts>);

/// The parts of the server that an [`App`] shares.
#[derive(Clone)]
pub struct AppParts {
    /// Runs the responses.
    pub engine: Engine,
    /// The callers and their keys.
    pub keys: Arc<dyn KeyStore>,
    /// The settings.
    pub config: Arc<Config>,
    /// Counts the connections.
    pub connections: Arc<Connections>,
    /// Whether connections are encrypted by this server, and not by a proxy.
    pub is_encrypted: bool,
    /// The state of the classic API.
    pub classic: Arc<Classic>,
    /// What is open for callers, and ends when their keys do.
    pub grants: Arc<Grants>,
    /// Tickets and sessions, which browsers send instead of keys.
    pub tickets: Arc<Tickets>,
    /// Captures packets while they are being viewed.
    pub capture: Arc<PortCapture>,
    /// Counts requests, streams and sockets.
    pub metrics: Arc<ServerMetrics>,
    /// Runs sockets.
    pub tasks: Tasks,
    /// The progress of the shutdown.
    pub drain: Drain,
    /// The request rate of each caller.
    pub rates: Arc<Rates>,
    /// The calibrated sources that are open.
    pub sources: Arc<Sources>,
}

impl App {
    /// Shares these parts.
    pub fn new(parts: AppParts) -> Self {
        Self(Arc::new(parts))
    }

    /// The same parts under other settings, for a listener that is encrypted or not.
    pub(crate) fn with_config(&self, config: Arc<Config>, is_encrypted: bool) -> Self {
        Self::new(AppParts { config, is_encrypted, ..(*self.0).clone() })
    }
}

impl Deref for App {
    type Target = AppParts;

    fn deref(&self) -> &AppParts {
        &self.0
    }
}
