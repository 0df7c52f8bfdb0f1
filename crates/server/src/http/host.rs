//! Which host a request is for: one, well formed, and this server.

use std::net::{IpAddr, Ipv6Addr};

use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri, Version, header};
use protocol::fault::{Fault, FaultKind};

use crate::config::Config;

/// Checks that a request has one `Host`. With two, a proxy and this server could each use
/// another one; HTTP/1.0 and HTTP/2 may have none.
///
/// # Errors
/// 400 (RFC 9112 §3.2).
pub(crate) fn check_host_once(version: Version, headers: &HeaderMap) -> Result<(), Fault> {
    let count = headers.get_all(header::HOST).iter().count();
    if count == 1 || (count == 0 && version != Version::HTTP_11) {
        return Ok(());
    }
    let message = format!("A request must have exactly one Host header; this one has {count}.");
    Err(Fault::new(FaultKind::InvalidRequest, "invalid_host", message).with_param("Host"))
}

/// Checks that the host of a request is well formed and unambiguous. On HTTP/2 a proxy before this
/// server may have read one field, and this server the other (RFC 9113 §8.3.1).
///
/// # Errors
/// 400 (RFC 9112 §3.2).
pub(crate) fn check_host_syntax(
    version: Version,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), Fault> {
    let wrong = |message: String| {
        Err(Fault::new(FaultKind::InvalidRequest, "invalid_host", message).with_param("Host"))
    };
    let named = headers.get(header::HOST);
    // Any other value is not repeated: it would not help the caller.
    if named.is_some_and(|host| !host.to_str().is_ok_and(is_host)) {
        return wrong("The Host header must be a host with an optional port.".to_owned());
    }
    let asked = uri.authority().map(Authority::as_str);
    if asked.is_some_and(|authority| !is_host(authority)) {
        return wrong(
            "The authority of the request must be a host with an optional port.".to_owned(),
        );
    }
    if version == Version::HTTP_2 && has_two_hosts(uri, headers) {
        return wrong("The Host header and :authority differ.".to_owned());
    }
    Ok(())
}

/// Whether `:authority` and `Host` name different hosts.
pub(crate) fn has_two_hosts(uri: &Uri, headers: &HeaderMap) -> bool {
    let plain =
        |text: &str| text.trim_end_matches(":443").trim_end_matches(":80").to_ascii_lowercase();
    match (uri.authority(), headers.get(header::HOST).map(HeaderValue::to_str)) {
        (Some(authority), Some(Ok(host))) => plain(authority.as_str()) != plain(host),
        (Some(_), Some(Err(_opaque))) => true,
        (None, _) | (_, None) => false,
    }
}

/// `uri-host [":" port]` (RFC 9110 §7.2, RFC 3986 §3.2.2).
fn is_host(text: &str) -> bool {
    let is_port = |port: &str| {
        port.is_empty()
            || (port.bytes().all(|digit| digit.is_ascii_digit()) && port.parse::<u16>().is_ok())
    };
    if let Some(rest) = text.strip_prefix('[') {
        let Some((inside, port)) = rest.split_once(']') else { return false };
        return inside.parse::<Ipv6Addr>().is_ok()
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (name, port) = text.split_once(':').unwrap_or((text, ""));
    name.bytes()
        .all(|letter| letter.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&letter))
        && is_port(port)
}

/// Checks that the transfer coding of a request is `chunked`, or absent. A proxy could interpret
/// two codings differently than this server.
///
/// # Errors
/// 501 (RFC 9112 §6.1).
pub(crate) fn check_transfer_coding(headers: &HeaderMap) -> Result<(), Fault> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => {
            Ok(())
        }
        (Some(_), _) => {
            let message = "The only supported transfer coding is `chunked`, by itself; for a compressed body use Content-Encoding.";
            let fault =
                Fault::new(FaultKind::InvalidRequest, "unsupported_transfer_coding", message);
            Err(fault.with_status(501).with_param("Transfer-Encoding"))
        }
    }
}

