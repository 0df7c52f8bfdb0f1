//! One single-threaded runtime per processor core.
//!
//! A connection, the responses that it asks for and their upstream connections stay on one of them,
//! so that a token wakes no other thread. Work that takes long goes to [`crate::workers`].

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// The runtimes of a process.
#[derive(Debug)]
pub struct Cores {
    all: Vec<Core>,
    stopping: CancellationToken,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Core {
    runtime: Handle,
    /// The connections on it.
    connections: AtomicUsize,
}

impl Cores {
    /// Starts `count` runtimes, each on a thread of its own.
    ///
    /// # Errors
    /// The system's error if a runtime or a thread cannot be made.
    pub fn start(count: usize) -> io::Result<Arc<Self>> {
        let stopping = CancellationToken::new();
        let (mut cores, mut threads) = (Vec::new(), Vec::new());
        for number in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            cores
                .push(Core { runtime: runtime.handle().clone(), connections: AtomicUsize::new(0) });
            let stopping = stopping.clone();
            let name = format!("core-{number}");
            threads.push(std::thread::Builder::new().name(name).spawn(move || {
                runtime.block_on(stopping.cancelled());
                // Tasks that did not end in time were counted, and are not awaited.
                runtime.shutdown_background();
            })?);
        }
        Ok(Arc::new(Self { all: cores, stopping, threads: Mutex::new(threads) }))
    }

    /// A slot on the core with the fewest connections. `None` if there are no cores.
    pub(crate) fn slot(self: &Arc<Self>) -> Option<CoreSlot> {
        let connections = |core: &Core| core.connections.load(Ordering::Relaxed);
        let index = (0..self.all.len()).min_by_key(|index| connections(&self.all[*index]))?;
        self.all[index].connections.fetch_add(1, Ordering::Relaxed);
        Some(CoreSlot { cores: Arc::clone(self), index })
    }

    /// Ends the runtimes, with whatever still runs on them.
    pub fn stop(&self) {
        self.stopping.cancel();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            // A thread that panicked has ended, too.
            drop(thread.join());
        }
    }
}

/// A connection's slot on a core.
#[derive(Debug)]
pub struct CoreSlot {
    cores: Arc<Cores>,
    index: usize,
}

impl CoreSlot {
    /// The core's runtime.
    pub fn runtime(&self) -> &Handle {
        &self.cores.all[self.index].runtime
    }
}

impl Drop for CoreSlot {
    fn drop(&mut self) {
        self.cores.all[self.index].connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::tasks::Tasks;

    #[test]
    fn connections_are_spread_over_the_cores() {
        let cores = Cores::start(2).unwrap();
        let slots: Vec<CoreSlot> = (0..4).filter_map(|_| cores.slot()).collect();
        assert_eq!(slots.iter().map(|slot| slot.index).collect::<Vec<_>>(), [0, 1, 0, 1]);
        drop(slots);
        let connections =
            cores.all.iter().map(|core| core.connections.load(Ordering::Relaxed)).sum::<usize>();
        assert_eq!(connections, 0);
        cores.stop();
    }

    #[test]
    fn a_task_stays_on_the_core_of_the_one_that_spawned_it() {
        let cores = Cores::start(2).unwrap();
        let tasks = Tasks::on_cores(Arc::clone(&cores));
        let (sender, receiver) = channel();
        for core in [tasks.core(), tasks.core()] {
            let (sender, inner) = (sender.clone(), tasks.clone());
            let runtime = core.as_ref().map(|core| core.runtime().clone());
            tasks.spawn_on(runtime.as_ref(), "outer", async move {
                let outer = thread::current().id();
                inner.spawn("inner", async move {
                    drop((core, sender.send((outer, thread::current().id()))));
                });
            });
        }
        let threads: Vec<_> =
            (0..2).map(|_| receiver.recv_timeout(Duration::from_secs(5)).unwrap()).collect();
        assert!(threads.iter().all(|(outer, inner)| outer == inner), "{threads:?}");
        assert_ne!(threads[0].0, threads[1].0);
        cores.stop();
    }

    #[test]
    fn without_cores_there_is_no_slot() {
        assert!(Tasks::new().core().is_none());
    }
}
