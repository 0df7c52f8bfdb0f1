//! What a wire sends, and the refusal it may get.

use bytes::Bytes;
use http::header::HeaderMap;
use serde_json::Value;

/// A request to send to a path under the upstream's base URL.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outgoing {
    /// Path segments after `base_url`.
    pub(crate) path: Vec<String>,
    /// Additional query parameters.
    pub(crate) query: Vec<(&'static str, String)>,
    /// Additional headers.
    pub(crate) fields: HeaderMap,
    /// The media type of the response.
    pub(crate) accept: &'static str,
    /// The JSON body.
    pub(crate) body: Value,
    /// A serialised body; takes precedence over `body`.
    pub(crate) raw: Option<Bytes>,
    /// Whether the response headers arrive only when the response is complete. That takes as long
    /// as the model needs, so the caller applies the timeout.
    pub(crate) is_whole: bool,
}

impl Outgoing {
    /// A request for `path` with an event stream as its response.
    pub(crate) fn new(path: &[&str], body: Value) -> Self {
        let path = path.iter().map(|segment| (*segment).to_owned()).collect();
        Self {
            path,
            query: Vec::new(),
            fields: HeaderMap::new(),
            accept: "text/event-stream",
            body,
            raw: None,
            is_whole: false,
        }
    }

    /// The same with its body in bytes.
    pub(crate) fn written(self) -> Self {
        match self {
            Self { body: Value::Null, .. } | Self { raw: Some(_), .. } => self,
            Self { body, .. } => {
                Self { raw: Some(body.to_string().into()), body: Value::Null, ..self }
            }
        }
    }

    /// A request for `path` with a document as its response.
    pub(crate) fn document(path: &[&str]) -> Self {
        Self { accept: "application/json", ..Self::new(path, Value::Null) }
    }
}

/// An error response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused<'a> {
    /// Its status.
    pub(crate) status: u16,
    /// Its head.
    pub(crate) headers: &'a HeaderMap,
    /// The body, as far as it was received.
    pub(crate) body: &'a [u8],
}
