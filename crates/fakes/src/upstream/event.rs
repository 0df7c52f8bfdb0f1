//! The events of a model in a script, which every vendor's format can express.

use super::vendor_error::VendorError;

/// One event. Each vendor's format encodes it as no, one or several events of its own.
#[derive(Clone, Debug, PartialEq)]
pub enum ScriptEvent {
    /// The start: the role, and no content yet. What a format requires before the first content is
    /// sent automatically.
    Start,
    /// A piece of reasoning.
    Reasoning(String),
    /// The signature of the reasoning so far, which the client sends back: base64. Chat completions
    /// and Ollama have none.
    Signature(String),
    /// A piece of text.
    Text(String),
    /// A piece of a refusal.
    Refusal(String),
    /// The start of a tool call.
    Call {
        /// Counted from 0 in the response.
        index: usize,
        /// The call's id. Gemini sends none.
        id: String,
        /// The tool's name.
        name: String,
    },
    /// A fragment of the arguments of a call. Gemini and Ollama send a call when its arguments are
    /// complete.
    Arguments {
        /// Which call. Only chat completions can return to an earlier one.
        index: usize,
        /// A part of a JSON text.
        fragment: String,
    },
    /// The finish reason of chat completions (`stop`, `length`, `tool_calls`, `content_filter`).
    /// Any other value is sent unchanged.
    Finish(String),
    /// The token usage. Formats other than chat completions send it within other events.
    Usage(Usage),
    /// An error within the stream; without streaming, a response with an error status.
    Failure(VendorError),
    /// The vendor's keep-alive.
    KeepAlive,
    /// The last event: `[DONE]`, or `message_stop`. The other formats have none.
    Done,
}

/// Token counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included.
    pub input: u64,
    /// Tokens of the prompt that were cached.
    pub cached: u64,
    /// Tokens of the response, reasoning included.
    pub output: u64,
    /// Tokens of the reasoning.
    pub reasoning: u64,
}
