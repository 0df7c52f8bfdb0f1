//! What the measurement asks of the system: open files, and a priority below everybody else.

use anyhow::Result;

/// Raises the limit of open files to what this user may have, and says what it is.
#[cfg(unix)]
pub(crate) fn open_files() -> Result<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.map_or(Ok(usize::MAX), usize::try_from)?)
}

#[cfg(not(unix))]
pub(crate) fn open_files() -> Result<usize> {
    Ok(usize::MAX)
}

/// Runs only when nobody else wants to: an attacker's processor is not the server's.
#[cfg(unix)]
pub(crate) fn step_back() -> Result<()> {
    rustix::process::nice(19)?;
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn step_back() -> Result<()> {
    Ok(())
}
