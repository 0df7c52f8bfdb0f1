//! Establishes connections to one upstream, through its proxy if there is one.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, USER_AGENT};
use http::uri::{Scheme, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV4, SocksV5, Tunnel};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tower::{Service, service_fn};

use super::address::Address;
use super::connect_error::SendError;
use super::http2::Http2Mode;
use super::proxy::{HttpProxy, ProxyRoute, SocksProxy, SocksResolver, SocksVersion};
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
    origin: Uri,
    host: Arc<str>,
    route: ProxyRoute,
    tcp: HttpConnector,
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
            origin: address.origin(),
            host: address.host().into(),
            route,
            tcp: tcp(timeout),
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
    pub(super) async fn connect(&self) -> Result<Stream, SendError> {
        match tokio::time::timeout(self.timeout, Box::pin(self.open())).await {
            Ok(opened) => opened.map_err(SendError::Connect),
            Err(_elapsed) => Err(SendError::ConnectTimeout),
        }
    }

    async fn open(&self) -> Result<Stream, BoxError> {
        let tls = self.tls.as_ref();
        let stream = match &self.route {
            ProxyRoute::Direct => self.tcp(self.origin.clone()).await?,
            ProxyRoute::Forward(proxy) => {
                let tls = tls.map(|tls| &tls.upstream);
                return self.to_proxy(proxy.uri.clone(), tls).await;
            }
            ProxyRoute::Tunnel(proxy) => self.tunnel(proxy).await?,
            ProxyRoute::Socks(proxy) => self.socks(proxy).await?,
        };
        match tls {
            Some(tls) if is_https(&self.origin) => {
                handshake(&tls.upstream, &self.host, stream).await
            }
            _ => Ok(stream),
        }
    }

    async fn tcp(&self, uri: Uri) -> Result<Stream, BoxError> {
        Ok(Stream::Tcp(self.tcp.clone().call(uri).await?.into_inner()))
    }

    /// A connection to an HTTP proxy.
    async fn to_proxy(
        &self,
        uri: Uri,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<Stream, BoxError> {
        let stream = self.tcp(uri.clone()).await?;
        match tls {
            Some(tls) if is_https(&uri) => {
                handshake(tls, uri.host().unwrap_or_default(), stream).await
            }
            _ => Ok(stream),
        }
    }

    async fn tunnel(&self, proxy: &HttpProxy) -> Result<Stream, BoxError> {
        let connector = self.clone();
        let to_proxy = service_fn(move |uri: Uri| {
            let connector = connector.clone();
            async move {
                let tls = connector.tls.as_ref().map(|tls| &tls.tunnel);
                connector.to_proxy(uri, tls).await.map(TokioIo::new)
            }
        });
        let mut tunnel = Tunnel::new(proxy.uri.clone(), to_proxy);
        if let Some(auth) = &proxy.auth {
            tunnel = tunnel.with_auth(auth.clone());
        }
        let mut tunnel = tunnel.with_headers(self.tunnel_headers.clone());
        Ok(tunnel.call(self.origin.clone()).await?.into_inner())
    }

    async fn socks(&self, proxy: &SocksProxy) -> Result<Stream, BoxError> {
        let port = self.origin.port_u16().unwrap_or(if is_https(&self.origin) { 443 } else { 80 });
        let host = match proxy.resolver {
            SocksResolver::Proxy => self.origin.host().unwrap_or_default().to_owned(),
            SocksResolver::ThisMachine => resolve(&self.host, port).await?,
        };
        let scheme = self.origin.scheme_str().unwrap_or_default();
        let target = Uri::try_from(format!("{scheme}://{host}:{port}"))?;
        let stream = match (proxy.version, &proxy.auth) {
            (SocksVersion::V4, _) => {
                SocksV4::new(proxy.uri.clone(), self.tcp.clone()).call(target).await?
            }
            (SocksVersion::V5, None) => {
                SocksV5::new(proxy.uri.clone(), self.tcp.clone()).call(target).await?
            }
            (SocksVersion::V5, Some((user, password))) => {
                SocksV5::new(proxy.uri.clone(), self.tcp.clone())
                    .with_auth(user.clone(), password.clone())
                    .call(target)
                    .await?
            }
        };
        Ok(Stream::Tcp(stream.into_inner()))
    }
}

fn tcp(timeout: Duration) -> HttpConnector {
    let mut tcp = HttpConnector::new();
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
