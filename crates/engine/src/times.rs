//! When the events of a response were appended to its log. They are kept beside the log, not in it:
//! the bytes of an event are the same for every reader.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The unit of the times: finer than a network's jitter, and coarse enough that the usual gap
/// between two tokens takes two bytes.
const TICK: Duration = Duration::from_micros(100);

/// Bytes of the creation time, which precedes the gaps.
const HEAD: usize = size_of::<u64>();

/// The times of the first events of a log, from position 0 on. Events after them have no known
/// time, as after a restart of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTimes {
    /// Milliseconds since 1970.
    created_ms: u64,
    /// The time of the last event, in ticks.
    last: u64,
    /// The gap before each event, in ticks, as a variable-length integer (LEB128).
    gaps: Vec<u8>,
}

/// What is known of the times of a response.
#[derive(Clone, Debug)]
pub struct RecordedTimes {
    /// The times; `None` if they were not recorded, as for a response that outlived a restart.
    pub times: Option<EventTimes>,
    /// The time since its creation, while it runs.
    pub elapsed: Option<Duration>,
}

impl EventTimes {
    /// No times yet, of a response that was created at `created`.
    pub(crate) fn new(created: SystemTime) -> Self {
        let since = created.duration_since(UNIX_EPOCH).unwrap_or_default();
        let created_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        Self { created_ms, last: 0, gaps: Vec::new() }
    }

    /// The next `count` events were appended together, this long after the creation.
    pub(crate) fn append(&mut self, count: usize, since_creation: Duration) {
        let now = u64::try_from(since_creation.as_micros() / TICK.as_micros()).unwrap_or(u64::MAX);
        for _ in 0..count {
            let gap = now.saturating_sub(self.last);
            put(&mut self.gaps, gap);
            self.last += gap;
        }
    }

    /// When the response was created, in milliseconds since 1970.
    pub fn created_ms(&self) -> u64 {
        self.created_ms
    }

    /// The time of each event since the creation of the response.
    pub fn since_creation(&self) -> impl Iterator<Item = Duration> {
        let mut rest = self.gaps.as_slice();
        let mut now = 0_u64;
        std::iter::from_fn(move || {
            now = now.saturating_add(take(&mut rest)?);
            Some(Duration::from_micros(now.saturating_mul(100)))
        })
    }

    /// The memory that the times take, in bytes.
    pub fn bytes(&self) -> u64 {
        (HEAD + self.gaps.len()) as u64
    }

    /// The times as bytes, for a store.
    pub fn encode(&self) -> Vec<u8> {
        [&self.created_ms.to_le_bytes(), self.gaps.as_slice()].concat()
    }

    /// Reads back what [`Self::encode`] wrote; `None` if it is not that.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (created_ms, gaps) = bytes.split_first_chunk::<HEAD>()?;
        let mut rest = gaps;
        let mut last = 0_u64;
        while !rest.is_empty() {
            last = last.saturating_add(take(&mut rest)?);
        }
        Some(Self { created_ms: u64::from_le_bytes(*created_ms), last, gaps: gaps.to_vec() })
    }
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, following) = rest.split_first()?;
        *rest = following;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(times: &EventTimes) -> Vec<u128> {
        times.since_creation().map(|time| time.as_micros()).collect()
    }

    #[test]
    fn times_are_read_back_as_they_were_appended() {
        let mut times = EventTimes::new(UNIX_EPOCH + Duration::from_millis(1_700_000_000_123));
        times.append(2, Duration::from_micros(250));
        times.append(0, Duration::from_millis(1));
        times.append(1, Duration::from_millis(20));
        times.append(3, Duration::from_secs(3600));
        let hour = 3_600_000_000;
        assert_eq!(micros(&times), [200, 200, 20_000, hour, hour, hour]);
        assert_eq!(times.created_ms(), 1_700_000_000_123);
        assert_eq!(EventTimes::decode(&times.encode()), Some(times));
    }

    #[test]
    fn an_earlier_time_counts_as_the_last_one() {
        let mut times = EventTimes::new(UNIX_EPOCH);
        times.append(1, Duration::from_millis(5));
        times.append(1, Duration::from_millis(4));
        times.append(1, Duration::from_millis(6));
        assert_eq!(micros(&times), [5000, 5000, 6000]);
    }

    #[test]
    fn damaged_bytes_are_not_times() {
        let mut times = EventTimes::new(UNIX_EPOCH);
        times.append(1, Duration::from_secs(9));
        let bytes = times.encode();
        assert_eq!(EventTimes::decode(&bytes[..7]), None, "no creation time");
        assert_eq!(EventTimes::decode(&bytes[..bytes.len() - 1]), None, "half a number");
        assert_eq!(EventTimes::decode(&[&bytes[..8], &[0xff; 11]].concat()), None, "too long");
    }
}
