//! Chooses which of several candidates gets the next call.

use crate::config::Strategy;

/// A candidate for a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WeightedCandidate {
    /// Its index among all candidates.
    pub(crate) index: usize,
    /// Its share of the load relative to the others; zero counts as one.
    pub(crate) weight: u32,
    /// Calls currently running on it.
    pub(crate) running: usize,
    /// Calls it has been given so far.
    pub(crate) served: u64,
}

impl WeightedCandidate {
    fn weight(&self) -> f64 {
        f64::from(self.weight.max(1))
    }

    #[expect(clippy::cast_precision_loss, reason = "compared only, and small")]
    fn load(&self) -> f64 {
        (self.running as f64 + 1.0) / self.weight()
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "compared only; two that differ by one call in 2^53 are alike"
    )]
    fn share(&self) -> f64 {
        (self.served as f64 + 1.0) / self.weight()
    }
}

/// The index of the candidate that `strategy` picks; `None` if there are none. `dice` is uniformly
/// distributed in 0..1.
pub(crate) fn choose(
    strategy: Strategy,
    candidates: &[WeightedCandidate],
    dice: impl FnOnce() -> f64,
) -> Option<usize> {
    let least = |key: fn(&WeightedCandidate) -> (f64, f64)| {
        candidates.iter().min_by(|one, other| {
            key(one).partial_cmp(&key(other)).unwrap_or(std::cmp::Ordering::Equal)
        })
    };
    let chosen = match strategy {
        Strategy::Order => candidates.first(),
        Strategy::Random => {
            let mut left = dice() * candidates.iter().map(WeightedCandidate::weight).sum::<f64>();
            let hit = |candidate: &&WeightedCandidate| {
                left -= candidate.weight();
                left < 0.0
            };
            candidates.iter().find(hit).or(candidates.last())
        }
        Strategy::RoundRobin => least(|candidate| (candidate.share(), 0.0)),
        Strategy::LeastBusy => least(|candidate| (candidate.load(), candidate.share())),
    };
    chosen.map(|candidate| candidate.index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(of: &[(u32, usize)]) -> Vec<WeightedCandidate> {
        of.iter()
            .enumerate()
            .map(|(index, (weight, running))| WeightedCandidate {
                index,
                weight: *weight,
                running: *running,
                served: 0,
            })
            .collect()
    }

    /// How often each is chosen in `times` calls that never end.
    fn shares(strategy: Strategy, weights: &[u32], times: usize) -> Vec<u64> {
        let mut all = candidates(&weights.iter().map(|weight| (*weight, 0)).collect::<Vec<_>>());
        for _ in 0..times {
            let chosen = choose(strategy, &all, || 0.5).unwrap();
            all[chosen].served += 1;
            all[chosen].running += 1;
        }
        all.iter().map(|candidate| candidate.served).collect()
    }

    #[test]
    fn load_is_shared_by_weight() {
        assert_eq!(shares(Strategy::RoundRobin, &[1, 1, 1], 9), [3, 3, 3]);
        assert_eq!(shares(Strategy::RoundRobin, &[3, 1], 8), [6, 2]);
        assert_eq!(shares(Strategy::LeastBusy, &[3, 1], 8), [6, 2]);
        assert_eq!(shares(Strategy::Order, &[1, 1], 4), [4, 0]);
    }

    #[test]
    fn random_choice_follows_the_weights() {
        let all = candidates(&[(1, 0), (3, 0)]);
        let chosen = |dice: f64| choose(Strategy::Random, &all, || dice).unwrap();
        assert_eq!([0.0, 0.24, 0.26, 0.99, 1.0].map(chosen), [0, 0, 1, 1, 1]);
    }

    #[test]
    fn the_least_busy_is_chosen_and_none_of_none() {
        assert_eq!(
            choose(Strategy::LeastBusy, &candidates(&[(1, 2), (1, 1), (1, 3)]), || 0.0),
            Some(1)
        );
        assert_eq!(choose(Strategy::LeastBusy, &candidates(&[(4, 2), (1, 1)]), || 0.0), Some(0));
        assert_eq!(choose(Strategy::Random, &[], || 0.0), None);
    }
}
