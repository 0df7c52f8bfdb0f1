//! Who calls, and from where: keys, `Host` and `Origin`.

use std::net::IpAddr;

use codec::websocket::handshake::offered_key;
use engine::keys::{Caller, KeyDigest};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Uri, Version, header};
use protocol::fault::{Fault, FaultKind};

use crate::app::App;
use crate::config::Config;
use crate::forwarded::{self, Forwarded};
use crate::grants::{Credential, Grant};
use crate::listen::Exchange;
use crate::middleware::Asker;
use crate::tickets::purpose::Opening;
use crate::transport::websocket;

/// Who calls: by key, by the session of a browser, or for a stream by its ticket.
///
/// # Errors
/// As [`enter`].
pub(crate) fn caller(app: &App, parts: &Parts) -> Result<Caller, Fault> {
    Ok(enter(app, parts)?.1)
}

/// The caller, and the grant that ends when the caller's credential does.
///
/// # Errors
/// 401 without any of them, or with one that is nobody's, where keys are configured; 403 from elsewhere, where none are.
pub(crate) fn enter(app: &App, parts: &Parts) -> Result<(Grant, Caller), Fault> {
    let credential = match ticket(parts.uri.query()).filter(|_| app.keys.configured()) {
        Some(ticket) => spend(app, ticket, parts)?,
        None => shown(app, parts)?,
    };
    let (grant, caller) = Grant::open(app, credential).ok_or_else(|| nobodys(credential))?;
    claim(parts, &caller);
    Ok((grant, caller))
}

/// The credential that a request shows, itself or by a session, and whose it is.
///
/// # Errors
/// As [`enter`].
pub(crate) fn credential(app: &App, parts: &Parts) -> Result<(Credential, Caller), Fault> {
    let credential = shown(app, parts)?;
    let caller = credential.holder(&*app.keys, &app.tickets).ok_or_else(|| nobodys(credential))?;
    claim(parts, &caller);
    Ok((credential, caller))
}

/// A request is this caller's: the lens shows it to him, and to no other.
fn claim(parts: &Parts, caller: &Caller) {
    if let Some(exchange) = parts.extensions.get::<Exchange>() {
        exchange.owned(caller.owner.as_str());
    }
    if let Some(asker) = parts.extensions.get::<Asker>() {
        asker.is(&caller.owner);
    }
}

fn spend(app: &App, ticket: &str, parts: &Parts) -> Result<Credential, Fault> {
    let Some(opening) = Opening::of(parts) else {
        let message = "A ticket opens a WebSocket or a GET that streams, and nothing else: send the key in a header.";
        return Err(refused("invalid_ticket", message));
    };
    let unknown = || refused("invalid_ticket", "This ticket is not known, is for something else, is too old, or was used.");
    app.tickets.spend(ticket, &opening).ok_or_else(unknown)
}

fn shown(app: &App, parts: &Parts) -> Result<Credential, Fault> {
    if !app.keys.configured() {
        forwarded::check_keyless(&app.config, parts)?;
        return Ok(Credential::KEYLESS);
    }
    if let Some(key) = sent_key(&parts.headers)? {
        return Ok(Credential { key: Some(KeyDigest::of(&key)), session: None });
    }
    let session = session_cookie(parts).and_then(|session| app.tickets.of_session(session));
    session.ok_or_else(|| nobodys(Credential::KEYLESS))
}

/// What a caller is told whose credential opens nothing.
fn nobodys(credential: Credential) -> Fault {
    match credential {
        Credential { key: Some(_), session: None } => refused("invalid_api_key", "This key is not known here."),
        Credential { .. } => refused("missing_api_key", NO_KEY),
    }
}

const NO_KEY: &str =
    "This server wants a key: send it as 'Authorization: Bearer KEY', or in the header x-api-key. `weir key create` makes one.";

/// The headers in which the APIs of other vendors carry a key.
const KEY_HEADERS: [&str; 3] = ["x-api-key", "api-key", "x-goog-api-key"];

fn refused(code: &str, message: &str) -> Fault {
    Fault::new(FaultKind::Authentication, code, message)
}

