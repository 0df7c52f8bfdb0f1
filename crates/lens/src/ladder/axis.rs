//! The time axis: to scale where the rows allow it, and marked where not.

use std::time::Duration;

/// How the way between two rows is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stretch {
    /// As long as the time, by the scale.
    True,
    /// Longer: the rows are nearer in time than they can be on paper.
    Wider,
    /// Shorter: nothing happens for long.
    Cut,
}

/// The way from one row to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct AxisStep {
    pub(super) time: Duration,
    pub(super) height: f64,
    pub(super) stretch: Stretch,
}

/// What a gap of the usual length is high.
const USUAL_HEIGHT: f64 = 56.0;
/// What is higher is cut, unless its rows need that much.
const MOST_HEIGHT: f64 = 132.0;
/// How much higher than its rows a cut is, for the mark and its time.
const CUT_HEIGHT: f64 = 30.0;

/// The axis of rows that are `times` apart, each pair of which needs at least so much room.
#[derive(Debug)]
pub(super) struct Axis {
    pub(super) steps: Vec<AxisStep>,
    /// Height per second.
    pub(super) scale: f64,
}

impl Axis {
    /// A way on which rows are left out is cut, however short.
    pub(super) fn new(times: &[Duration], least: &[f64], is_left_out: &[bool]) -> Self {
        let scale = USUAL_HEIGHT / usual(times).as_secs_f64();
        let step = |((time, least), is_left_out): ((&Duration, &f64), &bool)| {
            let height = time.as_secs_f64() * scale;
            let (height, stretch) = match height {
                _ if *is_left_out => (least + CUT_HEIGHT, Stretch::Cut),
                height if height < *least => (*least, Stretch::Wider),
                height if height > MOST_HEIGHT.max(least + CUT_HEIGHT) => {
                    (least + CUT_HEIGHT, Stretch::Cut)
                }
                height => (height, Stretch::True),
            };
            AxisStep { time: *time, height, stretch }
        };
        Self { steps: times.iter().zip(least).zip(is_left_out).map(step).collect(), scale }
    }

    /// A round time, and what it is high: for the scale in the legend.
    pub(super) fn ruler(&self) -> (Duration, f64) {
        let mut nanoseconds = 1_u64;
        for factor in [2, 5, 10].into_iter().cycle() {
            let decade = 10_u64.pow(nanoseconds.ilog10());
            let next = decade * factor;
            if Duration::from_nanos(next).as_secs_f64() * self.scale > 90.0
                || next > 1_000_000_000_000
            {
                break;
            }
            nanoseconds = next.max(nanoseconds);
        }
        let time = Duration::from_nanos(nanoseconds);
        (time, time.as_secs_f64() * self.scale)
    }
}

/// The gap that most of the time is made of: the median of those that are not small beside the long
/// ones. A pause of a minute is one gap among many, and a segment and its acknowledgment are near
/// whatever the pace.
fn usual(times: &[Duration]) -> Duration {
    let mut sorted: Vec<Duration> = times.iter().copied().filter(|time| !time.is_zero()).collect();
    sorted.sort_unstable();
    let Some(long) = sorted.get(sorted.len() * 3 / 4).copied() else {
        return Duration::from_millis(1);
    };
    let from = sorted.partition_point(|time| *time < long / 10);
    sorted[from + (sorted.len() - from) / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_to_scale_but_where_it_is_marked() {
        let times = [20, 20_000, 50, 20_000, 30_000, 60_000_000].map(Duration::from_micros);
        let axis = Axis::new(&times, &[24.0; 6], &[false; 6]);
        let stretches: Vec<_> = axis.steps.iter().map(|step| step.stretch).collect();
        assert_eq!(
            stretches,
            [
                Stretch::Wider,
                Stretch::True,
                Stretch::Wider,
                Stretch::True,
                Stretch::True,
                Stretch::Cut
            ]
        );
        let height = |index: usize| axis.steps[index].height;
        assert!((height(4) / height(1) - 1.5).abs() < 1e-9);
        let (time, height) = axis.ruler();
        assert_eq!(time, Duration::from_millis(20));
        assert!((height - 56.0).abs() < 40.0);
        assert!(Axis::new(&[], &[], &[]).steps.is_empty());
    }
}
