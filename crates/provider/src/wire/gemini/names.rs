//! Names of this API that several of its files use.

/// What the `encrypted_content` of a thought begins with; behind it is the signature of the part that follows it.
pub(super) const SIGNATURE: &str = "gemini.signature.";

/// The field of a call in which Google's compatible API has what is Google's own.
pub(super) const EXTRA_CONTENT: &str = "extra_content";

/// The names of parts that Weir does not interpret, as the types of items and as Gemini's fields.
pub(super) const PARTS: [(&str, &str); 5] = [
    ("executable_code", "executableCode"),
    ("code_execution_result", "codeExecutionResult"),
    ("tool_call", "toolCall"),
    ("tool_response", "toolResponse"),
    ("file_data", "fileData"),
];
