//! The dialect `classic`: what the pages of the Java demo of 2023 understand, as a fold over the same log.
//!
//! Reasoning and tool calls are deliberately left out: a message without `content` in mid-answer erases what the pages show.

mod fold;
mod question;

pub use fold::{Door, Fold, Said};
pub use question::{create, read_question};

/// The id of the message with the number of tokens.
pub const TOKENS: &str = "[TOKENS]";

/// The last message: its id and its data.
pub const DONE: &str = "[DONE]";

/// The event that tells programs why an answer failed. It is not called `error`, which would fire a page's `onerror`.
pub const FAULT: &str = "fault";
