//! Summaries of samples that show no quantile for which there are too few of them.

use std::time::Duration;

/// The fewest samples for a median, a 90th and a 99th percentile.
const FEWEST: [usize; 3] = [5, 20, 100];

/// Durations, summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The number of samples.
    pub samples: usize,
    /// Samples that were left out, as the measuring machine was stalled meanwhile.
    pub excluded: usize,
    /// The median; `None` below 5 samples.
    pub p50: Option<Duration>,
    /// The 90th percentile; `None` below 20 samples.
    pub p90: Option<Duration>,
    /// The 99th percentile; `None` below 100 samples.
    pub p99: Option<Duration>,
    /// The largest sample; `None` without samples.
    pub max: Option<Duration>,
}

impl Summary {
    /// Sums up `samples`; `excluded` were left out before.
    pub fn of(mut samples: Vec<Duration>, excluded: usize) -> Self {
        samples.sort_unstable();
        let [p50, p90, p99] = [50, 90, 99].map(|percent| quantile(&samples, percent));
        let carried =
            |index: usize, value| if samples.len() >= FEWEST[index] { value } else { None };
        Self {
            samples: samples.len(),
            excluded,
            p50: carried(0, p50),
            p90: carried(1, p90),
            p99: carried(2, p99),
            max: samples.last().copied(),
        }
    }

    /// The fewest samples that carry a quantile of this name.
    pub(crate) fn fewest(name: &str) -> usize {
        match name {
            "p50" => FEWEST[0],
            "p90" => FEWEST[1],
            "p99" => FEWEST[2],
            _ => 1,
        }
    }
}

/// The smallest sample that is not below `percent` of them (nearest rank).
fn quantile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// The median of numbers; `None` without any.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        Some(f64::midpoint(*values.get(middle.checked_sub(1)?)?, *values.get(middle)?))
    } else {
        values.get(middle).copied()
    }
}

/// The coefficient of variation, the standard deviation as a share of the mean; `None` below two
/// values.
#[expect(clippy::cast_precision_loss, reason = "counts of samples are small")]
pub(crate) fn variation(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean > 0.0).then(|| variance.sqrt() / mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(values: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        values.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn quantiles_need_samples() {
        let few = Summary::of(milliseconds(1..=4), 1);
        assert_eq!((few.samples, few.excluded, few.p50), (4, 1, None));
        assert_eq!(few.max, Some(Duration::from_millis(4)));
        let some = Summary::of(milliseconds(1..=20), 0);
        assert_eq!(some.p50, Some(Duration::from_millis(10)));
        assert_eq!(some.p90, Some(Duration::from_millis(18)));
        assert_eq!(some.p99, None);
        let many = Summary::of(milliseconds(1..=100), 0);
        assert_eq!(many.p99, Some(Duration::from_millis(99)));
        assert_eq!(Summary::of(Vec::new(), 0), Summary::default());
    }

    #[test]
    fn spread_is_relative_to_the_mean() {
        assert_eq!(variation(&[5.0, 5.0, 5.0]), Some(0.0));
        assert_eq!(variation(&[1.0]), None);
        assert!(variation(&[1.0, 3.0]).is_some_and(|value| (value - 0.707).abs() < 0.01));
        assert_eq!(median(vec![3.0, 1.0, 2.0, 10.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }
}
