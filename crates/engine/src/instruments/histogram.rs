//! Histograms: how values are distributed over fixed bounds.

use std::sync::atomic::{AtomicU64, Ordering};

/// How values are distributed: how many were not greater than each bound, and their sum.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one for what is above all of them.
    buckets: Box<[AtomicU64]>,
    /// The bits of an `f64`.
    sum: AtomicU64,
}

impl Histogram {
    /// No values yet. The bounds rise.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    /// Takes one value in.
    pub fn observe(&self, value: f64) {
        if let Some(bucket) = self.buckets.get(index(self.bounds, value)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.add(value);
    }

    /// Takes in what was tallied under the same bounds.
    pub fn merge(&self, tally: &Tally) {
        for (bucket, count) in self.buckets.iter().zip(&tally.buckets) {
            bucket.fetch_add(*count, Ordering::Relaxed);
        }
        self.add(tally.sum);
    }

    /// What it has come to.
    pub fn get(&self) -> Tally {
        let buckets = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        Tally { bounds: self.bounds, buckets, sum: f64::from_bits(self.sum.load(Ordering::Relaxed)) }
    }

    fn add(&self, value: f64) {
        let added = |bits| Some((f64::from_bits(bits) + value).to_bits());
        // It gives what was there before, and cannot fail.
        let _before = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, added);
    }
}

/// A histogram of one task's own, for what happens too often to share: plain numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    bounds: &'static [f64],
    buckets: Vec<u64>,
    sum: f64,
}

impl Tally {
    /// No values yet.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, buckets: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// Takes the same value in `count` times.
    pub fn observe(&mut self, value: f64, count: u32) {
        if let Some(bucket) = self.buckets.get_mut(index(self.bounds, value)) {
            *bucket += u64::from(count);
        }
        self.sum += value * f64::from(count);
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their sum.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// How many are not greater than each bound, in rising order; the last one is infinity.
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
        assert_eq!(tally.cumulative().collect::<Vec<_>>(), [(1.0, 2), (2.0, 4), (f64::INFINITY, 5)]);
        assert!((tally.sum() - 12.0).abs() < 1e-9);
    }

    #[test]
    fn a_tally_is_taken_in_as_if_each_value_had_been_observed() {
        let (histogram, mut tally) = (Histogram::new(&[1.0, 2.0]), Tally::new(&[1.0, 2.0]));
        tally.observe(1.5, 3);
        tally.observe(9.0, 1);
        histogram.merge(&tally);
        histogram.observe(0.0);
        assert_eq!(histogram.get().cumulative().collect::<Vec<_>>(), [(1.0, 1), (2.0, 4), (f64::INFINITY, 5)]);
        assert_eq!(histogram.get().count(), 5);
    }
}
