//! Dialects: which words a client hears. Each is a deterministic fold over the log, without I/O.

pub mod chat_completions;
pub mod classic;
pub mod responses;

use bytes::Bytes;

use crate::event::{Entry, EventKind};

/// One message of a dialect, ready for any frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// The event's name, for frames that have room for one.
    pub name: Option<&'static str>,
    /// The position of the entry it comes from.
    pub position: u64,
    /// JSON without line breaks.
    pub data: Bytes,
}

/// A dialect at some place in a log.
#[derive(Clone, Debug)]
pub enum Dialect {
    /// The log's own words.
    Responses,
    /// OpenAI's chat completions.
    ChatCompletions(Box<chat_completions::Fold>),
}

impl Dialect {
    /// Takes in one entry and appends what it says of it: nothing, one message or several.
    pub fn fold(&mut self, entry: &Entry, spoken: &mut Vec<Spoken>) {
        match self {
            Self::Responses => spoken.push(Spoken { name: Some(entry.kind.as_str()), position: entry.position, data: entry.data.clone() }),
            Self::ChatCompletions(fold) => fold.entry(entry, spoken),
        }
    }

    /// Whether the stream must not end cleanly. Chat completions have no event that tells a failed response from a whole one, and
    /// clients that skip their error chunk take every clean end for success.
    pub fn must_break_off(&self) -> bool {
        match self {
            Self::Responses => false,
            Self::ChatCompletions(fold) => fold.has_failed(),
        }
    }

    /// What an error outside the log looks like: a failure of the log itself, which has no position (promise 1).
    pub fn unnumbered_error(&self, fault: &crate::fault::Fault) -> Bytes {
        let body = match self {
            Self::Responses => {
                let mut body = serde_json::Map::new();
                body.insert("type".into(), EventKind::Error.as_str().into());
                body.insert("error".into(), fault.payload());
                serde_json::Value::Object(body)
            }
            Self::ChatCompletions(_) => fault.body(),
        };
        body.to_string().into()
    }
}
