//! The dialect `classic`: the API of the Java demo of 2023, as a fold over the same log.
//!
//! Reasoning and tool calls are deliberately left out: a message without `content` in the middle of
//! a response erases what the pages show.

mod fold;
mod question;

pub use fold::{Classic, DESCRIPTION, DONE, FAULT, TOKENS, Transport};
pub use question::{create, read_question};
