//! Times as the lens shows them.

use std::time::Duration;

/// Milliseconds with three decimal places: the clock is no finer.
pub(super) fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
