//! The connections to one upstream: a pool of HTTP/1.1 connections or, if configured, a few HTTP/2
//! connections.
//!
//! Cancelling an HTTP/2 stream resets it, and servers close a connection after too many resets
//! (CVE-2023-44487 and its mitigations), which would break all other streams on it. So the number
//! of concurrent streams and of resets per connection is limited.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, Proxy, Url, redirect};

use crate::config::{ProxyConfig, UpstreamConfig, UpstreamConfigError, WireKind};

/// Concurrent streams per HTTP/2 connection: what most servers allow (RFC 9113, section 6.5.2,
/// recommends no less).
const STREAMS: usize = 100;

/// Resets after which a connection gets no new streams. Servers that count resets typically object
/// at about a thousand.
const RESETS: usize = 200;

/// Idle HTTP/2 connections that are kept open.
const SPARE: usize = 2;

/// Ping interval on HTTP/2 connections with open streams.
const PING: Duration = Duration::from_secs(30);

/// All connections to one upstream.
#[derive(Clone)]
pub(super) struct Clients {
    /// Only a fallback when HTTP/2 is enabled: each HTTP/2 connection has a client of its own, so
    /// that it closes with it.
    one: Client,
    lanes: Option<Arc<Http2Pool>>,
}

/// HTTP/2 connections. A reqwest client keeps a single one per host, so each connection has its own
/// client.
struct Http2Pool {
    make: Box<dyn Fn() -> reqwest::Result<Client> + Send + Sync>,
    open: Mutex<Vec<Http2Connection>>,
}

struct Http2Connection {
    number: u64,
    client: Client,
    streams: usize,
    resets: usize,
}

/// A request's slot on a connection. Dropping it before [`Lease::ended`] counts as a reset.
#[derive(Default)]
pub(crate) struct Lease {
    lane: Option<(Arc<Http2Pool>, u64)>,
    is_ended: bool,
}

impl Clients {
    /// The connections that `config` describes to the host of `base`.
    pub(super) fn new(config: &UpstreamConfig, base: &Url) -> Result<Self, UpstreamConfigError> {
        let failed = |source: reqwest::Error| UpstreamConfigError::Client {
            upstream: config.name.clone(),
            source: source.without_url(),
        };
        let settings = Settings::new(config, base)?;
        let one = settings.client().map_err(failed)?;
        if !config.connection.http2 {
            return Ok(Self { one, lanes: None });
        }
        let first = Http2Connection {
            number: 0,
            client: settings.client().map_err(failed)?,
            streams: 0,
            resets: 0,
        };
        let lanes =
            Http2Pool { make: Box::new(move || settings.client()), open: Mutex::new(vec![first]) };
        Ok(Self { one, lanes: Some(Arc::new(lanes)) })
    }

    /// The client for the next request, with its slot on a connection.
    pub(super) fn take(&self) -> (Client, Lease) {
        let Some(lanes) = &self.lanes else { return (self.one.clone(), Lease::default()) };
        if let Some(taken) = lanes.join() {
            return taken;
        }
        // Without the lock: building a client reads the system's trust store. It cannot fail where
        // the first one succeeded; should it fail nevertheless, an uncounted connection is better
        // than none.
        let Ok(client) = (lanes.make)() else { return (self.one.clone(), Lease::default()) };
        let mut open = lanes.open();
        let number = open.last().map_or(0, |lane| lane.number + 1);
        open.push(Http2Connection { number, client: client.clone(), streams: 1, resets: 0 });
        (client, lanes.lease(number))
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Clients")
            .field("http2", &self.lanes.is_some())
            .finish_non_exhaustive()
    }
}

impl Http2Pool {
    fn open(&self) -> MutexGuard<'_, Vec<Http2Connection>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lease(self: &Arc<Self>, number: u64) -> Lease {
        Lease { lane: Some((Arc::clone(self), number)), is_ended: false }
    }

    /// A slot on an existing connection.
    fn join(self: &Arc<Self>) -> Option<(Client, Lease)> {
        let mut open = self.open();
        let lane = open.iter_mut().find(|lane| lane.streams < STREAMS && lane.resets < RESETS)?;
        lane.streams += 1;
        Some((lane.client.clone(), self.lease(lane.number)))
    }

    fn give_back(&self, number: u64, is_reset: bool) {
        let mut open = self.open();
        let Some(index) = open.iter().position(|lane| lane.number == number) else { return };
        let lane = &mut open[index];
        lane.streams -= 1;
        lane.resets += usize::from(is_reset);
        // A few idle connections are kept; the rest, and those with too many resets, close with
        // their last stream.
        if lane.streams == 0 && (lane.resets >= RESETS || open.len() > SPARE) {
            open.remove(index);
        }
    }
}

