//! The frame of one whole document: the body is the document, so there is nothing to encode and no heartbeat.

/// RFC 8259, section 11. It has no charset parameter: JSON is always UTF-8.
pub const CONTENT_TYPE: &str = "application/json";
