//! Repeated runs of a cell: their order, which of them to repeat, and what is left of them.

use crate::numbers::{Measured, RunSummary};
use crate::run::CellOutcome;
use crate::samples::Samples;
use crate::spread::Spread;

/// The order in which the cells are measured in a run. Each run starts elsewhere, so that no cell
/// always comes after the same time.
pub fn order(cells: usize, run: usize, runs: usize) -> impl Iterator<Item = usize> {
    let start = run * cells / runs.max(1);
    (0..cells).map(move |index| (start + index) % cells)
}

/// A token that is this many times as late as the median is an outlier.
const OUTLIER: f64 = 10.0;

/// If it is late by more than this, in milliseconds, too: less is noise of any scheduler.
const NOISE_MS: f64 = 5.0;

/// The runs of one cell.
#[derive(Debug, Default)]
pub struct CellRuns {
    /// The counts and bytes of the first run.
    measured: Measured,
    runs: Vec<(RunSummary, Samples)>,
    /// The run whose tokens are drawn.
    strip_of: usize,
}

impl CellRuns {
    /// Adds a run. The first one has the counts and bytes.
    pub fn add(&mut self, outcome: CellOutcome) {
        let run = outcome.run;
        if self.runs.is_empty() {
            self.measured = outcome.measured;
        } else if let Some(why) = outcome.measured.failed {
            let number = self.runs.len() + 1;
            self.measured.missing.push(format!("run {number}: {why}"));
            return;
        } else {
            self.measured.disagreements.extend(outcome.measured.disagreements);
            let key = |run: &RunSummary| (run.stalled_tokens, run.slowest_ms);
            if key(&run) < key(&self.runs[self.strip_of].0) {
                self.strip_of = self.runs.len();
                self.measured.strip = outcome.measured.strip;
            }
        }
        self.runs.push((run, outcome.samples));
    }

    /// Whether the cell could not be measured at all, so that it is not tried again.
    pub fn has_failed(&self) -> bool {
        self.measured.failed.is_some()
    }

    /// Whether a run has a token that was much later than the others, and should be repeated once.
    pub fn has_outlier(&self) -> bool {
        self.bound().is_some_and(|bound| self.runs.iter().any(|(run, _)| is_above(run, bound)))
    }

    /// Adds the repetition of the runs with outliers. If it has none, theirs were the machine's, and
    /// their times are set aside.
    pub fn add_repetition(&mut self, outcome: CellOutcome) {
        let (bound, runs) = (self.bound(), self.runs.len());
        self.add(outcome);
        let (Some(bound), Some((repetition, _))) = (bound, self.runs.get(runs)) else { return };
        if !is_above(repetition, bound) {
            for (run, _) in &mut self.runs {
                run.is_set_aside = is_above(run, bound);
            }
        }
    }

    /// The delay from which on a token is an outlier.
    fn bound(&self) -> Option<f64> {
        let medians = self.runs.iter().filter_map(|(run, _)| run.added_ms).collect();
        Some(Spread::of(medians)?.p50 * OUTLIER + NOISE_MS)
    }

    /// The cell's numbers: counts and bytes of the first run, times of all that are not set aside.
    pub fn measured(self) -> Measured {
        let mut measured = self.measured;
        let mut all = Samples::default();
        for (run, samples) in &self.runs {
            if !run.is_set_aside {
                all.extend(samples);
            }
        }
        measured.times = all.times();
        measured.processor_us_per_token = Spread::of(all.processor);
        measured.runs = self.runs.into_iter().map(|(run, _)| run).collect();
        measured
    }
}

fn is_above(run: &RunSummary, bound: f64) -> bool {
    run.slowest_ms.is_some_and(|slowest| slowest > bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{Marked, Taken};

    #[test]
    fn every_run_starts_with_another_cell() {
        let runs: Vec<Vec<usize>> = (0..3).map(|run| order(5, run, 3).collect()).collect();
        assert_eq!(runs, [[0, 1, 2, 3, 4], [1, 2, 3, 4, 0], [3, 4, 0, 1, 2]]);
        assert_eq!(order(0, 0, 1).count(), 0);
    }

    fn run(added: &[f64], stalled: &[f64], arrived: f64) -> CellOutcome {
        let calm = Marked { calm: added.to_vec(), stalled: Vec::new() };
        let mut samples = Samples { added: calm, ..Samples::default() };
        for late in stalled {
            samples.added.push(*late, Taken::Stalled);
        }
        let run = samples.summary();
        let mut outcome = CellOutcome { samples, run, ..CellOutcome::default() };
        outcome.measured.answers = 1;
        outcome.measured.strip.arrived_ms = vec![arrived];
        outcome
    }

    fn runs(outcomes: impl IntoIterator<Item = CellOutcome>) -> CellRuns {
        let mut runs = CellRuns::default();
        outcomes.into_iter().for_each(|outcome| runs.add(outcome));
        runs
    }

    #[test]
    fn an_outlier_that_a_repetition_does_not_confirm_is_set_aside() {
        let mut cell = runs([run(&[0.1, 0.2, 52.9], &[], 1.0), run(&[0.1, 0.2], &[], 2.0)]);
        assert!(cell.has_outlier());
        cell.add_repetition(run(&[0.1, 0.3], &[], 3.0));
        let measured = cell.measured();
        let added = measured.times.added_ms.unwrap();
        assert_eq!((added.count, added.max), (4, 0.3));
        let aside: Vec<bool> = measured.runs.iter().map(|run| run.is_set_aside).collect();
        assert_eq!(aside, [true, false, false]);
        assert_eq!(measured.answers, 1, "counts are those of one run");
        assert_eq!(measured.strip.arrived_ms, [2.0], "the calmest run is drawn");
    }

    #[test]
    fn an_outlier_that_comes_again_stays() {
        let mut cell = runs([run(&[0.1, 0.2, 52.9], &[], 1.0)]);
        cell.add_repetition(run(&[0.1, 0.2, 61.0], &[], 1.0));
        let measured = cell.measured();
        assert_eq!(measured.times.added_ms.map(|added| added.max), Some(61.0));
        assert!(measured.runs.iter().all(|run| !run.is_set_aside));
    }

    #[test]
    fn a_long_delay_of_all_tokens_is_no_outlier() {
        assert!(!runs([run(&[30.0, 31.0, 60.0], &[], 1.0)]).has_outlier());
        assert!(!runs([run(&[0.1, 0.2, 4.0], &[], 1.0)]).has_outlier());
        // What a stall of the measuring side explains needs no repetition.
        assert!(!runs([run(&[0.1, 0.2, 0.1], &[80.0], 1.0)]).has_outlier());
        assert!(!CellRuns::default().has_outlier());
    }

    #[test]
    fn a_later_failure_does_not_lose_the_cell() {
        let mut cell = runs([run(&[0.1], &[], 1.0)]);
        let mut failed = CellOutcome::default();
        failed.measured.failed = Some("refused".to_owned());
        cell.add(failed);
        assert!(!cell.has_failed());
        assert_eq!(cell.measured().missing, ["run 2: refused"]);
    }
}
