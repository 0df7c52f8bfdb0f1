//! Establishes connections to one upstream, through its proxy if there is one.

use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use engine::provider::connection::{
    ConnectionOpening, UpstreamConnection, UpstreamProtocol, UpstreamTls,
};
use http::header::{HeaderMap, USER_AGENT};
use http::uri::{Scheme, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV4, SocksV5, Tunnel};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tower::{Service, service_fn};

use super::address::Address;
use super::connect_error::SendError;
use super::http2::Http2Mode;
use super::new_connection::NewConnection;
use super::proxy::{HttpProxy, ProxyRoute, SocksProxy, SocksResolver, SocksVersion};
use super::resolver::TimedResolver;
use super::stream::Stream;
use super::tls;
use crate::config::{UpstreamConfig, UpstreamConfigError};

/// TCP keep-alive: an idle connection whose peer is gone without a word is closed after a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_PROBES: u32 = 3;

/// How long sent bytes may stay unacknowledged (`TCP_USER_TIMEOUT`, RFC 5482).
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

type BoxError = Box<dyn Error + Send + Sync>;

/// The host name does not resolve. The text is the one of hyper-util's connector.
#[derive(Debug, thiserror::Error)]
#[error("dns error")]
struct LookupError(#[source] io::Error);

/// Connects to one upstream.
#[derive(Clone)]
pub(super) struct Connector {
    upstream: Arc<str>,
    /// How many connections were opened.
    opened: Arc<AtomicU64>,
    http2: Http2Mode,
    origin: Uri,
    host: Arc<str>,
    route: ProxyRoute,
    /// `None` where neither the upstream nor the proxy uses TLS.
    tls: Option<TlsConfigs>,
    timeout: Duration,
    /// The `User-Agent` of requests to a tunnelling proxy.
    tunnel_headers: HeaderMap,
}

#[derive(Clone)]
struct TlsConfigs {
    upstream: Arc<ClientConfig>,
    /// Without ALPN: what is negotiated with the proxy does not concern the upstream.
    tunnel: Arc<ClientConfig>,
}

impl Connector {
    /// The connector for the upstream at `address`, whose requests have these headers.
    ///
    /// # Errors
    /// An invalid proxy or certificate.
    pub(super) fn new(
        config: &UpstreamConfig,
        address: &Address,
        http2: Http2Mode,
        headers: &HeaderMap,
    ) -> Result<Self, UpstreamConfigError> {
        let route = ProxyRoute::new(config, address)?;
        let certificates = match &config.connection.ca {
            None => Vec::new(),
            Some(pem) => tls::certificates(pem).ok_or_else(|| {
                UpstreamConfigError::Certificates { upstream: config.name.clone() }
            })?,
        };
        let is_proxy_tls = match &route {
            ProxyRoute::Forward(proxy) | ProxyRoute::Tunnel(proxy) => is_https(&proxy.uri),
            ProxyRoute::Direct | ProxyRoute::Socks(_) => false,
        };
        // Reading the system's trust store takes tens of milliseconds.
        let tls = if address.is_https() || is_proxy_tls || !certificates.is_empty() {
            let upstream = tls::config(certificates, http2).map_err(|source| {
                UpstreamConfigError::Client { upstream: config.name.clone(), source }
            })?;
            let mut tunnel = upstream.clone();
            tunnel.alpn_protocols.clear();
            Some(TlsConfigs { upstream: Arc::new(upstream), tunnel: Arc::new(tunnel) })
        } else {
            None
        };
        let timeout = config.timeouts.connect;
        let agent = headers.get(USER_AGENT).map(|agent| (USER_AGENT, agent.clone()));
        Ok(Self {
            upstream: config.name.as_str().into(),
            opened: Arc::default(),
            http2,
            origin: address.origin(),
            host: address.host().into(),
            route,
            tls,
            timeout,
            tunnel_headers: HeaderMap::from_iter(agent),
        })
    }

    /// The proxy that forwards clear-text requests, which have absolute URIs.
    pub(super) fn forwarding_proxy(&self) -> Option<&HttpProxy> {
        match &self.route {
            ProxyRoute::Forward(proxy) => Some(proxy),
            ProxyRoute::Direct | ProxyRoute::Tunnel(_) | ProxyRoute::Socks(_) => None,
        }
    }

    /// A new connection.
    ///
    /// # Errors
    /// There is none, or not in time.
    pub(super) async fn connect(&self) -> Result<NewConnection, SendError> {
        match tokio::time::timeout(self.timeout, Box::pin(self.open())).await {
            Ok(opened) => opened.map_err(SendError::Connect),
            Err(_elapsed) => Err(SendError::ConnectTimeout),
        }
    }

    async fn open(&self) -> Result<NewConnection, BoxError> {
        let (started, looked_up) = (Instant::now(), Arc::<OnceLock<Duration>>::default());
        let tcp = tcp(self.timeout, TimedResolver::new(Arc::clone(&looked_up)));
        let stream = match &self.route {
            ProxyRoute::Direct => to(tcp, self.origin.clone()).await?,
            ProxyRoute::Forward(proxy) => to(tcp, proxy.uri.clone()).await?,
            ProxyRoute::Tunnel(proxy) => self.tunnel(tcp, proxy).await?,
            ProxyRoute::Socks(proxy) => self.socks(tcp, proxy).await?,
        };
        let dns = looked_up.get().copied();
        let connect = started.elapsed().saturating_sub(dns.unwrap_or_default());
        // A proxy that forwards clear text may be reached by TLS itself.
        let (uri, host) = match &self.route {
            ProxyRoute::Forward(proxy) => (&proxy.uri, proxy.uri.host().unwrap_or_default()),
            ProxyRoute::Direct | ProxyRoute::Tunnel(_) | ProxyRoute::Socks(_) => {
                (&self.origin, &*self.host)
            }
        };
        let secured = Instant::now();
        let stream = match &self.tls {
            Some(tls) if is_https(uri) => handshake(&tls.upstream, host, stream).await?,
            _ => stream,
        };
        let is_http2 = self.http2 == Http2Mode::Known || stream.is_http2();
        let opening = ConnectionOpening {
            protocol: if is_http2 { UpstreamProtocol::Http2 } else { UpstreamProtocol::Http1 },
            dns,
            connect,
            tls: tls_facts(&stream, secured.elapsed()),
            is_by_proxy: !matches!(self.route, ProxyRoute::Direct),
            local: stream.tcp().local_addr().ok(),
            peer: stream.tcp().peer_addr().ok(),
        };
        let upstream = Arc::clone(&self.upstream);
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let facts = Arc::new(UpstreamConnection::new(upstream, number, started, opening));
        Ok(NewConnection { stream, facts })
    }

    /// A connection to a tunnelling proxy.
    async fn to_proxy(&self, tcp: TcpConnector, uri: Uri) -> Result<Stream, BoxError> {
        let stream = to(tcp, uri.clone()).await?;
        match &self.tls {
            Some(tls) if is_https(&uri) => {
                handshake(&tls.tunnel, uri.host().unwrap_or_default(), stream).await
            }
            _ => Ok(stream),
        }
    }

    async fn tunnel(&self, tcp: TcpConnector, proxy: &HttpProxy) -> Result<Stream, BoxError> {
        let connector = self.clone();
        let to_proxy = service_fn(move |uri: Uri| {
            let (connector, tcp) = (connector.clone(), tcp.clone());
            async move { connector.to_proxy(tcp, uri).await.map(TokioIo::new) }
        });
        let mut tunnel = Tunnel::new(proxy.uri.clone(), to_proxy);
        if let Some(auth) = &proxy.auth {
            tunnel = tunnel.with_auth(auth.clone());
        }
        let mut tunnel = tunnel.with_headers(self.tunnel_headers.clone());
        Ok(tunnel.call(self.origin.clone()).await?.into_inner())
    }

    async fn socks(&self, tcp: TcpConnector, proxy: &SocksProxy) -> Result<Stream, BoxError> {
        let port = self.origin.port_u16().unwrap_or(if is_https(&self.origin) { 443 } else { 80 });
        let host = match proxy.resolver {
            SocksResolver::Proxy => self.origin.host().unwrap_or_default().to_owned(),
            SocksResolver::ThisMachine => resolve(&self.host, port).await?,
        };
        let scheme = self.origin.scheme_str().unwrap_or_default();
        let target = Uri::try_from(format!("{scheme}://{host}:{port}"))?;
        let stream = match (proxy.version, &proxy.auth) {
            (SocksVersion::V4, _) => SocksV4::new(proxy.uri.clone(), tcp).call(target).await?,
            (SocksVersion::V5, None) => SocksV5::new(proxy.uri.clone(), tcp).call(target).await?,
            (SocksVersion::V5, Some((user, password))) => {
                SocksV5::new(proxy.uri.clone(), tcp)
                    .with_auth(user.clone(), password.clone())
                    .call(target)
                    .await?
            }
        };
        Ok(Stream::Tcp(stream.into_inner()))
    }
}

type TcpConnector = HttpConnector<TimedResolver>;

async fn to(mut tcp: TcpConnector, uri: Uri) -> Result<Stream, BoxError> {
    Ok(Stream::Tcp(tcp.call(uri).await?.into_inner()))
}

fn tcp(timeout: Duration, resolver: TimedResolver) -> TcpConnector {
    let mut tcp = HttpConnector::new_with_resolver(resolver);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(timeout));
    tcp.set_keepalive(Some(KEEP_ALIVE));
    tcp.set_keepalive_interval(Some(KEEP_ALIVE));
    tcp.set_keepalive_retries(Some(KEEP_ALIVE_PROBES));
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    tcp
}

/// What was negotiated, if the connection is encrypted; the handshake took this long.
fn tls_facts(stream: &Stream, took: Duration) -> Option<UpstreamTls> {
    let tls = stream.tls()?;
    Some(UpstreamTls {
        took,
        version: match tls.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            Some(ProtocolVersion::TLSv1_2) => "1.2",
            _ => "unknown",
        },
        alpn: tls.alpn_protocol().map(|alpn| String::from_utf8_lossy(alpn).into_owned()),
        is_resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
    })
}

async fn handshake(
    config: &Arc<ClientConfig>,
    host: &str,
    stream: Stream,
) -> Result<Stream, BoxError> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned())?;
    let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
    Ok(Stream::Tls(Box::new(stream)))
}

/// The first address of a host, as it stands in a URI.
async fn resolve(host: &str, port: u16) -> Result<String, BoxError> {
    let mut addresses = tokio::net::lookup_host((host, port)).await.map_err(LookupError)?;
    let address = addresses.next().ok_or("the host name has no address")?.ip();
    Ok(if address.is_ipv6() { format!("[{address}]") } else { address.to_string() })
}

fn is_https(uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTPS)
}
