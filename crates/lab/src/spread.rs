//! The distribution of a sample, with no more quantiles than its size carries.

use serde::Serialize;

/// The distribution of values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The number of values.
    pub count: usize,
    /// The minimum.
    pub min: f64,
    /// The median.
    pub p50: f64,
    /// The 90th percentile; `None` below 20 values.
    pub p90: Option<f64>,
    /// The 99th percentile; `None` below 200 values.
    pub p99: Option<f64>,
    /// The maximum.
    pub max: f64,
}

/// The values that must lie above a quantile. With fewer, the quantile is nothing but the maximum:
/// the 99th percentile of 36 values is their slowest.
const LEAST_ABOVE: usize = 2;

impl Spread {
    /// The distribution of some values; `None` if there are none.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            values.get((values.len() * percent).div_ceil(100).saturating_sub(1)).copied()
        };
        let carried = |percent: usize| {
            let above = values.len() * (100 - percent) / 100;
            at(percent).filter(|_| above >= LEAST_ABOVE)
        };
        Some(Self {
            count: values.len(),
            min: *values.first()?,
            p50: at(50)?,
            p90: carried(90),
            p99: carried(99),
            max: *values.last()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(count: u32) -> Spread {
        Spread::of((1..=count).rev().map(f64::from).collect()).unwrap()
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        assert_eq!(Spread::of(Vec::new()), None);
        let expected = Spread { count: 1, min: 1.0, p50: 1.0, p90: None, p99: None, max: 1.0 };
        assert_eq!(of(1), expected);
        let expected = Spread {
            count: 200,
            min: 1.0,
            p50: 100.0,
            p90: Some(180.0),
            p99: Some(198.0),
            max: 200.0,
        };
        assert_eq!(of(200), expected);
    }

    #[test]
    fn a_quantile_needs_two_values_above_it() {
        for (count, p90, p99) in [
            (10, None, None),
            (19, None, None),
            (20, Some(18.0), None),
            // The sample of a cell of `--quick`: its 99th percentile would be its maximum.
            (36, Some(33.0), None),
            (199, Some(180.0), None),
            (200, Some(180.0), Some(198.0)),
            (1000, Some(900.0), Some(990.0)),
        ] {
            let spread = of(count);
            let expected = (p90, p99, f64::from(count));
            assert_eq!((spread.p90, spread.p99, spread.max), expected, "{count}");
        }
    }
}