/// The key in a request's headers, wherever it stands. Not in its URL, which is logged and remembered.
///
/// # Errors
/// 400 where two of them differ (RFC 6750 §3.1): nobody can know whose the request is meant to be.
fn sent_key(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let offers = websocket::lines(headers, &header::SEC_WEBSOCKET_PROTOCOL);
    let bearers = headers.get_all(header::AUTHORIZATION).iter().filter_map(bearer).map(|key| ("Authorization", key));
    let others = KEY_HEADERS.iter().flat_map(|name| headers.get_all(*name).iter().filter_map(|value| Some((*name, value.to_str().ok()?))));
    let offered = offered_key(&offers).map(|key| ("Sec-WebSocket-Protocol", key));
    let mut keys = bearers.chain(others).chain(offered).map(|(name, key)| (name, key.trim())).filter(|(_, key)| !key.is_empty());
    let Some((name, key)) = keys.next() else { return Ok(None) };
    match keys.find(|(_, other)| *other != key) {
        None => Ok(Some(key.to_owned())),
        Some((other, _)) => {
            let message = format!("This request has two different keys, in {name} and in {other}: send one.");
            Err(Fault::new(FaultKind::InvalidRequest, "conflicting_api_keys", message).with_param(other))
        }
    }
}

fn bearer(authorization: &HeaderValue) -> Option<&str> {
    let (scheme, key) = authorization.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key)
}

/// The session's cookie (RFC 6265 §5.4). What a client sent by HTTPS it was also given by HTTPS: there only the name counts that
/// neither a page of a sibling domain nor one that came in clear can set.
pub(crate) fn session_cookie(parts: &Parts) -> Option<&str> {
    let is_encrypted = parts.extensions.get::<Forwarded>().is_some_and(|forwarded| forwarded.is_encrypted);
    let expected = cookie_name(is_encrypted);
    let lines = parts.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut cookies = lines.flat_map(|value| value.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    cookies.find(|(name, _)| *name == expected).map(|(_, value)| value)
}

/// The name of the session's cookie. Browsers take one that begins with `__Host-` only from this very host, by HTTPS and for all paths
/// (RFC 6265bis §4.1.3.2).
pub(crate) fn cookie_name(is_encrypted: bool) -> &'static str {
    if is_encrypted { "__Host-weir_session" } else { "weir_session" }
}

fn ticket(query: Option<&str>) -> Option<&str> {
    query?.split('&').filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == "ticket").map(|(_, value)| value)
}

/// Whether a request says once for whom it is. Two names would let a proxy and us believe different ones; HTTP/1.0 and
/// HTTP/2 may have none.
///
/// # Errors
/// 400 (RFC 9112 §3.2).
pub(crate) fn check_host_once(version: Version, headers: &HeaderMap) -> Result<(), Fault> {
    let count = headers.get_all(header::HOST).iter().count();
    if count == 1 || (count == 0 && version != Version::HTTP_11) {
        return Ok(());
    }
    let message = format!("A request has one Host header; this one has {count}.");
    Err(Fault::new(FaultKind::InvalidRequest, "invalid_host", message).with_param("Host"))
}

/// Whether what a request says of its host is a host, and one host. On HTTP/2 a proxy before us may have read the one field, and we
/// the other (RFC 9113 §8.3.1).
///
/// # Errors
/// 400 (RFC 9112 §3.2).
pub(crate) fn check_host_syntax(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), Fault> {
    let wrong = |message: String| Err(Fault::new(FaultKind::InvalidRequest, "invalid_host", message).with_param("Host"));
    let named = headers.get(header::HOST);
    // Any other value is not repeated: it would not help the caller.
    if named.is_some_and(|host| !host.to_str().is_ok_and(is_host)) {
        return wrong("The Host header is not a host with or without a port.".to_owned());
    }
    let asked = uri.authority().map(http::uri::Authority::as_str);
    if asked.is_some_and(|authority| !is_host(authority)) {
        return wrong("The authority of the request is not a host with or without a port.".to_owned());
    }
    if version == Version::HTTP_2 && has_two_hosts(uri, headers) {
        return wrong("The Host header and :authority differ.".to_owned());
    }
    Ok(())
}

/// Whether the two fields that can say for whom a request is say different things.
pub(crate) fn has_two_hosts(uri: &Uri, headers: &HeaderMap) -> bool {
    let plain = |text: &str| text.trim_end_matches(":443").trim_end_matches(":80").to_ascii_lowercase();
    match (uri.authority(), headers.get(header::HOST).map(HeaderValue::to_str)) {
        (Some(authority), Some(Ok(host))) => plain(authority.as_str()) != plain(host),
        (Some(_), Some(Err(_opaque))) => true,
        (None, _) | (_, None) => false,
    }
}

/// `uri-host [":" port]` (RFC 9110 §7.2, RFC 3986 §3.2.2).
fn is_host(text: &str) -> bool {
    let is_port = |port: &str| port.is_empty() || (port.bytes().all(|digit| digit.is_ascii_digit()) && port.parse::<u16>().is_ok());
    if let Some(rest) = text.strip_prefix('[') {
        let Some((inside, port)) = rest.split_once(']') else { return false };
        return inside.parse::<std::net::Ipv6Addr>().is_ok() && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (name, port) = text.split_once(':').unwrap_or((text, ""));
    name.bytes().all(|letter| letter.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&letter)) && is_port(port)
}

