//! The parts of a request's path and query that the lens may show.

use http::Uri;
use lens::live::RequestSubject;

use crate::listen::Label;

/// Long enough for a name, and too short to hide data in.
const LONGEST_LANE: usize = 32;

/// What the lens may show of a request for this target.
pub(crate) fn label(uri: &Uri) -> Label<'_> {
    Label { subject: subject(uri.path()), lane: lane(uri) }
}

/// To whom a request may be shown. A refused request to the API is its caller's too: its path may
/// reveal more than its response.
fn subject(path: &str) -> RequestSubject {
    let is_classic =
        ["/createSse", "/chat", "/closeSse"].contains(&path) || path.starts_with("/websocket/");
    match path {
        _ if path.starts_with("/v1/lens/") => RequestSubject::Lens,
        _ if path.starts_with("/v1/") || is_classic => RequestSubject::Callers,
        _ => RequestSubject::Public,
    }
}

/// The client's own name for its request, by which it finds it in the lens: a browser sees neither
/// its own port nor the head of a WebSocket's handshake. A request to the lens names the lane it
/// looks for.
fn lane(uri: &Uri) -> Option<&str> {
    let query = own_query(uri).filter(|_| !uri.path().starts_with("/v1/lens/"))?;
    let name = query.split('&').find_map(|pair| pair.strip_prefix("lane="))?;
    let is_name = (1..=LONGEST_LANE).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_name.then_some(name)
}

/// The query of a request, where it is no user's message: below `/v1/`, and in the parts of the
/// classic API whose question is in the body.
pub(crate) fn own_query(uri: &Uri) -> Option<&str> {
    let (path, query) = (uri.path(), uri.query()?);
    let has_message = || query.split('&').any(|pair| pair.starts_with("message="));
    let is_own = path == "/v1"
        || path.starts_with("/v1/")
        || path == "/createSse"
        || path.starts_with("/websocket/")
        || path == "/chat" && !has_message();
    is_own.then_some(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_has_a_short_plain_name_and_is_never_a_question() {
        for (uri, expected) in [
            ("/v1/responses?lane=a1-sse", Some("a1-sse")),
            ("/v1/responses?close=true&lane=x&ticket=tk_1", Some("x")),
            ("/v1/responses?airplane=x", None),
            ("/v1/responses?lane=", None),
            ("/v1/responses?lane=%20", None),
            ("/v1/responses?lane=0123456789012345678901234567890123", None),
            ("/chat?message=a&lane=b", None),
            ("/chat?lane=b&message=a", None),
            ("/chat?lane=b", Some("b")),
            ("/createSse?lane=b&close=true", Some("b")),
            ("/websocket/7?lane=b", Some("b")),
            ("/1.html?lane=b", None),
            ("/v1/lens/connections?lane=a", None),
            ("/v1/responses", None),
        ] {
            assert_eq!(lane(&Uri::from_static(uri)), expected, "{uri}");
        }
    }
}
