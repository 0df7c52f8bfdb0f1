//! One request and its answer, on the timeline of their connection.

use std::sync::Arc;

use http::{Request, Uri, Version};
use lens::live::{Asked, Subject};

use super::io::Connection;

/// A name, and no place to leave anything.
const LONGEST_LANE: usize = 32;

/// A request on its connection. When the last handle goes, its answer is over.
#[derive(Clone, Debug)]
pub(crate) struct Exchange(Arc<Begun>);

#[derive(Debug)]
struct Begun {
    connection: Connection,
    number: u64,
}

impl Exchange {
    /// The head of a request was read.
    pub(super) fn begin<B>(connection: &Connection, request: &Request<B>) -> Self {
        let version = match request.version() {
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2",
            _ => "1.1",
        };
        let (method, uri) = (request.method().as_str(), request.uri());
        let asked = Asked { subject: subject(uri.path()), method, path: uri.path(), version, lane: lane(uri) };
        let number = connection.timeline().asked(asked, connection.bytes().1);
        Self(Arc::new(Begun { connection: connection.clone(), number }))
    }

    /// It is known whose it is.
    pub(crate) fn owned(&self, owner: &str) {
        self.0.connection.timeline().owned(self.0.number, owner);
    }

    /// The head of its answer is ready.
    pub(super) fn answered(&self, status: u16) {
        self.0.connection.timeline().answered(self.0.number, status);
    }
}

/// Whether a request can be somebody's. What is asked of an API and refused is so too: its path may say more than the answer.
fn subject(path: &str) -> Subject {
    let is_classic = ["/createSse", "/chat", "/closeSse"].contains(&path) || path.starts_with("/websocket/");
    match path {
        _ if path.starts_with("/v1/lens/") => Subject::Lens,
        _ if path.starts_with("/v1/") || is_classic => Subject::Callers,
        _ => Subject::Public,
    }
}

/// What a client calls its request, so that it finds it among what the lens shows: a browser sees neither its own port nor
/// the head of a WebSocket's answer. Everywhere but below `/v1/` a query may be somebody's words,
/// and who asks the lens for a lane is not on it.
fn lane(uri: &Uri) -> Option<&str> {
    let is_ours = uri.path().starts_with("/v1/") && !uri.path().starts_with("/v1/lens/");
    let query = uri.query().filter(|_| is_ours)?;
    let name = query.split('&').find_map(|pair| pair.strip_prefix("lane="))?;
    let is_name = (1..=LONGEST_LANE).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_name.then_some(name)
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.connection.timeline().ended(self.number);
    }
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
            ("/v1/lens/connections?lane=a", None),
            ("/v1/responses", None),
        ] {
            assert_eq!(lane(&Uri::from_static(uri)), expected, "{uri}");
        }
    }
}
