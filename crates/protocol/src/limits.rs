//! Limits on the size of one request: one for everything a caller can repeat, all far above what
//! clients send.

/// Items of `input`, or messages of a chat.
pub const ITEMS: usize = 10_000;

/// Content parts of one message, output or reasoning item.
pub const PARTS: usize = 1_000;

/// Content parts of all items together.
pub const ALL_PARTS: usize = 20_000;

/// Calls in one message of a chat.
pub const CALLS: usize = 1_000;

/// Tools, those in namespaces included, and entries of `allowed_tools`.
pub const TOOLS: usize = 1_024;

/// Values in one JSON schema: of a tool's parameters, or of the text's format.
pub const SCHEMA_VALUES: usize = 20_000;

/// Nesting depth of one JSON schema.
pub const SCHEMA_DEPTH: usize = 64;

/// Entries of short lists: `include`, `modalities`.
pub const WORDS: usize = 64;

/// Annotations of one content part of an earlier response.
pub const ANNOTATIONS: usize = 10_000;
