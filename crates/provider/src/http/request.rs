//! The head of a request: the headers that all requests to an upstream share are prepared once.

use bytes::Bytes;
use engine::secret::Secret;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHORIZATION, USER_AGENT,
};
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};
use http_body_util::Full;
use protocol::trace::TraceContext;

use super::address::Address;
use crate::config::{UpstreamConfig, UpstreamConfigError};
use crate::wire::outgoing::Outgoing;

/// Headers that are the same in every request to one upstream, unless the request replaces them.
///
/// # Errors
/// A header in the settings is invalid.
pub(super) fn default_headers(
    config: &UpstreamConfig,
    address: &Address,
) -> Result<HeaderMap, UpstreamConfigError> {
    let mut headers = HeaderMap::new();
    headers
        .insert(USER_AGENT, HeaderValue::from_static(concat!("weir/", env!("CARGO_PKG_VERSION"))));
    // Compression would delay small events until a block is full.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for (name, value) in &config.connection.headers {
        let invalid =
            || UpstreamConfigError::Header { upstream: config.name.clone(), name: name.clone() };
        let mut value = HeaderValue::from_str(value.reveal()).map_err(|_| invalid())?;
        value.set_sensitive(true);
        headers.insert(HeaderName::try_from(name.as_str()).map_err(|_| invalid())?, value);
    }
    if let Some(basic) = address.basic() {
        headers.insert(AUTHORIZATION, basic.clone());
    }
    Ok(headers)
}

/// The API key of a request and its header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) field: &'a HeaderName,
    pub(crate) before: &'static str,
    pub(crate) key: &'a Secret,
}

/// A request before the version of HTTP is known.
#[derive(Clone)]
pub(super) struct OutgoingRequest {
    method: Method,
    target: PathAndQuery,
    headers: HeaderMap,
    body: Bytes,
}

impl OutgoingRequest {
    /// The request that a wire built, with the headers of its upstream. `None` if its path cannot
    /// be sent.
    pub(super) fn new(
        outgoing: &Outgoing,
        address: &Address,
        defaults: &HeaderMap,
        key: Option<Shown<'_>>,
        trace: Option<&TraceContext>,
    ) -> Option<Self> {
        let target = address.target(outgoing)?;
        let body = outgoing
            .raw
            .clone()
            .or_else(|| (!outgoing.body.is_null()).then(|| outgoing.body.to_string().into()));
        let mut headers = defaults.clone();
        headers.insert(ACCEPT, HeaderValue::from_static(outgoing.accept));
        for (name, value) in &outgoing.fields {
            headers.insert(name, value.clone());
        }
        if let Some(shown) = key
            // Keys that a header cannot contain were rejected with the settings.
            && let Ok(mut value) =
                HeaderValue::try_from(format!("{}{}", shown.before, shown.key.reveal()))
        {
            value.set_sensitive(true);
            if *shown.field == AUTHORIZATION && address.basic().is_some() {
                headers.append(shown.field, value);
            } else {
                headers.insert(shown.field, value);
            }
        }
        if let Some(trace) = trace {
            insert(&mut headers, "traceparent", HeaderValue::try_from(trace.traceparent()));
            if let Some(state) = &trace.state {
                insert(&mut headers, "tracestate", HeaderValue::from_str(state));
            }
        }
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let method = if body.is_none() { Method::GET } else { Method::POST };
        Some(Self { method, target, headers, body: body.unwrap_or_default() })
    }

    /// The request on an HTTP/1.1 connection to the upstream.
    pub(super) fn into_http1(mut self, address: &Address) -> Request<Full<Bytes>> {
        self.insert_host(address);
        let uri = Uri::from(self.target.clone());
        self.with_uri(uri)
    }

    /// The request on an HTTP/1.1 connection to a proxy that forwards it (RFC 9112, section 3.2.2).
    pub(super) fn into_forwarded(
        mut self,
        address: &Address,
        auth: Option<&HeaderValue>,
    ) -> Request<Full<Bytes>> {
        self.insert_host(address);
        self.insert_proxy_auth(auth);
        let uri = address.absolute(self.target.clone());
        self.with_uri(uri)
    }

    /// The request on an HTTP/2 connection.
    pub(super) fn into_http2(
        mut self,
        address: &Address,
        auth: Option<&HeaderValue>,
    ) -> Request<Full<Bytes>> {
        self.insert_proxy_auth(auth);
        let uri = address.absolute(self.target.clone());
        self.with_uri(uri)
    }

    fn insert_host(&mut self, address: &Address) {
        self.headers.entry(HOST).or_insert_with(|| address.host_header().clone());
    }

    fn insert_proxy_auth(&mut self, auth: Option<&HeaderValue>) {
        if let Some(auth) = auth {
            self.headers.entry(PROXY_AUTHORIZATION).or_insert_with(|| auth.clone());
        }
    }

    fn with_uri(self, uri: Uri) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers;
        request
    }
}

fn insert<E>(headers: &mut HeaderMap, name: &'static str, value: Result<HeaderValue, E>) {
    if let Ok(value) = value {
        headers.insert(name, value);
    }
}
