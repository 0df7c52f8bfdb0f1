//! Families: instruments of one kind, one for each combination of label values.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The most series of one family. Label values are bounded at their source; this is the safety net.
const MAX_SERIES: usize = 1000;

/// The label value that replaces unbounded ones.
pub const OTHER: &str = "other";

/// Instruments of one kind, by the values of their labels. A label with an empty value is omitted.
#[derive(Debug)]
pub struct MetricFamily<T> {
    /// The names of the labels.
    pub(crate) labels: &'static [&'static str],
    make: fn() -> T,
    series: RwLock<BTreeMap<Vec<Box<str>>, Arc<T>>>,
}

impl<T> MetricFamily<T> {
    /// An empty family.
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
        let key =
            if series.len() < MAX_SERIES { key } else { vec![Box::from(OTHER); values.len()] };
        Arc::clone(series.entry(key).or_insert_with(|| Arc::new((self.make)())))
    }

    /// All instruments, in the order of their label values.
    pub(crate) fn all(&self) -> Vec<(Vec<Box<str>>, Arc<T>)> {
        let series = self.series.read().unwrap_or_else(PoisonError::into_inner);
        series.iter().map(|(key, one)| (key.clone(), Arc::clone(one))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instruments::counter::Counter;

    #[test]
    fn a_family_has_a_largest_size() {
        let family = MetricFamily::new(&["model"], Counter::default);
        (0..MAX_SERIES + 50).for_each(|number| family.of(&[&number.to_string()]).add(1));
        assert_eq!(family.all().len(), MAX_SERIES + 1);
        assert_eq!(family.of(&[OTHER]).get(), 50);
    }
}
