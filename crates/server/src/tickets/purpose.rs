//! The target of a ticket or of a request: a WebSocket, or a `GET` that streams. A ticket
//! is part of a URL, which proxies log and browsers remember, so it must not be usable for
//! anything else.

use axum::extract::Query as QueryOf;
use http::request::Parts;
use http::{Method, header};
use protocol::fault::Fault;

use crate::paths;
use crate::query::{self, Query};

/// What a request opens that a ticket may be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TicketTarget<'a> {
    /// A WebSocket.
    Socket {
        /// Its path.
        path: &'a str,
    },
    /// `GET /v1/responses/{id}/events`, which a browser's `EventSource` resumes by itself.
    Events {
        /// Its path.
        path: &'a str,
        /// Whether the client names the position at which it was cut.
        is_return: bool,
    },
    /// Another stream.
    Stream {
        /// Its path.
        path: &'a str,
    },
}

/// What a ticket may open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Any one socket or stream.
    Any,
    /// The one at this path.
    Path(String),
}

impl<'a> TicketTarget<'a> {
    /// What this request opens; `None` where it is neither a WebSocket nor a `GET` that streams.
    pub(crate) fn of(parts: &'a Parts) -> Option<Self> {
        let path = parts.uri.path();
        if is_handshake(parts) {
            return is_socket(path).then_some(Self::Socket { path });
        }
        if parts.method != Method::GET {
            return None;
        }
        // Read as the handlers do, so that no query has another meaning there.
        let QueryOf(query) = QueryOf::<Query>::try_from_uri(&parts.uri).ok()?;
        match target(path)? {
            // A poll is not a stream.
            Target::Events if query.contains_key("wait") => None,
            Target::Events => {
                Some(Self::Events { path, is_return: parts.headers.contains_key("last-event-id") })
            }
            Target::Response => {
                let is_position =
                    query.contains_key("starting_after") && !query.contains_key("stream");
                let is_stream = is_position || query::boolean(&query, "stream").unwrap_or(false);
                is_stream.then_some(Self::Stream { path })
            }
            Target::Classic => Some(Self::Stream { path }),
            Target::Socket => None,
        }
    }

    fn path(&self) -> &'a str {
        match self {
            Self::Socket { path } | Self::Events { path, .. } | Self::Stream { path } => path,
        }
    }
}

impl Purpose {
    /// What a ticket for `path` may open. The path may be written as a client sees it: with the
    /// `prefix` that a proxy strips, or, as a page without its own path writes it, relative to
    /// where Weir is.
    ///
    /// # Errors
    /// Nothing at this path takes a ticket.
    pub(crate) fn read(path: &str, prefix: &str) -> Result<Self, Fault> {
        let refused = || {
            let message = "Invalid value for 'for': expected the path of a WebSocket or of a stream, without a query, such as \
                           '/v1/responses' or '/v1/responses/resp_123/events'.";
            Fault::invalid("invalid_value", "for", message)
        };
        let below =
            path.strip_prefix(prefix).filter(|below| below.starts_with('/')).unwrap_or(path);
        let below = if below.starts_with('/') { below.to_owned() } else { format!("/{below}") };
        let path = paths::canonical(&below);
        if path.contains(['?', '#']) || target(&path).is_none() {
            return Err(refused());
        }
        Ok(Self::Path(path.into_owned()))
    }

    /// Whether it may open this.
    pub(crate) fn admits(&self, opening: &TicketTarget<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::Path(path) => path == opening.path(),
        }
    }
}

/// What is at a path, as far as tickets may open it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Socket,
    Events,
    /// A response, which is a stream where the query says so.
    Response,
    /// The streams of the classic API.
    Classic,
}

fn target(path: &str) -> Option<Target> {
    if is_socket(path) {
        return Some(Target::Socket);
    }
    if path == "/createSse" || path == "/chat" {
        return Some(Target::Classic);
    }
    let below = path.strip_prefix("/v1/responses/")?;
    match below.split_once('/') {
        None if !below.is_empty() => Some(Target::Response),
        Some((id, "events")) if !id.is_empty() => Some(Target::Events),
        None | Some(_) => None,
    }
}

fn is_socket(path: &str) -> bool {
    path == "/v1/responses"
        || path.strip_prefix("/websocket/").is_some_and(|uid| !uid.is_empty() && !uid.contains('/'))
}

