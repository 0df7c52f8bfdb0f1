//! The messages of a dialect, and its requirements for streams.

use std::sync::Arc;

use bytes::Bytes;

/// One message of a dialect, ready for any frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The event's name, for frames that carry one.
    pub name: Option<&'static str>,
    /// An id that is not a position, where the dialect gives one.
    pub id: Option<Arc<str>>,
    /// The position of the entry that it comes from; an error outside the log has none.
    pub position: Option<u64>,
    /// The payload: JSON without line breaks, or a fixed text.
    pub data: Bytes,
}

/// A field beside `error` in the body of a failed response: the model's output before the failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partial {
    /// The field's name.
    pub field: &'static str,
    /// Its JSON.
    pub json: Bytes,
}

/// How a stream ends once every entry was rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// The body ends cleanly, after the sentinel if the dialect has one and the frame has room for
    /// it.
    Clean {
        /// The mark of the end, which is not a message.
        sentinel: Option<&'static str>,
    },
    /// The body must not end cleanly, as clients would take that for success.
    Abort,
}

/// What may be sent between the messages of an idle stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// The frame's own heartbeat, such as a comment.
    Frame,
    /// A message of the dialect that clients ignore.
    Message(Message),
    /// Nothing: clients would fail at it.
    Nothing,
}

/// The static properties of a dialect, for metrics and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name in metrics, logs and documents.
    pub name: &'static str,
    /// The frames that its API offers, by the names that they have in metrics. This is a
    /// description: it does not decide which frame a request gets.
    pub frames: &'static [&'static str],
}
