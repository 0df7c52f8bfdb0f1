//! The server's settings.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::network::IpNetwork;

/// The server's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where else to listen, for operations only.
    pub admin_listen: Option<SocketAddr>,
    /// Names under which the server may be addressed (`Host`), beside loopback names; a port is
    /// ignored.
    pub hosts: Vec<String>,
    /// Web origins (`scheme://host[:port]`) whose pages may use the API.
    pub origins: Vec<String>,
    /// Proxies that are trusted to name their clients.
    pub trusted_proxies: Vec<IpNetwork>,
    /// Whether they do so by the PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
    /// The largest request body, in bytes, once it is decoded.
    pub body_bytes: usize,
    /// Bytes of a body beside binary data in it.
    pub text_bytes: usize,
    /// The largest request head, in bytes; hyper requires 8 KiB or more.
    pub head_bytes: usize,
    /// How long a request head may take, from its first byte or from the start of the connection.
    pub head_timeout: Duration,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
    /// How many connections there may be. The program lowers it where the system allows fewer.
    pub connections: usize,
    /// How many of them may come from one address; 0: a thousand, and no limit for this machine
    /// itself.
    pub connections_per_address: usize,
    /// How long a request body may take.
    pub body_timeout: Duration,
    /// The pause after which a stream sends a heartbeat.
    pub heartbeat: Duration,
    /// How long a reader may read nothing before it is disconnected; it can resume.
    pub write_timeout: Duration,
    /// How long a stream delays its head to be able to report an error by its status.
    pub hold: Duration,
    /// How long a socket may start new turns (Open Responses: 60 minutes).
    pub socket_age: Duration,
    /// Whether a WebSocket is compressed where its client offers it (permessage-deflate).
    pub websocket_deflate: bool,
    /// Whether a FIN before the head of a JSON response means that the client has left.
    pub fin_leaves_json: bool,
    /// Which callers a server without keys serves. No setting.
    pub keyless: Keyless,
    /// Who may read the metrics.
    pub metrics: MetricsAccess,
    /// What the lens records.
    pub lens: LensConfig,
    /// The API of the Java demo of 2023.
    pub classic: ClassicConfig,
}

/// Which callers a server without keys serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyless {
    /// Callers on this machine: a request from elsewhere, or one that a proxy has forwarded, is
    /// refused.
    ThisMachine,
    /// All callers: the server is in an isolated network.
    Anyone,
}

impl Config {
    /// The setting by which callers from elsewhere reach a server that listens on loopback only, if
    /// there is one: it requires a key.
    pub fn reaches_beyond(&self) -> Option<&'static str> {
        if !self.hosts.is_empty() {
            return Some("server.hosts");
        }
        if !self.trusted_proxies.is_empty() {
            return Some("server.trusted_proxies");
        }
        (self.proxy_protocol != ProxyProtocol::Off).then_some("server.proxy_protocol")
    }
}

/// What the lens records of the connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LensConfig {
    /// Whether packets are captured while they are being viewed.
    pub capture: CaptureMode,
    /// The share of the connections whose bytes are counted by kind, from 0 to 1.
    pub sampling: f64,
    /// Whether callers may open calibrated sources.
    pub source: bool,
}

/// Whether packets are captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureMode {
    /// Where the system permits it.
    Auto,
    /// Never.
    Off,
}

/// The settings of the classic API.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassicConfig {
    /// Whether there is one.
    pub enabled: bool,
    /// Web origins whose pages may use it from elsewhere; `null` is a page opened from a file, `*`
    /// is every page.
    pub origins: Vec<String>,
    /// The directory of the user's own copy of the demo's pages.
    pub pages: Option<PathBuf>,
    /// The model; `None`: the first that an upstream serves.
    pub model: Option<String>,
    /// The system prompt of every question.
    pub instructions: Option<String>,
    /// The sampling temperature of every question, 0 to 2; `None`: the upstream's default.
    pub temperature: Option<f64>,
    /// How many tokens of a conversation the model gets, the new message included: whole turns are
    /// left out from the start until the rest fits.
    pub context_tokens: u64,
    /// How long a message waits for its stream. No setting: a page sends both at once.
    pub patience: Duration,
    /// How long a page gets to read that its message was accepted, before the response starts on
    /// another connection. The time of reading cannot be observed; this is longer than a browser
    /// needs, and too short to be noticed. No setting.
    pub grace: Duration,
    /// How long a conversation lives without a new message. No setting: the pages promise five
    /// minutes.
    pub idle: Duration,
}

/// Which callers may read the metrics. Without a configured key, everybody may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsAccess {
    /// Callers with the key of an admin.
    Admin,
    /// All callers.
    Open,
}

/// Whether trusted proxies speak the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// No proxy does.
    Off,
    /// All proxies do, on every connection.
    On,
}

impl Config {
    /// The settings of the listener for operations: there is no proxy in front of it, and on a
    /// loopback address it requires no key.
    pub(crate) fn for_operations(&self) -> Self {
        let listen = self.admin_listen.unwrap_or(self.listen);
        let metrics =
            if listen.ip().is_loopback() { MetricsAccess::Open } else { MetricsAccess::Admin };
        let (hosts, trusted_proxies, proxy_protocol) = (Vec::new(), Vec::new(), ProxyProtocol::Off);
        Self { listen, hosts, trusted_proxies, proxy_protocol, metrics, ..self.clone() }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
            admin_listen: None,
            hosts: Vec::new(),
            origins: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: ProxyProtocol::Off,
            body_bytes: 32 << 20,
            text_bytes: 8 << 20,
            head_bytes: 64 << 10,
            head_timeout: Duration::from_secs(10),
            // Longer than the minute after which most proxies and clients close an idle connection,
            // so that they close first.
            idle_timeout: Duration::from_secs(75),
            connections: 10_000,
            connections_per_address: 0,
            body_timeout: Duration::from_secs(60),
            // WHATWG advises about 15 s, which is below the idle limit of every proxy tried so far.
            heartbeat: Duration::from_secs(15),
            write_timeout: Duration::from_secs(30),
            hold: Duration::from_secs(5),
            socket_age: Duration::from_secs(3600),
            // It costs more time than it saves on a fast network, and each message alone shrinks by
            // half at best.
            websocket_deflate: false,
            fin_leaves_json: true,
            keyless: Keyless::ThisMachine,
            metrics: MetricsAccess::Admin,
            lens: LensConfig::default(),
            classic: ClassicConfig::default(),
        }
    }
}

impl Default for LensConfig {
    fn default() -> Self {
        Self { capture: CaptureMode::Auto, sampling: 1.0, source: true }
    }
}

impl Default for ClassicConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            origins: Vec::new(),
            pages: None,
            model: None,
            instructions: None,
            temperature: None,
            // The smallest window among the hosted models is gpt-3.5-turbo's, 16,385 tokens: a
            // quarter is for the response.
            context_tokens: 12_000,
            patience: Duration::from_secs(5),
            grace: Duration::from_millis(50),
            idle: Duration::from_secs(300),
        }
    }
}
