//! The upstreams' settings.

use std::sync::Arc;
use std::time::Duration;

use engine::provider::route::{Retries, Timeouts};
use engine::secret::Secret;
use protocol::on_leave::OnLeave;

use serde_json::{Map, Value};

pub use crate::preset::{Preset, WireKind};
pub use crate::tools::{HostedTools, UnknownTools};

/// The upstreams, the routes over them, and how failed calls are retried.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// The built-in demo model.
    pub demo: DemoConfig,
    /// The configured upstreams, in order. Without a route, the first one that serves a model gets
    /// its requests.
    pub upstreams: Vec<UpstreamConfig>,
    /// Routes for models that several upstreams serve, or that upstreams know under another name.
    pub routes: Vec<RouteConfig>,
    /// How failed calls are retried.
    pub retries: Retries,
}

/// The demo model's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct DemoConfig {
    /// Whether the demo model is served.
    pub enabled: bool,
    /// Output speed in tokens per second; 0 means unlimited.
    pub tokens_per_second: f64,
}

impl Default for DemoConfig {
    fn default() -> Self {
        // Slow enough to read along, fast enough to see it stream.
        Self { enabled: true, tokens_per_second: 60.0 }
    }
}

/// One upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamConfig {
    /// The name used in logs and in `owned_by`.
    pub name: String,
    /// The vendor, which decides the defaults.
    pub preset: Preset,
    /// The API it speaks.
    pub wire: WireKind,
    /// The base address including the version, such as `/v1`.
    pub base_url: String,
    /// API keys; empty if it needs none.
    pub keys: Vec<KeyConfig>,
    /// How a key is chosen for a request.
    pub strategy: Strategy,
    /// The longest time a key stays out of use after the upstream refused or rate-limited it; zero
    /// disables this.
    pub key_rest: Duration,
    /// Consecutive failures after which the circuit breaker opens; zero disables the breaker.
    pub breaker: u32,
    /// How many requests may wait for a free key.
    pub queue: usize,
    /// How long a request waits for a free key.
    pub queue_timeout: Duration,
    /// The models it serves. If empty: the models it lists, and any name that no other upstream
    /// serves.
    pub models: Vec<String>,
    /// Timeouts of its calls.
    pub timeouts: Timeouts,
    /// Proxy, certificates and headers.
    pub connection: ConnectionConfig,
    /// Deviations from what its preset implies.
    pub compat: Compat,
}

/// What an upstream supports beyond its preset. The defaults fit most servers.
#[derive(Clone, Debug, PartialEq)]
pub struct Compat {
    /// Whether usage is requested with `stream_options`, which a few servers reject.
    pub stream_options: bool,
    /// Where system messages go; `None` uses the preset's default.
    pub system_messages: Option<SystemMessages>,
    /// Which earlier reasoning is sent back; `None` uses the preset's default.
    pub reasoning_history: Option<ReasoningHistory>,
    /// How tools that Weir does not interpret are handled.
    pub hosted_tools: HostedTools,
    /// How calls of tools that were not offered are handled.
    pub unknown_tools: UnknownTools,
    /// Fields merged into every request body, replacing fields of the same name.
    pub body: Map<String, Value>,
}

impl Default for Compat {
    fn default() -> Self {
        Self {
            stream_options: true,
            system_messages: None,
            reasoning_history: None,
            hosted_tools: HostedTools::default(),
            unknown_tools: UnknownTools::default(),
            body: Map::new(),
        }
    }
}

/// Where system messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemMessages {
    /// Merged into one message at the start: the chat templates of open models reject more than
    /// one, or one elsewhere.
    First,
    /// Where the caller put them.
    InPlace,
}

impl SystemMessages {
    /// Every variant with its name in the settings.
    pub const ALL: &'static [(&'static str, Self)] =
        &[("first", Self::First), ("in_place", Self::InPlace)];
}

/// Which earlier reasoning is sent back to the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasoningHistory {
    /// No proxy.
    Never,
    /// Reasoning that led to tool calls: without it, reasoning models reject the next turn.
    WithCalls,
    /// All of them.
    Always,
}

impl ReasoningHistory {
    /// Every variant with its name in the settings.
    pub const ALL: &'static [(&'static str, Self)] =
        &[("never", Self::Never), ("with_calls", Self::WithCalls), ("always", Self::Always)];
}

