//! Threads that go to another network namespace for a moment (setns(2)).

use std::fs::File;
use std::os::fd::AsFd;

use super::error::NamespaceError;
use crate::system::process;

/// The network namespace of this thread.
pub(super) fn here() -> Result<File, NamespaceError> {
    File::open("/proc/thread-self/ns/net")
        .map_err(|source| NamespaceError::Failed { what: "looking at the namespace", source })
}

/// A new network namespace, with nothing in it. This thread has been there, and is back.
pub(super) fn create(what: &'static str) -> Result<File, NamespaceError> {
    let before = here()?;
    process::unshare(libc::CLONE_NEWNET).map_err(|error| NamespaceError::new(what, error))?;
    let _return = Return(before);
    here()
}

/// Does something with this thread in a namespace.
pub(super) fn inside<T>(namespace: &File, work: impl FnOnce() -> T) -> Result<T, NamespaceError> {
    let before = here()?;
    process::enter_network(namespace.as_fd())
        .map_err(|error| NamespaceError::new("going to a namespace", error))?;
    let _return = Return(before);
    Ok(work())
}

/// The way back, also when the work panics: a thread may not remain elsewhere.
struct Return(File);

impl Drop for Return {
    fn drop(&mut self) {
        // It was there a moment ago, so there is no reason to fail.
        let _ = process::enter_network(self.0.as_fd());
    }
}
