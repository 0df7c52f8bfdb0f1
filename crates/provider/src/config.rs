//! The upstreams' settings.

use engine::provider::Timeouts;
use engine::secret::Secret;

/// All upstreams.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// The built-in demo model.
    pub demo: DemoConfig,
    /// The others, in order; the first that serves a model gets it.
    pub upstreams: Vec<UpstreamConfig>,
}

/// The demo model's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct DemoConfig {
    /// Whether there is one.
    pub enabled: bool,
    /// Its pace in tokens per second; 0 is as fast as it can.
    pub tokens_per_second: f64,
}

impl Default for DemoConfig {
    fn default() -> Self {
        // A pace at which one can read along and still sees it stream.
        Self { enabled: true, tokens_per_second: 60.0 }
    }
}

/// One server that speaks OpenAI's chat completions.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamConfig {
    /// Its name, for logs and `owned_by`.
    pub name: String,
    /// The address up to and with `/v1`.
    pub base_url: String,
    /// Its key.
    pub api_key: Option<Secret>,
    /// The models it serves; empty: whatever it lists, and any name nobody else serves.
    pub models: Vec<String>,
    /// How long to wait for it.
    pub timeouts: Timeouts,
}

/// Settings of an upstream that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The address is none.
    #[error("the base_url of the upstream '{upstream}' cannot be used: {reason}")]
    Address {
        /// Which upstream.
        upstream: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The key has characters that no header can hold.
    #[error("the key of the upstream '{upstream}' has characters that cannot be sent (a line break?)")]
    Key {
        /// Which upstream.
        upstream: String,
    },
    /// The HTTP client could not be made.
    #[error("no HTTP client could be made for the upstream '{upstream}'")]
    Client {
        /// Which upstream.
        upstream: String,
        /// Why.
        source: reqwest::Error,
    },
}
