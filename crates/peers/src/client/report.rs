//! What the client reports: one JSON object on standard output.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::verify::Faults;

#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Tokens that came, outside the window, too.
    pub tokens: u64,
    /// Responses that ended properly.
    pub responses: u64,
    #[serde(flatten)]
    pub faults: Faults,
    /// What else went wrong, the first few.
    pub errors: Vec<String>,
    pub window: Window,
    /// From the write to the read, in the window; microseconds.
    pub delay: Spread,
    /// From the request to the first token; microseconds.
    pub first_token: Spread,
    /// From the first request to the last end; microseconds.
    pub elapsed: u64,
    /// When all connections were closed at once, if they were.
    pub left: Option<u64>,
}

/// The time in which all streams run: from the last first token to the first end.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Window {
    pub micros: u64,
    pub tokens: u64,
    pub responses: u64,
    /// Processor time by the names of the plan; microseconds.
    pub cpu: BTreeMap<String, u64>,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Spread {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub max: u64,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        // The percentile: the value that this share of the sample does not exceed.
        let at = |share: usize| {
            let index = (values.len() * share).div_ceil(100).saturating_sub(1);
            values.get(index).copied().unwrap_or_default()
        };
        Self { p50: at(50), p90: at(90), p99: at(99), max: at(100) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let spread = Spread::of((1..=200).rev().collect());
        assert_eq!([spread.p50, spread.p90, spread.p99, spread.max], [100, 180, 198, 200]);
        assert_eq!(Spread::of(Vec::new()).max, 0);
        assert_eq!(Spread::of(vec![7]).p50, 7);
    }
}
