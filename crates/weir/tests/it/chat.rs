//! `weir chat`, the program itself: in a pipe, and in a terminal that a person types in.

mod cuts;
pub(crate) mod pipe;
mod pseudo_terminal;
mod restart;
mod terminal;

use std::process::Command;

use tempfile::TempDir;

use crate::house::MODEL;
use crate::program::weir;

/// Every transport that an answer can travel over.
pub(crate) const TRANSPORTS: [&str; 4] = ["json", "ndjson", "sse", "websocket"];

/// The program as it asks a server at `address`, the scripted model, in a directory of its own.
fn chat(directory: &TempDir, address: impl std::fmt::Display, arguments: &[&str]) -> Command {
    chat_with(directory, address, MODEL, arguments)
}

/// The same with another model.
fn chat_with(directory: &TempDir, address: impl std::fmt::Display, model: &str, arguments: &[&str]) -> Command {
    let mut command = weir(directory.path());
    command.args(["chat", "--server", &format!("http://{address}"), "--model", model]).args(arguments);
    command.env_remove("NO_COLOR").env("TERM", "xterm-256color");
    command
}
