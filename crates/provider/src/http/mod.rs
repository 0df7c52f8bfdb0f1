//! Sends requests to one upstream: connections, proxy, trusted certificates, and connection errors.

mod address;
mod client;
mod connect_error;
mod connector;
mod counted_stream;
mod driver;
pub(crate) mod encoding;
mod http1;
mod http1_body;
mod http1_exchange;
mod http2;
mod http2_body;
mod http2_exchange;
mod idle;
mod new_connection;
mod peer;
mod proxy;
mod request;
mod resolver;
mod response;
mod stream;
mod tls;

use std::time::Duration;

use engine::provider::call::{Peer, UpstreamCall};
use engine::secret::Secret;
use http::StatusCode;
use http::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};

use self::address::Address;
use self::client::Client;
use self::encoding::BodyDecoder;
use self::request::OutgoingRequest;
use crate::config::{ProxyConfig, UpstreamConfig, UpstreamConfigError};
use crate::wire::outgoing::Outgoing;

pub use self::connect_error::{CertificateError, ConnectError};
pub(crate) use self::http2::Lease;
pub(crate) use self::request::Shown;
pub(crate) use self::response::Response;

/// The most that is read of an error response.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// How long reading an error response may take: the status alone already says most.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// The HTTP client of one upstream.
#[derive(Debug)]
pub(crate) struct Http {
    client: Client,
    address: Address,
    headers: HeaderMap,
    peer: Peer,
    headers_timeout: Duration,
    /// Whether a proxy is configured, so that connection failures concern the proxy.
    is_by_proxy: bool,
}

impl Http {
    /// The HTTP client for the upstream that `config` describes. Does not connect yet.
    ///
    /// # Errors
    /// An invalid address, proxy, certificate file or header.
    pub(crate) fn new(config: &UpstreamConfig) -> Result<Self, UpstreamConfigError> {
        let address = Address::new(config)?;
        let headers = request::default_headers(config, &address)?;
        Ok(Self {
            client: Client::new(config, &address, &headers)?,
            peer: peer::of(address.url(), &config.name, config.preset),
            address,
            headers,
            headers_timeout: config.timeouts.headers,
            is_by_proxy: matches!(config.connection.proxy, ProxyConfig::At(_)),
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
        call: &UpstreamCall,
    ) -> Result<(Response, Lease), ConnectError> {
        let Some(request) =
            OutgoingRequest::new(outgoing, &self.address, &self.headers, key, call.trace.as_ref())
        else {
            return Err(ConnectError::Unknown);
        };
        let sent = self.client.send(request, &self.address, call.exchange());
        let sent = if outgoing.is_whole {
            Ok(sent.await)
        } else {
            tokio::time::timeout(self.headers_timeout, sent).await
        };
        match sent {
            Ok(Ok((response, _lease))) if self.is_of_proxy(&response) => {
                Err(ConnectError::ProxyPassword)
            }
            Ok(Ok(sent)) => Ok(sent),
            Ok(Err(error)) if self.is_by_proxy => Err(error.by_proxy()),
            Ok(Err(error)) => Err(error),
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
                self.is_by_proxy && !self.address.is_https() && wants_password()
            }
            _ => false,
        }
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
) -> Result<(), hyper::Error> {
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

#[cfg(test)]
mod tests;
