//! The upstreams' settings.

use std::sync::Arc;
use std::time::Duration;

use engine::provider::route::{Retries, Timeouts};
use engine::secret::Secret;
use protocol::on_leave::OnLeave;

use serde_json::{Map, Value};

pub use crate::preset::{Preset, WireKind};
pub use crate::tools::{HostedTools, UnknownTools};

/// All upstreams and routes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// The built-in demo model.
    pub demo: DemoConfig,
    /// The others, in order; without a route, the first that serves a model gets it.
    pub upstreams: Vec<UpstreamConfig>,
    /// Where models lead that have more than one upstream, or another name there.
    pub routes: Vec<RouteConfig>,
    /// How calls that failed are made again.
    pub retries: Retries,
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

/// One upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamConfig {
    /// Its name, for logs and `owned_by`.
    pub name: String,
    /// Whose it is, which says what is usual there.
    pub preset: Preset,
    /// Which of the vendors' APIs it speaks.
    pub wire: WireKind,
    /// The address up to and with the version, such as `/v1`.
    pub base_url: String,
    /// Its keys; none where it wants none.
    pub keys: Vec<KeyConfig>,
    /// How a key is chosen.
    pub strategy: Strategy,
    /// The longest that a key rests which was refused or asked too much; zero: none ever does.
    pub key_rest: Duration,
    /// After how many failures in a row the upstream is left alone for a while; zero: never.
    pub breaker: u32,
    /// How many answers may wait until a key is free.
    pub queue: usize,
    /// How long they wait.
    pub queue_timeout: Duration,
    /// The models it serves; empty: whatever it lists, and any name nobody else serves.
    pub models: Vec<String>,
    /// How long to wait for it.
    pub timeouts: Timeouts,
    /// How to get there.
    pub connection: Connection,
    /// What it takes and what it does not, where nobody can know it.
    pub compat: Compat,
}

/// What an upstream takes and what it does not. The defaults are what most servers of its kind take.
#[derive(Clone, Debug, PartialEq)]
pub struct Compat {
    /// Whether it is asked for usage with `stream_options`, which a few servers refuse.
    pub stream_options: bool,
    /// Where system messages stand; `None` is what is usual for its kind.
    pub system_messages: Option<SystemMessages>,
    /// Which of the model's earlier thoughts it gets back; `None` is what is usual for its kind.
    pub reasoning_history: Option<ReasoningHistory>,
    /// What becomes of tools that Weir does not interpret.
    pub hosted_tools: HostedTools,
    /// What becomes of calls of tools that were not offered.
    pub unknown_tools: UnknownTools,
    /// Fields that are added to the body of every request, in place of those that it has.
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

/// Where system messages stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemMessages {
    /// There is one, at the start: the chat templates of open models refuse more, and refuse them elsewhere.
    First,
    /// Each where the caller has put it.
    InPlace,
}

impl SystemMessages {
    /// Each with its word in the settings.
    pub const ALL: &'static [(&'static str, Self)] = &[("first", Self::First), ("in_place", Self::InPlace)];
}

/// Which of the model's earlier thoughts go back to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasoningHistory {
    /// None.
    Never,
    /// Those that led to tool calls: without them, thinking models refuse to go on after their tools.
    WithCalls,
    /// All of them.
    Always,
}

impl ReasoningHistory {
    /// Each with its word in the settings.
    pub const ALL: &'static [(&'static str, Self)] = &[("never", Self::Never), ("with_calls", Self::WithCalls), ("always", Self::Always)];
}

impl UpstreamConfig {
    /// An upstream of which nothing but this is said.
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
            connection: Connection::default(),
            compat: Compat::default(),
        }
    }
}

/// One key of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyConfig {
    /// What it is called in metrics and logs, where it must not stand itself: the name of its variable, or its number.
    pub label: Arc<str>,
    /// The key.
    pub secret: Secret,
    /// How much of the work it gets, compared with the others.
    pub weight: u32,
    /// How many answers may run on it at once; zero is no limit.
    pub concurrency: usize,
}

impl KeyConfig {
    /// A key that is as good as any other.
    pub fn new(label: impl Into<Arc<str>>, secret: Secret) -> Self {
        Self { label: label.into(), secret, weight: 1, concurrency: 0 }
    }
}

/// How one of several is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Strategy {
    /// The first that can, in the order of the settings.
    Order,
    /// Any, by weight.
    Random,
    /// One after the other, by weight.
    RoundRobin,
    /// The one with the fewest answers running, for its weight.
    #[default]
    LeastBusy,
}

/// How to get to an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// Through which proxy.
    pub proxy: ProxyConfig,
    /// Certificates (PEM) of authorities to trust beside the system's.
    pub ca: Option<Vec<u8>>,
    /// Whether to speak HTTP/2: where it is offered under TLS, and always in clear.
    pub http2: bool,
    /// Fields that go with every request; their values may be keys.
    pub headers: Vec<(String, Secret)>,
}

/// Through which proxy an upstream is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProxyConfig {
    /// What `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
    #[default]
    Environment,
    /// None.
    Direct,
    /// `http://`, `https://` or `socks5://`; a secret, because it may hold a password.
    At(Secret),
}

/// Where a model's name leads.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteConfig {
    /// The model's name, as callers say it.
    pub model: String,
    /// Who serves it.
    pub upstreams: Vec<TargetConfig>,
    /// Which of them is asked first.
    pub strategy: Strategy,
    /// What happens to an answer when its last reader leaves; `None` is what the engine's settings say.
    pub on_leave: Option<OnLeave>,
}

/// One upstream of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetConfig {
    /// Its name.
    pub upstream: String,
    /// What the model is called there; `None` is the route's own name.
    pub model: Option<String>,
    /// How much of the work it gets, compared with the others.
    pub weight: u32,
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
    /// A field of the head that cannot be sent.
    #[error("the header '{name}' of the upstream '{upstream}' cannot be sent")]
    Header {
        /// Which upstream.
        upstream: String,
        /// The field's name.
        name: String,
    },
    /// The proxy's address is none.
    #[error("the proxy of the upstream '{upstream}' cannot be used: it must begin with http://, https:// or socks5://")]
    Proxy {
        /// Which upstream.
        upstream: String,
    },
    /// There are no certificates in the file.
    #[error("the ca_file of the upstream '{upstream}' holds no certificate in PEM")]
    Certificates {
        /// Which upstream.
        upstream: String,
    },
    /// A route to an upstream that is not there.
    #[error("the route for the model '{model}' leads to the upstream '{upstream}', which does not exist")]
    Route {
        /// The model.
        model: String,
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
