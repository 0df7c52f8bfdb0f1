//! The dialect `chat_completions`: OpenAI's older API, as a fold over the same log.

mod fold;
mod request;

pub use fold::{ChatOptions, Fold, completion, partial_completion};
pub use request::{ChatCreate, read_create};
