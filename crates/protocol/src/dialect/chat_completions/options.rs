//! The options of a request that affect how its response is rendered.

/// The options of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChatOptions {
    /// Whether one more chunk with the usage comes before the end (`stream_options.include_usage`).
    pub include_usage: bool,
    /// Whether the request offered `functions`: a call is then a `function_call`, as before there
    /// were tools.
    pub has_functions: bool,
}
