//! A capture that runs by itself and keeps the last packets.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::captured::{CaptureEvent, CaptureStatistics, CapturedPacket};
use super::config::{CaptureError, Config};
#[cfg(target_os = "linux")]
use super::linux::{CaptureStopper, PacketCapture};
#[cfg(not(target_os = "linux"))]
use super::other::{CaptureStopper, PacketCapture};

/// A capture in a thread of its own. Dropping it ends and awaits it.
#[derive(Debug)]
pub struct PacketRecorder {
    ring: Arc<Mutex<Ring>>,
    stopper: CaptureStopper,
    is_stamped: bool,
    thread: Option<JoinHandle<io::Result<CaptureStatistics>>>,
}

/// What a recorder has.
#[derive(Clone, Debug, Default)]
pub struct PacketRecording {
    /// The packets, the oldest first.
    pub packets: Vec<CapturedPacket>,
    /// How many had to make room for later ones.
    pub forgotten: u64,
    /// The kernel's counts since the start, as of the last query.
    pub statistics: CaptureStatistics,
}

#[derive(Debug)]
struct Ring {
    packets: VecDeque<CapturedPacket>,
    bytes: usize,
    limit: usize,
    forgotten: u64,
    statistics: CaptureStatistics,
}

impl Ring {
    fn push(&mut self, packet: CapturedPacket) {
        self.bytes += cost(&packet);
        self.packets.push_back(packet);
        while self.bytes > self.limit
            && let Some(oldest) = self.packets.pop_front()
        {
            self.bytes -= cost(&oldest);
            self.forgotten += 1;
        }
    }

    fn take(&mut self) -> PacketRecording {
        self.bytes = 0;
        let forgotten = std::mem::take(&mut self.forgotten);
        PacketRecording {
            packets: std::mem::take(&mut self.packets).into(),
            forgotten,
            statistics: self.statistics,
        }
    }
}

fn cost(packet: &CapturedPacket) -> usize {
    packet.bytes.len() + size_of::<CapturedPacket>()
}

impl PacketRecorder {
    /// Begins a capture of which at most `max_bytes` are held.
    pub fn start(config: &Config, max_bytes: usize) -> Result<Self, CaptureError> {
        let mut capture = PacketCapture::open(config)?;
        let (stopper, is_stamped) = (capture.stopper(), capture.is_stamped());
        let ring = Ring {
            packets: VecDeque::new(),
            bytes: 0,
            limit: max_bytes,
            forgotten: 0,
            statistics: CaptureStatistics::default(),
        };
        let ring = Arc::new(Mutex::new(ring));
        let shared = Arc::clone(&ring);
        let thread =
            Builder::new().name("capture".to_owned()).spawn(move || run(&mut capture, &shared))?;
        Ok(Self { ring, stopper, is_stamped, thread: Some(thread) })
    }

    /// Whether the first packets have the time at which they came; otherwise they may have that at
    /// which they were read.
    pub fn is_stamped(&self) -> bool {
        self.is_stamped
    }

    /// Takes what has come by now.
    pub fn take(&self) -> PacketRecording {
        lock(&self.ring).take()
    }

    /// Whether it has ended by itself: the system gave no more.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends the capture, and takes what was not taken yet.
    pub fn stop(mut self) -> io::Result<PacketRecording> {
        let statistics = self.end()?;
        Ok(PacketRecording { statistics, ..self.take() })
    }

    fn end(&mut self) -> io::Result<CaptureStatistics> {
        self.stopper.stop();
        let Some(thread) = self.thread.take() else { return Ok(CaptureStatistics::default()) };
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the capture's thread panicked")))
    }
}

impl Drop for PacketRecorder {
    fn drop(&mut self) {
        // Nothing can be done about an error in `drop`.
        let _ = self.end();
    }
}

/// The kernel is asked for the number of dropped packets after this many packets, or when none
/// arrived for this long.
const MANY: u32 = 1024;
const LONG: Duration = Duration::from_millis(250);

fn run(capture: &mut PacketCapture, ring: &Mutex<Ring>) -> io::Result<CaptureStatistics> {
    let mut since = 0;
    loop {
        match capture.next(Some(LONG))? {
            CaptureEvent::Packet(packet) => {
                lock(ring).push(packet);
                since += 1;
                if since < MANY {
                    continue;
                }
            }
            CaptureEvent::Idle if since == 0 => continue,
            CaptureEvent::Idle => {}
            CaptureEvent::Stopped => return capture.statistics(),
        }
        since = 0;
        let statistics = capture.statistics()?;
        lock(ring).statistics = statistics;
    }
}

fn lock(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::captured::PacketDirection;
    use crate::moment::Moment;
    use crate::packet::link::LinkType;

    #[test]
    fn the_oldest_make_room() {
        let packet = |at: u64| CapturedPacket {
            at: Moment(at),
            link: LinkType::Raw,
            interface: 1,
            direction: PacketDirection::Incoming,
            original_length: 100,
            bytes: vec![0; 100],
        };
        let limit = 3 * cost(&packet(0));
        let mut ring = Ring {
            packets: VecDeque::new(),
            bytes: 0,
            limit,
            forgotten: 0,
            statistics: CaptureStatistics::default(),
        };
        (0..10).for_each(|at| ring.push(packet(at)));
        let recording = ring.take();
        assert_eq!(
            recording.packets.iter().map(|packet| packet.at.0).collect::<Vec<_>>(),
            [7, 8, 9]
        );
        assert_eq!((recording.forgotten, ring.bytes), (7, 0));
    }
}
