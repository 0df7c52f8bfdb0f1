//! Which pages may use the server: `Origin`, and the headers that browsers send in its place.

use http::{HeaderMap, Uri, header};
use protocol::fault::{Fault, FaultKind};

use super::forwarded::Forwarded;
use super::host::{authority, is_loopback, without_port};
use crate::config::Config;

/// Checks whether a browser may send this on behalf of the page it shows, and gives the page's
/// origin; `None` where the request is of no page.
///
/// # Errors
/// 403 for a page that is neither ours nor in `server.origins`.
pub(crate) fn check_origin(
    config: &Config,
    forwarded: Forwarded,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Option<String>, Fault> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return if is_of_own_page(headers) {
            Ok(None)
        } else {
            Err(foreign("another site or port"))
        };
    };
    let origin = origin.to_str().map_err(|_opaque| foreign("another site"))?;
    let is_ours =
        authority(uri, headers).is_some_and(|authority| is_same(origin, forwarded, &authority));
    if is_ours
        || config
            .origins
            .iter()
            .any(|allowed| allowed.trim_end_matches('/').eq_ignore_ascii_case(origin))
    {
        return Ok(Some(origin.to_owned()));
    }
    Err(foreign(origin))
}

/// Whether a request without an `Origin`, such as that of an image or a link, is of one of the
/// server's own pages or of no page. Pages on other ports of this machine are of the same site, and
/// are still foreign.
pub(crate) fn is_of_own_page(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none")
}

/// Whether an origin is the host that the request was sent to. A request in clear shows nothing
/// about its page's scheme: there may be a proxy that the settings do not name.
fn is_same(origin: &str, forwarded: Forwarded, authority: &str) -> bool {
    let Some((scheme, from)) = origin.split_once("://") else { return false };
    if !forwarded.is_encrypted {
        return from.eq_ignore_ascii_case(authority);
    }
    // Origins leave out the default port (RFC 6454 §6.2); proxies may not.
    scheme.eq_ignore_ascii_case("https")
        && from.eq_ignore_ascii_case(authority.strip_suffix(":443").unwrap_or(authority))
}

/// How an origin relates to the host that its request was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OriginRelation {
    /// The same host.
    Same,
    /// Another loopback name, at the same port.
    Alias,
    /// Another host.
    None,
}

/// How an origin relates to the host that its request was sent to.
pub(crate) fn relation(
    origin: &str,
    forwarded: Forwarded,
    uri: &Uri,
    headers: &HeaderMap,
) -> OriginRelation {
    let Some(authority) = authority(uri, headers) else { return OriginRelation::None };
    if is_same(origin, forwarded, &authority) {
        return OriginRelation::Same;
    }
    let Some((scheme, from)) = origin.split_once("://") else { return OriginRelation::None };
    let is_of_scheme = scheme == if forwarded.is_encrypted { "https" } else { "http" };
    let [ours, theirs] = [authority.as_str(), from].map(without_port);
    let is_port = authority.strip_prefix(ours).or(authority.strip_prefix(&format!("[{ours}]")))
        == from.strip_prefix(theirs).or(from.strip_prefix(&format!("[{theirs}]")));
    if is_of_scheme && is_port && is_loopback(ours) && is_loopback(theirs) {
        OriginRelation::Alias
    } else {
        OriginRelation::None
    }
}

fn foreign(origin: &str) -> Fault {
    let message = format!(
        "Pages of {origin} are not allowed to use this server. To allow them, add the origin to server.origins."
    );
    Fault::new(FaultKind::Permission, "origin_not_allowed", message).with_param("Origin")
}

/// The URL at which the client has reached this server, as far as it is known, without a trailing
/// slash.
pub(crate) fn own_url(forwarded: Forwarded, uri: &Uri, headers: &HeaderMap) -> String {
    let scheme = if forwarded.is_encrypted { "https" } else { "http" };
    format!(
        "{scheme}://{}{}",
        authority(uri, headers).unwrap_or_else(|| "HOST".into()),
        forwarded.prefix(headers)
    )
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .filter_map(|(name, value)| {
                Some((HeaderName::try_from(*name).ok()?, HeaderValue::try_from(*value).ok()?))
            })
            .collect()
    }

    fn check_page(pairs: &[(&str, &str)], expected: bool) {
        let config = Config { origins: vec!["https://app.example".into()], ..Config::default() };
        let forwarded = Forwarded { client: None, is_encrypted: false, is_from_proxy: false };
        assert_eq!(
            check_origin(&config, forwarded, &Uri::from_static("/"), &headers(pairs)).is_ok(),
            expected,
            "{pairs:?}"
        );
    }

    #[test]
    fn encrypted_requests_are_from_encrypted_pages() {
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
            ("localhost:8000", "http://localhost:8000", OriginRelation::Same),
            ("localhost:8000", "http://127.0.0.1:8000", OriginRelation::Alias),
            ("[::1]:8000", "http://localhost:8000", OriginRelation::Alias),
            ("localhost", "http://127.0.0.1", OriginRelation::Alias),
            ("localhost:8000", "http://127.0.0.1:9000", OriginRelation::None),
            ("localhost:8000", "https://127.0.0.1:8000", OriginRelation::None),
            ("localhost:8000", "http://evil.example:8000", OriginRelation::None),
            ("chat.example:8000", "http://127.0.0.1:8000", OriginRelation::None),
            ("localhost:8000", "null", OriginRelation::None),
        ] {
            assert_eq!(
                relation(origin, forwarded, &Uri::from_static("/"), &headers(&[("host", host)])),
                expected,
                "{host} {origin}"
            );
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
