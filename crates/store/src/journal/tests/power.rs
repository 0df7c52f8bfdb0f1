//! Thousands of lives of a journal, each cut off somewhere: what was delivered is there afterwards (promise 1).

use std::collections::HashMap;
use std::sync::Arc;

use protocol::entry::Entry;
use protocol::id::ResponseId;
use tokio::sync::oneshot;

use super::super::frame::GoneReason;
use super::super::log::JournalLog;
use super::super::simulated::{Simulated, SplitMix64};
use super::super::writer::WriteOutcome;
use super::{end, id, open, read, text};
use crate::Durability;
use crate::journal::config::Config;
use crate::journal::mutex::lock;
use crate::journal::shared::JournalInner;

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// The process is killed: a write may be torn.
    Process,
    /// Either, by lot.
    Any,
}

/// What we know of a log from outside.
#[derive(Default)]
struct Known {
    /// What was taken, in order.
    entries: Vec<Entry>,
    /// How many of them were below a watermark.
    safe: usize,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fate {
    #[default]
    Here,
    /// To be gone, and nobody knows whether that is safe.
    Leaving,
    Gone,
}

struct World {
    random: SplitMix64,
    disk: Simulated,
    known: HashMap<ResponseId, Known>,
    leaving: Vec<(ResponseId, oneshot::Receiver<()>)>,
    names: u64,
}

#[test]
fn disk_durability_outlives_the_loss_of_power() {
    run(Durability::Disk, Cut::Any, 10_000);
}

#[test]
fn process_durability_outlives_the_process() {
    run(Durability::Process, Cut::Process, 2_000);
}

fn run(durability: Durability, cut: Cut, seeds: u64) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("WEIR_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("WEIR_SEEDS").unwrap_or(seeds),
    };
    for seed in seeds {
        let lived = std::panic::catch_unwind(|| live(seed, durability, cut));
        assert!(lived.is_ok(), "WEIR_SEED={seed} shows it again");
    }
}

fn live(seed: u64, durability: Durability, cut: Cut) {
    let mut random = SplitMix64::new(seed);
    let disk = Simulated::new(random.number());
    let mut world = World { random, disk, known: HashMap::new(), leaving: Vec::new(), names: 0 };
    let config = Config {
        durability,
        segment_bytes: [200, 2_000, 20_000][world.random.below(3)],
        tail_bytes: [0, 500, 1 << 20][world.random.below(3)],
        ..Config::default()
    };
    for _ in 0..=world.random.below(4) {
        world.disk.faults(|faults| *faults = super::super::simulated::DiskFaults::default());
        world.disk.stop_after(world.random.below(60) as u64);
        if let Ok(shared) = open(&world.disk, config) {
            world.check(&shared);
            world.work(&shared);
        }
        world.disk = if cut == Cut::Any && world.random.once_in(2) {
            world.disk.after_power_loss()
        } else {
            world.disk.after_crash()
        };
    }
    let shared = open(&world.disk, config).expect("a journal opens after any cut");
    world.check(&shared);
}

impl World {
    /// After a start: everything that was delivered is there, and nothing that was never written.
    fn check(&mut self, shared: &Arc<JournalInner>) {
        for id in lock(&shared.logs).keys() {
            assert!(self.known.contains_key(id), "{id} is nobody's");
        }
        for (id, known) in &mut self.known {
            let answer = lock(&shared.logs).get(id).cloned();
            let entries = answer.as_ref().map(|answer| read(shared, answer)).unwrap_or_default();
            match known.fate {
                Fate::Here => assert!(
                    entries.len() >= known.safe,
                    "{id}: {} of {} safe entries are there",
                    entries.len(),
                    known.safe
                ),
                // Nobody was told that it is gone, so it may come back once more.
                Fate::Leaving => {
                    assert!(
                        known.entries.starts_with(&entries),
                        "{id}: what is there is what was written"
                    );
                    continue;
                }
                Fate::Gone => assert!(answer.is_none(), "{id} is back from the dead"),
            }
            let count = entries.len().min(known.entries.len());
            assert_eq!(entries, known.entries[..count], "{id}: what is there is what was written");
            // What comes back is delivered from now on; what does not was never there.
            known.entries = entries;
            known.safe = known.entries.len();
            if let Some(answer) = answer {
                let ends = known.entries.last().is_some_and(|entry| entry.kind.is_terminal());
                assert_eq!(
                    answer.has_ended(),
                    ends,
                    "{id}: it has ended if its last entry says so"
                );
                assert!(
                    known.entries.iter().rev().skip(1).all(|entry| !entry.kind.is_terminal()),
                    "{id}: nothing follows the end"
                );
            }
        }
        self.leaving.clear();
    }