/// Whether a request asks for a WebSocket: by an upgrade (RFC 6455 §4.1), or on HTTP/2 by an
/// extended CONNECT (RFC 8441 §4).
fn is_handshake(parts: &Parts) -> bool {
    if parts.method == Method::CONNECT {
        return parts
            .extensions
            .get::<hyper::ext::Protocol>()
            .is_some_and(|protocol| protocol.as_str() == "websocket");
    }
    let values =
        parts.headers.get_all(header::UPGRADE).iter().filter_map(|value| value.to_str().ok());
    let names_websocket = values
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("websocket"));
    parts.method == Method::GET
        && names_websocket
        && parts.headers.contains_key(header::SEC_WEBSOCKET_KEY)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const HANDSHAKE: [(&str, &str); 2] =
        [("upgrade", "websocket"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")];

    fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let request = headers
            .iter()
            .fold(Request::builder().method(method).uri(uri), |request, (name, value)| {
                request.header(*name, *value)
            });
        request.body(()).unwrap().into_parts().0
    }

    fn check(
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        expected: Option<TicketTarget<'_>>,
    ) {
        assert_eq!(
            TicketTarget::of(&parts(method, uri, headers)),
            expected,
            "{method} {uri} {headers:?}"
        );
    }

    #[test]
    fn a_ticket_is_for_sockets_and_streams_and_nothing_else() {
        let events = "/v1/responses/resp_1/events";
        check(
            "GET",
            "/v1/responses",
            &HANDSHAKE,
            Some(TicketTarget::Socket { path: "/v1/responses" }),
        );
        check(
            "GET",
            "/websocket/u1?ticket=x",
            &HANDSHAKE,
            Some(TicketTarget::Socket { path: "/websocket/u1" }),
        );
        check("GET", events, &[], Some(TicketTarget::Events { path: events, is_return: false }));
        check(
            "GET",
            events,
            &[("last-event-id", "3")],
            Some(TicketTarget::Events { path: events, is_return: true }),
        );
        check(
            "GET",
            "/v1/responses/resp_1?stream=true",
            &[],
            Some(TicketTarget::Stream { path: "/v1/responses/resp_1" }),
        );
        check(
            "GET",
            "/v1/responses/resp_1?starting_after=3",
            &[],
            Some(TicketTarget::Stream { path: "/v1/responses/resp_1" }),
        );
        check("GET", "/createSse", &[], Some(TicketTarget::Stream { path: "/createSse" }));
        check("GET", "/chat?message=a", &[], Some(TicketTarget::Stream { path: "/chat" }));
        for (method, uri) in [
            ("POST", "/v1/responses"),
            ("GET", "/v1/responses"),
            ("GET", "/v1/responses/resp_1"),
            ("GET", "/v1/responses/resp_1?stream=false&starting_after=3"),
            ("GET", "/v1/responses/resp_1/events?wait=5"),
            ("GET", "/v1/responses/resp_1/events?%77ait=5"),
            ("GET", "/v1/responses/resp_1?stream=true&stream=false"),
            ("HEAD", "/v1/responses/resp_1/events"),
            ("DELETE", "/v1/responses/resp_1?stream=true"),
            ("POST", "/v1/responses/resp_1/cancel"),
            ("GET", "/v1/responses/resp_1/input_items"),
            ("GET", "/v1/models"),
            ("GET", "/metrics"),
            ("GET", "/v1/upstreams"),
            ("GET", "/v1/lens/connections"),
            ("GET", "/closeSse"),
            ("POST", "/chat"),
            ("CONNECT", "/v1/responses"),
        ] {
            check(method, uri, &[("last-event-id", "0")], None);
        }
        for (method, uri) in [
            ("POST", "/v1/responses"),
            ("GET", "/metrics"),
            ("GET", "/v1/responses/resp_1?stream=true"),
        ] {
            check(method, uri, &HANDSHAKE, None);
        }
    }

    #[test]
    fn a_ticket_is_only_for_paths_that_accept_one() {
        let read = |path: &str, prefix: &str| Purpose::read(path, prefix).ok();
        let path = |path: &str| Some(Purpose::Path(path.to_owned()));
        assert_eq!(read("/v1/responses", ""), path("/v1/responses"));
        assert_eq!(read("/responses/resp_1/events", ""), path("/v1/responses/resp_1/events"));
        assert_eq!(read("/weir/websocket/u1", "/weir"), path("/websocket/u1"));
        assert_eq!(read("/websocket/u1", "/weir"), path("/websocket/u1"));
        assert_eq!(read("v1/responses", "/weir"), path("/v1/responses"));
        for wrong in [
            "",
            "/metrics",
            "/v1/upstreams",
            "/v1/responses?stream=true",
            "/v1/responses/a/cancel",
            "http://h/v1/responses",
        ] {
            assert_eq!(read(wrong, ""), None, "{wrong}");
        }
    }
}
