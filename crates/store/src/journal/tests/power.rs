//! Thousands of short runs of a journal, each cut off at some operation: delivered entries survive
//! (promise 1).

use std::collections::HashMap;
use std::sync::Arc;

use protocol::entry::Entry;
use protocol::id::ResponseId;
use tokio::sync::oneshot;

use super::super::frame::RemovalReason;
use super::super::log::JournalLog;
use super::super::simulated::{DiskFaults, SimulatedDisk};
use super::super::splitmix64::SplitMix64;
use super::super::writer::WriteOutcome;
use super::{end, id, open, read, text};
use crate::Durability;
use crate::journal::config::Config;
use crate::journal::mutex::lock;
use crate::journal::shared::JournalInner;

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// The process is killed: a write may be torn.
    Process,
    /// One of the two, at random.
    Any,
}

/// The expected content of a log.
#[derive(Default)]
struct Known {
    /// The accepted entries, in order.
    entries: Vec<Entry>,
    /// How many of them were below a watermark.
    safe: usize,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fate {
    #[default]
    Here,
    /// Removed, but the removal may not be durable.
    Leaving,
    Removed,
}

struct World {
    random: SplitMix64,
    disk: SimulatedDisk,
    known: HashMap<ResponseId, Known>,
    leaving: Vec<(ResponseId, oneshot::Receiver<()>)>,
    names: u64,
}

#[test]
fn disk_durability_survives_a_loss_of_power() {
    run(Durability::Disk, Cut::Any, 10_000);
}

#[test]
fn process_durability_survives_a_crash_of_the_process() {
    run(Durability::Process, Cut::Process, 2_000);
}

fn run(durability: Durability, cut: Cut, seeds: u64) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("WEIR_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("WEIR_SEEDS").unwrap_or(seeds),
    };
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| run_once(seed, durability, cut));
        assert!(outcome.is_ok(), "WEIR_SEED={seed} shows it again");
    }
}

fn run_once(seed: u64, durability: Durability, cut: Cut) {
    let mut random = SplitMix64::new(seed);
    let disk = SimulatedDisk::new(random.number());
    let mut world = World { random, disk, known: HashMap::new(), leaving: Vec::new(), names: 0 };
    let config = Config {
        durability,
        segment_bytes: [200, 2_000, 20_000][world.random.below(3)],
        tail_bytes: [0, 500, 1 << 20][world.random.below(3)],
        ..Config::default()
    };
    for _ in 0..=world.random.below(4) {
        world.disk.faults(|faults| *faults = DiskFaults::default());
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
    /// After a start: every delivered entry is there, and none that was never written.
    fn check(&mut self, shared: &Arc<JournalInner>) {
        for id in lock(&shared.logs).keys() {
            assert!(self.known.contains_key(id), "{id} was never written");
        }
        for (id, known) in &mut self.known {
            let response = lock(&shared.logs).get(id).cloned();
            let entries =
                response.as_ref().map(|response| read(shared, response)).unwrap_or_default();
            match known.fate {
                Fate::Here => assert!(
                    entries.len() >= known.safe,
                    "{id}: {} of {} safe entries are there",
                    entries.len(),
                    known.safe
                ),
                // Its removal was not confirmed, so it may reappear.
                Fate::Leaving => {
                    assert!(
                        known.entries.starts_with(&entries),
                        "{id}: what is there is what was written"
                    );
                    continue;
                }
                Fate::Removed => assert!(response.is_none(), "{id} reappeared after its removal"),
            }
            let count = entries.len().min(known.entries.len());
            assert_eq!(entries, known.entries[..count], "{id}: what is there is what was written");
            // Recovered entries are delivered from now on; others have never existed.
            known.entries = entries;
            known.safe = known.entries.len();
            if let Some(response) = response {
                let ends = known.entries.last().is_some_and(|entry| entry.kind.is_terminal());
                assert_eq!(
                    response.has_ended(),
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

    /// Runs random operations until the disk stops or the limit is reached.
    fn work(&mut self, shared: &Arc<JournalInner>) {
        let mut writers: HashMap<ResponseId, u64> = HashMap::new();
        for _ in 0..80 {
            if self.disk.has_stopped() {
                return;
            }
            match self.random.below(24) {
                0..=7 => self.append(shared, &mut writers),
                8..=16 => self.write_batch(shared),
                17 => self.remove_or_archive(shared),
                18 => shared.sweep(),
                19 => {
                    for candidate in shared.segments.compaction_candidates(2) {
                        while shared.copy_out(candidate)
                            && shared.write_batch() != WriteOutcome::Failed
                            && shared.segments.compaction_candidates(2).contains(&candidate)
                        {
                        }
                    }
                }
                20 => self.disk.faults(|faults| faults.sync_fails = 1),
                21 => self.disk.faults(|faults| faults.short = Some(50)),
                22 => self.disk.faults(|faults| faults.room = Some(300)),
                _ => self.disk.faults(|faults| *faults = DiskFaults::default()),
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
        let response = Arc::clone(
            lock(&shared.logs)
                .entry(id.clone())
                .or_insert_with(|| Arc::new(JournalLog::new(id.clone()))),
        );
        let epoch = *writers.entry(id.clone()).or_insert_with(|| response.acquire());
        let known = self.known.entry(id).or_default();
        let from = known.entries.len() as u64;
        let mut entries: Vec<Entry> = (0..=self.random.below(3) as u64)
            .map(|n| text(from + n, &format!("{:x}", self.random.number())))
            .collect();
        if self.random.once_in(8) {
            entries.push(end(from + entries.len() as u64));
        }
        if shared.queue.append(&response, epoch, &entries).is_ok() {
            known.entries.extend(entries);
        }
    }

    fn write_batch(&mut self, shared: &Arc<JournalInner>) {
        let _what = shared.write_batch();
        for (id, known) in &mut self.known {
            if let Some(progress) =
                lock(&shared.logs).get(id).and_then(|response| response.progress())
            {
                known.safe = usize::try_from(progress.borrow().committed).expect("a small number");
            }
        }
        for (id, safe) in &mut self.leaving {
            if safe.try_recv().is_ok() {
                self.known.entry(id.clone()).or_default().fate = Fate::Removed;
            }
        }
    }

    /// Deletes a log, or archives it if it has ended.
    fn remove_or_archive(&mut self, shared: &Arc<JournalInner>) {
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
        let Some(response) = lock(&shared.logs).get(&id).cloned() else { return };
        let reason = if response.has_ended() && self.random.once_in(2) {
            RemovalReason::Archived
        } else {
            RemovalReason::Deleted
        };
        let freed = match reason {
            RemovalReason::Archived => response.archive().expect("it is here"),
            RemovalReason::Deleted => response.delete(),
        };
        lock(&shared.logs).remove(&id);
        shared.release(&freed);
        let (done, safe) = oneshot::channel();
        shared.queue.push_removal(&id, reason, Some(done));
        self.known.entry(id.clone()).or_default().fate = Fate::Leaving;
        self.leaving.push((id, safe));
    }
}
