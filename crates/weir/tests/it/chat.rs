//! The `weir chat` program: in a pipe, and in a terminal.

mod cuts;
pub(crate) mod pipe;
mod pseudo_terminal;
mod restart;
mod terminal;

use std::process::Command;

use tempfile::TempDir;

use crate::program::weir;
use crate::test_server::MODEL;

/// Every transport that a response can use.
pub(crate) const TRANSPORTS: [&str; 4] = ["json", "ndjson", "sse", "websocket"];

/// The program with the scripted model on the server at `address`, in a directory of its own.
fn chat(directory: &TempDir, address: impl std::fmt::Display, arguments: &[&str]) -> Command {
    chat_with(directory, address, MODEL, arguments)
}

/// The same with another model.
fn chat_with(
    directory: &TempDir,
    address: impl std::fmt::Display,
    model: &str,
    arguments: &[&str],
) -> Command {
    let mut command = weir(directory.path());
    command
        .args(["chat", "--server", &format!("http://{address}"), "--model", model])
        .args(arguments);
    command.env_remove("NO_COLOR").env("TERM", "xterm-256color");
    command
}
