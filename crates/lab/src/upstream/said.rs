//! What a script has the model say, in words that every vendor's wire can render.

/// One thing said. Each vendor's wire makes none, one or several events of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// The answer begins: the role, and no content yet. What a wire demands before the first content it sends by itself.
    Begin,
    /// A piece of the reasoning.
    Reasoning(String),
    /// The seal of the reasoning so far, which a vendor wants back: base64. Chat completions and Ollama have none.
    Signature(String),
    /// A piece of the text.
    Text(String),
    /// A piece of a refusal.
    Refusal(String),
    /// A call of a tool begins.
    Call {
        /// Counted from 0 in the answer.
        index: usize,
        /// The call's id. Gemini sends none.
        id: String,
        /// The tool's name.
        name: String,
    },
    /// A fragment of the arguments of a call. Gemini and Ollama send a call when its arguments are whole.
    Arguments {
        /// Which call. Only chat completions can go back to an earlier one.
        index: usize,
        /// A part of a JSON text.
        fragment: String,
    },
    /// The evidence of completion, in the words of chat completions (`stop`, `length`, `tool_calls`, `content_filter`). Any
    /// other word goes out as it is.
    Finish(String),
    /// What the answer cost. Wires other than chat completions send it with the events that carry it there.
    Usage(Usage),
    /// An error inside the stream. In an answer that is no stream it is an answer with an error status.
    Failure(Trouble),
    /// What the vendor sends while there is nothing to say.
    KeepAlive,
    /// What comes after all else: `[DONE]`, or `message_stop`. The other wires have nothing of the kind.
    Done,
}

/// Counts of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt, those that were cached included.
    pub input: u64,
    /// Of the prompt, those that the vendor had in its cache.
    pub cached: u64,
    /// Of the answer, those of the reasoning included.
    pub output: u64,
    /// Of the reasoning.
    pub reasoning: u64,
}

/// What goes wrong at a vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The request is wrong.
    Invalid,
    /// The prompt is longer than the model's context.
    ContextLength,
    /// The key is missing, or not known.
    Key,
    /// There is no money left; waiting does not help.
    Money,
    /// The key may not do this.
    Permission,
    /// There is no such model.
    NotFound,
    /// The request is larger than allowed.
    TooLarge,
    /// Too many requests for now.
    RateLimit,
    /// The service has too much to do.
    Overloaded,
    /// The service is broken.
    Broken,
    /// The service took too long.
    Timeout,
}