impl Lease {
    /// The body has been read to its end.
    pub(crate) fn ended(&mut self) {
        self.is_ended = true;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((lanes, number)) = self.lane.take() {
            lanes.give_back(number, !self.is_ended);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Lease").field("is_ended", &self.is_ended).finish_non_exhaustive()
    }
}

/// The settings shared by all clients of one upstream.
struct Settings {
    fields: HeaderMap,
    connect_timeout: Duration,
    http2: Http2Mode,
    way: ProxyChoice,
    certificates: Vec<Certificate>,
}

/// When HTTP/2 is used.
#[derive(Clone, Copy)]
enum Http2Mode {
    Never,
    /// Negotiated by ALPN.
    Offered,
    /// Prior knowledge: clear text has no negotiation.
    Known,
}

/// How connections are made.
enum ProxyChoice {
    Environment,
    Direct,
    Proxy(Box<Proxy>),
}

impl Settings {
    fn new(config: &UpstreamConfig, base: &Url) -> Result<Self, UpstreamConfigError> {
        let connection = &config.connection;
        let mut fields = HeaderMap::new();
        // Compression would delay small events until a block is full.
        fields.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for (name, value) in &connection.headers {
            let invalid = || UpstreamConfigError::Header {
                upstream: config.name.clone(),
                name: name.clone(),
            };
            let mut value = HeaderValue::from_str(value.reveal()).map_err(|_| invalid())?;
            value.set_sensitive(true);
            fields.insert(HeaderName::try_from(name.as_str()).map_err(|_| invalid())?, value);
        }
        let http2 = match (connection.http2, base.scheme()) {
            (false, _) => Http2Mode::Never,
            (true, "https") => Http2Mode::Offered,
            (true, _) => Http2Mode::Known,
        };
        let certificates = match &connection.ca {
            None => Vec::new(),
            Some(pem) => Certificate::from_pem_bundle(pem)
                .ok()
                .filter(|certificates| !certificates.is_empty())
                .ok_or_else(|| UpstreamConfigError::Certificates {
                    upstream: config.name.clone(),
                })?,
        };
        let way = match &connection.proxy {
            ProxyConfig::At(url) => ProxyChoice::Proxy(Box::new(proxy(config, url.reveal())?)),
            ProxyConfig::Direct => ProxyChoice::Direct,
            // Environment proxies are for remote hosts, not for a model on this machine.
            ProxyConfig::Environment if is_loopback(base.host_str().unwrap_or_default()) => {
                ProxyChoice::Direct
            }
            ProxyConfig::Environment => ProxyChoice::Environment,
        };
        Ok(Self { fields, connect_timeout: config.timeouts.connect, http2, way, certificates })
    }

    fn client(&self) -> reqwest::Result<Client> {
        let mut client = Client::builder()
            .tcp_nodelay(true)
            .connect_timeout(self.connect_timeout)
            // Following a redirect would turn the POST into a GET, or send the prompt to an address
            // that nobody configured.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .default_headers(self.fields.clone())
            .tls_certs_merge(self.certificates.clone());
        client = match self.http2 {
            Http2Mode::Never => client.http1_only(),
            Http2Mode::Offered => client.http2_keep_alive_interval(PING),
            Http2Mode::Known => client.http2_prior_knowledge().http2_keep_alive_interval(PING),
        };
        client = match &self.way {
            ProxyChoice::Environment => client,
            ProxyChoice::Direct => client.no_proxy(),
            ProxyChoice::Proxy(proxy) => client.proxy(Proxy::clone(proxy)),
        };
        client.build()
    }
}

fn proxy(config: &UpstreamConfig, url: &str) -> Result<Proxy, UpstreamConfigError> {
    // The proxy resolves host names: it may know names that this machine does not, and the local
    // resolver should not learn them.
    let url = url
        .strip_prefix("socks5://")
        .map_or_else(|| url.to_owned(), |rest| format!("socks5h://{rest}"));
    Proxy::all(url).map_err(|_| UpstreamConfigError::Proxy { upstream: config.name.clone() })
}

/// The upstream's base URL.
pub(super) fn base_url(config: &UpstreamConfig) -> Result<Url, UpstreamConfigError> {
    let invalid =
        |reason: String| UpstreamConfigError::Address { upstream: config.name.clone(), reason };
    let mut base = Url::parse(&config.base_url).map_err(|error| invalid(error.to_string()))?;
    // These vendors' SDKs take the address without the version, so it is often configured that way,
    // also with a relay's path in front.
    let version = match config.wire {
        WireKind::Anthropic => Some("v1"),
        WireKind::Gemini => Some("v1beta"),
        WireKind::Chat | WireKind::Responses | WireKind::Ollama => None,
    };
    // Often the whole URL of an operation is configured.
    let operations: &[&str] = match config.wire {
        WireKind::Chat => &["/chat/completions", "/completions", "/embeddings"],
        WireKind::Responses => &["/responses", "/chat/completions"],
        WireKind::Anthropic => &["/messages"],
        WireKind::Ollama => &["/api/chat", "/api/generate", "/api"],
        WireKind::Gemini => &[],
    };
    let path = base.path().trim_end_matches('/').to_owned();
    if let Some(path) = operations.iter().find_map(|operation| path.strip_suffix(operation)) {
        base.set_path(path);
    }
    let is_version = |segment: &str| {
        segment
            .strip_prefix('v')
            .is_some_and(|rest| rest.starts_with(|digit: char| digit.is_ascii_digit()))
    };
    if let Some(version) = version
        .filter(|_| !base.path().trim_end_matches('/').rsplit('/').next().is_some_and(is_version))
        && let Ok(mut path) = base.path_segments_mut()
    {
        path.pop_if_empty().push(version);
    }
    match base.scheme() {
        "http" | "https" if base.has_host() => Ok(base),
        _ => Err(invalid("it must start with http:// or https://".to_owned())),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
