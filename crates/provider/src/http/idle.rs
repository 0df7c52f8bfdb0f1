//! The idle HTTP/1.1 connections of one upstream, apart for each runtime: a response and its
//! connection stay on one thread where each thread has a runtime of its own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::time::Instant;

use super::http1::Http1Connection;

/// How long a connection is kept without a request. Most servers close it earlier.
const KEEP: Duration = Duration::from_secs(90);

/// How often closed and expired connections are looked for.
const SWEEP: Duration = Duration::from_secs(15);

/// Connections kept per runtime. Each takes about 20 KiB.
const MOST: usize = 1024;

/// Idle connections.
#[derive(Default)]
pub(super) struct IdleConnections {
    runtimes: Mutex<Vec<RuntimeConnections>>,
}

struct RuntimeConnections {
    runtime: Id,
    /// The most recently used last.
    connections: VecDeque<IdleConnection>,
    is_swept: bool,
}

struct IdleConnection {
    connection: Box<Http1Connection>,
    since: Instant,
}

impl IdleConnections {
    /// A connection on the current runtime. The server may have closed it meanwhile; sending a
    /// request shows that.
    pub(super) fn take(&self) -> Option<Box<Http1Connection>> {
        let runtime = Handle::current().id();
        let mut runtimes = self.runtimes();
        let kept = runtimes.iter_mut().find(|kept| kept.runtime == runtime)?;
        let idle = kept.connections.pop_back()?;
        if idle.since.elapsed() < KEEP {
            return Some(idle.connection);
        }
        // The others have been idle even longer.
        let expired = std::mem::take(&mut kept.connections);
        drop(runtimes);
        drop((idle, expired));
        None
    }

    /// Keeps a connection for another request.
    pub(super) fn put(self: &Arc<Self>, connection: Box<Http1Connection>) {
        let handle = connection.runtime().clone();
        let runtime = handle.id();
        let mut runtimes = self.runtimes();
        let index = runtimes.iter().position(|kept| kept.runtime == runtime).unwrap_or_else(|| {
            let connections = VecDeque::new();
            runtimes.push(RuntimeConnections { runtime, connections, is_swept: false });
            runtimes.len() - 1
        });
        let kept = &mut runtimes[index];
        kept.connections.push_back(IdleConnection { connection, since: Instant::now() });
        let surplus =
            if kept.connections.len() > MOST { kept.connections.pop_front() } else { None };
        if !std::mem::replace(&mut kept.is_swept, true) {
            drop(handle.spawn(sweep(Arc::downgrade(self), runtime)));
        }
        drop(runtimes);
        drop(surplus);
    }

    /// Drops closed and expired connections of a runtime. Returns whether others are left.
    fn sweep(&self, runtime: Id) -> bool {
        let mut runtimes = self.runtimes();
        let Some(index) = runtimes.iter().position(|kept| kept.runtime == runtime) else {
            return false;
        };
        let connections = &mut runtimes[index].connections;
        connections.retain_mut(|idle| idle.since.elapsed() < KEEP && idle.connection.is_idle());
        let is_used = !connections.is_empty();
        if !is_used {
            runtimes.swap_remove(index);
        }
        is_used
    }

    fn runtimes(&self) -> MutexGuard<'_, Vec<RuntimeConnections>> {
        self.runtimes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs while the runtime has idle connections to this upstream.
async fn sweep(idle: Weak<IdleConnections>, runtime: Id) {
    loop {
        tokio::time::sleep(SWEEP).await;
        if !idle.upgrade().is_some_and(|idle| idle.sweep(runtime)) {
            return;
        }
    }
}
