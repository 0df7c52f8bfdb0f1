//! Histograms: how values are distributed over fixed bounds.

use std::sync::atomic::{AtomicU64, Ordering};

/// A distribution: how many values were not greater than each bound, and their sum.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one for larger values.
    buckets: Box<[AtomicU64]>,
    /// The bits of an `f64`.
    sum: AtomicU64,
}

impl Histogram {
    /// No values. The bounds increase.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Adds one value.
    pub fn observe(&self, value: f64) {
        if let Some(bucket) = self.buckets.get(index(self.bounds, value)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.add(value);
    }

    /// Adds the values of a tally with the same bounds.
    pub fn merge(&self, tally: &LocalHistogram) {
        for (bucket, count) in self.buckets.iter().zip(&tally.buckets) {
            bucket.fetch_add(*count, Ordering::Relaxed);
        }
        self.add(tally.sum);
    }

    /// Its values.
    pub fn get(&self) -> LocalHistogram {
        let buckets = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        LocalHistogram {
            bounds: self.bounds,
            buckets,
            sum: f64::from_bits(self.sum.load(Ordering::Relaxed)),
        }
    }

    fn add(&self, value: f64) {
        let added = |bits| Some((f64::from_bits(bits) + value).to_bits());
        // It returns the previous value and cannot fail.
        let _before = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, added);
    }
}

/// A histogram that one task owns, for values that are too frequent for shared atomics.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalHistogram {
    bounds: &'static [f64],
    buckets: Vec<u64>,
    sum: f64,
}

impl LocalHistogram {
    /// No values.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, buckets: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// Adds the same value `count` times.
    pub fn observe(&mut self, value: f64, count: u32) {
        if let Some(bucket) = self.buckets.get_mut(index(self.bounds, value)) {
            *bucket += u64::from(count);
        }
        self.sum += value * f64::from(count);
    }

    /// The number of values.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their sum.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The number of values not greater than each bound, in increasing order; the last bound is
    /// infinity.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(&self.buckets).scan(0, |total, (bound, count)| {
            *total += count;
            Some((bound, *total))
        })
    }
}

/// The first bucket whose bound is not less than `value`.
fn index(bounds: &[f64], value: f64) -> usize {
    bounds.partition_point(|bound| *bound < value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_in_its_own_bucket() {
        let histogram = Histogram::new(&[1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 2.0, 7.0] {
            histogram.observe(value);
        }
        let tally = histogram.get();
        assert_eq!(
            tally.cumulative().collect::<Vec<_>>(),
            [(1.0, 2), (2.0, 4), (f64::INFINITY, 5)]
        );
        assert!((tally.sum() - 12.0).abs() < 1e-9);
    }

    #[test]
    fn merging_a_tally_equals_observing_its_values() {
        let (histogram, mut tally) =
            (Histogram::new(&[1.0, 2.0]), LocalHistogram::new(&[1.0, 2.0]));
        tally.observe(1.5, 3);
        tally.observe(9.0, 1);
        histogram.merge(&tally);
        histogram.observe(0.0);
        assert_eq!(
            histogram.get().cumulative().collect::<Vec<_>>(),
            [(1.0, 1), (2.0, 4), (f64::INFINITY, 5)]
        );
        assert_eq!(histogram.get().count(), 5);
    }
}
