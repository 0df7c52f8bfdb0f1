//! Which proxy an upstream is reached through, if any: from the settings or the environment.

use http::Uri;
use http::header::HeaderValue;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use url::{ParseError, Url};

use super::address::Address;
use crate::config::{ProxyConfig, UpstreamConfig, UpstreamConfigError};

/// The port of SOCKS servers (RFC 1928, section 3).
const SOCKS_PORT: u16 = 1080;

/// How the connections to an upstream are made.
#[derive(Clone)]
pub(super) enum ProxyRoute {
    Direct,
    /// An HTTP proxy that forwards clear-text requests.
    Forward(HttpProxy),
    /// An HTTP proxy that connects to the upstream on request (RFC 9110, section 9.3.6).
    Tunnel(HttpProxy),
    Socks(SocksProxy),
}

/// An HTTP proxy, perhaps over TLS.
#[derive(Clone)]
pub(super) struct HttpProxy {
    pub(super) uri: Uri,
    /// `Proxy-Authorization`.
    pub(super) auth: Option<HeaderValue>,
}

/// A SOCKS proxy.
#[derive(Clone)]
pub(super) struct SocksProxy {
    pub(super) uri: Uri,
    pub(super) version: SocksVersion,
    pub(super) resolver: SocksResolver,
    /// User and password.
    pub(super) auth: Option<(String, String)>,
}

/// The version of the SOCKS protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SocksVersion {
    V4,
    V5,
}

/// Where the upstream's host name is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SocksResolver {
    ThisMachine,
    Proxy,
}

impl ProxyRoute {
    /// The route to `address` with these settings. The environment is read now.
    ///
    /// # Errors
    /// The proxy's address is malformed.
    pub(super) fn new(
        config: &UpstreamConfig,
        address: &Address,
    ) -> Result<Self, UpstreamConfigError> {
        let matcher = match &config.connection.proxy {
            ProxyConfig::At(url) => {
                let url = proxy_url(url.reveal())
                    .ok_or_else(|| UpstreamConfigError::Proxy { upstream: config.name.clone() })?;
                Matcher::builder().all(String::from(url)).build()
            }
            ProxyConfig::Direct => return Ok(Self::Direct),
            // Environment proxies are for remote hosts, not for a model on this machine.
            ProxyConfig::Environment if address.is_loopback() => return Ok(Self::Direct),
            ProxyConfig::Environment => Matcher::from_system(),
        };
        let proxy = matcher.intercept(&address.origin());
        Ok(proxy.map_or(Self::Direct, |proxy| Self::through(&proxy, address)))
    }

    fn through(proxy: &Intercept, address: &Address) -> Self {
        let (version, resolver) = match proxy.uri().scheme_str() {
            Some("socks4") => (SocksVersion::V4, SocksResolver::ThisMachine),
            Some("socks4a") => (SocksVersion::V4, SocksResolver::Proxy),
            Some("socks5") => (SocksVersion::V5, SocksResolver::ThisMachine),
            Some("socks5h") => (SocksVersion::V5, SocksResolver::Proxy),
            _ => {
                let proxy =
                    HttpProxy { uri: proxy.uri().clone(), auth: proxy.basic_auth().cloned() };
                return if address.is_https() { Self::Tunnel(proxy) } else { Self::Forward(proxy) };
            }
        };
        let auth = proxy.raw_auth().map(|(user, password)| (user.to_owned(), password.to_owned()));
        Self::Socks(SocksProxy { uri: proxy.uri().clone(), version, resolver, auth })
    }
}

/// A configured proxy address.
fn proxy_url(text: &str) -> Option<Url> {
    // The proxy resolves host names: it may know names that this machine does not, and the local
    // resolver should not learn them.
    let text = text
        .strip_prefix("socks5://")
        .map_or_else(|| text.to_owned(), |rest| format!("socks5h://{rest}"));
    let mut url = match Url::parse(&text) {
        Ok(url) if url.has_host() => url,
        // The scheme is missing.
        Ok(_) | Err(ParseError::RelativeUrlWithoutBase) => {
            Url::parse(&format!("http://{text}")).ok().filter(Url::has_host)?
        }
        Err(_) => return None,
    };
    if url.port().is_none() && url.scheme().starts_with("socks") {
        url.set_port(Some(SOCKS_PORT)).ok()?;
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use engine::secret::Secret;

    use super::*;
    use crate::config::Preset;

    fn route(base_url: &str, proxy: &str) -> Option<ProxyRoute> {
        let mut config = UpstreamConfig::new("north", Preset::Compatible, base_url);
        config.connection.proxy = ProxyConfig::At(Secret::new(proxy));
        ProxyRoute::new(&config, &Address::new(&config).unwrap()).ok()
    }

    #[test]
    fn clear_text_is_forwarded_and_tls_is_tunnelled() {
        let Some(ProxyRoute::Forward(proxy)) = route("http://north/v1", "http://me:x@proxy:3128")
        else {
            panic!("not forwarded");
        };
        assert_eq!(proxy.uri, "http://proxy:3128/");
        assert_eq!(proxy.auth.unwrap(), "Basic bWU6eA==");
        let Some(ProxyRoute::Tunnel(proxy)) = route("https://north/v1", "https://proxy") else {
            panic!("not tunnelled");
        };
        assert_eq!((proxy.uri, proxy.auth), (Uri::from_static("https://proxy/"), None));
        assert!(route("https://north/v1", "http://").is_none());
    }

    #[test]
    fn a_socks_proxy_resolves_names_and_has_a_default_port() {
        for given in ["socks5://me:x%40@proxy", "socks5h://me:x%40@proxy:1080"] {
            let Some(ProxyRoute::Socks(proxy)) = route("https://north/v1", given) else {
                panic!("{given}: not SOCKS");
            };
            assert_eq!(proxy.uri, "socks5h://proxy:1080/");
            assert_eq!((proxy.version, proxy.resolver), (SocksVersion::V5, SocksResolver::Proxy));
            assert_eq!(proxy.auth.unwrap(), ("me".to_owned(), "x@".to_owned()));
        }
    }
}
