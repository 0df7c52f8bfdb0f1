//! The outside view of Weir: clients that see raw bytes, a scripted model server, and a proxy that breaks connections.
//! Nothing here knows the inside of the server.

pub mod client;
pub mod compare;
pub mod proxy;
mod runtime;
pub mod upstream;
mod wire;

pub use runtime::{Task, now, soon, spawn};
pub use wire::Headers;

#[cfg(test)]
mod tests;
