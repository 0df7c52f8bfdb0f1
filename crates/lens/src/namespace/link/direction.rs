//! One direction of the link, without I/O and without a clock: times are since the link was built.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::counts::FrameCounts;
use super::settings::{LinkSettings, LossTarget, LostFrame, QUEUE_FRAMES};
use crate::moment::Moment;
use crate::packet::link::LinkType;
use crate::packet::{TransportPayload, decode};

/// How many frames travel at most, so that there is a bound: 100 MB, which are 0.8 seconds at a
/// gigabit. When there are that many, the bottleneck lets none in.
const TRAVELLING_FRAMES: usize = 1 << 16;

/// What is under way in one direction.
#[derive(Debug)]
pub(super) struct LinkDirection {
    settings: LinkSettings,
    targets: VecDeque<(LossTarget, SyncSender<LostFrame>)>,
    waiting: VecDeque<Waiting>,
    /// When the last frame will have passed the bottleneck.
    free_at: Duration,
    travelling: VecDeque<Travelling>,
    counts: FrameCounts,
}

/// A frame that waits for the bottleneck.
#[derive(Debug)]
struct Waiting {
    since: Duration,
    bytes: Vec<u8>,
}

/// A frame that has passed the bottleneck.
#[derive(Debug)]
struct Travelling {
    due: Duration,
    bytes: Vec<u8>,
}

impl LinkDirection {
    pub(super) fn new(settings: LinkSettings) -> Self {
        Self {
            settings,
            targets: VecDeque::new(),
            waiting: VecDeque::new(),
            free_at: Duration::ZERO,
            travelling: VecDeque::new(),
            counts: FrameCounts::default(),
        }
    }

    /// Changes it for all that have not come to the bottleneck yet.
    pub(super) fn set(&mut self, settings: LinkSettings) {
        self.settings = settings;
    }

    /// Waits for a segment that fits, and reports when it has been lost.
    pub(super) fn lose(&mut self, target: LossTarget, notify: SyncSender<LostFrame>) {
        self.targets.push_back((target, notify));
    }

    pub(super) fn counts(&self) -> FrameCounts {
        FrameCounts {
            in_flight: (self.waiting.len() + self.travelling.len()) as u64,
            ..self.counts
        }
    }

    /// Counts frames that it was never given, or that it gave and that did not arrive.
    pub(super) fn miss(&mut self, frames: u64) {
        self.counts.missed += frames;
    }

    /// Takes a frame that came `now`, which the kernel calls `at`.
    pub(super) fn push(&mut self, now: Duration, at: Moment, bytes: &[u8]) {
        self.advance(now);
        if let Some(notify) = self.hit(bytes) {
            self.counts.lost += 1;
            // The receiver may have been dropped.
            let _ = notify.try_send(LostFrame { at, bytes: bytes.to_vec() });
        } else if self.waiting.len() >= QUEUE_FRAMES {
            self.counts.overflowed += 1;
        } else {
            self.waiting.push_back(Waiting { since: now, bytes: bytes.to_vec() });
        }
    }

    /// The next frame that is due, if there is one.
    pub(super) fn pop(&mut self, now: Duration) -> Option<Vec<u8>> {
        self.advance(now);
        let frame = self.travelling.pop_front_if(|frame| frame.due <= now)?;
        let late = now.saturating_sub(frame.due);
        self.counts.late += late;
        self.counts.latest = self.counts.latest.max(late);
        Some(frame.bytes)
    }

    /// Counts a frame that it gave and that did arrive.
    pub(super) fn arrive(&mut self) {
        self.counts.arrived += 1;
    }

    /// When something happens next, if nothing comes until then.
    pub(super) fn next(&self) -> Option<Duration> {
        let due = self.travelling.front().map(|frame| frame.due);
        let first = self.waiting.front().filter(|_| self.travelling.len() < TRAVELLING_FRAMES);
        due.into_iter().chain(first.map(|frame| self.free_at.max(frame.since))).min()
    }

    /// Lets frames through the bottleneck that are first in the row when it is free.
    fn advance(&mut self, now: Duration) {
        while self.free_at <= now
            && self.travelling.len() < TRAVELLING_FRAMES
            && let Some(Waiting { since, bytes }) =
                self.waiting.pop_front_if(|frame| frame.since <= now)
        {
            self.free_at = self
                .free_at
                .max(since)
                .saturating_add(time_for(bytes.len(), self.settings.bytes_per_second));
            // A delay that has become shorter does not let it overtake others.
            let previous = self.travelling.back().map_or(Duration::ZERO, |frame| frame.due);
            let due = self.free_at.saturating_add(self.settings.delay).max(previous);
            self.travelling.push_back(Travelling { due, bytes });
        }
    }

    /// The channel to notify, if this is a segment that is to be lost. One segment hits one target.
    fn hit(&mut self, bytes: &[u8]) -> Option<SyncSender<LostFrame>> {
        if self.targets.is_empty() {
            return None;
        }
        let TransportPayload::Tcp(segment) = decode(LinkType::Ethernet, bytes).ok()?.transport
        else {
            return None;
        };
        let ports = [segment.source_port, segment.destination_port];
        let fits = |(target, _): &(LossTarget, _)| {
            ports.contains(&target.port) && segment.payload_length >= target.payload_bytes
        };
        let place = self.targets.iter().position(fits)?;
        self.targets.remove(place).map(|(_, notify)| notify)
    }
}