/// Whether a request's body is coded as we read it: in chunks, and in nothing else. What is coded twice could be read as one thing by a
/// proxy, and as another by us.
///
/// # Errors
/// 501 (RFC 9112 §6.1).
pub(crate) fn check_transfer_coding(headers: &HeaderMap) -> Result<(), Fault> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(()),
        (Some(_), _) => {
            let message = "Of transfer codings only `chunked` is read here, by itself; for a compressed body there is Content-Encoding.";
            let fault = Fault::new(FaultKind::InvalidRequest, "unsupported_transfer_coding", message);
            Err(fault.with_status(501).with_param("Transfer-Encoding"))
        }
    }
}

/// Whether the request is addressed to this server. A page of a foreign site whose name was pointed at this address
/// (DNS rebinding) is not.
///
/// # Errors
/// 421 with the setting that would allow the name (RFC 9110 §15.5.20).
pub(crate) fn check_host(config: &Config, uri: &Uri, headers: &HeaderMap) -> Result<(), Fault> {
    let Some(authority) = authority(uri, headers) else { return Ok(()) };
    let name = without_port(&authority);
    let is_open = !config.listen.ip().is_loopback() && config.hosts.is_empty();
    if is_open || is_loopback(name) || config.hosts.iter().any(|host| without_port(host).eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    let message = format!("This server does not answer for '{name}'. If it should, add the name to server.hosts.");
    Err(Fault::new(FaultKind::InvalidRequest, "misdirected_request", message).with_status(421).with_param("Host"))
}

/// Whether a browser may send this on behalf of the page it shows. `None` where no page is behind it.
///
/// # Errors
/// 403 for a page that is neither ours nor in `server.origins`.
pub(crate) fn check_origin(config: &Config, forwarded: Forwarded, uri: &Uri, headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return if is_of_own_page(headers) { Ok(None) } else { Err(foreign("another site or port")) };
    };
    let origin = origin.to_str().map_err(|_opaque| foreign("another site"))?;
    let is_ours = authority(uri, headers).is_some_and(|authority| is_same(origin, forwarded, &authority));
    if is_ours || config.origins.iter().any(|allowed| allowed.trim_end_matches('/').eq_ignore_ascii_case(origin)) {
        return Ok(Some(origin.to_owned()));
    }
    Err(foreign(origin))
}

/// Whether a request without an `Origin`, such as that of an image or a link, is of one of our own pages or of no page. Pages of other
/// ports of this machine are of the same site and are still not ours.
pub(crate) fn is_of_own_page(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none")
}

/// Whether an origin is where the request was sent. That a request came in clear says nothing of its page's scheme: there
/// may be a proxy of which we were not told.
fn is_same(origin: &str, forwarded: Forwarded, authority: &str) -> bool {
    let Some((scheme, from)) = origin.split_once("://") else { return false };
    if !forwarded.is_encrypted {
        return from.eq_ignore_ascii_case(authority);
    }
    // Origins leave out the port that goes without saying (RFC 6454 §6.2); proxies may not.
    scheme.eq_ignore_ascii_case("https") && from.eq_ignore_ascii_case(authority.strip_suffix(":443").unwrap_or(authority))
}

/// How near an origin is to where its request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kin {
    /// It is the same.
    Same,
    /// It is this machine under another of the names it has for itself, at the same port.
    Alias,
    /// It is another.
    None,
}

/// How near an origin is to where its request was sent.
pub(crate) fn kin(origin: &str, forwarded: Forwarded, uri: &Uri, headers: &HeaderMap) -> Kin {
    let Some(authority) = authority(uri, headers) else { return Kin::None };
    if is_same(origin, forwarded, &authority) {
        return Kin::Same;
    }
    let Some((scheme, from)) = origin.split_once("://") else { return Kin::None };
    let is_of_scheme = scheme == if forwarded.is_encrypted { "https" } else { "http" };
    let [ours, theirs] = [authority.as_str(), from].map(without_port);
    let is_port = authority.strip_prefix(ours).or(authority.strip_prefix(&format!("[{ours}]")))
        == from.strip_prefix(theirs).or(from.strip_prefix(&format!("[{theirs}]")));
    if is_of_scheme && is_port && is_loopback(ours) && is_loopback(theirs) { Kin::Alias } else { Kin::None }
}

fn foreign(origin: &str) -> Fault {
    let message = format!("Pages of {origin} may not use this server. If they should, add the origin to server.origins.");
    Fault::new(FaultKind::Permission, "origin_not_allowed", message).with_param("Origin")
}

