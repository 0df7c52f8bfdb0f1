//! How much one request may hold. Whatever a caller can multiply has a number here; all are far above what clients send.

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

/// How deep values of one JSON schema may lie in each other.
pub const SCHEMA_DEPTH: usize = 64;

/// Entries of short lists: `include`, `modalities`.
pub const WORDS: usize = 64;

/// Annotations of one content part that comes back.
pub const ANNOTATIONS: usize = 10_000;