/// Checks that the request is addressed to this server. A request of a foreign page whose name
/// was pointed at this address (DNS rebinding) is not.
///
/// # Errors
/// 421 with the setting that would allow the name (RFC 9110 §15.5.20).
pub(crate) fn check_host(config: &Config, uri: &Uri, headers: &HeaderMap) -> Result<(), Fault> {
    let Some(authority) = authority(uri, headers) else { return Ok(()) };
    let name = without_port(&authority);
    let is_open = !config.listen.ip().is_loopback() && config.hosts.is_empty();
    if is_open
        || is_loopback(name)
        || config.hosts.iter().any(|host| without_port(host).eq_ignore_ascii_case(name))
    {
        return Ok(());
    }
    let message = format!(
        "This server does not serve the host '{name}'. To allow it, add it to server.hosts."
    );
    Err(Fault::new(FaultKind::InvalidRequest, "misdirected_request", message)
        .with_status(421)
        .with_param("Host"))
}

/// The host and port that a request is for: `:authority`, or else `Host`.
pub(crate) fn authority(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    match uri.authority() {
        Some(authority) => Some(authority.as_str().to_owned()),
        None => headers.get(header::HOST)?.to_str().ok().map(str::to_owned),
    }
}

/// A name without its port; an IPv6 address keeps its colons (RFC 3986 §3.2.2).
pub(crate) fn without_port(authority: &str) -> &str {
    if let Some(inside) = authority.strip_prefix('[') {
        return inside.split(']').next().unwrap_or(inside);
    }
    match authority.split_once(':') {
        Some((name, port)) if !port.contains(':') => name,
        Some(_) | None => authority,
    }
}

/// Whether a name is one of loopback.
pub(crate) fn is_loopback(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .filter_map(|(name, value)| {
                Some((
                    http::HeaderName::try_from(*name).ok()?,
                    http::HeaderValue::try_from(*value).ok()?,
                ))
            })
            .collect()
    }

    fn check_names(host: &str, expected: bool) {
        let config = Config { hosts: vec!["chat.example".into()], ..Config::default() };
        assert_eq!(
            check_host(&config, &Uri::from_static("/"), &headers(&[("host", host)])).is_ok(),
            expected,
            "{host}"
        );
    }

    #[test]
    fn only_loopback_names_and_configured_hosts_are_accepted() {
        check_names("127.0.0.1:8000", true);
        check_names("localhost", true);
        check_names("[::1]:8000", true);
        check_names("chat.example:443", true);
        check_names("CHAT.example", true);
        check_names("evil.example", false);
        check_names("127.0.0.1.evil.example", false);
        check_names("localhost.evil.example:8000", false);
    }

    #[test]
    fn a_host_is_a_host() {
        let hosts = [
            "localhost",
            "127.0.0.1:8000",
            "[::1]:8000",
            "[::1]",
            "CHAT.example:443",
            "a_b.example",
            "x:",
            "",
        ];
        let others = [
            "localhost:8000/#@evil",
            "127.0.0.1:x",
            "u@localhost",
            "::1",
            "[::1",
            "[x]",
            "a b",
            "a:1:2",
            "a:99999",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
        ];
        for (host, expected) in
            hosts.map(|host| (host, true)).into_iter().chain(others.map(|host| (host, false)))
        {
            let checked = check_host_syntax(
                Version::HTTP_11,
                &Uri::from_static("/"),
                &headers(&[("host", host)]),
            );
            assert_eq!(checked.is_ok(), expected, "{host}");
        }
        for (version, host, expected) in [
            (Version::HTTP_2, "localhost", true),
            (Version::HTTP_2, "LOCALHOST:443", true),
            (Version::HTTP_2, "other", false),
            (Version::HTTP_11, "other", true),
        ] {
            let checked = check_host_syntax(
                version,
                &Uri::from_static("https://localhost/"),
                &headers(&[("host", host)]),
            );
            assert_eq!(checked.is_ok(), expected, "{version:?} {host}");
        }
    }

    #[test]
    fn chunks_are_the_only_transfer_coding() {
        for (pairs, expected) in [
            (&[][..], true),
            (&[("transfer-encoding", "Chunked")][..], true),
            (&[("transfer-encoding", "gzip, chunked")][..], false),
            (&[("transfer-encoding", "chunked, chunked")][..], false),
            (&[("transfer-encoding", "gzip")][..], false),
            (&[("transfer-encoding", "")][..], false),
        ] {
            assert_eq!(check_transfer_coding(&headers(pairs)).is_ok(), expected, "{pairs:?}");
        }
    }
}
