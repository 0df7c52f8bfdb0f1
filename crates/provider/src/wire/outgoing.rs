//! What a wire sends, and the refusal it may get.

use bytes::Bytes;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// A request to be sent below the upstream's address.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outgoing {
    /// The segments of the path behind `base_url`.
    pub(crate) path: Vec<String>,
    /// What is added to the query.
    pub(crate) query: Vec<(&'static str, String)>,
    /// Fields of the head beside the usual ones.
    pub(crate) fields: HeaderMap,
    /// The media type of the answer.
    pub(crate) accept: &'static str,
    /// The JSON of its body.
    pub(crate) body: Value,
    /// A body that is written already. It goes before `body`.
    pub(crate) raw: Option<Bytes>,
    /// Whether the head of the response comes only when all of it is made. That takes as long as the model does, and whoever
    /// asked sees to the time.
    pub(crate) is_whole: bool,
}

impl Outgoing {
    /// A request for `path`, whose answer is a stream of events.
    pub(crate) fn new(path: &[&str], body: Value) -> Self {
        let path = path.iter().map(|segment| (*segment).to_owned()).collect();
        Self { path, query: Vec::new(), fields: HeaderMap::new(), accept: "text/event-stream", body, raw: None, is_whole: false }
    }

    /// The same with its body in bytes.
    pub(crate) fn written(self) -> Self {
        match self {
            Self { body: Value::Null, .. } | Self { raw: Some(_), .. } => self,
            Self { body, .. } => Self { raw: Some(body.to_string().into()), body: Value::Null, ..self },
        }
    }

    /// A request for `path`, whose answer is one document.
    pub(crate) fn document(path: &[&str]) -> Self {
        Self { accept: "application/json", ..Self::new(path, Value::Null) }
    }
}

/// An answer with an error status.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused<'a> {
    /// Its status.
    pub(crate) status: u16,
    /// Its head.
    pub(crate) headers: &'a HeaderMap,
    /// Its body, as far as it came.
    pub(crate) body: &'a [u8],
}
