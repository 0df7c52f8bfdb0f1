//! Where an endpoint is: its URL taken apart, its addresses, and connections to it with the time
//! that each phase took.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use client::{Encryption, Endpoint, OpenedConnection, TlsHandshake, Trust, now, within};
use http::Uri;
use tokio::net::lookup_host;
use tokio_rustls::rustls::NoKeyLog;

/// An endpoint's URL.
#[derive(Clone)]
pub struct Place {
    /// The host name or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path, without its query; never empty.
    pub path: String,
    /// The query, without `?`.
    pub query: Option<String>,
    /// Whether the URL is `ws:` or `wss:`.
    pub is_websocket: bool,
    /// TLS; `None` for plain text.
    encryption: Option<Encryption>,
    timeout: Duration,
}

/// How long it took until a connection could be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connecting {
    /// Name resolution; `None` for an IP address.
    pub dns: Option<Duration>,
    /// The TCP handshake.
    pub tcp: Duration,
    /// The TLS handshake.
    pub tls: Option<TlsHandshake>,
    /// The address that accepted.
    pub address: SocketAddr,
}

impl Place {
    /// Takes a URL apart: `http:`, `https:`, `ws:` or `wss:`.
    ///
    /// # Errors
    /// It is not such a URL.
    pub fn read(url: &str, trust: &Trust, timeout: Duration) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url:?} is not a URL"))?;
        let (is_encrypted, is_websocket) = match uri.scheme_str() {
            Some("http") => (false, false),
            Some("https") => (true, false),
            Some("ws") => (false, true),
            Some("wss") => (true, true),
            Some(_) | None => bail!("expected http://…, https://…, ws://… or wss://…, got {url:?}"),
        };
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        Ok(Self {
            host,
            port: uri.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 }),
            path: uri.path().to_owned(),
            query: uri.query().map(str::to_owned),
            is_websocket,
            encryption: if is_encrypted { Some(Encryption::new(trust)?) } else { None },
            timeout,
        })
    }

    /// The same server with another path, which may have a query.
    #[must_use]
    pub fn with_path(&self, path: &str) -> Self {
        let (path, query) =
            path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        Self {
            path: path.to_owned(),
            query: query.map(str::to_owned),
            is_websocket: false,
            ..self.clone()
        }
    }

    /// The path with its query.
    pub fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// The host, and the port unless it is the scheme's default: the field `Host`.
    pub fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.encryption.is_some() { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    /// The URL, without a user name, password or query, which may hold secrets.
    pub fn shown(&self) -> String {
        let scheme = match (self.is_websocket, self.encryption.is_some()) {
            (false, false) => "http",
            (false, true) => "https",
            (true, false) => "ws",
            (true, true) => "wss",
        };
        format!("{scheme}://{}{}", self.authority(), self.path)
    }

    /// Whether connections use TLS.
    pub fn is_encrypted(&self) -> bool {
        self.encryption.is_some()
    }

    /// The same server, offered these protocols in the TLS handshake (ALPN, RFC 7301).
    ///
    /// # Errors
    /// The system has no trusted certificates.
    pub fn offering(&self, trust: &Trust, protocols: &[&str]) -> Result<Self> {
        let encryption = Encryption::with_protocols(trust, protocols, Arc::new(NoKeyLog))?;
        Ok(Self { encryption: Some(encryption), ..self.clone() })
    }

    /// The same server, with another wait for the next part of a response.
    #[must_use]
    pub fn patient(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// The longest wait for the next part of a response.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Opens a connection to the first of its addresses that accepts.
    ///
    /// # Errors
    /// The name has no address, no address accepts, or the certificate is not trusted.
    pub async fn connect(&self) -> Result<(OpenedConnection, Connecting)> {
        let (addresses, dns) = self.resolve().await?;
        let mut last = None;
        for address in addresses {
            let endpoint = Endpoint {
                address,
                authority: self.authority(),
                prefix: String::new(),
                timeout: self.timeout,
                encryption: self
                    .encryption
                    .clone()
                    .map(|encryption| (encryption, self.host.clone())),
            };
            match endpoint.connect().await {
                Ok(opened) => {
                    let (tcp, tls) = (opened.info.connected, opened.info.tls.clone());
                    return Ok((opened, Connecting { dns, tcp, tls, address }));
                }
                Err(error) => last = Some(error),
            }
        }
        let error = last.with_context(|| format!("{} has no address", self.host))?;
        Err(error.context(format!("cannot reach {}", self.shown())))
    }

    /// The addresses, and how long it took to find them.
    async fn resolve(&self) -> Result<(Vec<SocketAddr>, Option<Duration>)> {
        if let Ok(address) = self.host.parse() {
            return Ok((vec![SocketAddr::new(address, self.port)], None));
        }
        let started = now();
        let found = within(self.timeout, lookup_host((self.host.as_str(), self.port))).await;
        let addresses = found
            .and_then(|found| Ok(found?))
            .with_context(|| format!("cannot resolve the name {:?}", self.host))?;
        Ok((addresses.collect(), Some(started.elapsed())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let check = |url: &str, expected: Option<(&str, &str)>| {
            let place = Place::read(url, &Trust::Fingerprint("00".into()), Duration::from_secs(1));
            let found = place.ok().map(|place| (place.shown(), place.target()));
            let expected = expected.map(|(shown, target)| (shown.to_owned(), target.to_owned()));
            assert_eq!(found, expected, "{url}");
        };
        check("http://127.0.0.1:8000", Some(("http://127.0.0.1:8000/", "/")));
        check("https://user:secret@h:443/v1?key=k", Some(("https://h/v1", "/v1?key=k")));
        check(
            "wss://[::1]:8443/v1/responses",
            Some(("wss://[::1]:8443/v1/responses", "/v1/responses")),
        );
        check("ftp://h/", None);
        check("localhost:8000", None);
    }
}
