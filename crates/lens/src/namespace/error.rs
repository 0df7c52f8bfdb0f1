//! Why there can be no network.

use std::io;

/// Why there can be no such network.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// Not this system.
    #[error("network namespaces exist on Linux only")]
    NotLinux,
    /// Threads run already, and a user namespace is entered by whole processes only.
    #[error(
        "this process has threads already: a user namespace must be entered before any is started"
    )]
    Threads,
    /// The system forbids it.
    #[error(
        "this system lets no user have {what} ({source}); see user.max_user_namespaces, AppArmor, or the container's seccomp profile"
    )]
    NotPermitted {
        /// What it does not let us have.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// The kernel has been built without something.
    #[error("this kernel has no {what} ({source})")]
    Missing {
        /// What it has not.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// Anything else.
    #[error("{what}: {source}")]
    Failed {
        /// What was done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl NamespaceError {
    #[cfg(target_os = "linux")]
    pub(super) fn new(what: &'static str, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES | libc::ENOSPC | libc::EUSERS) => {
                Self::NotPermitted { what, source }
            }
            Some(
                libc::ENOENT
                | libc::EOPNOTSUPP
                | libc::ENOSYS
                | libc::EAFNOSUPPORT
                | libc::EPROTONOSUPPORT,
            ) => Self::Missing { what, source },
            _ => Self::Failed { what, source },
        }
    }
}
