//! The API's paths, as clients build them from slightly different base URLs, and the base URL that
//! a client should have used.
//!
//! Paths are made canonical before anything looks at them, so that routes, layers and logs see only
//! one form of each.

use std::borrow::Cow;

use http::Uri;
use http::uri::PathAndQuery;

/// The first segment of the API's paths.
const ROOT: &str = "v1";

/// The endpoints that are also served without `/v1`: a base URL without it is the most common
/// mistake. The classic API's `/chat` is not one of them.
const ENDPOINTS: [&str; 6] =
    ["chat/completions", "responses", "models", "embeddings", "completions", "moderations"];

/// Replaces the path of a request by its canonical form: one `/v1`, no doubled and no trailing
/// slash. Paths outside of the API stay as they are.
pub(crate) fn normalise(uri: &mut Uri) {
    let Cow::Owned(path) = canonical(uri.path()) else { return };
    let text = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = std::mem::take(uri).into_parts();
    if let Ok(path) = PathAndQuery::try_from(text) {
        parts.path_and_query = Some(path);
    }
    // The parts are those of a URI, with another path.
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

/// The canonical form of a path.
pub(crate) fn canonical(path: &str) -> Cow<'_, str> {
    let segments = || path.split('/').filter(|segment| !segment.is_empty());
    let below_root: Vec<&str> = segments().skip_while(|segment| *segment == ROOT).collect();
    let has_root = segments().next() == Some(ROOT);
    if !has_root && !starts_endpoint(&below_root) {
        return path.into();
    }
    let mut canonical = format!("/{ROOT}");
    for segment in below_root {
        canonical.push('/');
        canonical.push_str(segment);
    }
    if canonical == path { path.into() } else { canonical.into() }
}

/// Whether a canonical path is one of the API. Its responses are private, and for the pages of some
/// origins only.
pub(crate) fn is_api(path: &str) -> bool {
    path.strip_prefix('/')
        .and_then(|path| path.strip_prefix(ROOT))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether the segments are an endpoint, or something below one.
fn starts_endpoint(segments: &[&str]) -> bool {
    ENDPOINTS.iter().any(|endpoint| {
        endpoint.split('/').enumerate().all(|(index, name)| segments.get(index) == Some(&name))
    })
}

/// The base URL that a client should have used, where an unknown path ends in an endpoint.
/// `own_url` is this server's, as seen by the client.
pub(crate) fn base_url_for(path: &str, own_url: &str) -> Option<String> {
    let lower = path.to_ascii_lowercase();
    let segments: Vec<&str> = lower.split('/').filter(|segment| !segment.is_empty()).collect();
    (1..segments.len())
        .any(|index| starts_endpoint(&segments[index..]))
        .then(|| format!("{own_url}/{ROOT}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &str, expected: &str) {
        let mut uri: Uri = given.parse().unwrap();
        normalise(&mut uri);
        assert_eq!(uri.to_string(), expected, "{given}");
    }

    #[test]
    fn an_endpoint_has_one_path() {
        for canonical in [
            "/v1/chat/completions",
            "/v1/responses/resp_1?stream=true",
            "/v1/models/a%2Fb/c",
            "/v1",
            "/v1/nothing",
        ] {
            check(canonical, canonical);
        }
        check("/chat/completions", "/v1/chat/completions");
        check("/chat/completions/", "/v1/chat/completions");
        check("//chat//completions?x=//", "/v1/chat/completions?x=//");
        check("//v1/chat/completions", "/v1/chat/completions");
        check("/v1//chat/completions", "/v1/chat/completions");
        check("/v1/v1/chat/completions", "/v1/chat/completions");
        check("/v1//v1/v1/models/", "/v1/models");
        check("/v1/", "/v1");
        check("///v1///", "/v1");
        check("/responses/resp_1/cancel", "/v1/responses/resp_1/cancel");
        check("/models/north/star", "/v1/models/north/star");
        check("http://localhost:8000//v1/models?a=b", "http://localhost:8000/v1/models?a=b");
    }

    #[test]
    fn paths_outside_the_api_are_unchanged() {
        for path in [
            "/",
            "//",
            "/chat",
            "/chat?message=a",
            "/chat/",
            "/lab/",
            "//lab",
            "/v10/models",
            "/V1/models",
            "/api/v1/models",
            "/healthz",
            "*",
        ] {
            check(path, path);
        }
    }

    #[test]
    fn a_base_url_is_suggested_for_a_misplaced_endpoint() {
        let is_suggested = |path| base_url_for(path, "http://h:1").is_some();
        for path in [
            "/api/v1/chat/completions",
            "/V1/Chat/Completions",
            "/v1/chat/completions/chat/completions",
            "/v1/responses/responses",
        ] {
            assert!(is_suggested(path), "{path}");
        }
        for path in ["/v1/nothing", "/chat/completion", "/", "/favicon.ico", "/models"] {
            assert!(!is_suggested(path), "{path}");
        }
        assert_eq!(
            base_url_for("/openai/v1/responses/resp_1", "https://h/weir").as_deref(),
            Some("https://h/weir/v1")
        );
    }
}
