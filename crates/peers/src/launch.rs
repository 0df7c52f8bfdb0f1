//! Becomes another program, which ends with the one that started it and may open as many files as the system allows.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use rustix::process::{
    Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit,
};

/// As many as ten thousand connections and their upstreams need.
const OPEN_FILES: u64 = 32_768;

/// Replaces this process; returns only if that fails.
pub(crate) fn launch(program: &str, arguments: &[&str]) -> Result<()> {
    // SIGTERM: nginx ends its workers only if it is asked to.
    set_parent_process_death_signal(Some(Signal::TERM))?;
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(OPEN_FILES);
    let raise = |to| setrlimit(Resource::Nofile, Rlimit { current: Some(to), maximum: Some(to) });
    // Raising the limit above that of the system is for root only.
    raise(limit.max(OPEN_FILES)).or_else(|_| raise(limit))?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| program.to_owned())
}