/// The URL at which the client has reached this server, as far as it is known, without a slash at its end.
pub(crate) fn own_url(forwarded: Forwarded, uri: &Uri, headers: &HeaderMap) -> String {
    let scheme = if forwarded.is_encrypted { "https" } else { "http" };
    format!("{scheme}://{}{}", authority(uri, headers).unwrap_or_else(|| "HOST".into()), forwarded.prefix(headers))
}

fn authority(uri: &Uri, headers: &HeaderMap) -> Option<String> {
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

/// Whether a name is one that a machine has for itself.
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
            .filter_map(|(name, value)| Some((http::HeaderName::try_from(*name).ok()?, http::HeaderValue::try_from(*value).ok()?)))
            .collect()
    }

    fn check_names(host: &str, expected: bool) {
        let config = Config { hosts: vec!["chat.example".into()], ..Config::default() };
        assert_eq!(check_host(&config, &Uri::from_static("/"), &headers(&[("host", host)])).is_ok(), expected, "{host}");
    }

    #[test]
    fn only_loopback_names_and_configured_hosts_are_ours() {
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
        let hosts = ["localhost", "127.0.0.1:8000", "[::1]:8000", "[::1]", "CHAT.example:443", "a_b.example", "x:", ""];
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
        for (host, expected) in hosts.map(|host| (host, true)).into_iter().chain(others.map(|host| (host, false))) {
            let checked = check_host_syntax(Version::HTTP_11, &Uri::from_static("/"), &headers(&[("host", host)]));
            assert_eq!(checked.is_ok(), expected, "{host}");
        }
        for (version, host, expected) in [
            (Version::HTTP_2, "localhost", true),
            (Version::HTTP_2, "LOCALHOST:443", true),
            (Version::HTTP_2, "other", false),
            (Version::HTTP_11, "other", true),
        ] {
            let checked = check_host_syntax(version, &Uri::from_static("https://localhost/"), &headers(&[("host", host)]));
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

    fn check_page(pairs: &[(&str, &str)], expected: bool) {
        let config = Config { origins: vec!["https://app.example".into()], ..Config::default() };
        let forwarded = Forwarded { client: None, is_encrypted: false, is_from_proxy: false };
        assert_eq!(check_origin(&config, forwarded, &Uri::from_static("/"), &headers(pairs)).is_ok(), expected, "{pairs:?}");
    }

    #[test]
    fn what_came_encrypted_was_sent_by_an_encrypted_page() {
        let forwarded = Forwarded { client: None, is_encrypted: true, is_from_proxy: false };
        for (authority, origin, expected) in [
            ("chat.example", "https://chat.example", true),
            ("chat.example:443", "https://chat.example", true),
            ("chat.example:8443", "https://chat.example:8443", true),
            ("chat.example:8443", "https://chat.example", false),
            ("chat.example", "http://chat.example", false),
        ] {
            assert_eq!(is_same(origin, forwarded, authority), expected, "{authority} {origin}");
        }
    }

    #[test]
    fn this_machine_has_many_names_for_itself_but_one_port() {
        let forwarded = Forwarded { client: None, is_encrypted: false, is_from_proxy: false };
        for (host, origin, expected) in [
            ("localhost:8000", "http://localhost:8000", Kin::Same),
            ("localhost:8000", "http://127.0.0.1:8000", Kin::Alias),
            ("[::1]:8000", "http://localhost:8000", Kin::Alias),
            ("localhost", "http://127.0.0.1", Kin::Alias),
            ("localhost:8000", "http://127.0.0.1:9000", Kin::None),
            ("localhost:8000", "https://127.0.0.1:8000", Kin::None),
            ("localhost:8000", "http://evil.example:8000", Kin::None),
            ("chat.example:8000", "http://127.0.0.1:8000", Kin::None),
            ("localhost:8000", "null", Kin::None),
        ] {
            assert_eq!(kin(origin, forwarded, &Uri::from_static("/"), &headers(&[("host", host)])), expected, "{host} {origin}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        check_page(&[], true);
        check_page(&[("host", "127.0.0.1:8000"), ("origin", "http://127.0.0.1:8000")], true);
        check_page(&[("host", "127.0.0.1:8000"), ("origin", "http://127.0.0.1:9000")], false);
        check_page(&[("host", "127.0.0.1:8000"), ("origin", "https://app.example")], true);
        check_page(&[("host", "127.0.0.1:8000"), ("origin", "null")], false);
        check_page(&[("sec-fetch-site", "cross-site")], false);
        check_page(&[("sec-fetch-site", "same-site")], false);
        check_page(&[("sec-fetch-site", "none")], true);
        check_page(&[("sec-fetch-site", "same-origin")], true);
    }
}
