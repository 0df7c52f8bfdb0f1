//! The upstream's base URL, taken apart once so that a request only joins its path.

use std::net::IpAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::HeaderValue;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use percent_encoding::percent_decode_str;
use url::{Url, form_urlencoded};

use crate::config::{UpstreamConfig, UpstreamConfigError, WireKind};
use crate::wire::outgoing::Outgoing;

/// Where requests to one upstream go.
#[derive(Debug)]
pub(super) struct Address {
    base: Url,
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
    /// The base URL's path, encoded, without a slash at its end.
    path: String,
    basic: Option<HeaderValue>,
}

impl Address {
    /// The address in the settings.
    ///
    /// # Errors
    /// It is not a usable URL.
    pub(super) fn new(config: &UpstreamConfig) -> Result<Self, UpstreamConfigError> {
        let invalid =
            |reason: String| UpstreamConfigError::Address { upstream: config.name.clone(), reason };
        let mut base = base_url(config)?;
        let basic = basic_auth(&base);
        // The password goes into a header, never into a request line.
        let _ = (base.set_username(""), base.set_password(None));
        let host = base.host_str().unwrap_or_default();
        let authority =
            base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let authority =
            Authority::try_from(authority).map_err(|error| invalid(error.to_string()))?;
        let host = HeaderValue::from_str(authority.as_str())
            .map_err(|error| invalid(error.to_string()))?;
        let scheme = if base.scheme() == "https" { Scheme::HTTPS } else { Scheme::HTTP };
        let path = base.path().strip_suffix('/').unwrap_or(base.path()).to_owned();
        Ok(Self { base, scheme, authority, host, path, basic })
    }

    pub(super) fn url(&self) -> &Url {
        &self.base
    }

    pub(super) fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The host name or address, without the brackets of IPv6.
    pub(super) fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    /// Whether the upstream runs on this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let address = self.host().parse::<IpAddr>();
        self.host() == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// The `Host` header.
    pub(super) fn host_header(&self) -> &HeaderValue {
        &self.host
    }

    /// The credentials in the URL, as an `Authorization` header.
    pub(super) fn basic(&self) -> Option<&HeaderValue> {
        self.basic.as_ref()
    }

    /// The absolute URI of a target: for HTTP/2 and for proxies.
    pub(super) fn absolute(&self, target: PathAndQuery) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(target);
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// The URI without a path.
    pub(super) fn origin(&self) -> Uri {
        self.absolute(PathAndQuery::from_static("/"))
    }

    /// The path and query of a request. The base URL's own query is kept (Azure's `api-version`).
    /// `None` if they cannot be sent.
    pub(super) fn target(&self, outgoing: &Outgoing) -> Option<PathAndQuery> {
        if !outgoing.path.iter().all(|segment| is_plain(segment)) {
            let url = self.encoded(outgoing);
            return PathAndQuery::try_from(
                &url[url::Position::BeforePath..url::Position::AfterQuery],
            )
            .ok();
        }
        let length: usize = outgoing.path.iter().map(|segment| segment.len() + 1).sum();
        let query = self.base.query();
        let mut target = String::with_capacity(
            self.path.len() + length + query.map_or(0, |query| query.len() + 1),
        );
        target.push_str(&self.path);
        for segment in &outgoing.path {
            target.push('/');
            target.push_str(segment);
        }
        if outgoing.path.is_empty() && self.path.is_empty() {
            target.push('/');
        }
        if query.is_some() || !outgoing.query.is_empty() {
            target.push('?');
            let start = target.len();
            target.push_str(query.unwrap_or_default());
            if !outgoing.query.is_empty() {
                let mut pairs = form_urlencoded::Serializer::for_suffix(target, start);
                target = pairs.extend_pairs(&outgoing.query).finish();
            }
        }
        PathAndQuery::try_from(target).ok()
    }

    /// The URL of a request whose path has characters that may need encoding.
    fn encoded(&self, outgoing: &Outgoing) -> Url {
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

/// Whether a path segment stands in a URL as it is.
fn is_plain(segment: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~:".contains(&byte);
    !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(is_plain)
}

/// The user and password of a URL (RFC 7617).
fn basic_auth(url: &Url) -> Option<HeaderValue> {
    let decoded = |text| percent_decode_str(text).decode_utf8().ok();
    let user = decoded(url.username())?;
    let password = url.password().and_then(decoded);
    if user.is_empty() && password.is_none() {
        return None;
    }
    let pair = format!("{user}:{}", password.unwrap_or_default());
    let mut value =
        HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The upstream's base URL.
fn base_url(config: &UpstreamConfig) -> Result<Url, UpstreamConfigError> {
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::config::Preset;

    fn address(base_url: &str) -> Address {
        Address::new(&UpstreamConfig::new("north", Preset::Compatible, base_url)).unwrap()
    }

    #[track_caller]
    fn check(base_url: &str, path: &[&str], query: &[(&'static str, &str)], expected: &str) {
        let address = address(base_url);
        let query = query.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let outgoing = Outgoing { query, ..Outgoing::new(path, Value::Null) };
        assert_eq!(address.target(&outgoing).unwrap(), expected);
        let url = address.encoded(&outgoing);
        assert_eq!(&url[url::Position::BeforePath..url::Position::AfterQuery], expected);
    }

    #[test]
    fn a_target_is_joined_as_a_url_would_be() {
        check("http://h/v1", &["chat", "completions"], &[], "/v1/chat/completions");
        check("http://h/v1/", &["models"], &[], "/v1/models");
        check("http://h", &["models"], &[], "/models");
        check("http://h/a%20b", &["models"], &[], "/a%20b/models");
        check("http://h/v1", &["models", "a/b c"], &[], "/v1/models/a%2Fb%20c");
        check("http://h/v1", &["gemini-2:go"], &[("alt", "sse")], "/v1/gemini-2:go?alt=sse");
        check("http://h/v1?a=1", &["x"], &[], "/v1/x?a=1");
        check("http://h/v1?a=1", &["x"], &[("b", "2 3"), ("c", "")], "/v1/x?a=1&b=2+3&c=");
        check("http://h/v1?a=1", &["x y"], &[("b", "2")], "/v1/x%20y?a=1&b=2");
        check("http://h/v1", &["ü"], &[], "/v1/%C3%BC");
    }

    #[test]
    fn the_password_of_a_url_becomes_a_header() {
        let address = address("https://me:p%40ss@[::1]:8443/v1");
        assert_eq!(address.basic().unwrap(), "Basic bWU6cEBzcw==");
        assert_eq!(address.host_header(), "[::1]:8443");
        assert_eq!(address.origin(), "https://[::1]:8443/");
        assert!(address.is_loopback() && address.is_https());
        assert!(self::address("http://localhost/").basic().is_none());
    }
}
