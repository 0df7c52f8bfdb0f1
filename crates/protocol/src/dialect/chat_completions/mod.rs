//! The dialect `chat_completions`: OpenAI's older API, as a fold over the same log.

mod fold;
mod messages;
mod options;
mod request;
mod tools;
mod whole;

pub use fold::{ChatCompletions, DESCRIPTION};
pub use options::ChatOptions;
pub use request::{ChatCreate, read_create};
