//! The dialect `responses`: reads Open Responses requests. Its stream is the log itself.

mod client_event;
mod compact;
mod input;
mod render;
mod request;
mod socket;
mod tools;

pub use client_event::read_client_event;
pub use compact::read_compact;
pub use render::{DESCRIPTION, Responses};
pub use request::{read_count, read_create};
