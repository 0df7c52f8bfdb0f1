//! Becomes another program, which ends with the one that started it.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use rustix::process::{Signal, set_parent_process_death_signal};

/// Replaces this process; returns only if that fails.
pub(crate) fn launch(program: &str, arguments: &[&str]) -> Result<()> {
    // SIGTERM: nginx ends its workers only if it is asked to.
    set_parent_process_death_signal(Some(Signal::TERM))?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| program.to_owned())
}