/// Rounded up, so that no rate is exceeded.
fn time_for(bytes: usize, bytes_per_second: Option<NonZero<u32>>) -> Duration {
    bytes_per_second.map_or(Duration::ZERO, |rate| {
        Duration::from_nanos(
            (bytes as u64).saturating_mul(1_000_000_000).div_ceil(u64::from(rate.get())),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::tests::build::{ACK, Segment};

    const fn milliseconds(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    fn settings(delay: u64, bytes_per_second: u32) -> LinkSettings {
        LinkSettings {
            delay: milliseconds(delay),
            bytes_per_second: NonZero::new(bytes_per_second),
        }
    }

    /// When each frame leaves a direction, to the millisecond, and how long it is.
    fn leave(direction: &mut LinkDirection) -> Vec<(u128, usize)> {
        let mut left = Vec::new();
        while let Some(next) = direction.next() {
            while let Some(bytes) = direction.pop(next) {
                left.push((next.as_millis(), bytes.len()));
            }
        }
        left
    }

    #[test]
    fn frames_take_their_turn_and_then_their_time() {
        let mut direction = LinkDirection::new(settings(50, 1_000_000));
        for (at, length) in [(0, 1000), (0, 2000), (20, 500), (60, 1)] {
            direction.push(milliseconds(at), Moment(0), &vec![0; length]);
        }
        assert_eq!(direction.next(), Some(milliseconds(51)));
        assert_eq!(direction.pop(Duration::from_nanos(50_999_999)), None, "not a nanosecond early");
        assert_eq!(leave(&mut direction), [(51, 1000), (53, 2000), (70, 500), (110, 1)]);
        assert_eq!((direction.counts().in_flight, direction.counts().latest), (0, Duration::ZERO));
    }

    #[test]
    fn what_is_late_does_not_make_the_next_late() {
        let mut direction = LinkDirection::new(settings(10, 1000));
        (0..3).for_each(|_| direction.push(Duration::ZERO, Moment(0), &[0]));
        assert_eq!(direction.pop(milliseconds(11)).map(|bytes| bytes.len()), Some(1));
        assert_eq!(direction.pop(milliseconds(17)).map(|bytes| bytes.len()), Some(1));
        assert_eq!(direction.next(), Some(milliseconds(13)));
        assert_eq!(
            (direction.counts().late, direction.counts().latest),
            (milliseconds(5), milliseconds(5))
        );
    }

    #[test]
    fn a_changed_path_holds_for_what_comes_but_nothing_overtakes() {
        let mut direction = LinkDirection::new(settings(50, 0));
        direction.push(Duration::ZERO, Moment(0), &[0; 1]);
        direction.pop(Duration::ZERO);
        direction.set(settings(1, 0));
        direction.push(milliseconds(10), Moment(0), &[0; 2]);
        direction.push(milliseconds(60), Moment(0), &[0; 3]);
        assert_eq!(leave(&mut direction), [(50, 1), (50, 2), (61, 3)]);
    }

    #[test]
    fn those_that_wait_do_so_no_longer_than_the_path_is_narrow() {
        let mut direction = LinkDirection::new(settings(0, 1));
        (0..10).for_each(|_| direction.push(Duration::ZERO, Moment(0), &[0]));
        direction.pop(Duration::ZERO);
        direction.set(settings(0, 0));
        assert_eq!(leave(&mut direction), [(1000, 1); 10]);
    }

    #[test]
    fn the_queue_has_a_bound_and_the_tail_is_lost() {
        let mut direction = LinkDirection::new(settings(1000, 1000));
        // One frame is in the bottleneck, and the others wait.
        (0..=QUEUE_FRAMES + 3).for_each(|_| direction.push(Duration::ZERO, Moment(0), &[0]));
        assert_eq!(
            (direction.counts().overflowed, direction.counts().in_flight),
            (3, QUEUE_FRAMES as u64 + 1)
        );
        direction.push(milliseconds(1), Moment(0), &[0]);
        assert_eq!(direction.counts().overflowed, 3, "there is room again");
        assert_eq!(leave(&mut direction).len(), QUEUE_FRAMES + 2);
    }

    #[test]
    fn what_travels_has_a_bound_too() {
        let mut direction = LinkDirection::new(settings(1000, 0));
        (0..TRAVELLING_FRAMES + QUEUE_FRAMES + 7)
            .for_each(|_| direction.push(Duration::ZERO, Moment(0), &[0]));
        assert_eq!(direction.counts().overflowed, 7);
        assert_eq!(leave(&mut direction).len(), TRAVELLING_FRAMES + QUEUE_FRAMES);
    }

    #[test]
    fn a_target_is_hit_once_and_by_one_segment() {
        let mut direction = LinkDirection::new(LinkSettings::default());
        let (from, to) = ("192.0.2.1:40000".parse().unwrap(), "192.0.2.2:80".parse().unwrap());
        let segment = |payload| {
            Segment {
                from,
                to,
                sequence: 1,
                acknowledgment: 1,
                flags: ACK,
                window: 1000,
                options: &[],
                payload,
            }
            .ethernet()
        };
        let (notify, receiver) = sync_channel(1);
        let (second_notify, second_receiver) = sync_channel(1);
        direction.lose(LossTarget { port: 80, payload_bytes: 3 }, notify);
        direction.lose(LossTarget { port: 80, payload_bytes: 3 }, second_notify);
        for (at, payload) in [(1, b"ab".as_slice()), (2, b"abc"), (3, b"abcd"), (4, b"abcde")] {
            direction.push(Duration::ZERO, Moment(at), &segment(payload));
        }
        assert_eq!(receiver.try_recv(), Ok(LostFrame { at: Moment(2), bytes: segment(b"abc") }));
        assert_eq!(second_receiver.try_recv().map(|lost| lost.at), Ok(Moment(3)));
        assert_eq!((direction.counts().lost, leave(&mut direction).len()), (2, 2));
    }
}
