//! The headers of trusted proxies on forwarded requests: the client, and the host and scheme it
//! used.
//!
//! `Forwarded` (RFC 7239) is absent on purpose: proxies that set `X-Forwarded-*` pass it on as the
//! client wrote it, so that reading both would be trusting clients.

use std::net::{IpAddr, SocketAddr};

use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, header};
use protocol::fault::{Fault, FaultKind};

use super::host::has_two_hosts;
use crate::config::{Config, Keyless};
use crate::listen::ConnectionHandle;
use crate::network::is_trusted;

/// Data on a request beyond its own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forwarded {
    /// The client's address. `None` only without a connection.
    pub(crate) client: Option<IpAddr>,
    /// Whether its client uses HTTPS, with this server or with a proxy.
    pub(crate) is_encrypted: bool,
    /// Whether a trusted proxy sent it.
    pub(crate) is_from_proxy: bool,
}

impl Forwarded {
    /// The path that the proxy strips (`X-Forwarded-Prefix`), without a slash at its end. Empty
    /// where there is none.
    pub(crate) fn prefix(self, headers: &HeaderMap) -> &str {
        let named = if self.is_from_proxy { last(headers, "x-forwarded-prefix") } else { None };
        let is_path = |text: &&str| {
            text.starts_with('/')
                && text.parse::<PathAndQuery>().is_ok_and(|path| path.query().is_none())
        };
        named.filter(is_path).unwrap_or_default().trim_end_matches('/')
    }
}

/// Reads the headers of trusted proxies, and replaces the request's own fields by them: its `Host`
/// becomes the one that its client wrote. `is_encrypted`: whether it came to this server through
/// TLS.
pub(crate) fn read(parts: &mut Parts, config: &Config, is_encrypted: bool) -> Forwarded {
    let sender = parts
        .extensions
        .get::<ConnectionHandle>()
        .map(|connection| connection.client().ip().to_canonical());
    let Some(sender) = sender.filter(|sender| is_trusted(&config.trusted_proxies, *sender)) else {
        return Forwarded { client: sender, is_encrypted, is_from_proxy: false };
    };
    if let Some(host) =
        last(&parts.headers, "x-forwarded-host").and_then(|text| text.parse::<Authority>().ok())
    {
        readdress(parts, &host);
    }
    let is_encrypted = match last(&parts.headers, "x-forwarded-proto") {
        Some(scheme) => scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss"),
        None => is_encrypted,
    };
    Forwarded {
        client: Some(client(&parts.headers, config, sender)),
        is_encrypted,
        is_from_proxy: true,
    }
}

/// Headers by which proxies name the client, beside all that start with `x-forwarded-`. None of
/// them is trusted here; one of them means that there is a proxy in between.
const NAMING: [&str; 8] = [
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
];

/// Checks that a server without keys may serve this request: it comes from this machine, and no
/// proxy has forwarded it.
///
/// # Errors
/// 403, with what to do about it.
pub(crate) fn check_keyless(config: &Config, parts: &Parts) -> Result<(), Fault> {
    if config.keyless == Keyless::Anyone {
        return Ok(());
    }
    let is_naming = |name: &&str| name.starts_with("x-forwarded-") || NAMING.contains(name);
    let naming = parts.headers.keys().map(HeaderName::as_str).find(is_naming);
    let client = parts
        .extensions
        .get::<Forwarded>()
        .and_then(|forwarded| forwarded.client)
        .filter(|client| !client.is_loopback());
    let why = match (naming, client) {
        (Some(name), _) => format!("this request came through a proxy (it has the header {name})"),
        (None, Some(_)) => "this request comes from another machine".to_owned(),
        (None, None) => return Ok(()),
    };
    let message = format!(
        "Without a key, Weir serves only this machine, and {why}. Create a key with `weir key create` and send it."
    );
    let fault = Fault::new(FaultKind::Permission, "key_required", message);
    Err(match naming {
        Some(name) => fault.with_param(name),
        None => fault,
    })
}

/// Each hop is accepted as long as the one that names it is trusted: the first from the right that
/// is not is the client.
fn client(headers: &HeaderMap, config: &Config, sender: IpAddr) -> IpAddr {
    let mut client = sender;
    for named in hops(headers, "x-forwarded-for").rev() {
        // Anything but an address hides the hops before it.
        let Some(address) = address(named) else { break };
        client = address;
        if !is_trusted(&config.trusted_proxies, client) {
            break;
        }
    }
    client
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    inside.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

/// The items of a list, over all its lines. A line that is not text is one meaningless item.
fn hops<'a>(headers: &'a HeaderMap, name: &str) -> impl DoubleEndedIterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.to_str().unwrap_or("?").split(','))
        .map(str::trim)
}

/// The last item, which is the one that the trusted proxy wrote.
fn last<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    hops(headers, name).next_back().filter(|word| !word.is_empty())
}

/// A request with two hosts stays as it is: it will be refused.
fn readdress(parts: &mut Parts, host: &Authority) {
    let Ok(value) = HeaderValue::from_str(host.as_str()) else { return };
    if host.as_str().contains('@')
        || has_two_hosts(&parts.uri, &parts.headers) && parts.version == Version::HTTP_2
        || parts.headers.get_all(header::HOST).iter().count() > 1
    {
        return;
    }
    if parts.uri.authority().is_some() {
        let mut pieces = parts.uri.clone().into_parts();
        pieces.authority = Some(host.clone());
        let Ok(uri) = Uri::from_parts(pieces) else { return };
        parts.uri = uri;
    }
    parts.headers.insert(header::HOST, value);
}