    /// Does things until the disk stops, or enough.
    fn work(&mut self, shared: &Arc<JournalInner>) {
        let mut writers: HashMap<ResponseId, u64> = HashMap::new();
        for _ in 0..80 {
            if self.disk.has_stopped() {
                return;
            }
            match self.random.below(24) {
                0..=7 => self.append(shared, &mut writers),
                8..=16 => self.write_batch(shared),
                17 => self.leave(shared),
                18 => shared.sweep(),
                19 => {
                    for victim in shared.segments.victims(2) {
                        while shared.copy_out(victim)
                            && shared.write_batch() != WriteOutcome::Failed
                            && shared.segments.victims(2).contains(&victim)
                        {
                        }
                    }
                }
                20 => self.disk.faults(|faults| faults.sync_fails = 1),
                21 => self.disk.faults(|faults| faults.short = Some(50)),
                22 => self.disk.faults(|faults| faults.room = Some(300)),
                _ => self
                    .disk
                    .faults(|faults| *faults = super::super::simulated::DiskFaults::default()),
            }
        }
    }

    fn append(&mut self, shared: &Arc<JournalInner>, writers: &mut HashMap<ResponseId, u64>) {
        let running: Vec<ResponseId> = {
            let is_running =
                |known: &Known| !known.entries.last().is_some_and(|entry| entry.kind.is_terminal());
            let mut running: Vec<_> = self
                .known
                .iter()
                .filter(|(_, known)| known.fate == Fate::Here && is_running(known))
                .map(|(id, _)| id.clone())
                .collect();
            running.sort();
            running
        };
        let id = if running.len() < 2 || (running.len() < 5 && self.random.once_in(3)) {
            self.names += 1;
            id(&self.names.to_string())
        } else {
            running[self.random.below(running.len())].clone()
        };
        let answer = Arc::clone(
            lock(&shared.logs)
                .entry(id.clone())
                .or_insert_with(|| Arc::new(JournalLog::new(id.clone()))),
        );
        let epoch = *writers.entry(id.clone()).or_insert_with(|| answer.take());
        let known = self.known.entry(id).or_default();
        let from = known.entries.len() as u64;
        let mut entries: Vec<Entry> = (0..=self.random.below(3) as u64)
            .map(|n| text(from + n, &format!("{:x}", self.random.number())))
            .collect();
        if self.random.once_in(8) {
            entries.push(end(from + entries.len() as u64));
        }
        if shared.queue.append(&answer, epoch, &entries).is_ok() {
            known.entries.extend(entries);
        }
    }

    fn write_batch(&mut self, shared: &Arc<JournalInner>) {
        let _what = shared.write_batch();
        for (id, known) in &mut self.known {
            if let Some(progress) = lock(&shared.logs).get(id).and_then(|answer| answer.progress())
            {
                known.safe = usize::try_from(progress.borrow().committed).expect("a small number");
            }
        }
        for (id, safe) in &mut self.leaving {
            if safe.try_recv().is_ok() {
                self.known.entry(id.clone()).or_default().fate = Fate::Gone;
            }
        }
    }

    /// A log is deleted, or put away if it has ended.
    fn leave(&mut self, shared: &Arc<JournalInner>) {
        let mut here: Vec<_> = self
            .known
            .iter()
            .filter(|(_, known)| known.fate == Fate::Here)
            .map(|(id, _)| id.clone())
            .collect();
        here.sort();
        if here.is_empty() {
            return;
        }
        let id = here.swap_remove(self.random.below(here.len()));
        let Some(answer) = lock(&shared.logs).get(&id).cloned() else { return };
        let reason = if answer.has_ended() && self.random.once_in(2) {
            GoneReason::Archived
        } else {
            GoneReason::Deleted
        };
        let freed = match reason {
            GoneReason::Archived => answer.archive().expect("it is here"),
            GoneReason::Deleted => answer.forget(),
        };
        lock(&shared.logs).remove(&id);
        shared.release(&freed);
        let (done, safe) = oneshot::channel();
        shared.queue.push_gone(&id, reason, Some(done));
        self.known.entry(id.clone()).or_default().fate = Fate::Leaving;
        self.leaving.push((id, safe));
    }
}
