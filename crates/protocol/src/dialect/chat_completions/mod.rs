//! The dialect `chat_completions`: OpenAI's older API, as a fold over the same log.

mod fold;
mod messages;
mod request;
mod tools;
mod whole;

pub use fold::{ChatOptions, Fold};
pub use request::{ChatCreate, read_create};
pub use whole::{completion, partial_completion};
