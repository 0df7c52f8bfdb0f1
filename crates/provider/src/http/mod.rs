//! Sends requests to one upstream: connections, proxy, trusted certificates, and connection errors.

mod client;
mod connect_error;
pub(crate) mod encoding;
mod peer;

use std::time::Duration;

use engine::provider::call::Peer;
use engine::secret::Secret;
use protocol::trace::TraceContext;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};

use self::client::Clients;
use self::encoding::BodyDecoder;
use crate::config::{ProxyConfig, UpstreamConfig, UpstreamConfigError};
use crate::wire::outgoing::Outgoing;

pub(crate) use self::client::Lease;
pub use self::connect_error::{CertificateError, ConnectError};

/// The most that is read of an error response.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// How long reading an error response may take: the status alone already says most.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// The HTTP client of one upstream.
#[derive(Debug)]
pub(crate) struct Http {
    clients: Clients,
    base: Url,
    peer: Peer,
    headers_timeout: Duration,
    /// Whether a proxy is configured, so that connection failures concern the proxy.
    is_by_proxy: bool,
}

/// The API key of a request and its header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) field: &'a HeaderName,
    pub(crate) before: &'static str,
    pub(crate) key: &'a Secret,
}

impl Http {
    /// The HTTP client for the upstream that `config` describes. Does not connect yet.
    ///
    /// # Errors
    /// An invalid address, proxy, certificate file or header.
    pub(crate) fn new(config: &UpstreamConfig) -> Result<Self, UpstreamConfigError> {
        let base = client::base_url(config)?;
        let peer = peer::of(&base, &config.name, config.preset);
        let is_by_proxy = matches!(config.connection.proxy, ProxyConfig::At(_));
        Ok(Self {
            clients: Clients::new(config, &base)?,
            base,
            peer,
            headers_timeout: config.timeouts.headers,
            is_by_proxy,
        })
    }

    /// The upstream's name and address for telemetry.
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Sends a request and waits for the response headers, whatever the status. Keep the lease
    /// while reading the body.
    ///
    /// # Errors
    /// The upstream could not be reached, or did not respond in time. For responses that are not
    /// streamed the caller applies the timeout.
    pub(crate) async fn send(
        &self,
        outgoing: &Outgoing,
        key: Option<Shown<'_>>,
        trace: Option<&TraceContext>,
    ) -> Result<(Response, Lease), ConnectError> {
        let (client, lease) = self.clients.take();
        let request = self.request(&client, outgoing, key, trace);
        let sent = request.send();
        let sent = if outgoing.is_whole {
            Ok(sent.await)
        } else {
            tokio::time::timeout(self.headers_timeout, sent).await
        };
        match sent {
            Ok(Ok(response)) if self.is_of_proxy(&response) => Err(ConnectError::ProxyPassword),
            Ok(Ok(response)) => Ok((response, lease)),
            Ok(Err(error)) => Err(ConnectError::of(&error, self.is_by_proxy)),
            Err(_elapsed) => Err(ConnectError::Silent(self.headers_timeout)),
        }
    }

    /// Whether the response is a proxy's own demand for credentials. A proxy forwards clear-text
    /// requests itself, so its responses look like the upstream's.
    fn is_of_proxy(&self, response: &Response) -> bool {
        // tinyproxy responds 407 without credentials and 401 to wrong ones. API keys never use
        // Basic authentication.
        let wants_password = || {
            response
                .headers()
                .get(WWW_AUTHENTICATE)
                .is_some_and(|wants| wants.as_bytes().starts_with(b"Basic"))
        };
        match response.status() {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => true,
            StatusCode::UNAUTHORIZED => {
                self.is_by_proxy && self.base.scheme() == "http" && wants_password()
            }
            _ => false,
        }
    }

    fn request(
        &self,
        client: &reqwest::Client,
        outgoing: &Outgoing,
        key: Option<Shown<'_>>,
        trace: Option<&TraceContext>,
    ) -> RequestBuilder {
        let body = outgoing
            .raw
            .clone()
            .or_else(|| (!outgoing.body.is_null()).then(|| outgoing.body.to_string().into()));
        let method = if body.is_none() { Method::GET } else { Method::POST };
        let mut request = client
            .request(method, self.address(outgoing))
            .header(ACCEPT, outgoing.accept)
            .headers(outgoing.fields.clone());
        if let Some(shown) = key
            // Keys that a header cannot contain were rejected with the settings.
            && let Ok(mut value) = HeaderValue::from_str(&format!("{}{}", shown.before, shown.key.reveal()))
        {
            value.set_sensitive(true);
            request = request.header(shown.field, value);
        }
        if let Some(trace) = trace {
            request = request.header("traceparent", trace.traceparent());
            if let Some(state) = &trace.state {
                request = request.header("tracestate", &**state);
            }
        }
        match body {
            None => request,
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(body),
        }
    }

    /// The URL of a request. The base URL's own query is kept (Azure's `api-version`).
    fn address(&self, outgoing: &Outgoing) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(&outgoing.path);
        }
        if !outgoing.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&outgoing.query);
        }
        url
    }
}

/// Whether a header value can contain this key.
pub(crate) fn can_send(key: &Secret) -> bool {
    HeaderValue::from_str(key.reveal()).is_ok()
}

/// What can be read of an error response before the deadline, the limit or the end of the
/// connection.
pub(crate) async fn error_body(response: &mut Response) -> Vec<u8> {
    let mut body = Vec::new();
    let _ =
        tokio::time::timeout(ERROR_BODY_TIMEOUT, read_body(response, &mut body, MAX_ERROR_BYTES))
            .await;
    body
}

/// Reads a body up to a limit, decompressing it if necessary. A body that cannot be decompressed is
/// kept as it is.
pub(crate) async fn read_body(
    response: &mut Response,
    body: &mut Vec<u8>,
    limit: usize,
) -> Result<(), reqwest::Error> {
    let mut decoder = BodyDecoder::new(response.headers()).unwrap_or(BodyDecoder::Identity);
    while let Some(bytes) = response.chunk().await? {
        for slice in bytes.chunks(encoding::SLICE) {
            let decoded = decoder.decode(slice).unwrap_or_default();
            body.extend_from_slice(&decoded[..decoded.len().min(limit - body.len())]);
            if body.len() == limit {
                return Ok(());
            }
        }
    }
    Ok(())
}
