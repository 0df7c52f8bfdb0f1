//! Names of this API that several of its files use.

/// Prefix of `encrypted_content` for the signature of the part that follows.
pub(super) const SIGNATURE: &str = "gemini.signature.";

/// The field of a call with Google's own data in its OpenAI-compatible API.
pub(super) const EXTRA_CONTENT: &str = "extra_content";

/// Uninterpreted parts: the item type and Gemini's field name.
pub(super) const PARTS: [(&str, &str); 5] = [
    ("executable_code", "executableCode"),
    ("code_execution_result", "codeExecutionResult"),
    ("tool_call", "toolCall"),
    ("tool_response", "toolResponse"),
    ("file_data", "fileData"),
];
