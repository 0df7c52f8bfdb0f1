//! The processor time of other processes, as the kernel accounts it in `/proc`.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};

/// The unit of `/proc/<pid>/stat` in microseconds (proc(5), `sysconf(_SC_CLK_TCK)`), which is 10 ms on Linux.
const TICK: u64 = 10_000;

/// What some processes have used so far.
pub(crate) struct Usage {
    /// By thread, in nanoseconds.
    threads: BTreeMap<u32, u64>,
    /// Of all together, threads that have ended included, in ticks.
    ticks: u64,
}

impl Usage {
    pub(crate) fn of(processes: &[u32]) -> Result<Self> {
        let mut usage = Self { threads: BTreeMap::new(), ticks: 0 };
        for process in processes {
            usage.add(*process).with_context(|| format!("process {process}"))?;
        }
        Ok(usage)
    }

    fn add(&mut self, process: u32) -> Result<()> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        let (_, fields) = stat.rsplit_once(") ").context("not what proc(5) says")?;
        // User and system time are fields 14 and 15, and the first two are left of the parenthesis.
        for field in fields.split_whitespace().skip(11).take(2) {
            self.ticks += field.parse::<u64>()?;
        }
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            let thread = thread?;
            // A thread may end at any time; then the ticks are used.
            let Ok(schedstat) = fs::read_to_string(thread.path().join("schedstat")) else {
                continue;
            };
            let Some(time) = schedstat.split_whitespace().next() else { continue };
            let id = thread.file_name().to_string_lossy().parse()?;
            self.threads.insert(id, time.parse()?);
        }
        Ok(())
    }

    /// Microseconds used since `earlier`: by thread, which is exact; in ticks if a thread of then is gone.
    pub(crate) fn since(&self, earlier: &Self) -> u64 {
        let mut used = 0;
        for (thread, before) in &earlier.threads {
            let Some(now) = self.threads.get(thread) else {
                return (self.ticks - earlier.ticks) * TICK;
            };
            used += now - before;
        }
        let started = self.threads.iter().filter(|(id, _)| !earlier.threads.contains_key(id));
        used += started.map(|(_, time)| time).sum::<u64>();
        used / 1_000
    }
}
