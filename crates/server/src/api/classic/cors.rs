//! Which pages may use the classic API, and the CORS headers for their browsers.
//!
//! The demo allowed every page. Here a page of another site is refused until `classic.origins`
//! names it: its questions cost tokens, and a page's visitors must not spend them unknowingly.

use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use protocol::fault::{Fault, FaultKind};

use crate::app::App;
use crate::config::ClassicConfig;
use crate::error::FaultResponse;
use crate::http::forwarded::Forwarded;
use crate::http::origin::{self as auth, OriginRelation as Kin, relation};

/// How long a browser may cache a preflight, in seconds: Spring's default.
const MAX_AGE: HeaderValue = HeaderValue::from_static("1800");

/// The response headers that pages of other origins may read.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("retry-after, x-request-id, weir-response-id");

/// The origin of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Site {
    /// No page, or one of this server's.
    Same,
    /// A page of another site that is allowed.
    Allowed,
    /// A page that is not allowed.
    Foreign,
}

/// The layer around the routes of the classic API.
pub(crate) async fn cors(
    State(app): State<App>,
    Extension(forwarded): Extension<Forwarded>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let wanted = headers
        .get(header::ACCESS_CONTROL_REQUEST_METHOD)
        .filter(|_| request.method() == Method::OPTIONS)
        .cloned();
    let origin_relation = |origin: &str| relation(origin, forwarded, request.uri(), headers);
    let site = site(&app.config.classic, headers, origin_relation);
    let is_mapped = wanted
        .as_ref()
        .is_none_or(|method| methods(request.uri().path()).iter().any(|mapped| method == mapped));
    let mut response = match (site, wanted.is_some()) {
        (Site::Foreign, false) => FaultResponse(foreign(headers)).into_response(),
        (Site::Foreign, true) => refused(),
        (Site::Same | Site::Allowed, true) if !is_mapped => refused(),
        (Site::Same | Site::Allowed, true) => StatusCode::OK.into_response(),
        (Site::Same | Site::Allowed, false) if is_part(headers) => {
            FaultResponse(part()).into_response()
        }
        (Site::Same | Site::Allowed, false) => next.run(request).await,
    };
    let headers = response.headers_mut();
    for name in ["Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"] {
        headers.append(header::VARY, HeaderValue::from_static(name));
    }
    if site != Site::Allowed {
        return response;
    }
    // Never with credentials: only our own pages send a cookie.
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    if let Some(method) = wanted.filter(|_| is_mapped) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        if let Some(asked) = asked {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked);
        }
    }
    response
}

/// The methods of a path, for preflights.
fn methods(path: &str) -> &'static [&'static str] {
    if path == "/chat" { &["POST", "GET"] } else { &["GET"] }
}

fn site(
    config: &ClassicConfig,
    headers: &HeaderMap,
    origin_relation: impl Fn(&str) -> Kin,
) -> Site {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return if auth::is_of_own_page(headers) { Site::Same } else { Site::Foreign };
    };
    let origin = origin.to_str().unwrap_or_default();
    match origin_relation(origin) {
        Kin::Same => Site::Same,
        // The demo's pages contain `localhost:8000`, from wherever they are served.
        Kin::Alias => Site::Allowed,
        Kin::None
            if config
                .origins
                .iter()
                .any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin)) =>
        {
            Site::Allowed
        }
        Kin::None => Site::Foreign,
    }
}

fn foreign(headers: &HeaderMap) -> Fault {
    let origin = headers
        .get(header::ORIGIN)
        .and_then(|origin| origin.to_str().ok())
        .unwrap_or("another site");
    let message = format!(
        "Pages of {origin} are not allowed to use the classic API. To allow them, add the origin to classic.origins."
    );
    Fault::new(FaultKind::Permission, "origin_not_allowed", message).with_param("Origin")
}

/// Whether a browser loads a subresource of a page, such as an image: model output in the page's
/// HTML may contain one (`<img src="/chat?message=…">`). The page itself sends requests by its
/// script.
fn is_part(headers: &HeaderMap) -> bool {
    const PARTS: [&str; 12] = [
        "image", "audio", "video", "track", "script", "style", "font", "object", "embed", "iframe",
        "frame", "manifest",
    ];
    headers.get(SEC_FETCH_DEST).is_some_and(|dest| PARTS.iter().any(|part| dest == part))
}

const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

fn part() -> Fault {
    let message = "Images, frames and other subresources of a page cannot use the classic API: use fetch, EventSource or WebSocket from a script.";
    Fault::new(FaultKind::Permission, "destination_not_allowed", message)
        .with_param("Sec-Fetch-Dest")
}

/// A preflight that is not allowed, as Spring refuses it.
fn refused() -> Response {
    (StatusCode::FORBIDDEN, "Invalid CORS request").into_response()
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn check(pairs: &[(&'static str, &'static str)], origins: &[&str], expected: Site) {
        let config = ClassicConfig {
            origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
            ..ClassicConfig::default()
        };
        let headers = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let origin_relation = |origin: &str| match origin {
            "http://localhost:8000" => Kin::Same,
            "http://127.0.0.1:8000" => Kin::Alias,
            _ => Kin::None,
        };
        assert_eq!(site(&config, &headers, origin_relation), expected, "{pairs:?} {origins:?}");
    }

    #[test]
    fn other_sites_are_refused_until_they_are_named() {
        check(&[], &[], Site::Same);
        check(&[("origin", "http://localhost:8000")], &[], Site::Same);
        check(
            &[("origin", "http://127.0.0.1:8000"), ("sec-fetch-site", "cross-site")],
            &[],
            Site::Allowed,
        );
        check(&[("origin", "http://evil.example")], &[], Site::Foreign);
        check(&[("origin", "http://evil.example")], &["https://app.example"], Site::Foreign);
        check(
            &[("origin", "https://app.example"), ("sec-fetch-site", "cross-site")],
            &["https://app.example"],
            Site::Allowed,
        );
        check(&[("origin", "null")], &[], Site::Foreign);
        check(&[("origin", "null")], &["null"], Site::Allowed);
        check(&[("origin", "http://evil.example")], &["*"], Site::Allowed);
    }

    #[test]
    fn without_an_origin_fetch_metadata_identify_the_page() {
        for (site, expected) in [
            ("cross-site", Site::Foreign),
            ("same-site", Site::Foreign),
            ("same-origin", Site::Same),
            ("none", Site::Same),
        ] {
            check(&[("sec-fetch-site", site)], &["*"], expected);
        }
    }
}
