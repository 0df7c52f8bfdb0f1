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
use crate::http::rates::Rates;
use crate::listen::Connections;
use crate::metrics::ServerMetrics;
use crate::tickets::Tickets;

/// What the handlers share. A clone is one reference.
#[derive(Clone)]
pub struct App(Arc<AppParts>);

/// The parts of the server that an [`App`] shares.
#[derive(Clone)]
pub struct AppParts {
    /// Runs the responses.
    pub engine: Engine,
    /// Knows the callers.
    pub keys: Arc<dyn KeyStore>,
    /// The settings.
    pub config: Arc<Config>,
    /// Counts the connections.
    pub connections: Arc<Connections>,
    /// Whether connections are encrypted by this server, and not by a proxy.
    pub is_encrypted: bool,
    /// What the classic API remembers.
    pub classic: Arc<Classic>,
    /// What is open for callers, and ends when their keys do.
    pub grants: Arc<Grants>,
    /// What browsers send instead of keys.
    pub tickets: Arc<Tickets>,
    /// Captures packets while they are being viewed.
    pub capture: Arc<PortCapture>,
    /// Counts requests, streams and sockets.
    pub metrics: Arc<ServerMetrics>,
    /// Runs sockets.
    pub tasks: Tasks,
    /// How far the shutdown has come.
    pub drain: Drain,
    /// How many requests each caller makes.
    pub rates: Arc<Rates>,
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
