//! Becomes another program, which ends with the one that started it and may open as many files as the system allows.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use rustix::process::{
    Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit,
};

/// Replaces this process; returns only if that fails.
pub(crate) fn launch(program: &str, arguments: &[&str]) -> Result<()> {
    // SIGTERM: nginx ends its workers only if it is asked to.
    set_parent_process_death_signal(Some(Signal::TERM))?;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| program.to_owned())
}
