//! The time that counts, and the processor time that was used in it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::client::processes::Usage;
use crate::client::report;

/// Whose processor time is wanted, by name.
type Processes = BTreeMap<String, Vec<u32>>;

pub(crate) struct Window {
    phase: Phase,
    processes: Processes,
}

pub(crate) enum Phase {
    Before,
    Open { since: u64, usage: BTreeMap<String, Usage> },
    Closed,
}

impl Window {
    /// The client's own processor time is always wanted.
    pub(crate) fn new(mut processes: Processes) -> Self {
        processes.insert("client".to_owned(), vec![std::process::id()]);
        Self { phase: Phase::Before, processes }
    }

    pub(crate) fn phase(&self) -> &Phase {
        &self.phase
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Starts to count; whether it had not before.
    pub(crate) fn open(&mut self, now: u64) -> Result<bool> {
        let is_first = matches!(self.phase, Phase::Before);
        if is_first {
            self.phase = Phase::Open { since: now, usage: self.usage()? };
        }
        Ok(is_first)
    }

    /// Ends to count, if it had started.
    pub(crate) fn close(&mut self, now: u64, report: &mut report::Window) -> Result<()> {
        let Phase::Open { since, usage } = std::mem::replace(&mut self.phase, Phase::Closed) else {
            return Ok(());
        };
        report.micros = now - since;
        for (name, used) in self.usage()? {
            let earlier = usage.get(&name).context("not measured before")?;
            report.cpu.insert(name, used.since(earlier));
        }
        Ok(())
    }

    fn usage(&self) -> Result<BTreeMap<String, Usage>> {
        let all = self.processes.iter();
        all.map(|(name, processes)| Ok((name.clone(), Usage::of(processes)?))).collect()
    }
}
