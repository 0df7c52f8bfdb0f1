//! Counters, gauges and histograms: atomics that anybody may read at any time, and families of them by label.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// The most series of one family. Labels are bounded where they are made; this holds where that is a mistake.
const MAX_SERIES: usize = 1000;

/// What a label says in place of a value that is not known beforehand.
pub const OTHER: &str = "other";

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// What it has come to.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many there are of something.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// One more, for as long as what this gives lives.
    pub fn hold(self: &Arc<Self>) -> Held {
        self.0.fetch_add(1, Ordering::Relaxed);
        Held(Arc::clone(self))
    }

    /// How many there are.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One of what a gauge counts.
#[derive(Debug)]
pub struct Held(Arc<Gauge>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

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

/// Instruments of one kind, by the values of their labels. An empty value is no label.
#[derive(Debug)]
pub struct Family<T> {
    /// The names of the labels.
    pub(super) labels: &'static [&'static str],
    make: fn() -> T,
    series: RwLock<BTreeMap<Vec<Box<str>>, Arc<T>>>,
}

impl<T> Family<T> {
    /// None yet.
    pub fn new(labels: &'static [&'static str], make: fn() -> T) -> Self {
        Self { labels, make, series: RwLock::default() }
    }

    /// The instrument of these values, in the order of the labels.
    pub fn of(&self, values: &[&str]) -> Arc<T> {
        let key: Vec<Box<str>> = values.iter().map(|value| Box::from(*value)).collect();
        if let Some(known) = self.series.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Arc::clone(known);
        }
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        let key = if series.len() < MAX_SERIES { key } else { vec![Box::from(OTHER); values.len()] };
        Arc::clone(series.entry(key).or_insert_with(|| Arc::new((self.make)())))
    }

    /// All there are, in the order of their values.
    pub(super) fn all(&self) -> Vec<(Vec<Box<str>>, Arc<T>)> {
        let series = self.series.read().unwrap_or_else(PoisonError::into_inner);
        series.iter().map(|(key, one)| (key.clone(), Arc::clone(one))).collect()
    }
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

    #[test]
    fn a_family_has_a_largest_size() {
        let family = Family::new(&["model"], Counter::default);
        (0..MAX_SERIES + 50).for_each(|number| family.of(&[&number.to_string()]).add(1));
        assert_eq!(family.all().len(), MAX_SERIES + 1);
        assert_eq!(family.of(&[OTHER]).get(), 50);
    }

    #[test]
    fn what_is_held_is_counted() {
        let gauge = Arc::new(Gauge::default());
        let held = [gauge.hold(), gauge.hold()];
        assert_eq!(gauge.get(), 2);
        drop(held);
        assert_eq!(gauge.get(), 0);
    }
}