impl UpstreamConfig {
    /// An upstream with default settings.
    pub fn new(name: impl Into<String>, preset: Preset, base_url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            preset,
            wire: preset.wire(),
            base_url: base_url.into(),
            keys: Vec::new(),
            strategy: Strategy::LeastBusy,
            key_rest: Duration::from_mins(10),
            breaker: 5,
            queue: 1000,
            queue_timeout: Duration::from_secs(30),
            models: Vec::new(),
            timeouts: Timeouts::default(),
            connection: ConnectionConfig::default(),
            compat: Compat::default(),
        }
    }
}

/// One key of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyConfig {
    /// The key's label in metrics and logs: the name of its environment variable, or its number.
    /// Never the key itself.
    pub label: Arc<str>,
    /// The key.
    pub secret: Secret,
    /// Its share of the load, relative to the other keys.
    pub weight: u32,
    /// The number of concurrent responses; zero means unlimited.
    pub concurrency: usize,
}

impl KeyConfig {
    /// A key with weight 1 and unlimited concurrency.
    pub fn new(label: impl Into<Arc<str>>, secret: Secret) -> Self {
        Self { label: label.into(), secret, weight: 1, concurrency: 0 }
    }
}

/// How one of several candidates is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Strategy {
    /// The first usable one, in the order of the settings.
    Order,
    /// Random, by weight.
    Random,
    /// Weighted round robin.
    RoundRobin,
    /// The one with the fewest running responses, relative to its weight.
    #[default]
    LeastBusy,
}

/// How to connect to an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionConfig {
    /// The proxy to use.
    pub proxy: ProxyConfig,
    /// Additional trusted CA certificates (PEM).
    pub ca: Option<Vec<u8>>,
    /// Whether to use HTTP/2: negotiated under TLS, with prior knowledge in clear text.
    pub http2: bool,
    /// Headers added to every request. Their values may be secrets.
    pub headers: Vec<(String, Secret)>,
}

/// The proxy an upstream is reached through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProxyConfig {
    /// From `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    #[default]
    Environment,
    /// No proxy.
    Direct,
    /// An `http://`, `https://` or `socks5://` URL. Secret, because it may contain a password.
    At(Secret),
}

/// A model served by one or more upstreams.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteConfig {
    /// The model's name as callers use it.
    pub model: String,
    /// The upstreams that serve it.
    pub upstreams: Vec<TargetConfig>,
    /// Which upstream is tried first.
    pub strategy: Strategy,
    /// What happens to a response when its last reader leaves; `None` uses the engine's setting.
    pub on_leave: Option<OnLeave>,
}

/// One upstream of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetConfig {
    /// The upstream's name.
    pub upstream: String,
    /// The model's name at the upstream; `None` if it is the route's model.
    pub model: Option<String>,
    /// Its share of the load, relative to the other upstreams.
    pub weight: u32,
}

/// Unusable upstream settings.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamConfigError {
    /// The base URL is invalid.
    #[error("the base_url of the upstream '{upstream}' cannot be used: {reason}")]
    Address {
        /// The upstream.
        upstream: String,
        /// What is wrong with the URL.
        reason: String,
    },
    /// The key contains characters that a header value cannot contain.
    #[error(
        "the key of the upstream '{upstream}' has characters that cannot be sent (a line break?)"
    )]
    Key {
        /// The upstream.
        upstream: String,
    },
    /// A header that cannot be sent.
    #[error("the header '{name}' of the upstream '{upstream}' cannot be sent")]
    Header {
        /// The upstream.
        upstream: String,
        /// The header's name.
        name: String,
    },
    /// The proxy URL is invalid.
    #[error(
        "the proxy of the upstream '{upstream}' cannot be used: it must start with http://, https:// or socks5://"
    )]
    Proxy {
        /// The upstream.
        upstream: String,
    },
    /// The CA file contains no certificates.
    #[error("the ca_file of the upstream '{upstream}' holds no certificate in PEM")]
    Certificates {
        /// The upstream.
        upstream: String,
    },
    /// A route refers to an unknown upstream.
    #[error(
        "the route for the model '{model}' leads to the upstream '{upstream}', which does not exist"
    )]
    Route {
        /// The model.
        model: String,
        /// The unknown upstream.
        upstream: String,
    },
    /// The HTTP client could not be built.
    #[error("no HTTP client could be made for the upstream '{upstream}'")]
    Client {
        /// The upstream.
        upstream: String,
        /// The cause.
        source: rustls::Error,
    },
}
