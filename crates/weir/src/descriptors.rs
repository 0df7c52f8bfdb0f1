//! The limit of open files, and the number of connections that fit into it.

/// Files that are neither a client's connection nor an upstream's: the log, the store, the
/// listener, the runtime.
const OTHERS: usize = 64;

/// Raises the limit of open files to the hard limit, logs it, and returns how many connections, at
/// most `wanted`, fit into it.
pub(crate) fn fit(wanted: usize) -> usize {
    let Some(files) = raise() else { return wanted };
    let connections = wanted.min(places(files));
    if connections < wanted / 2 {
        let hint = "the limit of open files allows far fewer connections than server.connections; ulimit -Hn raises it";
        tracing::warn!(files, connections, wanted, "{hint}");
    } else {
        tracing::info!(files, connections, "limits");
    }
    connections
}

/// Most connections wait for a response, and each response has a connection to its upstream.
fn places(files: usize) -> usize {
    (files.saturating_sub(OTHERS) / 2).max(1)
}

/// The limit in force; `None` on systems without one.
#[cfg(unix)]
fn raise() -> Option<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let before = getrlimit(Resource::Nofile);
    if let Err(error) =
        setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum })
    {
        // macOS reports "unlimited", but accepts less.
        tracing::debug!(%error, "the limit of open files could not be raised");
    }
    let current = getrlimit(Resource::Nofile).current?;
    Some(usize::try_from(current).unwrap_or(usize::MAX))
}

#[cfg(not(unix))]
fn raise() -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_may_have_an_upstream() {
        assert_eq!(places(20_064), 10_000);
        assert_eq!(places(1_024), 480);
        assert_eq!(places(10), 1);
    }

    #[cfg(unix)]
    #[test]
    fn the_limit_is_raised_to_the_hard_limit() {
        assert_eq!(fit(1), 1);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
