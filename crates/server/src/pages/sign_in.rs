//! Redirects browsers without a session from a classic page to the sign-in, with the way back.

use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};

use crate::app::App;
use crate::http::auth;

const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Whether a browser opens a page without a valid key or session. Never without
/// configured keys.
pub(super) fn is_due(app: &App, parts: &Parts) -> bool {
    app.keys.configured() && is_navigation(&parts.headers) && !auth::is_identified(app, parts)
}

/// Whether a browser shows the response as a page. Fetch metadata tell, but over plain HTTP only
/// for loopback names; elsewhere `Accept` does.
fn is_navigation(headers: &HeaderMap) -> bool {
    if let Some(destination) = headers.get(SEC_FETCH_DEST) {
        return destination == "document";
    }
    let accepted = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    accepted
        .filter_map(|range| range.split(';').next())
        .any(|range| range.trim().eq_ignore_ascii_case("text/html"))
}

/// Redirects to the sign-in, which gets the page's path and query. Relative, since a proxy may have
/// stripped a prefix from the path. Not to be cached: the next response is the page.
pub(super) fn redirect(uri: &Uri) -> Response {
    let location = location(uri);
    let headers = [
        (
            header::LOCATION,
            HeaderValue::try_from(location).unwrap_or(HeaderValue::from_static("./")),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (StatusCode::SEE_OTHER, headers).into_response()
}

fn location(uri: &Uri) -> String {
    let path = uri.path().trim_start_matches('/');
    let mut location = "../".repeat(path.matches('/').count()) + "sign-in?to=";
    encode(path, &mut location);
    if let Some(query) = uri.query() {
        encode("?", &mut location);
        encode(query, &mut location);
    }
    location
}

/// Percent-encodes what is not unreserved (RFC 3986 §2.3), but for slashes, which a query may have.
fn encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.extend([
                '%',
                char::from(HEX[usize::from(byte >> 4)]),
                char::from(HEX[usize::from(byte & 15)]),
            ]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_request_for_a_page_is_a_navigation() {
        for (pairs, expected) in [
            (&[("sec-fetch-dest", "document"), ("accept", "text/html,*/*;q=0.8")][..], true),
            (&[("sec-fetch-dest", "empty"), ("accept", "text/html")][..], false),
            (&[("sec-fetch-dest", "iframe"), ("accept", "text/html")][..], false),
            (&[("accept", "application/xhtml+xml, Text/HTML;q=0.9, */*")][..], true),
            (&[("accept", "*/*")][..], false),
            (&[("accept", "text/event-stream")][..], false),
            (&[][..], false),
        ] {
            let headers = pairs
                .iter()
                .map(|(name, value)| {
                    (HeaderName::from_static(name), HeaderValue::from_static(value))
                })
                .collect();
            assert_eq!(is_navigation(&headers), expected, "{pairs:?}");
        }
    }

    #[test]
    fn the_way_to_the_sign_in_and_back_is_relative() {
        for (uri, expected) in [
            ("/", "sign-in?to="),
            ("/websocket", "sign-in?to=websocket"),
            ("/static/a/b.html?x=1&y=%20#", "../../sign-in?to=static/a/b.html%3Fx%3D1%26y%3D%2520"),
            ("/1.html?to=//evil.example", "sign-in?to=1.html%3Fto%3D//evil.example"),
        ] {
            assert_eq!(location(&Uri::from_static(uri)), expected, "{uri}");
        }
    }
}
